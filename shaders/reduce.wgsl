// One number of the elements along some dimensions: a workgroup makes one, or (each) a thread does. Of products only
// the latter.

@if(!each) import package::shared::reduce::{workgroup_sum, workgroup_max};

struct Params {
    // Numbers to make, and elements of each.
    n: u32,
    count: u32,
    // In the order of ReduceFunction in ops/reduce.rs.
    function: u32,
    unused: u32,
    // Up to four dimensions that stay and four that go, the innermost first, and how far apart neighbours are in x.
    kept_sizes: vec4u,
    kept_strides: vec4u,
    gone_sizes: vec4u,
    gone_strides: vec4u,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

fn place(i: u32, sizes: vec4<u32>, strides: vec4<u32>) -> u32 {
    var rest = i;
    var at = 0u;
    for (var d = 0u; d < 4u; d++) {
        at += rest % sizes[d] * strides[d];
        rest /= sizes[d];
    }
    return at;
}

// What an element adds to the sum.
fn term(x: f32, largest: f32) -> f32 {
    switch params.function {
        case 2u: { return abs(x); }
        case 3u, 9u: { return x * x; }
        case 5u: { return exp(x - largest); }
        default: { return x; }
    }
}

fn result(sum: f32, largest: f32) -> f32 {
    switch params.function {
        case 0u: { return sum / f32(params.count); }
        case 3u: { return sqrt(sum); }
        case 4u: { return log(sum); }
        case 5u: { return largest + log(sum); }
        case 6u: { return largest; }
        case 7u: { return -largest; }
        default: { return sum; }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let item = group.z * groups.x + group.x;
    @if(each) let i = min(item * 64u + thread, params.n - 1u);
    @if(each) let first = 0u;
    @if(each) let step = 1u;
    @if(!each) let i = min(item, params.n - 1u);
    @if(!each) let first = thread;
    @if(!each) let step = 64u;
    let start = place(i, params.kept_sizes, params.kept_strides);
    let sign = select(1.0, -1.0, params.function == 7u);
    var largest = sign * x[start];
    if params.function >= 5u && params.function <= 7u {
        for (var j = first; j < params.count; j += step) {
            largest = max(largest, sign * x[start + place(j, params.gone_sizes, params.gone_strides)]);
        }
    }
    @if(!each) largest = workgroup_max(thread, largest);
    var sum = 0.0;
    if params.function != 6u && params.function != 7u {
        for (var j = first; j < params.count; j += step) {
            sum += term(x[start + place(j, params.gone_sizes, params.gone_strides)], largest);
        }
    }
    @if(each) {
        if params.function == 8u {
            sum = 1.0;
            for (var j = 0u; j < params.count; j++) {
                sum *= x[start + place(j, params.gone_sizes, params.gone_strides)];
            }
        }
    }
    @if(!each) sum = workgroup_sum(thread, sum);
    @if(each) {
        if item * 64u + thread < params.n {
            y[i] = result(sum, largest);
        }
    }
    @if(!each) {
        if thread == 0u {
            y[i] = result(sum, largest);
        }
    }
}
