//! The vectors of wasm: simd128, and relaxed SIMD in builds that have it.

use super::Simd;
use core::arch::wasm32::*;

/// Vectors of the browser.
#[derive(Clone, Copy, Debug)]
pub struct Wasm;

impl Simd for Wasm {
    type I = v128;
    type F = v128;

    const BYTE_PRODUCTS: bool = cfg!(target_feature = "relaxed-simd");

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
    fn splat_8(from: &[i16; 4]) -> v128 {
        // SAFETY: the reference covers the eight bytes that are read.
        unsafe { v128_load64_splat(from.as_ptr().cast()) }
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
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn dot_i32(acc: v128, a: v128, w: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(a, w, acc)
    }
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    fn dot_i32(acc: v128, a: v128, w: v128) -> v128 {
        i32x4_add(acc, i32x4_extadd_pairwise_i16x8(Self::dot_i16(i16x8_splat(0), a, w)))
    }
    #[inline(always)]
    fn add_i16(a: v128, b: v128) -> v128 {
        i16x8_add(a, b)
    }
    #[inline(always)]
    fn add_i32(a: v128, b: v128) -> v128 {
        i32x4_add(a, b)
    }
    #[inline(always)]
    fn add_neighbours(a: v128, b: v128) -> v128 {
        i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(a, b), i32x4_shuffle::<1, 3, 5, 7>(a, b))
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
    #[inline(always)]
    fn sub(a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    fn div(a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }
    #[inline(always)]
    fn min(a: v128, b: v128) -> v128 {
        f32x4_pmin(a, b)
    }
    #[inline(always)]
    fn max(a: v128, b: v128) -> v128 {
        f32x4_pmax(a, b)
    }
    #[inline(always)]
    fn sqrt(x: v128) -> v128 {
        f32x4_sqrt(x)
    }
    #[inline(always)]
    fn nearest(x: v128) -> v128 {
        f32x4_nearest(x)
    }
    #[inline(always)]
    fn floor(x: v128) -> v128 {
        f32x4_floor(x)
    }
    #[inline(always)]
    fn lt(a: v128, b: v128) -> v128 {
        f32x4_lt(a, b)
    }
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn select(mask: v128, a: v128, b: v128) -> v128 {
        i32x4_relaxed_laneselect(a, b, mask)
    }
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    fn select(mask: v128, a: v128, b: v128) -> v128 {
        v128_bitselect(a, b, mask)
    }
    #[inline(always)]
    fn bits(x: v128) -> v128 {
        x
    }
    #[inline(always)]
    fn from_bits(x: v128) -> v128 {
        x
    }
    #[inline(always)]
    fn shift_left(x: v128, by: u32) -> v128 {
        i32x4_shl(x, by)
    }
    #[inline(always)]
    fn shift_right(x: v128, by: u32) -> v128 {
        i32x4_shr(x, by)
    }
    #[inline(always)]
    fn and(a: v128, b: v128) -> v128 {
        v128_and(a, b)
    }
    #[inline(always)]
    fn xor(a: v128, b: v128) -> v128 {
        v128_xor(a, b)
    }
    #[inline(always)]
    fn or(a: v128, b: v128) -> v128 {
        v128_or(a, b)
    }
    #[inline(always)]
    fn store_i(x: v128, to: &mut [u8; 16]) {
        // SAFETY: the reference covers the sixteen bytes that are written.
        unsafe { v128_store(to.as_mut_ptr().cast(), x) }
    }
    #[inline(always)]
    fn dot_pairs(acc: v128, a: v128, b: v128) -> v128 {
        i32x4_add(acc, i32x4_dot_i16x8(a, b))
    }
    #[inline(always)]
    fn mul_i32(a: v128, b: v128) -> v128 {
        i32x4_mul(a, b)
    }
    #[inline(always)]
    fn widen_u8(from: &[u8; 8]) -> v128 {
        // SAFETY: the reference covers the eight bytes that are read.
        unsafe { u16x8_load_extend_u8x8(from.as_ptr()) }
    }
    #[inline(always)]
    fn widen_bytes(x: v128) -> [v128; 2] {
        [u16x8_extend_low_u8x16(x), u16x8_extend_high_u8x16(x)]
    }
    #[inline(always)]
    fn odd_bytes(x: v128) -> v128 {
        u16x8_shr(x, 8)
    }
    #[inline(always)]
    fn pair_up(a: v128, b: v128) -> [v128; 2] {
        [i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b), i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b)]
    }
    #[inline(always)]
    fn to_i16(x: [v128; 2]) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        let x = x.map(|x| i32x4_relaxed_trunc_f32x4(x));
        #[cfg(not(target_feature = "relaxed-simd"))]
        let x = x.map(|x| i32x4_trunc_sat_f32x4(x));
        i16x8_narrow_i32x4(x[0], x[1])
    }
    #[inline(always)]
    fn widen_i16(from: &[i16; 4]) -> v128 {
        // SAFETY: the reference covers the eight bytes that are read.
        unsafe { i32x4_load_extend_i16x4(from.as_ptr()) }
    }
    #[inline(always)]
    fn to_bytes(x: [v128; 4]) -> v128 {
        let x = x.map(|x| i32x4_trunc_sat_f32x4(x));
        u8x16_narrow_i16x8(i16x8_narrow_i32x4(x[0], x[1]), i16x8_narrow_i32x4(x[2], x[3]))
    }
    #[inline(always)]
    fn to_signed_bytes(x: [v128; 4]) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        let x = x.map(|x| i32x4_relaxed_trunc_f32x4(x));
        #[cfg(not(target_feature = "relaxed-simd"))]
        let x = x.map(|x| i32x4_trunc_sat_f32x4(x));
        i8x16_narrow_i16x8(i16x8_narrow_i32x4(x[0], x[1]), i16x8_narrow_i32x4(x[2], x[3]))
    }
}
