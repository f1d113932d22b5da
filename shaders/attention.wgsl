// Causal attention over the cache, one workgroup per query head and row: 64 keys at a time, one per
// invocation, with the softmax accumulated online so that no score is stored beyond its tile.

import package::shared::reduce::{workgroup_sum, workgroup_max};

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    context: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@if(!half_cache) @group(0) @binding(1) var<storage, read> k_cache: array<f32>;
@if(!half_cache) @group(0) @binding(2) var<storage, read> v_cache: array<f32>;
@if(half_cache) @group(0) @binding(1) var<storage, read> k_cache: array<u32>;
@if(half_cache) @group(0) @binding(2) var<storage, read> v_cache: array<u32>;
@group(0) @binding(3) var<storage, read> position: array<i32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

const TILE: u32 = 64u;
const MAX_HEAD_DIM: u32 = 256u;
const MAX_OWNED: u32 = MAX_HEAD_DIM / TILE;
const LOWEST: f32 = -3.4028234e38;

var<workgroup> query: array<f32, MAX_HEAD_DIM>;
var<workgroup> weights: array<f32, TILE>;

fn key_pair(at: u32) -> vec2<f32> {
    @if(half_cache) return unpack2x16float(k_cache[at / 2u]);
    @if(!half_cache) return vec2<f32>(k_cache[at], k_cache[at + 1u]);
}

fn value(at: u32) -> f32 {
    @if(half_cache) return unpack2x16float(v_cache[at / 2u])[at % 2u];
    @if(!half_cache) return v_cache[at];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let d = params.head_dim;
    let kv_head = group.x / (params.n_heads / params.n_kv_heads);
    let row = (group.y * params.n_heads + group.x) * d;
    let kv_len = min(u32(max(position[0], 0)) + group.y + 1u, params.context);
    for (var i = thread; i < d; i += TILE) {
        query[i] = q[row + i] * params.scale;
    }
    workgroupBarrier();

    var owned: array<f32, MAX_OWNED>;
    var largest = LOWEST;
    var total = 0.0;
    for (var first = 0u; first < kv_len; first += TILE) {
        let key = first + thread;
        var score = LOWEST;
        if key < kv_len {
            let start = (key * params.n_kv_heads + kv_head) * d;
            score = 0.0;
            for (var i = 0u; i < d; i += 2u) {
                score += dot(vec2<f32>(query[i], query[i + 1u]), key_pair(start + i));
            }
        }
        let now_largest = max(largest, workgroup_max(thread, score));
        let weight = select(0.0, exp(score - now_largest), key < kv_len);
        let correction = exp(largest - now_largest);
        largest = now_largest;
        weights[thread] = weight;
        total = total * correction + workgroup_sum(thread, weight);
        let n_keys = min(TILE, kv_len - first);
        for (var j = 0u; j < MAX_OWNED; j++) {
            let i = thread + j * TILE;
            if i < d {
                var sum = owned[j] * correction;
                for (var key = 0u; key < n_keys; key++) {
                    sum += weights[key] * value(((first + key) * params.n_kv_heads + kv_head) * d + i);
                }
                owned[j] = sum;
            }
        }
        workgroupBarrier();
    }
    for (var j = 0u; j < MAX_OWNED; j++) {
        let i = thread + j * TILE;
        if i < d {
            y[row + i] = owned[j] / total;
        }
    }
}
