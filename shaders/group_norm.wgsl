// Groups of channels of zero mean and unit variance, then scaled by channel: one workgroup a group.

import package::shared::reduce::workgroup_sum;

struct Params {
    // Groups in all, channels of a group, groups of an image, and elements of a channel.
    rows: u32,
    channels: u32,
    groups: u32,
    plane: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = min(group.z * groups.x + group.x, params.rows - 1u);
    let n = params.channels * params.plane;
    let start = row * n;
    var sum = 0.0;
    for (var i = thread; i < n; i += 64u) {
        sum += x[start + i];
    }
    let mean = workgroup_sum(thread, sum) / f32(n);
    var squares = 0.0;
    for (var i = thread; i < n; i += 64u) {
        let value = x[start + i] - mean;
        squares += value * value;
    }
    let factor = 1.0 / sqrt(workgroup_sum(thread, squares) / f32(n) + params.epsilon);
    let first = row % params.groups * params.channels;
    for (var i = thread; i < n; i += 64u) {
        let c = first + i / params.plane;
        y[start + i] = (x[start + i] - mean) * factor * scale[c] + bias[c];
    }
}
