// The sum or the mean of each row: one workgroup per row.

import package::shared::reduce::workgroup_sum;

struct Params {
    columns: u32,
    // What the sum is multiplied with: 1, or 1 / columns.
    factor: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var sum = 0.0;
    for (var i = thread; i < params.columns; i += 64u) {
        sum += x[group.x * params.columns + i];
    }
    sum = workgroup_sum(thread, sum);
    if thread == 0u {
        y[group.x] = sum * params.factor;
    }
}
