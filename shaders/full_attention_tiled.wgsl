// softmax(q · kᵀ · scale + mask) · v of heads of up to 64 elements, or (short) 32: a workgroup for 64 queries of a head, of
// which each thread has one, with its sums, in registers. 16 keys and values at a time are in shared memory; the softmax is
// accumulated as they come. A query that sees no key gives zeros.

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

@if(!short) const DEPTH: u32 = 16u;
@if(short) const DEPTH: u32 = 8u;
const QUERIES: u32 = 64u;
const KEYS: u32 = 16u;
const LOWEST: f32 = -3.4028234e38;

// Four elements of a head each, zeros behind its end.
var<workgroup> tile_k: array<vec4<f32>, KEYS * DEPTH>;
var<workgroup> tile_v: array<vec4<f32>, KEYS * DEPTH>;

fn four_of_q(start: u32, c: u32) -> vec4<f32> {
    var four = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    for (var i = 0u; i < 4u; i++) {
        if 4u * c + i < params.depth {
            four[i] = q[start + 4u * c + i];
        }
    }
    return four;
}

fn four_of_k(start: u32, c: u32) -> vec4<f32> {
    var four = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    for (var i = 0u; i < 4u; i++) {
        if 4u * c + i < params.depth {
            four[i] = k[start + 4u * c + i];
        }
    }
    return four;
}

fn four_of_v(start: u32, c: u32) -> vec4<f32> {
    var four = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    for (var i = 0u; i < 4u; i++) {
        if 4u * c + i < params.value_depth {
            four[i] = v[start + 4u * c + i];
        }
    }
    return four;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = group.x * QUERIES + thread;
    let own_row = min(row, params.queries - 1u);
    let past = i32(params.keys - params.new_keys);
    let first = select(clamp(starts[group.z * params.start_words], 0, past), past, params.start_words == 0u);
    // What the query sees lies from `low` up to `end`.
    let own = first + i32(row);
    let behind = first + i32(params.new_keys);
    let low = u32(max(own - params.before, 0));
    let end = u32(min(own + params.after + 1, behind));
    let head = group.y;
    let k_start = group.z * params.k_batch + head / params.share * params.k_head;
    let v_start = group.z * params.v_batch + head / params.share * params.v_head;
    let mask_start = group.z * params.mask_batch + head * params.mask_head + own_row * params.mask_row;
    var query: array<vec4<f32>, DEPTH>;
    var sums: array<vec4<f32>, DEPTH>;
    for (var c = 0u; c < DEPTH; c++) {
        query[c] = four_of_q(group.z * params.q_batch + head * params.q_head + own_row * params.q_row, c) * params.scale;
    }
    // The score of a sink is there from the beginning, and has no value.
    var largest = LOWEST;
    var total = 0.0;
    if params.sinks != 0u {
        largest = max(sinks[head], 0.5 * LOWEST);
        total = 1.0;
    }
    // What any of these queries sees.
    let of_all = first + i32(group.x * QUERIES);
    let lowest = u32(max(of_all - params.before, 0));
    let last = u32(min(of_all + i32(QUERIES) + params.after, behind));
    for (var begin = lowest / KEYS * KEYS; begin < last; begin += KEYS) {
        for (var i = thread; i < KEYS * DEPTH; i += QUERIES) {
            let key = min(begin + i / DEPTH, params.keys - 1u);
            tile_k[i] = four_of_k(k_start + key * params.k_row, i % DEPTH);
            tile_v[i] = four_of_v(v_start + key * params.v_row, i % DEPTH);
        }
        workgroupBarrier();
        var scores: array<f32, KEYS>;
        var top = largest;
        for (var j = 0u; j < KEYS; j++) {
            let key = begin + j;
            var score = 0.0;
            for (var c = 0u; c < DEPTH; c++) {
                score += dot(query[c], tile_k[j * DEPTH + c]);
            }
            if params.softcap > 0.0 {
                score = params.softcap * tangens_hyperbolicus(score / params.softcap);
            }
            var seen = key >= low && key < min(end, params.mask_keys);
            let at = mask_start + min(key, params.mask_keys - 1u) * params.mask_key;
            if params.mask == 1u {
                score += bitcast<f32>(mask[at]);
                // An infinite mask hides a key.
                seen = seen && score >= LOWEST;
            }
            if params.mask == 2u {
                seen = seen && ((mask[at / 4u] >> (8u * (at % 4u))) & 255u) != 0u;
            }
            // What is not seen is less than all that is.
            scores[j] = select(LOWEST, max(score, 0.5 * LOWEST), seen);
            top = max(top, scores[j]);
        }
        let factor = exp(largest - top);
        total *= factor;
        for (var c = 0u; c < DEPTH; c++) {
            sums[c] *= factor;
        }
        for (var j = 0u; j < KEYS; j++) {
            let weight = select(0.0, exp(scores[j] - top), scores[j] > LOWEST);
            total += weight;
            for (var c = 0u; c < DEPTH; c++) {
                sums[c] += weight * tile_v[j * DEPTH + c];
            }
        }
        largest = top;
        workgroupBarrier();
    }
    if row < params.queries {
        let y_start = group.z * params.y_batch + head * params.y_head + row * params.y_row;
        for (var c = 0u; c < DEPTH; c++) {
            let four = select(vec4<f32>(0.0, 0.0, 0.0, 0.0), sums[c] / total, total > 0.0);
            for (var i = 0u; i < 4u; i++) {
                if 4u * c + i < params.value_depth {
                    y[y_start + 4u * c + i] = four[i];
                }
            }
        }
    }
}
