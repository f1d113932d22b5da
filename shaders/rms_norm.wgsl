// y = x / sqrt(mean(x²) + epsilon) · weight, one workgroup per row.

import package::shared::reduce::workgroup_sum;

struct Params {
    columns: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = group.x * params.columns;
    var squares = 0.0;
    for (var i = thread; i < params.columns; i += 64u) {
        let value = x[row + i];
        squares += value * value;
    }
    let scale = inverseSqrt(workgroup_sum(thread, squares) / f32(params.columns) + params.epsilon);
    for (var i = thread; i < params.columns; i += 64u) {
        y[row + i] = x[row + i] * scale * weight[i];
    }
}
