// Sums or products of all elements before, along one dimension: a thread goes along a line, or (line) a workgroup does, 64
// elements at a time.

struct Params {
    // Lines, elements of each, and how far apart those are.
    n: u32,
    count: u32,
    inner: u32,
    product: u32,
    exclusive: u32,
    reverse: u32,
}

@if(!int) alias Element = f32;
@if(int) alias Element = i32;

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> y: array<Element>;
@group(0) @binding(8) var<uniform> params: Params;

@if(line) const THREADS: u32 = 64u;
@if(line) var<workgroup> joined: array<Element, THREADS>;

fn joins(a: Element, b: Element) -> Element {
    return select(a + b, a * b, params.product != 0u);
}

// Where step i of a line is.
fn place(start: u32, i: u32) -> u32 {
    return start + select(i, params.count - 1u - i, params.reverse != 0u) * params.inner;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let item = group.z * groups.x + group.x;
    var so_far = Element(params.product);
    @if(!line) {
        let i = item * 64u + thread;
        if i >= params.n {
            return;
        }
        let start = i / params.inner * params.count * params.inner + i % params.inner;
        for (var step = 0u; step < params.count; step++) {
            let at = place(start, step);
            let next = joins(so_far, x[at]);
            y[at] = select(next, so_far, params.exclusive != 0u);
            so_far = next;
        }
    }
    @if(line) {
        let i = min(item, params.n - 1u);
        let start = i / params.inner * params.count * params.inner + i % params.inner;
        for (var first = 0u; first < params.count; first += THREADS) {
            let step = first + thread;
            let is_there = step < params.count;
            let at = place(start, min(step, params.count - 1u));
            joined[thread] = select(Element(params.product), x[at], is_there);
            workgroupBarrier();
            // Each time twice as many before are joined.
            for (var reach = 1u; reach < THREADS; reach <<= 1u) {
                var value = joined[thread];
                if thread >= reach {
                    value = joins(joined[thread - reach], value);
                }
                workgroupBarrier();
                joined[thread] = value;
                workgroupBarrier();
            }
            var before = so_far;
            if thread > 0u {
                before = joins(so_far, joined[thread - 1u]);
            }
            if is_there {
                y[at] = select(joins(so_far, joined[thread]), before, params.exclusive != 0u);
            }
            so_far = joins(so_far, joined[THREADS - 1u]);
            workgroupBarrier();
        }
    }
}
