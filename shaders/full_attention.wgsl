// softmax(q · kᵀ · scale + mask) · v, one workgroup for each query of each head: 64 keys at a time, the softmax
// accumulated as they come. A query that sees no key gives zeros.

import package::shared::reduce::{workgroup_sum, workgroup_max};
import package::shared::functions::tangens_hyperbolicus;

struct Params {
    heads: u32,
    // Heads of queries that share one of keys.
    share: u32,
    queries: u32,
    keys: u32,
    depth: u32,
    value_depth: u32,
    // Keys before these are a past, behind which the first query has its place.
    new_keys: u32,
    // Words of an element of `starts`; 0 where all of the past counts.
    start_words: u32,
    // How many keys before and after its own a query sees.
    before: i32,
    after: i32,
    scale: f32,
    // Where scores level off; 0 for nowhere.
    softcap: f32,
    // Whether each head has one more score, of a key without a value.
    sinks: u32,
    // 0: none; 1: added; 2: bytes that say which keys are seen.
    mask: u32,
    // Keys from here on are hidden by a mask.
    mask_keys: u32,
    // How far apart are, in elements: batches, heads, rows.
    q_batch: u32,
    q_head: u32,
    q_row: u32,
    k_batch: u32,
    k_head: u32,
    k_row: u32,
    v_batch: u32,
    v_head: u32,
    v_row: u32,
    y_batch: u32,
    y_head: u32,
    y_row: u32,
    mask_batch: u32,
    mask_head: u32,
    mask_row: u32,
    mask_key: u32,
}

@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> mask: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
// How much of the past of each item counts.
@group(0) @binding(5) var<storage, read> starts: array<i32>;
@group(0) @binding(6) var<storage, read> sinks: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

const MAX_DEPTH: u32 = 256u;
const LOWEST: f32 = -3.4028234e38;

var<workgroup> query: array<f32, MAX_DEPTH>;
var<workgroup> weights: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = group.x;
    let past = i32(params.keys - params.new_keys);
    let first = select(clamp(starts[group.z * params.start_words], 0, past), past, params.start_words == 0u);
    // What the query sees lies from `low` up to `end`.
    let own = first + i32(row);
    let low = u32(max(own - params.before, 0));
    let end = u32(min(own + params.after + 1, first + i32(params.new_keys)));
    let head = group.y;
    let shared_head = head / params.share;
    let q_start = group.z * params.q_batch + head * params.q_head + row * params.q_row;
    let k_start = group.z * params.k_batch + shared_head * params.k_head;
    let v_start = group.z * params.v_batch + shared_head * params.v_head;
    let mask_start = group.z * params.mask_batch + head * params.mask_head + row * params.mask_row;
    for (var i = thread; i < min(params.depth, MAX_DEPTH); i += 64u) {
        query[i] = q[q_start + i] * params.scale;
    }
    workgroupBarrier();
    // The score of a sink is there from the beginning, and has no value.
    var largest = LOWEST;
    var total = 0.0;
    if params.sinks != 0u {
        largest = max(sinks[head], LOWEST);
        total = 1.0;
    }
    var sums = array<f32, 4>(0.0, 0.0, 0.0, 0.0);
    for (var begin = low / 64u * 64u; begin < end; begin += 64u) {
        let key = begin + thread;
        var seen = key >= low && key < end;
        var score = LOWEST;
        if seen {
            score = 0.0;
            for (var i = 0u; i < min(params.depth, MAX_DEPTH); i++) {
                score += query[i] * k[k_start + key * params.k_row + i];
            }
            if params.softcap > 0.0 {
                score = params.softcap * tangens_hyperbolicus(score / params.softcap);
            }
            let at = mask_start + min(key, params.mask_keys - 1u) * params.mask_key;
            if params.mask == 1u {
                score += bitcast<f32>(mask[at]);
                // An infinite mask hides a key.
                seen = score >= LOWEST;
            }
            if params.mask == 2u {
                seen = ((mask[at / 4u] >> (8u * (at % 4u))) & 255u) != 0u;
            }
            seen = seen && key < params.mask_keys;
        }
        let top = max(largest, workgroup_max(thread, select(LOWEST, score, seen)));
        let factor = exp(largest - top);
        let weight = select(0.0, exp(score - top), seen);
        weights[thread] = weight;
        total = total * factor + workgroup_sum(thread, weight);
        largest = top;
        let here = min(64u, end - begin);
        for (var c = 0u; c < 4u; c++) {
            let i = 64u * c + thread;
            if i < params.value_depth {
                var sum = sums[c] * factor;
                for (var j = 0u; j < here; j++) {
                    sum += weights[j] * v[v_start + (begin + j) * params.v_row + i];
                }
                sums[c] = sum;
            }
        }
        workgroupBarrier();
    }
    let y_start = group.z * params.y_batch + head * params.y_head + row * params.y_row;
    for (var c = 0u; c < 4u; c++) {
        let i = 64u * c + thread;
        if i < params.value_depth {
            y[y_start + i] = select(0.0, sums[c] / total, total > 0.0);
        }
    }
}
