// Words, or bytes, from regular distances in x to regular distances in y: what transposing, slicing, joining, cutting and
// repeating have in common. Strides may be negative: sums wrap. A thread moves one word, or four bytes; where these are not a
// word of y, others of it may be another thread's.

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
@if(!bytes) @group(0) @binding(1) var<storage, read_write> y: array<u32>;
@if(bytes) @group(0) @binding(1) var<storage, read_write> y: array<atomic<u32>>;
@group(0) @binding(8) var<uniform> params: Params;

// Where element i comes from and goes to.
fn places(i: u32) -> vec2<u32> {
    var rest = i;
    var at = vec2<u32>(params.x_start, params.y_start);
    for (var d = 0u; d < params.rank; d++) {
        let size = entry(d, params.sizes, params.more_sizes);
        let digit = rest % size;
        rest /= size;
        at += digit * vec2<u32>(entry(d, params.x_strides, params.more_x_strides), entry(d, params.y_strides, params.more_y_strides));
    }
    return at;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    @if(!bytes) {
        if i >= params.n {
            return;
        }
        let at = places(i);
        y[at.y] = x[at.x];
    }
    @if(bytes) {
        var word = 0u;
        var to: vec4<u32>;
        for (var j = 0u; j < 4u && 4u * i + j < params.n; j++) {
            let at = places(4u * i + j);
            word |= ((x[at.x / 4u] >> (8u * (at.x % 4u))) & 255u) << (8u * j);
            to[j] = at.y;
        }
        if 4u * i + 3u < params.n && to.x % 4u == 0u && all(to == to.x + vec4<u32>(0u, 1u, 2u, 3u)) {
            atomicStore(&y[to.x / 4u], word);
            return;
        }
        for (var j = 0u; j < 4u && 4u * i + j < params.n; j++) {
            let shift = 8u * (to[j] % 4u);
            atomicAnd(&y[to[j] / 4u], ~(255u << shift));
            atomicOr(&y[to[j] / 4u], ((word >> (8u * j)) & 255u) << shift);
        }
    }
}
