// y = f(a, b), element by element, broadcasting: of floats, of integers (int), of truths (bools); what compares gives
// truths. A truth is a byte, and a thread makes the four of a word.

import package::shared::walk::entry;

struct Params {
    n: u32,
    rank: u32,
    // Which function, in the order of BinaryFunction in ops/binary.rs.
    function: u32,
    unused: u32,
    // Of y, and how far apart neighbours are in a and b.
    sizes: vec4u,
    more_sizes: vec4u,
    a_strides: vec4u,
    more_a_strides: vec4u,
    b_strides: vec4u,
    more_b_strides: vec4u,
}

@if(!int) @if(!bools) alias Element = f32;
@if(int) alias Element = i32;
@if(bools) alias Element = u32;

@group(0) @binding(0) var<storage, read> a: array<Element>;
@group(0) @binding(1) var<storage, read> b: array<Element>;
@if(!compare) @group(0) @binding(2) var<storage, read_write> y: array<Element>;
@if(compare) @group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

// Where element i of y comes from.
fn places(i: u32) -> vec2<u32> {
    var rest = i;
    var at = vec2<u32>(0u, 0u);
    for (var d = 0u; d < params.rank; d++) {
        let size = entry(d, params.sizes, params.more_sizes);
        let digit = rest % size;
        rest /= size;
        at += digit * vec2<u32>(entry(d, params.a_strides, params.more_a_strides), entry(d, params.b_strides, params.more_b_strides));
    }
    return at;
}

@if(!compare) @if(!int) fn power(a: f32, b: f32) -> f32 {
    if b == 2.0 {
        return a * a;
    }
    if b == 0.0 {
        return 1.0;
    }
    if a == 0.0 {
        return select(1.0 / a, 0.0, b > 0.0);
    }
    let size = pow(abs(a), b);
    if a > 0.0 {
        return size;
    }
    if floor(b) != b {
        // No number: what 0 / 0 is.
        return (a - a) / (a - a);
    }
    return select(size, -size, floor(0.5 * b) != 0.5 * b);
}

@if(!compare) fn apply(a: Element, b: Element) -> Element {
    switch params.function {
        case 0u: { return a + b; }
        @if(!int) case 1u: { return a / b; }
        case 2u: { return a * b; }
        case 3u: { return a - b; }
        case 14u: { return select(b, a, a > b || a != a); }
        case 15u: { return select(b, a, a < b || a != a); }
        @if(!int) case 18u: { return power(a, b); }
        case 19u: { return select(a, a * b, a < Element(0)); }
        @if(int) case 5u: { return a & b; }
        @if(int) case 6u: { return a | b; }
        @if(int) case 7u: { return a ^ b; }
        default: { return a; }
    }
}

@if(compare) @if(!bools) fn holds(a: Element, b: Element) -> bool {
    switch params.function {
        case 8u: { return a == b; }
        case 10u: { return a > b; }
        case 11u: { return a >= b; }
        case 12u: { return a < b; }
        case 13u: { return a <= b; }
        default: { return false; }
    }
}

@if(compare) @if(!bools) fn truth(at: vec2<u32>) -> bool {
    return holds(a[at.x], b[at.y]);
}

@if(bools) fn truth(at: vec2<u32>) -> bool {
    let first = ((a[at.x / 4u] >> (8u * (at.x % 4u))) & 255u) != 0u;
    let second = ((b[at.y / 4u] >> (8u * (at.y % 4u))) & 255u) != 0u;
    switch params.function {
        case 4u: { return first && second; }
        case 17u: { return first || second; }
        case 22u: { return first != second; }
        default: { return first == second; }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    @if(!compare) {
        if i < params.n {
            let at = places(i);
            y[i] = apply(a[at.x], b[at.y]);
        }
    }
    @if(compare) {
        if 4u * i < params.n {
            var word = 0u;
            for (var j = 0u; j < 4u; j++) {
                if 4u * i + j < params.n && truth(places(4u * i + j)) {
                    word |= 1u << (8u * j);
                }
            }
            y[i] = word;
        }
    }
}
