// Elements of a large tensor by index: read, or (scatter) written over. An index is a row of numbers that name a slice, or
// (along) one number along a dimension whose other coordinates are the index's own. Elements are words of any type,
// indices of one word or (wide) two, the low one first; one beyond a dimension takes its nearest end.

import package::shared::walk::entry;

struct Params {
    // Words of the small tensor.
    n: u32,
    // Numbers in a row, or dimensions.
    rank: u32,
    // Words of a slice, or of an element.
    inner: u32,
    // Rows of indices that share a batch, and words of a batch of the large tensor.
    rows: u32,
    batch: u32,
    // Which dimension is meant, the innermost being 0.
    axis: u32,
    unused0: u32,
    unused1: u32,
    // The innermost first: of the large tensor, where slices are named; along a dimension, of the indices.
    sizes: vec4u,
    more_sizes: vec4u,
    // Of the large tensor, in words.
    strides: vec4u,
    more_strides: vec4u,
    // How many elements the dimension has.
    size: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

fn wrapped(i: u32, size: u32) -> u32 {
    @if(!wide) var index = indices[i];
    @if(wide) var index = indices[2u * i];
    if index < 0 {
        index += i32(size);
    }
    return u32(clamp(index, 0, i32(size) - 1));
}

// The word of the large tensor that word i of the small one goes with.
@if(!along) fn place(i: u32) -> u32 {
    let row = i / params.inner;
    var at = row / params.rows * params.batch + i % params.inner;
    for (var d = 0u; d < params.rank; d++) {
        let index = wrapped(row * params.rank + params.rank - 1u - d, entry(d, params.sizes, params.more_sizes));
        at += index * entry(d, params.strides, params.more_strides);
    }
    return at;
}
@if(along) fn place(i: u32) -> u32 {
    var rest = i / params.inner;
    var at = i % params.inner;
    let index = wrapped(rest, params.size);
    for (var d = 0u; d < params.rank; d++) {
        let size = entry(d, params.sizes, params.more_sizes);
        at += select(rest % size, index, d == params.axis) * entry(d, params.strides, params.more_strides);
        rest /= size;
    }
    return at;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i >= params.n {
        return;
    }
    @if(!scatter) y[i] = x[place(i)];
    @if(scatter) y[place(i)] = x[i];
}
