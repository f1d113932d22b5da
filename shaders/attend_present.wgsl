// Keys or values y[b, h, t, i] in one piece: so much of each item's past as counts, behind it what is new, then zeros.

struct Params {
    // Elements of y.
    n: u32,
    heads: u32,
    depth: u32,
    past_keys: u32,
    new_keys: u32,
    // Words of an element of `starts`; 0 where all of the past counts.
    start_words: u32,
    // How far apart are, in elements of what is new: batches, heads, rows.
    batch: u32,
    head: u32,
    row: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> past: array<f32>;
@group(0) @binding(2) var<storage, read> starts: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = (group.z * groups.x + group.x) * 64u + thread;
    if at >= params.n {
        return;
    }
    let i = at % params.depth;
    let row = at / params.depth;
    let t = row % (params.past_keys + params.new_keys);
    let pair = row / (params.past_keys + params.new_keys);
    let item = pair / params.heads;
    let given = u32(clamp(starts[item * params.start_words], 0, i32(params.past_keys)));
    let start = select(given, params.past_keys, params.start_words == 0u);
    if t < start {
        y[at] = past[(pair * params.past_keys + t) * params.depth + i];
    } else if t < start + params.new_keys {
        y[at] = x[item * params.batch + pair % params.heads * params.head + (t - start) * params.row + i];
    } else {
        y[at] = 0.0;
    }
}
