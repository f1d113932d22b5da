// A convolution of bytes, as integer_conv, of few elements a window or one filter a group: a thread makes four neighbours of
// y [n, m, depth, height, width], which are a word where they are levels.

import package::shared::bytes::{byte, levels_of};
import package::shared::functions::apply;

struct Params {
    // Elements of y.
    n: u32,
    // Filters of a group, channels of a group, and groups.
    m: u32,
    channels: u32,
    groups: u32,
    in_d: u32,
    in_h: u32,
    in_w: u32,
    out_d: u32,
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

// The sum of element i of y, of that filter.
fn sum_of(i: u32, filter_index: u32) -> i32 {
    let column = i % params.out_w;
    let row = i / params.out_w % params.out_h;
    let layer = i / (params.out_w * params.out_h) % params.out_d;
    let image = i / (params.out_w * params.out_h * params.out_d * params.m);
    var of_x = 0;
    if params.has_x_zero != 0u {
        of_x = byte(x_zero[0], 0u, params.x_signed);
    }
    var of_w = 0;
    if params.w_zeros != 0u {
        let at = select(0u, filter_index, params.w_zeros == 2u);
        of_w = byte(w_zero[at / 4u], at, params.w_signed);
    }
    var sum = 0;
    for (var c = 0u; c < params.channels; c++) {
        for (var kz = 0u; kz < params.kernel_d; kz++) {
            // Before the edge these wrap, beyond all layers, rows and columns.
            let in_layer = layer * params.stride_d + kz * params.dilation_d - params.pad_d;
            if in_layer >= params.in_d {
                continue;
            }
            for (var ky = 0u; ky < params.kernel_h; ky++) {
                let in_row = row * params.stride_h + ky * params.dilation_h - params.pad_h;
                if in_row >= params.in_h {
                    continue;
                }
                let row_x = (((image * params.channels + c) * params.in_d + in_layer) * params.in_h + in_row) * params.in_w;
                let row_w = (((filter_index * params.channels + c) * params.kernel_d + kz) * params.kernel_h + ky) * params.kernel_w;
                for (var kx = 0u; kx < params.kernel_w; kx++) {
                    let in_column = column * params.stride_w + kx * params.dilation_w - params.pad_w;
                    if in_column < params.in_w {
                        let at = row_x + in_column;
                        let pixel = byte(x[at / 4u], at, params.x_signed) - of_x;
                        sum += pixel * (byte(w[(row_w + kx) / 4u], row_w + kx, params.w_signed) - of_w);
                    }
                }
            }
        }
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let word = (group.z * groups.x + group.x) * 64u + thread;
    var numbers = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j++) {
        let i = 4u * word + j;
        if i >= params.n {
            break;
        }
        let filter_index = i / (params.out_w * params.out_h * params.out_d) % (params.m * params.groups);
        let sum = sum_of(i, filter_index);
        if params.form == 0u {
            y[i] = bitcast<u32>(sum);
            continue;
        }
        var number = f32(sum) * scale[select(0u, filter_index, params.scale_each != 0u)];
        if params.has_bias != 0u {
            number += bias[filter_index];
        }
        numbers[j] = apply(params.function, params.alpha, params.beta, number);
        if params.form == 1u {
            y[i] = bitcast<u32>(numbers[j]);
        }
    }
    if params.form == 2u && 4u * word < params.n {
        y[word] = levels_of(numbers, params.y_scale, params.y_zero, params.y_signed);
    }
}
