// y = x in another type: floats, integers of one word or (wide) two, or bytes: truths, or (from) numbers. A thread makes
// one element, or four truths.

struct Params {
    n: u32,
}

@if(from_truth) alias From = u32;
@if(from_byte) alias From = i32;
@if(from_float) alias From = f32;
@if(from_int) alias From = i32;
@if(from_wide) alias From = vec2<u32>;
@if(to_truth) alias To = u32;
@if(to_float) alias To = f32;
@if(to_int) alias To = i32;
@if(to_wide) alias To = vec2<u32>;

@if(!from_truth) @if(!from_byte) @group(0) @binding(0) var<storage, read> x: array<From>;
@if(from_truth) @group(0) @binding(0) var<storage, read> x: array<u32>;
@if(from_byte) @group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<To>;
@group(0) @binding(8) var<uniform> params: Params;

@if(from_truth) fn element(i: u32) -> u32 {
    return select(0u, 1u, ((x[i / 4u] >> (8u * (i % 4u))) & 255u) != 0u);
}
@if(from_byte) @if(!is_signed) fn element(i: u32) -> i32 {
    return i32((x[i / 4u] >> (8u * (i % 4u))) & 255u);
}
@if(from_byte) @if(is_signed) fn element(i: u32) -> i32 {
    return i32(x[i / 4u] << (24u - 8u * (i % 4u))) >> 24u;
}
@if(!from_truth) @if(!from_byte) fn element(i: u32) -> From {
    return x[i];
}

@if(!to_truth) @if(from_wide) fn converted(x: vec2<u32>) -> To {
    @if(to_int) return bitcast<i32>(x.x);
    @if(to_float) {
        // What fits one word is rounded once.
        let fits = bitcast<i32>(x.y) == bitcast<i32>(x.x) >> 31u;
        return select(f32(bitcast<i32>(x.y)) * 4294967296.0 + f32(x.x), f32(bitcast<i32>(x.x)), fits);
    }
}
@if(to_wide) fn converted(x: From) -> vec2<u32> {
    @if(from_truth) return vec2<u32>(x, 0u);
    @if(from_int) return vec2<u32>(bitcast<u32>(x), bitcast<u32>(x >> 31u));
    @if(from_byte) return vec2<u32>(bitcast<u32>(x), bitcast<u32>(x >> 31u));
    @if(from_float) {
        let size = floor(abs(x));
        let high = floor(size / 4294967296.0);
        let low = u32(size - high * 4294967296.0);
        let words = vec2<u32>(low, u32(high));
        // Two's complement: all bits turned, plus one.
        let negative = vec2<u32>(~low + 1u, ~words.y + select(0u, 1u, low == 0u));
        return select(words, negative, x < 0.0);
    }
}
@if(!to_truth) @if(!from_wide) @if(!to_wide) fn converted(x: From) -> To {
    return To(x);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    @if(!to_truth) {
        if i < params.n {
            y[i] = converted(element(i));
        }
    }
    @if(to_truth) {
        if 4u * i < params.n {
            var word = 0u;
            for (var j = 0u; j < 4u; j++) {
                if 4u * i + j < params.n && any(vec2<bool>(element(4u * i + j) != From())) {
                    word |= 1u << (8u * j);
                }
            }
            y[i] = word;
        }
    }
}
