// The index of the largest element of each row, the lowest one on a tie: one workgroup per row.

struct Params {
    columns: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<i32>;
@group(0) @binding(8) var<uniform> params: Params;

const THREADS: u32 = 256u;
const LOWEST: f32 = -3.4028234e38;

var<workgroup> values: array<f32, THREADS>;
var<workgroup> indices: array<u32, THREADS>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = group.x * params.columns;
    var best = LOWEST;
    var best_at = 0xffffffffu;
    for (var i = thread; i < params.columns; i += THREADS) {
        let value = x[row + i];
        if value > best {
            best = value;
            best_at = i;
        }
    }
    values[thread] = best;
    indices[thread] = best_at;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half >>= 1u) {
        if thread < half {
            let other = values[thread + half];
            let other_at = indices[thread + half];
            if other > values[thread] || (other == values[thread] && other_at < indices[thread]) {
                values[thread] = other;
                indices[thread] = other_at;
            }
        }
        workgroupBarrier();
    }
    if thread == 0u {
        y[group.x] = i32(select(indices[0], 0u, indices[0] == 0xffffffffu));
    }
}
