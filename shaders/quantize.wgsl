// Levels, which are bytes: x / scale, rounded to even, + zero, clamped. A thread makes the four of a word. Scales are one,
// or one for each part along a dimension.

struct Params {
    n: u32,
    count: u32,
    inner: u32,
    is_signed: u32,
    has_zero: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> zero: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

fn zero_of(part: u32) -> f32 {
    if params.has_zero == 0u {
        return 0.0;
    }
    let shift = 8u * (part % 4u);
    let word = zero[part / 4u];
    return f32(select(i32((word >> shift) & 255u), i32(word << (24u - shift)) >> 24u, params.is_signed != 0u));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = (group.z * groups.x + group.x) * 64u + thread;
    let low = select(0.0, -128.0, params.is_signed != 0u);
    var levels = 0u;
    for (var j = 0u; j < 4u; j++) {
        let i = 4u * word + j;
        if i < params.n {
            let part = i / params.inner % params.count;
            // A scale of zero, of numbers that are all zero, gives zeros.
            let by = select(scale[part], 1.0, scale[part] == 0.0);
            let level = clamp(round(x[i] / by) + zero_of(part), low, low + 255.0);
            levels |= (u32(i32(level)) & 255u) << (8u * j);
        }
    }
    if 4u * word < params.n {
        y[word] = levels;
    }
}
