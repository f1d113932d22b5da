// y [.., m, n] = a [.., m, k] · b [.., k, n] · scale (+ bias [n]) (+ residual), then a function; either may lie
// transposed in memory. Where b does (transposed), threads share it out by its columns. Batches broadcast over up to
// four dimensions.

import package::shared::tile::{add_step, tile_a, tile_b, sums};
import package::shared::functions::apply;

struct Params {
    m: u32,
    k: u32,
    n: u32,
    has_bias: u32,
    // The dimensions of the batch, the innermost first, and how far apart neighbours are in a and b.
    sizes: vec4u,
    a_strides: vec4u,
    b_strides: vec4u,
    has_residual: u32,
    function: u32,
    alpha: f32,
    beta: f32,
    // How far apart neighbours are in a row and in a column.
    a_row: u32,
    a_column: u32,
    b_row: u32,
    b_column: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

fn element_a(start: u32, m: u32, k: u32) -> f32 {
    if m < params.m && k < params.k {
        return a[start + m * params.a_row + k * params.a_column];
    }
    return 0.0;
}

fn element_b(start: u32, k: u32, n: u32) -> f32 {
    if k < params.k && n < params.n {
        return b[start + k * params.b_row + n * params.b_column];
    }
    return 0.0;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var rest = group.z;
    var start = vec2<u32>(0u, 0u);
    for (var d = 0u; d < 4u; d++) {
        start += rest % params.sizes[d] * vec2<u32>(params.a_strides[d], params.b_strides[d]);
        rest /= params.sizes[d];
    }
    let first_m = group.y * TILE_M;
    let first_n = group.x * TILE_N;
    for (var k = 0u; k < params.k; k += STEP) {
        for (var i = thread; i < STEP * ROWS; i += 256u) {
            let own_k = i % STEP;
            let m = first_m + 4u * (i / STEP);
            tile_a[own_k * ROWS + i / STEP] = vec4<f32>(
                element_a(start.x, m, k + own_k),
                element_a(start.x, m + 1u, k + own_k),
                element_a(start.x, m + 2u, k + own_k),
                element_a(start.x, m + 3u, k + own_k),
            );
        }
        for (var i = thread; i < STEP * COLUMNS; i += 256u) {
            // Neighbours in memory go to neighbouring threads.
            @if(!transposed) let own_k = i / COLUMNS;
            @if(!transposed) let column = i % COLUMNS;
            @if(transposed) let own_k = i % STEP;
            @if(transposed) let column = i / STEP;
            let n = first_n + 4u * column;
            tile_b[own_k * COLUMNS + column] = vec4<f32>(
                element_b(start.y, k + own_k, n),
                element_b(start.y, k + own_k, n + 1u),
                element_b(start.y, k + own_k, n + 2u),
                element_b(start.y, k + own_k, n + 3u),
            );
        }
        workgroupBarrier();
        add_step(thread);
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let m = first_m + 4u * (thread / COLUMNS) + i;
        for (var j = 0u; j < 4u; j++) {
            let n = first_n + 4u * (thread % COLUMNS) + j;
            if m < params.m && n < params.n {
                let at = (group.z * params.m + m) * params.n + n;
                var value = sums[i][j] * params.scale;
                if params.has_bias != 0u {
                    value += bias[n];
                }
                if params.has_residual != 0u {
                    value += residual[at];
                }
                y[at] = apply(params.function, params.alpha, params.beta, value);
            }
        }
    }
}
