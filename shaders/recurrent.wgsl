// The steps of a recurrent layer, one workgroup for each item of the batch and direction: the state is in shared memory,
// and a thread makes all gates of every 256th of its elements. What the inputs give to the gates is there already.

import package::shared::functions::apply;

struct Params {
    seq: u32,
    batch: u32,
    hidden: u32,
    dirs: u32,
    // 0: RNN. 1: GRU; 2: GRU whose reset gate multiplies a product. 3: LSTM; 4: LSTM that forgets what it does not take in.
    cell: u32,
    gates: u32,
    batch_first: u32,
    // Whether the first direction reads backwards; a second always does.
    reverse: u32,
    has_bias: u32,
    has_h: u32,
    has_c: u32,
    has_peepholes: u32,
    // To what gates are bounded before their functions.
    clip: f32,
}

// [dirs, rows, gates · hidden], and the state's weights turned: [dirs, hidden, gates · hidden].
@group(0) @binding(0) var<storage, read> given: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
// [dirs, 2 · gates · hidden].
@group(0) @binding(2) var<storage, read> bias: array<f32>;
// All h, then all c.
@group(0) @binding(3) var<storage, read> initial: array<f32>;
// Six functions, three a direction, with their attributes; then the length of each item of the batch.
@group(0) @binding(4) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> peepholes: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> states: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

const THREADS: u32 = 256u;
const MAX_HIDDEN: u32 = 1024u;

var<workgroup> h: array<f32, MAX_HIDDEN>;
var<workgroup> c: array<f32, MAX_HIDDEN>;
// The state of the next step, or the state that a reset gate has been applied to.
var<workgroup> other: array<f32, MAX_HIDDEN>;

fn gate(dir: u32, index: u32, x: f32) -> f32 {
    let entry = table[dir * 3u + index];
    return apply(entry.x, bitcast<f32>(entry.y), bitcast<f32>(entry.z), clamp(x, -params.clip, params.clip));
}

// The products of the state with the weights of all gates of element j.
fn from_state(dir: u32, j: u32) -> vec4<f32> {
    let n = params.gates * params.hidden;
    var sums = vec4<f32>(0.0, 0.0, 0.0, 0.0);
    for (var k = 0u; k < params.hidden; k++) {
        let at = (dir * params.hidden + k) * n + j;
        sums.x += h[k] * weights[at];
        if params.gates > 1u {
            sums.y += h[k] * weights[at + params.hidden];
            sums.z += h[k] * weights[at + 2u * params.hidden];
        }
        if params.gates > 3u {
            sums.w += h[k] * weights[at + 3u * params.hidden];
        }
    }
    return sums;
}

// The same of the third gate and the state that has been reset.
fn from_reset(dir: u32, j: u32) -> f32 {
    let n = 3u * params.hidden;
    var sum = 0.0;
    for (var k = 0u; k < params.hidden; k++) {
        sum += other[k] * weights[(dir * params.hidden + k) * n + 2u * params.hidden + j];
    }
    return sum;
}

// The bias of a gate: that of the inputs, or (late) that of the state.
fn bias_of(dir: u32, number: u32, j: u32, late: bool) -> f32 {
    if params.has_bias == 0u {
        return 0.0;
    }
    return bias[(dir * 2u * params.gates + select(number, params.gates + number, late)) * params.hidden + j];
}

fn peep(dir: u32, number: u32, j: u32, cell: f32) -> f32 {
    if params.has_peepholes == 0u {
        return 0.0;
    }
    return peepholes[(dir * 3u + number) * params.hidden + j] * cell;
}

// What the inputs and both biases give to a gate.
fn from_input(dir: u32, row: u32, number: u32, j: u32) -> f32 {
    return given[row + number * params.hidden + j] + bias_of(dir, number, j, false) + bias_of(dir, number, j, true);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let b = group.x;
    let dir = group.y;
    let hidden = min(params.hidden, MAX_HIDDEN);
    let length = min(table[6u + b].x, params.seq);
    let backwards = dir == 1u || params.reverse != 0u;
    let state = select(dir * params.batch + b, b * params.dirs + dir, params.batch_first != 0u) * hidden;
    let all = params.dirs * params.batch * hidden;
    for (var j = thread; j < hidden; j += THREADS) {
        h[j] = 0.0;
        c[j] = 0.0;
        if params.has_h != 0u {
            h[j] = initial[state + j];
        }
        if params.has_c != 0u {
            c[j] = initial[all + state + j];
        }
    }
    workgroupBarrier();
    for (var step = 0u; step < params.seq; step++) {
        let runs = step < length;
        let t = select(step, length - 1u - step, backwards && runs);
        let x_row = select(t * params.batch + b, b * params.seq + t, params.batch_first != 0u);
        let row = (dir * params.seq * params.batch + x_row) * params.gates * hidden;
        let y_row = select((t * params.dirs + dir) * params.batch + b, (b * params.seq + t) * params.dirs + dir, params.batch_first != 0u) * hidden;
        var update: array<f32, 4>;
        for (var slot = 0u; slot < 4u; slot++) {
            let j = slot * THREADS + thread;
            if runs && j < hidden {
                let sums = from_state(dir, j);
                let first = from_input(dir, row, 0u, j) + sums.x;
                if params.cell == 0u {
                    other[j] = gate(dir, 0u, first);
                } else if params.cell < 3u {
                    let z = gate(dir, 0u, first);
                    let reset = gate(dir, 0u, from_input(dir, row, 1u, j) + sums.y);
                    update[slot] = z;
                    if params.cell == 2u {
                        let late = reset * (sums.z + bias_of(dir, 2u, j, true));
                        let fresh = gate(dir, 1u, given[row + 2u * hidden + j] + bias_of(dir, 2u, j, false) + late);
                        other[j] = (1.0 - z) * fresh + z * h[j];
                    } else {
                        other[j] = reset * h[j];
                    }
                } else {
                    let taken = gate(dir, 0u, first + peep(dir, 0u, j, c[j]));
                    var stays = 1.0 - taken;
                    if params.cell == 3u {
                        stays = gate(dir, 0u, from_input(dir, row, 2u, j) + sums.z + peep(dir, 2u, j, c[j]));
                    }
                    let fresh = gate(dir, 1u, from_input(dir, row, 3u, j) + sums.w);
                    let cell = stays * c[j] + taken * fresh;
                    c[j] = cell;
                    let shown = gate(dir, 0u, from_input(dir, row, 1u, j) + sums.y + peep(dir, 1u, j, cell));
                    other[j] = shown * gate(dir, 2u, cell);
                }
            }
        }
        workgroupBarrier();
        for (var slot = 0u; slot < 4u; slot++) {
            let j = slot * THREADS + thread;
            if j < hidden {
                var value = 0.0;
                if runs {
                    value = other[j];
                    if params.cell == 1u {
                        let fresh = gate(dir, 1u, from_input(dir, row, 2u, j) + from_reset(dir, j));
                        value = (1.0 - update[slot]) * fresh + update[slot] * h[j];
                    }
                    h[j] = value;
                }
                y[y_row + j] = value;
            }
        }
        workgroupBarrier();
    }
    for (var j = thread; j < hidden; j += THREADS) {
        states[state + j] = h[j];
        states[all + state + j] = c[j];
    }
}
