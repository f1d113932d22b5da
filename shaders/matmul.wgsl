// y[m, n] = x[m, k] · wᵀ (+ bias) (+ residual), or silu(gate) · up of the two halves of w's rows (swiglu).
// Weights are affine planes or f32 (dense). A workgroup of 64 makes 4 columns of y with 16 lanes along k each,
// for one row of x, or for four that share the decoded weights (rows4).

@if(levels4) import package::shared::levels::{low_nibbles, high_nibbles};
@if(levels8) import package::shared::levels::bytes;

struct Params {
    m: u32,
    // Columns of y.
    n: u32,
    k: u32,
    // 16-byte chunks in a row of weights, and values that share a scale.
    row_chunks: u32,
    group: u32,
    // Where there is no plane of mins, every min is -offset · scale.
    offset: f32,
    has_bias: u32,
    has_residual: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@if(dense) @group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@if(!dense) @group(0) @binding(1) var<storage, read> levels: array<vec4<u32>>;
@if(!dense) @group(0) @binding(2) var<storage, read> scales: array<f32>;
@if(mins) @group(0) @binding(3) var<storage, read> mins: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> residual: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

@if(rows4) const ROWS: u32 = 4u;
@if(!rows4) const ROWS: u32 = 1u;
const COLUMNS: u32 = 4u;
const LANES: u32 = 16u;

var<workgroup> partial: array<f32, 64>;

fn row_of_x(first: u32, i: u32) -> u32 {
    return min(first + i, params.m - 1u) * (params.k / 4u);
}

// One lane's share of the dot products of weight row `n` with ROWS rows of x.
fn lane_dot(n: u32, first: u32, lane: u32) -> array<f32, ROWS> {
    var sums: array<f32, ROWS>;
    for (var chunk = lane; chunk < params.row_chunks; chunk += LANES) {
        @if(dense) {
            let w = weight[n * params.row_chunks + chunk];
            for (var i = 0u; i < ROWS; i++) {
                sums[i] += dot(w, x[row_of_x(first, i) + chunk]);
            }
        }
        @if(levels4) {
            // Four words of eight values; a group of 16 or 32 covers two words or all four.
            let words = levels[n * params.row_chunks + chunk];
            for (var j = 0u; j < 4u; j++) {
                let k = chunk * 32u + j * 8u;
                if k < params.k {
                    let at = n * (params.k / params.group) + k / params.group;
                    let scale = scales[at];
                    @if(mins) let minimum = mins[at];
                    @if(!mins) let minimum = -params.offset * scale;
                    let low = low_nibbles(words[j]) * scale + minimum;
                    let high = high_nibbles(words[j]) * scale + minimum;
                    for (var i = 0u; i < ROWS; i++) {
                        let start = row_of_x(first, i) + k / 4u;
                        sums[i] += dot(low, x[start]) + dot(high, x[start + 1u]);
                    }
                }
            }
        }
        @if(levels8) {
            // Sixteen values: within one group always.
            let words = levels[n * params.row_chunks + chunk];
            let k = chunk * 16u;
            let at = n * (params.k / params.group) + k / params.group;
            let scale = scales[at];
            @if(mins) let minimum = mins[at];
            @if(!mins) let minimum = -params.offset * scale;
            for (var j = 0u; j < 4u; j++) {
                let w = bytes(words[j]) * scale + minimum;
                for (var i = 0u; i < ROWS; i++) {
                    sums[i] += dot(w, x[row_of_x(first, i) + k / 4u + j]);
                }
            }
        }
    }
    return sums;
}

// The sum over the lanes of this thread's column.
fn lanes_sum(thread: u32, value: f32) -> f32 {
    partial[thread] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        if thread % LANES < half {
            partial[thread] += partial[thread + half];
        }
        workgroupBarrier();
    }
    let sum = partial[thread - thread % LANES];
    workgroupBarrier();
    return sum;
}

fn with_bias(sum: f32, n: u32) -> f32 {
    if params.has_bias != 0u {
        return sum + bias[n];
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    // The columns may need more than one dimension of groups.
    let n = (group.z * groups.x + group.x) * COLUMNS + thread / LANES;
    let column = min(n, params.n - 1u);
    let first = group.y * ROWS;
    var sums = lane_dot(column, first, thread % LANES);
    @if(swiglu) var ups = lane_dot(column + params.n, first, thread % LANES);
    for (var i = 0u; i < ROWS; i++) {
        @if(!swiglu) var value = with_bias(lanes_sum(thread, sums[i]), column);
        @if(swiglu) let gate = with_bias(lanes_sum(thread, sums[i]), column);
        @if(swiglu) var value = gate / (1.0 + exp(-gate)) * with_bias(lanes_sum(thread, ups[i]), column + params.n);
        if thread % LANES == 0u && n < params.n && first + i < params.m {
            let at = (first + i) * params.n + n;
            if params.has_residual != 0u {
                value += residual[at];
            }
            y[at] = value;
        }
    }
}
