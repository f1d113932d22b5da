// x / (bias + alpha · Σ x² of neighbouring channels) ^ beta.

struct Params {
    n: u32,
    channels: u32,
    plane: u32,
    // Channels before and after the own that count.
    before: u32,
    after: u32,
    alpha: f32,
    beta: f32,
    bias: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i >= params.n {
        return;
    }
    let channel = i / params.plane % params.channels;
    let first = channel - min(channel, params.before);
    let end = min(channel + params.after + 1u, params.channels);
    var sum = 0.0;
    for (var other = first; other < end; other++) {
        // Before the own channel it wraps back.
        let value = x[i + (other - channel) * params.plane];
        sum += value * value;
    }
    y[i] = x[i] / pow(params.bias + params.alpha * sum, params.beta);
}
