// Rows that sum to one, or their logarithms: one workgroup a row, whose elements are `inner` apart.

import package::shared::reduce::{workgroup_sum, workgroup_max};

struct Params {
    rows: u32,
    n: u32,
    inner: u32,
    // 0: exp(x - max) / sum; 1: its logarithm.
    function: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = min(group.z * groups.x + group.x, params.rows - 1u);
    let start = row / params.inner * params.n * params.inner + row % params.inner;
    var largest = x[start];
    for (var i = thread; i < params.n; i += 64u) {
        largest = max(largest, x[start + i * params.inner]);
    }
    largest = workgroup_max(thread, largest);
    var sum = 0.0;
    for (var i = thread; i < params.n; i += 64u) {
        sum += exp(x[start + i * params.inner] - largest);
    }
    sum = workgroup_sum(thread, sum);
    let scale = 1.0 / sum;
    let shift = largest + log(sum);
    for (var i = thread; i < params.n; i += 64u) {
        let at = start + i * params.inner;
        if params.function == 0u {
            y[at] = exp(x[at] - largest) * scale;
        } else {
            y[at] = x[at] - shift;
        }
    }
}
