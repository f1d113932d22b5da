// Values of 16 bits as f32, two an invocation.

import package::shared::raw::byte_at;

struct Params {
    // The first value that is written, an even number, and how many are.
    first: u32,
    n: u32,
}

@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let pair = (group.z * groups.x + group.x) * 64u + thread;
    if pair * 2u >= params.n {
        return;
    }
    @if(f16) let both = unpack2x16float(raw[pair]);
    @if(bf16) let both = bitcast<vec2<f32>>(vec2<u32>(raw[pair] << 16u, raw[pair] & 0xffff0000u));
    values[params.first + pair * 2u] = both.x;
    if pair * 2u + 1u < params.n {
        values[params.first + pair * 2u + 1u] = both.y;
    }
}
