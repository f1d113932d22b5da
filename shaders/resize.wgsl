// y [outer, rows, mid, columns, inner]: each element a weighted sum of some of x's along two dimensions. Which, and
// their weights, are in a table: for each row `row_taps` pairs of position and weight, then for each column.

struct Params {
    n: u32,
    in_rows: u32,
    rows: u32,
    row_taps: u32,
    mid: u32,
    in_columns: u32,
    columns: u32,
    column_taps: u32,
    inner: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> taps: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i >= params.n {
        return;
    }
    let inner = i % params.inner;
    var rest = i / params.inner;
    let column = rest % params.columns;
    rest /= params.columns;
    let mid = rest % params.mid;
    rest /= params.mid;
    let row = rest % params.rows;
    let outer = rest / params.rows;
    var sum = 0.0;
    for (var a = 0u; a < params.row_taps; a++) {
        let of_row = taps[row * params.row_taps + a];
        let line = ((outer * params.in_rows + of_row.x) * params.mid + mid) * params.in_columns;
        var line_sum = 0.0;
        for (var b = 0u; b < params.column_taps; b++) {
            let of_column = taps[params.rows * params.row_taps + column * params.column_taps + b];
            line_sum += bitcast<f32>(of_column.y) * x[(line + of_column.x) * params.inner + inner];
        }
        sum += bitcast<f32>(of_row.y) * line_sum;
    }
    y[i] = sum;
}
