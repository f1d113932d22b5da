// y = (x - mean) / sqrt(variance + epsilon) · scale + bias, by channel.

struct Params {
    n: u32,
    channels: u32,
    plane: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> variance: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i < params.n {
        let c = i / params.plane % params.channels;
        let factor = scale[c] / sqrt(variance[c] + params.epsilon);
        y[i] = x[i] * factor + (bias[c] - mean[c] * factor);
    }
}
