// y = (x - mean) / sqrt(variance + epsilon) · scale + bias, one workgroup a row.

import package::shared::reduce::workgroup_sum;

struct Params {
    rows: u32,
    n: u32,
    epsilon: f32,
    // Whether the mean is taken away, and whether there is a bias.
    centre: u32,
    has_bias: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let start = min(group.z * groups.x + group.x, params.rows - 1u) * params.n;
    var sum = 0.0;
    if params.centre != 0u {
        for (var i = thread; i < params.n; i += 64u) {
            sum += x[start + i];
        }
    }
    let mean = workgroup_sum(thread, sum) / f32(params.n);
    var squares = 0.0;
    for (var i = thread; i < params.n; i += 64u) {
        let value = x[start + i] - mean;
        squares += value * value;
    }
    let factor = 1.0 / sqrt(workgroup_sum(thread, squares) / f32(params.n) + params.epsilon);
    for (var i = thread; i < params.n; i += 64u) {
        var value = (x[start + i] - mean) * factor * scale[i];
        if params.has_bias != 0u {
            value += bias[i];
        }
        y[start + i] = value;
    }
}
