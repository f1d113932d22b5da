// y [m, n] = (a - a_zero) [m, k] · (b - b_zero) [k, n] of bytes, as exact as integers are; as numbers (floats) each sum times
// a scale, plus a bias, then a function; those maybe as levels, of which whole words make a row. Steps of 16 of k go through
// workgroup memory: four rows, four columns in a vector.

import package::shared::bytes::{byte, bytes, levels_of};
@if(floats) import package::shared::functions::apply;

struct Params {
    m: u32,
    k: u32,
    n: u32,
    a_signed: u32,
    b_signed: u32,
    // 0: no zero; 1: one; 2: one each, of rows of a and columns of b.
    a_zeros: u32,
    b_zeros: u32,
    // Whether there is a scale for each column, or one.
    scale_each: u32,
    has_bias: u32,
    function: u32,
    alpha: f32,
    beta: f32,
    // Whether numbers become levels, and of which scale, zero and sign.
    has_levels: u32,
    y_scale: f32,
    y_zero: f32,
    y_signed: u32,
}

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read> a_zero: array<u32>;
@group(0) @binding(3) var<storage, read> b_zero: array<u32>;
@if(floats) @group(0) @binding(4) var<storage, read> scale: array<f32>;
@if(floats) @group(0) @binding(5) var<storage, read> bias: array<f32>;
// Words of integers, floats or four levels.
@group(0) @binding(6) var<storage, read_write> y: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

const TILE: u32 = 64u;
const STEP: u32 = 16u;
const QUADS: u32 = 16u;

var<workgroup> tile_a: array<vec4<i32>, STEP * QUADS>;
var<workgroup> tile_b: array<vec4<i32>, STEP * QUADS>;

// Four neighbours in row m of a, without their zero; those beyond its end are zeros.
fn four_of_a(m: u32, k: u32) -> vec4<i32> {
    var four = vec4<i32>(0, 0, 0, 0);
    if m >= params.m || k >= params.k {
        return four;
    }
    var zero = 0;
    if params.a_zeros != 0u {
        let at = select(0u, m, params.a_zeros == 2u);
        zero = byte(a_zero[at / 4u], at, params.a_signed);
    }
    let start = m * params.k + k;
    if params.k % 4u == 0u {
        return bytes(a[start / 4u], params.a_signed) - zero;
    }
    for (var i = 0u; i < 4u; i++) {
        if k + i < params.k {
            four[i] = byte(a[(start + i) / 4u], start + i, params.a_signed) - zero;
        }
    }
    return four;
}

// Four neighbours in row k of b, the same.
fn four_of_b(k: u32, n: u32) -> vec4<i32> {
    var four = vec4<i32>(0, 0, 0, 0);
    if k >= params.k || n >= params.n {
        return four;
    }
    let start = k * params.n + n;
    let aligned = params.n % 4u == 0u;
    if aligned {
        four = bytes(b[start / 4u], params.b_signed);
    }
    for (var i = 0u; i < 4u; i++) {
        if !aligned && n + i < params.n {
            four[i] = byte(b[(start + i) / 4u], start + i, params.b_signed);
        }
        if params.b_zeros != 0u && n + i < params.n {
            let at = select(0u, n + i, params.b_zeros == 2u);
            four[i] -= byte(b_zero[at / 4u], at, params.b_signed);
        }
    }
    return four;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_m = group.y * TILE;
    let first_n = group.x * TILE;
    let row = thread / QUADS;
    let column = thread % QUADS;
    var sums: array<vec4<i32>, 4>;
    for (var k = 0u; k < params.k; k += STEP) {
        // A thread in four turns four by four of a: they lie along k.
        if thread < 64u {
            let quad = thread / 4u;
            let own_k = thread % 4u * 4u;
            let m = first_m + 4u * quad;
            let rows = transpose_four(four_of_a(m, k + own_k), four_of_a(m + 1u, k + own_k), four_of_a(m + 2u, k + own_k), four_of_a(m + 3u, k + own_k));
            for (var i = 0u; i < 4u; i++) {
                tile_a[(own_k + i) * QUADS + quad] = rows[i];
            }
        }
        tile_b[thread] = four_of_b(k + thread / QUADS, first_n + 4u * column);
        workgroupBarrier();
        for (var i = 0u; i < STEP; i++) {
            let of_a = tile_a[i * QUADS + row];
            let of_b = tile_b[i * QUADS + column];
            sums[0] += of_a.x * of_b;
            sums[1] += of_a.y * of_b;
            sums[2] += of_a.z * of_b;
            sums[3] += of_a.w * of_b;
        }
        workgroupBarrier();
    }
    let n = first_n + 4u * column;
    for (var i = 0u; i < 4u; i++) {
        let m = first_m + 4u * row + i;
        if m >= params.m || n >= params.n {
            break;
        }
        let at = m * params.n + n;
        @if(!floats) let words = bitcast<vec4<u32>>(sums[i]);
        @if(floats) {
            let numbers = numbers_of(sums[i], n);
            if params.has_levels != 0u {
                y[at / 4u] = levels_of(numbers, params.y_scale, params.y_zero, params.y_signed);
                continue;
            }
            let words = bitcast<vec4<u32>>(numbers);
        }
        for (var j = 0u; j < 4u && n + j < params.n; j++) {
            y[at + j] = words[j];
        }
    }
}

// What becomes of the sums of four columns.
@if(floats) fn numbers_of(sums: vec4<i32>, n: u32) -> vec4<f32> {
    var numbers = vec4<f32>(sums);
    for (var j = 0u; j < 4u && n + j < params.n; j++) {
        var number = numbers[j] * scale[select(0u, n + j, params.scale_each != 0u)];
        if params.has_bias != 0u {
            number += bias[n + j];
        }
        numbers[j] = apply(params.function, params.alpha, params.beta, number);
    }
    return numbers;
}

fn transpose_four(a: vec4<i32>, b: vec4<i32>, c: vec4<i32>, d: vec4<i32>) -> array<vec4<i32>, 4> {
    return array<vec4<i32>, 4>(
        vec4<i32>(a.x, b.x, c.x, d.x),
        vec4<i32>(a.y, b.y, c.y, d.y),
        vec4<i32>(a.z, b.z, c.z, d.z),
        vec4<i32>(a.w, b.w, c.w, d.w),
    );
}
