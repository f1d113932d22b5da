// y is x, words of any type, or bytes, with something around it, or cut. A thread makes a word.

import package::shared::walk::entry;

struct Params {
    n: u32,
    rank: u32,
    // In the order of PadMode in ops/pad.rs.
    mode: u32,
    unused: u32,
    sizes: vec4u,
    more_sizes: vec4u,
    x_sizes: vec4u,
    more_x_sizes: vec4u,
    x_strides: vec4u,
    more_x_strides: vec4u,
    // Elements before x, which may be negative.
    before: vec4u,
    more_before: vec4u,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> value: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

fn wrapped(at: i32, n: i32) -> i32 {
    return ((at % n) + n) % n;
}

// Element i, a word or a byte.
fn element(i: u32) -> u32 {
    var rest = i;
    var origin = 0u;
    var outside = false;
    for (var d = 0u; d < params.rank; d++) {
        let size = entry(d, params.sizes, params.more_sizes);
        let n = i32(entry(d, params.x_sizes, params.more_x_sizes));
        var at = i32(rest % size) - i32(entry(d, params.before, params.more_before));
        rest /= size;
        if at < 0 || at >= n {
            switch params.mode {
                case 0u: { outside = true; }
                case 1u: { at = clamp(at, 0, n - 1); }
                case 2u: {
                    let period = max(2 * (n - 1), 1);
                    at = wrapped(at, period);
                    at = min(at, period - at);
                }
                default: { at = wrapped(at, n); }
            }
        }
        origin += u32(max(at, 0)) * entry(d, params.x_strides, params.more_x_strides);
    }
    if outside {
        return value[0];
    }
    @if(!bytes) return x[origin];
    @if(bytes) return x[origin / 4u] >> (8u * (origin % 4u));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    @if(!bytes) {
        if i < params.n {
            y[i] = element(i);
        }
    }
    @if(bytes) {
        var word = 0u;
        for (var j = 0u; j < 4u && 4u * i + j < params.n; j++) {
            word |= (element(4u * i + j) & 255u) << (8u * j);
        }
        if 4u * i < params.n {
            y[i] = word;
        }
    }
}
