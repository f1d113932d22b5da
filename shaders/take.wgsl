// y[o, j, i] = x[o, indices[j], i]: words of any type, indices of one word or (wide) two, the low one first. An index
// beyond the dimension takes its nearest end.

struct Params {
    n: u32,
    inner: u32,
    // How many indices, and how many elements the dimension has.
    count: u32,
    size: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i >= params.n {
        return;
    }
    let row = i / params.inner;
    let outer = row / params.count;
    @if(!wide) var index = indices[row % params.count];
    @if(wide) var index = indices[2u * (row % params.count)];
    if index < 0 {
        index += i32(params.size);
    }
    let at = u32(clamp(index, 0, i32(params.size) - 1));
    y[i] = x[(outer * params.size + at) * params.inner + i % params.inner];
}
