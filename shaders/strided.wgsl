// Words from regular distances in x to regular distances in y: what transposing, slicing, joining, cutting and
// repeating have in common. Strides may be negative: sums wrap.

import package::shared::walk::entry;

struct Params {
    n: u32,
    rank: u32,
    x_start: u32,
    y_start: u32,
    sizes: vec4u,
    more_sizes: vec4u,
    x_strides: vec4u,
    more_x_strides: vec4u,
    y_strides: vec4u,
    more_y_strides: vec4u,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i >= params.n {
        return;
    }
    var rest = i;
    var at = vec2<u32>(params.x_start, params.y_start);
    for (var d = 0u; d < params.rank; d++) {
        let size = entry(d, params.sizes, params.more_sizes);
        let digit = rest % size;
        rest /= size;
        at += digit * vec2<u32>(entry(d, params.x_strides, params.more_x_strides), entry(d, params.y_strides, params.more_y_strides));
    }
    y[at.y] = x[at.x];
}
