// A convolution of few elements a window (each channel for itself), or the gradient of one with respect to the image
// (transposed): a thread makes one element of y [n, m, depth, height, width].

import package::shared::functions::apply;

struct Params {
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

// The element of x that tap k of the window of element `at` of y is, along a dimension; beyond all where there is none.
@if(!transposed) fn place(at: u32, k: u32, stride: u32, dilation: u32, pad: u32) -> u32 {
    return at * stride + k * dilation - pad;
}
@if(transposed) fn place(at: u32, k: u32, stride: u32, dilation: u32, pad: u32) -> u32 {
    let here = at + pad - k * dilation;
    if here > 0x7fffffffu || here % stride != 0u {
        return 0xffffffffu;
    }
    return here / stride;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    if i >= params.n {
        return;
    }
    let column = i % params.out_w;
    let row = i / params.out_w % params.out_h;
    let layer = i / (params.out_w * params.out_h) % params.out_d;
    let plane = i / (params.out_w * params.out_h * params.out_d);
    let filter_index = plane % (params.m * params.groups);
    let part = filter_index / params.m;
    let image = plane / (params.m * params.groups) * params.groups + part;
    let face = params.kernel_h * params.kernel_w;
    let taps = params.kernel_d * face;
    var sum = 0.0;
    for (var c = 0u; c < params.channels; c++) {
        let from_x = (image * params.channels + c) * params.in_d;
        @if(!transposed) let from_w = (filter_index * params.channels + c) * taps;
        @if(transposed) let from_w = ((part * params.channels + c) * params.m + filter_index % params.m) * taps;
        for (var kz = 0u; kz < params.kernel_d; kz++) {
            let in_layer = place(layer, kz, params.stride_d, params.dilation_d, params.pad_d);
            if in_layer >= params.in_d {
                continue;
            }
            for (var ky = 0u; ky < params.kernel_h; ky++) {
                let in_row = place(row, ky, params.stride_h, params.dilation_h, params.pad_h);
                if in_row >= params.in_h {
                    continue;
                }
                let row_x = ((from_x + in_layer) * params.in_h + in_row) * params.in_w;
                let row_w = from_w + kz * face + ky * params.kernel_w;
                for (var kx = 0u; kx < params.kernel_w; kx++) {
                    let in_column = place(column, kx, params.stride_w, params.dilation_w, params.pad_w);
                    if in_column < params.in_w {
                        sum += x[row_x + in_column] * w[row_w + kx];
                    }
                }
            }
        }
    }
    if params.has_bias != 0u {
        sum += bias[filter_index];
    }
    if params.has_residual != 0u {
        sum += residual[i];
    }
    y[i] = apply(params.function, params.alpha, params.beta, sum);
}
