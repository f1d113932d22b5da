// The scale and the zero of levels 0 to 255 such that all numbers, and zero, are among them: one workgroup looks at all.

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> scale: array<f32>;
@group(0) @binding(2) var<storage, read_write> zero: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

var<workgroup> ranges: array<vec2<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    var low = 0.0;
    var high = 0.0;
    for (var i = thread; i < params.n; i += 256u) {
        low = min(low, x[i]);
        high = max(high, x[i]);
    }
    ranges[thread] = vec2<f32>(low, high);
    workgroupBarrier();
    for (var half = 128u; half > 0u; half >>= 1u) {
        if thread < half {
            let other = ranges[thread + half];
            ranges[thread] = vec2<f32>(min(ranges[thread].x, other.x), max(ranges[thread].y, other.y));
        }
        workgroupBarrier();
    }
    if thread == 0u {
        let step = (ranges[0].y - ranges[0].x) / 255.0;
        scale[0] = step;
        zero[0] = u32(select(round(clamp(-ranges[0].x / step, 0.0, 255.0)), 0.0, step == 0.0));
    }
}
