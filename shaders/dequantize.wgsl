// y = (level - zero) · scale: levels and zeros are bytes, scales one, or one for each part along a dimension.

struct Params {
    n: u32,
    // How many scales, and elements that neighbours along their dimension are apart.
    count: u32,
    inner: u32,
    is_signed: u32,
    has_zero: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read> zero: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

fn level(word: u32, i: u32) -> i32 {
    let shift = 8u * (i % 4u);
    return select(i32((word >> shift) & 255u), i32(word << (24u - shift)) >> 24u, params.is_signed != 0u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i >= params.n {
        return;
    }
    let part = i / params.inner % params.count;
    var value = level(x[i / 4u], i);
    if params.has_zero != 0u {
        value -= level(zero[part / 4u], part);
    }
    y[i] = f32(value) * scale[part];
}
