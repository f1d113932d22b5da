// Rows of a table by index, decoded from affine planes: one workgroup per row. An index outside the table
// gives a row of zeros.


struct Params {
    columns: u32,
    rows: u32,
    // Words of levels in a row, and values that share a scale.
    row_words: u32,
    group: u32,
    // Where there is no plane of mins, every min is -offset · scale.
    offset: f32,
}

@group(0) @binding(0) var<storage, read> indices: array<i32>;
@if(dense) @group(0) @binding(1) var<storage, read> table: array<f32>;
@if(!dense) @group(0) @binding(1) var<storage, read> levels: array<u32>;
@if(!dense) @group(0) @binding(2) var<storage, read> scales: array<f32>;
@if(mins) @group(0) @binding(3) var<storage, read> mins: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

fn value(row: u32, column: u32) -> f32 {
    @if(dense) {
        return table[row * params.columns + column];
    }
    @if(!dense) {
        let at = row * (params.columns / params.group) + column / params.group;
        let scale = scales[at];
        @if(mins) let minimum = mins[at];
        @if(!mins) let minimum = -params.offset * scale;
        @if(levels4) let level = (levels[row * params.row_words + column / 8u] >> (4u * (column % 8u))) & 15u;
        @if(levels8) let level = (levels[row * params.row_words + column / 4u] >> (8u * (column % 4u))) & 255u;
        return scale * f32(level) + minimum;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let index = indices[group.x];
    let inside = index >= 0 && u32(index) < params.rows;
    let row = select(0u, u32(index), inside);
    for (var i = thread; i < params.columns; i += 64u) {
        y[group.x * params.columns + i] = select(0.0, value(row, i), inside);
    }
}
