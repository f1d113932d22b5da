// y[n, m, out] = Σ w[m, c, kernel] · x[n, c, in] (+ bias) (+ residual), then a function: a product of the filters with
// the windows of the image, which are gathered as they are needed (implicit GEMM). Of a kernel of one pixel (plain)
// the windows are the pixels. Images have two spatial dimensions, or (volume) three.

import package::shared::tile::{add_step, tile_a, tile_b, sums};
import package::shared::functions::apply;

struct Params {
    // Filters of a group, elements of a window, windows, and groups.
    m: u32,
    k: u32,
    n: u32,
    groups: u32,
    in_d: u32,
    in_h: u32,
    in_w: u32,
    out_h: u32,
    out_w: u32,
    kernel_d: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride_d: u32,
    stride_h: u32,
    stride_w: u32,
    dilation_d: u32,
    dilation_h: u32,
    dilation_w: u32,
    pad_d: u32,
    pad_h: u32,
    pad_w: u32,
    has_bias: u32,
    has_residual: u32,
    function: u32,
    alpha: f32,
    beta: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> residual: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

// Element k of window p of the images that begin at `start`.
@if(!plain) @if(!volume) fn pixel(start: u32, k: u32, p: u32) -> f32 {
    let taps = params.kernel_h * params.kernel_w;
    let tap = k % taps;
    // Before the edge they wrap, beyond all rows and columns.
    let row = p / params.out_w * params.stride_h + tap / params.kernel_w * params.dilation_h - params.pad_h;
    let column = p % params.out_w * params.stride_w + tap % params.kernel_w * params.dilation_w - params.pad_w;
    if k < params.k && p < params.n && row < params.in_h && column < params.in_w {
        return x[start + (k / taps * params.in_h + row) * params.in_w + column];
    }
    return 0.0;
}
@if(volume) fn pixel(start: u32, k: u32, p: u32) -> f32 {
    let face = params.kernel_h * params.kernel_w;
    let taps = params.kernel_d * face;
    let tap = k % taps;
    let row_p = p / params.out_w;
    // Before the edge they wrap, beyond all layers, rows and columns.
    let layer = row_p / params.out_h * params.stride_d + tap / face * params.dilation_d - params.pad_d;
    let row = row_p % params.out_h * params.stride_h + tap / params.kernel_w % params.kernel_h * params.dilation_h - params.pad_h;
    let column = p % params.out_w * params.stride_w + tap % params.kernel_w * params.dilation_w - params.pad_w;
    if k < params.k && p < params.n && layer < params.in_d && row < params.in_h && column < params.in_w {
        return x[start + ((k / taps * params.in_d + layer) * params.in_h + row) * params.in_w + column];
    }
    return 0.0;
}
@if(plain) fn pixel(start: u32, k: u32, p: u32) -> f32 {
    if k < params.k && p < params.n {
        return x[start + k * params.n + p];
    }
    return 0.0;
}

fn weight(first: u32, m: u32, k: u32) -> f32 {
    if m < params.m && k < params.k {
        return w[(first + m) * params.k + k];
    }
    return 0.0;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_filter = group.z % params.groups * params.m;
    @if(plain) let start = group.z * params.k * params.n;
    @if(!plain) let start = group.z * (params.k / (params.kernel_d * params.kernel_h * params.kernel_w)) * params.in_d * params.in_h * params.in_w;
    let first_m = group.y * TILE_M;
    let first_p = group.x * TILE_N;
    for (var k = 0u; k < params.k; k += STEP) {
        for (var i = thread; i < STEP * ROWS; i += 256u) {
            let own_k = i % STEP;
            let m = first_m + 4u * (i / STEP);
            tile_a[own_k * ROWS + i / STEP] = vec4<f32>(
                weight(first_filter, m, k + own_k),
                weight(first_filter, m + 1u, k + own_k),
                weight(first_filter, m + 2u, k + own_k),
                weight(first_filter, m + 3u, k + own_k),
            );
        }
        for (var i = thread; i < STEP * COLUMNS; i += 256u) {
            let own_k = k + i / COLUMNS;
            let p = first_p + 4u * (i % COLUMNS);
            tile_b[i] = vec4<f32>(
                pixel(start, own_k, p),
                pixel(start, own_k, p + 1u),
                pixel(start, own_k, p + 2u),
                pixel(start, own_k, p + 3u),
            );
        }
        workgroupBarrier();
        add_step(thread);
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let m = first_m + 4u * (thread / COLUMNS) + i;
        for (var j = 0u; j < 4u; j++) {
            let p = first_p + 4u * (thread % COLUMNS) + j;
            if m < params.m && p < params.n {
                let at = (group.z * params.m + m) * params.n + p;
                var value = sums[i][j];
                if params.has_bias != 0u {
                    value += bias[first_filter + m];
                }
                if params.has_residual != 0u {
                    value += residual[at];
                }
                y[at] = apply(params.function, params.alpha, params.beta, value);
            }
        }
    }
}
