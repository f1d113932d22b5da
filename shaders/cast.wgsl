// y = x in another type: floats, integers, or truths, which are bytes. A thread makes one element, or four truths.

struct Params {
    n: u32,
}

@if(from_truth) alias From = u32;
@if(from_float) alias From = f32;
@if(from_int) alias From = i32;
@if(to_truth) alias To = u32;
@if(to_float) alias To = f32;
@if(to_int) alias To = i32;

@group(0) @binding(0) var<storage, read> x: array<From>;
@group(0) @binding(1) var<storage, read_write> y: array<To>;
@group(0) @binding(8) var<uniform> params: Params;

@if(from_truth) fn element(i: u32) -> bool {
    return ((x[i / 4u] >> (8u * (i % 4u))) & 255u) != 0u;
}
@if(!from_truth) fn element(i: u32) -> From {
    return x[i];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    @if(!to_truth) {
        if i < params.n {
            y[i] = To(element(i));
        }
    }
    @if(to_truth) {
        if 4u * i < params.n {
            var word = 0u;
            for (var j = 0u; j < 4u; j++) {
                if 4u * i + j < params.n && element(4u * i + j) != From(0) {
                    word |= 1u << (8u * j);
                }
            }
            y[i] = word;
        }
    }
}
