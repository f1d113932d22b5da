// y = a where a truth, a byte, holds, else b; all broadcast. Elements are words of any type.

import package::shared::walk::entry;

struct Params {
    n: u32,
    rank: u32,
    unused0: u32,
    unused1: u32,
    // Of y, and how far apart neighbours are in the condition, a and b.
    sizes: vec4u,
    more_sizes: vec4u,
    c_strides: vec4u,
    more_c_strides: vec4u,
    a_strides: vec4u,
    more_a_strides: vec4u,
    b_strides: vec4u,
    more_b_strides: vec4u,
}

@group(0) @binding(0) var<storage, read> condition: array<u32>;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i >= params.n {
        return;
    }
    var rest = i;
    var at = vec3<u32>(0u, 0u, 0u);
    for (var d = 0u; d < params.rank; d++) {
        let size = entry(d, params.sizes, params.more_sizes);
        let digit = rest % size;
        rest /= size;
        let c = entry(d, params.c_strides, params.more_c_strides);
        let first = entry(d, params.a_strides, params.more_a_strides);
        let second = entry(d, params.b_strides, params.more_b_strides);
        at += digit * vec3<u32>(c, first, second);
    }
    if ((condition[at.x / 4u] >> (8u * (at.x % 4u))) & 255u) != 0u {
        y[i] = a[at.y];
    } else {
        y[i] = b[at.z];
    }
}
