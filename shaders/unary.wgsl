// y = f(x), element by element.

struct Params {
    n: u32,
    // Which function, in the order of UnaryFunction in ops/unary.rs.
    function: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

fn apply(x: f32) -> f32 {
    switch params.function {
        case 0u: { return exp(x); }
        case 1u: { return -x; }
        case 2u: { return 1.0 / x; }
        case 3u: { return 1.0 / (1.0 + exp(-x)); }
        case 4u: { return x / (1.0 + exp(-x)); }
        case 5u: { return sqrt(x); }
        default: { return tanh(clamp(x, -20.0, 20.0)); }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i < params.n {
        y[i] = apply(x[i]);
    }
}
