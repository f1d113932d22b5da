// y = f(a, b), element by element; b has the size of a, or is one row that every row of a meets, or has one value
// for each row of a.

struct Params {
    n: u32,
    n_b: u32,
    // Elements of a that meet the same one of b before the next.
    each: u32,
    // Which function, in the order of BinaryFunction in ops/binary.rs.
    function: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

fn apply(a: f32, b: f32) -> f32 {
    switch params.function {
        case 0u: { return a + b; }
        case 1u: { return a / b; }
        case 2u: { return a * b; }
        default: { return a - b; }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i < params.n {
        y[i] = apply(a[i], b[i / params.each % params.n_b]);
    }
}
