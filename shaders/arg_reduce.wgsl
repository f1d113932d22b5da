// Where along a dimension the largest or smallest element is, as integers of two words: a workgroup makes one, or (each) a
// thread does. What is no number is passed over.

struct Params {
    // Numbers to make, elements of each, and how far apart those are.
    n: u32,
    count: u32,
    inner: u32,
    // 1.0 where the largest is wanted, -1.0 where the smallest.
    sign: f32,
    // Whether the last of equals is wanted.
    last: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<vec2<u32>>;
@group(0) @binding(8) var<uniform> params: Params;

@if(!each) const THREADS: u32 = 64u;
@if(!each) var<workgroup> values: array<f32, THREADS>;
@if(!each) var<workgroup> places: array<u32, THREADS>;

const LOWEST: f32 = -3.4028234e38;

// Whether b at j goes before a at i.
fn goes_before(b: f32, j: u32, a: f32, i: u32) -> bool {
    return b > a || (b == a && ((j > i) == (params.last != 0u)));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let item = group.z * groups.x + group.x;
    @if(each) let i = min(item * 64u + thread, params.n - 1u);
    @if(each) let first = 0u;
    @if(each) let step = 1u;
    @if(!each) let i = min(item, params.n - 1u);
    @if(!each) let first = thread;
    @if(!each) let step = THREADS;
    let start = i / params.inner * params.count * params.inner + i % params.inner;
    // Minus infinity goes before what is not there, and the first element before all that is no number.
    var best = LOWEST;
    var place = 0xffffffffu;
    for (var j = first; j < params.count; j += step) {
        let value = params.sign * x[start + j * params.inner];
        if (place == 0xffffffffu && value == value) || goes_before(value, j, best, place) {
            best = value;
            place = j;
        }
    }
    @if(each) {
        if item * 64u + thread < params.n {
            y[i] = vec2<u32>(select(place, 0u, place == 0xffffffffu), 0u);
        }
    }
    @if(!each) {
        values[thread] = best;
        places[thread] = place;
        workgroupBarrier();
        for (var half = THREADS / 2u; half > 0u; half >>= 1u) {
            if thread < half && places[thread + half] != 0xffffffffu {
                let other = values[thread + half];
                if places[thread] == 0xffffffffu || goes_before(other, places[thread + half], values[thread], places[thread]) {
                    values[thread] = other;
                    places[thread] = places[thread + half];
                }
            }
            workgroupBarrier();
        }
        if thread == 0u {
            y[i] = vec2<u32>(select(places[0], 0u, places[0] == 0xffffffffu), 0u);
        }
    }
}
