// y[n, m, out] = Σ (w[m, c, kernel] - w_zero) · (x[n, c, in] - x_zero) of bytes, as exact as integers are; maybe times a scale,
// plus a bias, then a function, and maybe as levels, of which whole words make a plane. A product of the filters with the
// windows of the image, which are gathered as they are needed (implicit GEMM). f32 holds the sums of 256 products exactly.

import package::shared::tile::{add_step, tile_a, tile_b, sums};
import package::shared::bytes::{byte, bytes, levels_of};
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
    // Whether windows are pixels, and whole words of them make a plane.
    in_words: u32,
    x_signed: u32,
    w_signed: u32,
    has_x_zero: u32,
    // 0: no zero; 1: one; 2: one a filter.
    w_zeros: u32,
    // 0: sums; 1: numbers; 2: levels of them.
    form: u32,
    // Whether there is a scale for each filter, or one.
    scale_each: u32,
    has_bias: u32,
    function: u32,
    alpha: f32,
    beta: f32,
    y_scale: f32,
    y_zero: f32,
    y_signed: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> x_zero: array<u32>;
@group(0) @binding(3) var<storage, read> w_zero: array<u32>;
@group(0) @binding(4) var<storage, read> scale: array<f32>;
@group(0) @binding(5) var<storage, read> bias: array<f32>;
// Words of integers, floats or four levels.
@group(0) @binding(6) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

const QUADS: u32 = STEP / 4u;
// Elements of a window whose products f32 sums exactly: 255 · 255 · 256 < 2²⁴.
const EXACT: u32 = 256u;

// Layer, row and column where the windows of this thread's four columns begin; before the edge they wrap, beyond all.
var<private> corners: array<vec3<u32>, 4>;

fn find_corners(p: u32) {
    for (var j = 0u; j < 4u; j++) {
        let row = (p + j) / params.out_w;
        corners[j] = vec3<u32>(
            row / params.out_h * params.stride_d - params.pad_d,
            row % params.out_h * params.stride_h - params.pad_h,
            (p + j) % params.out_w * params.stride_w - params.pad_w,
        );
        if p + j >= params.n {
            corners[j].x = 0x80000000u;
        }
    }
}

// Element k of the windows of four columns from p on, in the images whose bytes begin at `start`, without the zero.
fn four_pixels(start: u32, k: u32, p: u32, zero: i32) -> vec4<f32> {
    var four = vec4<f32>(0.0);
    if k >= params.k {
        return four;
    }
    if params.in_words != 0u {
        if p < params.n {
            four = vec4<f32>(bytes(x[(start + k * params.n + p) / 4u], params.x_signed) - zero);
        }
        return four;
    }
    let face = params.kernel_h * params.kernel_w;
    let taps = params.kernel_d * face;
    let tap = k % taps;
    let beyond = vec3<u32>(
        tap / face * params.dilation_d,
        tap / params.kernel_w % params.kernel_h * params.dilation_h,
        tap % params.kernel_w * params.dilation_w,
    );
    for (var j = 0u; j < 4u; j++) {
        let at = corners[j] + beyond;
        if at.x < params.in_d && at.y < params.in_h && at.z < params.in_w {
            let i = start + ((k / taps * params.in_d + at.x) * params.in_h + at.y) * params.in_w + at.z;
            four[j] = f32(byte(x[i / 4u], i, params.x_signed) - zero);
        }
    }
    return four;
}

// Four neighbours in the window of filter m, of those from `first` on, without their zero.
fn four_weights(first: u32, m: u32, k: u32) -> vec4<f32> {
    var four = vec4<i32>(0);
    if m >= params.m || k >= params.k {
        return vec4<f32>(four);
    }
    var zero = 0;
    if params.w_zeros != 0u {
        let at = select(0u, first + m, params.w_zeros == 2u);
        zero = byte(w_zero[at / 4u], at, params.w_signed);
    }
    let start = (first + m) * params.k + k;
    if params.k % 4u == 0u {
        return vec4<f32>(bytes(w[start / 4u], params.w_signed) - zero);
    }
    for (var i = 0u; i < 4u && k + i < params.k; i++) {
        four[i] = byte(w[(start + i) / 4u], start + i, params.w_signed) - zero;
    }
    return vec4<f32>(four);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_filter = group.z % params.groups * params.m;
    let start = group.z * (params.k / (params.kernel_d * params.kernel_h * params.kernel_w)) * params.in_d * params.in_h * params.in_w;
    let first_m = group.y * TILE_M;
    let p = group.x * TILE_N + 4u * (thread % COLUMNS);
    var zero = 0;
    if params.has_x_zero != 0u {
        zero = byte(x_zero[0], 0u, params.x_signed);
    }
    find_corners(p);
    var totals: array<vec4<i32>, 4>;
    for (var k = 0u; k < params.k; k += STEP) {
        // Few threads turn four by four of the filters: they lie along k.
        if thread < QUADS * ROWS {
            let quad = thread / QUADS;
            let own_k = thread % QUADS * 4u;
            let m = first_m + 4u * quad;
            let turned = transpose(mat4x4<f32>(
                four_weights(first_filter, m, k + own_k),
                four_weights(first_filter, m + 1u, k + own_k),
                four_weights(first_filter, m + 2u, k + own_k),
                four_weights(first_filter, m + 3u, k + own_k),
            ));
            tile_a[own_k * ROWS + quad] = turned[0];
            tile_a[(own_k + 1u) * ROWS + quad] = turned[1];
            tile_a[(own_k + 2u) * ROWS + quad] = turned[2];
            tile_a[(own_k + 3u) * ROWS + quad] = turned[3];
        }
        for (var i = thread; i < STEP * COLUMNS; i += 256u) {
            tile_b[i] = four_pixels(start, k + i / COLUMNS, p, zero);
        }
        workgroupBarrier();
        add_step(thread);
        if (k + STEP) % EXACT == 0u || k + STEP >= params.k {
            for (var i = 0u; i < 4u; i++) {
                totals[i] += vec4<i32>(sums[i]);
                sums[i] = vec4<f32>(0.0);
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let m = first_m + 4u * (thread / COLUMNS) + i;
        if m >= params.m || p >= params.n {
            break;
        }
        let at = (group.z * params.m + m) * params.n + p;
        var words = bitcast<vec4<u32>>(totals[i]);
        if params.form != 0u {
            let numbers = numbers_of(totals[i], first_filter + m);
            if params.form == 2u {
                y[at / 4u] = levels_of(numbers, params.y_scale, params.y_zero, params.y_signed);
                continue;
            }
            words = bitcast<vec4<u32>>(numbers);
        }
        for (var j = 0u; j < 4u && p + j < params.n; j++) {
            y[at + j] = words[j];
        }
    }
}

// What becomes of four sums of a filter.
fn numbers_of(sums: vec4<i32>, m: u32) -> vec4<f32> {
    var numbers = vec4<f32>(sums) * scale[select(0u, m, params.scale_each != 0u)];
    if params.has_bias != 0u {
        numbers += bias[m];
    }
    for (var j = 0u; j < 4u; j++) {
        numbers[j] = apply(params.function, params.alpha, params.beta, numbers[j]);
    }
    return numbers;
}
