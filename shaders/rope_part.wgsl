// One of q, k and v by itself, for models whose three products are not fused: normalises each head (norms),
// rotates its pairs by the position, and writes it out or appends it to a cache (cache; half is an f16 one).
// One workgroup per head and row.

import package::shared::head::rotate;
import package::shared::reduce::workgroup_sum;

struct Params {
    n_heads: u32,
    head_dim: u32,
    // See `rotate`.
    pairing: u32,
    epsilon: f32,
    // Rows of the cache and of the table.
    context: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@if(norms) @group(0) @binding(3) var<storage, read> norm: array<f32>;
@if(!half) @group(0) @binding(5) var<storage, read_write> y: array<f32>;
@if(half) @group(0) @binding(5) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let d = params.head_dim;
    let start = (group.y * params.n_heads + group.x) * d;
    let at = position_of(group.y);
    var squares = 0.0;
    for (var i = thread; i < d; i += 64u) {
        head[i] = x[start + i];
        squares += head[i] * head[i];
    }
    let total = workgroup_sum(thread, squares);
    @if(norms) {
        let scale = inverseSqrt(total / f32(d) + params.epsilon);
        for (var i = thread; i < d; i += 64u) {
            head[i] *= scale * norm[i];
        }
        workgroupBarrier();
    }
    rotate(thread, d, params.pairing, at);
    workgroupBarrier();
    var to = start;
    @if(cache) {
        if at >= params.context {
            return;
        }
        to = (at * params.n_heads + group.x) * d;
    }
    @if(!half) {
        for (var i = thread; i < d; i += 64u) {
            y[to + i] = head[i];
        }
    }
    @if(half) {
        for (var i = thread; i < d / 2u; i += 64u) {
            y[to / 2u + i] = pack2x16float(vec2<f32>(head[2u * i], head[2u * i + 1u]));
        }
    }
}
