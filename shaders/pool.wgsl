// The largest element or the mean of each window of an image [n · c, depth, height, width]. A thread makes one, or four that
// are bytes.

@if(bytes) import package::shared::bytes::{byte, levels_of};

struct Params {
    n: u32,
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
    // Layers, rows and columns with the padding: those count, where pads count.
    padded_d: u32,
    padded_h: u32,
    padded_w: u32,
    // 0: the largest; 1: the mean of what is there; 2: the mean, pads counted as zeros.
    function: u32,
    // Of bytes.
    is_signed: u32,
}

@if(!bytes) @group(0) @binding(0) var<storage, read> x: array<f32>;
@if(!bytes) @group(0) @binding(1) var<storage, read_write> y: array<f32>;
@if(bytes) @group(0) @binding(0) var<storage, read> x: array<u32>;
@if(bytes) @group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

@if(!bytes) fn element(i: u32) -> f32 {
    return x[i];
}
@if(bytes) fn element(i: u32) -> f32 {
    return f32(byte(x[i / 4u], i, params.is_signed));
}

// What becomes of window i.
fn of_window(i: u32) -> f32 {
    let front = i / (params.out_h * params.out_w) % params.out_d * params.stride_d;
    let plane = i / (params.out_d * params.out_h * params.out_w) * params.in_d;
    let top = i / params.out_w % params.out_h * params.stride_h;
    let left = i % params.out_w * params.stride_w;
    var largest = -3.4028234e38;
    var sum = 0.0;
    var count = 0.0;
    for (var kz = 0u; kz < params.kernel_d; kz++) {
        let layer = front + kz * params.dilation_d;
        // Before the edge it wraps, beyond all layers.
        let in_layer = layer - params.pad_d;
        for (var ky = 0u; ky < params.kernel_h; ky++) {
            let row = top + ky * params.dilation_h;
            let in_row = row - params.pad_h;
            for (var kx = 0u; kx < params.kernel_w; kx++) {
                let column = left + kx * params.dilation_w;
                let in_column = column - params.pad_w;
                if in_layer < params.in_d && in_row < params.in_h && in_column < params.in_w {
                    let value = element(((plane + in_layer) * params.in_h + in_row) * params.in_w + in_column);
                    largest = max(largest, value);
                    sum += value;
                    count += 1.0;
                } else if params.function == 2u && layer < params.padded_d && row < params.padded_h && column < params.padded_w {
                    count += 1.0;
                }
            }
        }
    }
    if params.function == 0u {
        return largest;
    }
    return sum / count;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = (group.z * groups.x + group.x) * 64u + thread;
    @if(!bytes) {
        if i < params.n {
            y[i] = of_window(i);
        }
    }
    @if(bytes) {
        var four: vec4<f32>;
        for (var j = 0u; j < 4u && 4u * i + j < params.n; j++) {
            four[j] = of_window(4u * i + j);
        }
        if 4u * i < params.n {
            y[i] = levels_of(four, 1.0, 0.0, params.is_signed);
        }
    }
}
