//! The vectors of wasm: simd128, and relaxed SIMD in builds that have it.

use super::Simd;
use core::arch::wasm32::*;

/// Vectors of the browser.
#[derive(Clone, Copy, Debug)]
pub struct Wasm;

impl Simd for Wasm {
    type I = v128;
    type F = v128;

    #[inline(always)]
    fn zero_i() -> v128 {
        i32x4_splat(0)
    }
    #[inline(always)]
    fn load_i(from: &[u8; 16]) -> v128 {
        // SAFETY: the reference covers the sixteen bytes that are read.
        unsafe { v128_load(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn splat_4(from: &[i8; 4]) -> v128 {
        // SAFETY: the reference covers the four bytes that are read.
        unsafe { v128_load32_splat(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn low_nibbles(x: v128) -> v128 {
        v128_and(x, u8x16_splat(15))
    }
    #[inline(always)]
    fn high_nibbles(x: v128) -> v128 {
        // Processors shift words, not bytes.
        v128_and(u16x8_shr(x, 4), u8x16_splat(15))
    }
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn dot_i16(acc: v128, a: v128, w: v128) -> v128 {
        i16x8_add(acc, i16x8_relaxed_dot_i8x16_i7x16(a, w))
    }
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    fn dot_i16(acc: v128, a: v128, w: v128) -> v128 {
        let even = i16x8_mul(i16x8_shr(i16x8_shl(a, 8), 8), v128_and(w, i16x8_splat(255)));
        let odd = i16x8_mul(i16x8_shr(a, 8), u16x8_shr(w, 8));
        i16x8_add(acc, i16x8_add(even, odd))
    }
    #[inline(always)]
    fn widen_dot(x: v128, factor: i16) -> v128 {
        i32x4_dot_i16x8(x, i16x8_splat(factor))
    }
    #[inline(always)]
    fn add_i32(a: v128, b: v128) -> v128 {
        i32x4_add(a, b)
    }
    #[inline(always)]
    fn splat_i32(x: i32) -> v128 {
        i32x4_splat(x)
    }
    #[inline(always)]
    fn to_f32(x: v128) -> v128 {
        f32x4_convert_i32x4(x)
    }
    #[inline(always)]
    fn splat(x: f32) -> v128 {
        f32x4_splat(x)
    }
    #[inline(always)]
    fn load(from: &[f32; 4]) -> v128 {
        // SAFETY: the reference covers the sixteen bytes that are read.
        unsafe { v128_load(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(x: v128, to: &mut [f32; 4]) {
        // SAFETY: the reference covers the sixteen bytes that are written.
        unsafe { v128_store(to.as_mut_ptr().cast(), x) }
    }
    #[inline(always)]
    fn add(a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    fn mul(a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn mul_add(a: v128, b: v128, c: v128) -> v128 {
        f32x4_relaxed_madd(a, b, c)
    }
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    fn mul_add(a: v128, b: v128, c: v128) -> v128 {
        f32x4_add(f32x4_mul(a, b), c)
    }
}
