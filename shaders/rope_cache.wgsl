// Splits a row of fused [q | k | v], normalises q and k by head (norms), rotates their pairs by the position,
// writes q out and appends k and v to the caches. One workgroup per head and row.

import package::shared::head::rotate;
import package::shared::reduce::workgroup_sum;

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    // See `rotate`.
    pairing: u32,
    epsilon: f32,
    // Rows of the caches and of the table.
    context: u32,
}

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@if(norms) @group(0) @binding(3) var<storage, read> q_norm: array<f32>;
@if(norms) @group(0) @binding(4) var<storage, read> k_norm: array<f32>;
@group(0) @binding(5) var<storage, read_write> q: array<f32>;
@if(!half_cache) @group(0) @binding(6) var<storage, read_write> k_cache: array<f32>;
@if(!half_cache) @group(0) @binding(7) var<storage, read_write> v_cache: array<f32>;
@if(half_cache) @group(0) @binding(6) var<storage, read_write> k_cache: array<u32>;
@if(half_cache) @group(0) @binding(7) var<storage, read_write> v_cache: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let d = params.head_dim;
    let n_all = params.n_heads + 2u * params.n_kv_heads;
    let start = (group.y * n_all + group.x) * d;
    let is_q = group.x < params.n_heads;
    let is_v = group.x >= params.n_heads + params.n_kv_heads;
    let at = position_of(group.y);

    var squares = 0.0;
    for (var i = thread; i < d; i += 64u) {
        head[i] = qkv[start + i];
        squares += head[i] * head[i];
    }
    let total = workgroup_sum(thread, squares);
    @if(norms) {
        if !is_v {
            let scale = inverseSqrt(total / f32(d) + params.epsilon);
            for (var i = thread; i < d; i += 64u) {
                head[i] *= scale * select(k_norm[i], q_norm[i], is_q);
            }
        }
        workgroupBarrier();
    }
    rotate(thread, d, select(params.pairing, 2u, is_v), at);
    workgroupBarrier();
    if is_q {
        for (var i = thread; i < d; i += 64u) {
            q[(group.y * params.n_heads + group.x) * d + i] = head[i];
        }
        return;
    }
    if at >= params.context {
        return;
    }
    let kv_head = (group.x - params.n_heads) % params.n_kv_heads;
    let to = (at * params.n_kv_heads + kv_head) * d;
    @if(!half_cache) {
        for (var i = thread; i < d; i += 64u) {
            if is_v {
                v_cache[to + i] = head[i];
            } else {
                k_cache[to + i] = head[i];
            }
        }
    }
    @if(half_cache) {
        for (var i = thread; i < d / 2u; i += 64u) {
            let pair = pack2x16float(vec2<f32>(head[2u * i], head[2u * i + 1u]));
            if is_v {
                v_cache[to / 2u + i] = pair;
            } else {
                k_cache[to / 2u + i] = pair;
            }
        }
    }
}
