//! 128-bit vectors. Kernels are written once, over the trait [`Simd`]; `wasm32` has the vectors of the
//! browser (relaxed SIMD where the build has it), `scalar` is the twin that runs everywhere and says what
//! each operation means.

#[cfg(any(test, not(all(target_arch = "wasm32", target_feature = "simd128"))))]
pub mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub mod wasm32;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub use scalar::Scalar as Best;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm32::Wasm as Best;

/// Vectors of 128 bits: `I` as bytes, i16 or i32, `F` as four f32.
pub trait Simd: Copy {
    /// Sixteen bytes, eight i16 or four i32.
    type I: Copy;
    /// Four f32.
    type F: Copy;

    /// Whether bytes are multiplied with bytes in fewer instructions than as i16.
    const BYTE_PRODUCTS: bool;

    /// All zero.
    fn zero_i() -> Self::I;
    /// Sixteen bytes.
    fn load_i(from: &[u8; 16]) -> Self::I;
    /// Four bytes, repeated four times.
    fn splat_4(from: &[i8; 4]) -> Self::I;
    /// Four i16, twice.
    fn splat_8(from: &[i16; 4]) -> Self::I;
    /// Eight i16: `acc[i] + a[2i] · w[2i] + a[2i+1] · w[2i+1]`, with signed bytes `a` and bytes `w` in 0..=127.
    fn dot_i16(acc: Self::I, a: Self::I, w: Self::I) -> Self::I;
    /// Four i32: `acc[i] + Σ a[4i+j] · w[4i+j]`, with signed bytes `a` and bytes `w` in 0..=127; what other `w` mean depends on the
    /// machine.
    fn dot_i32(acc: Self::I, a: Self::I, w: Self::I) -> Self::I;
    /// Eight i16 added.
    fn add_i16(a: Self::I, b: Self::I) -> Self::I;
    /// Four i32 added.
    fn add_i32(a: Self::I, b: Self::I) -> Self::I;
    /// Four i32, sums of two neighbours each: two of `a`, two of `b`.
    fn add_neighbours(a: Self::I, b: Self::I) -> Self::I;
    /// Four i32, all the same.
    fn splat_i32(x: i32) -> Self::I;
    /// Four i32 as f32.
    fn to_f32(x: Self::I) -> Self::F;

    /// Four times the same.
    fn splat(x: f32) -> Self::F;
    /// Four f32.
    fn load(from: &[f32; 4]) -> Self::F;
    /// Writes four f32.
    fn store(x: Self::F, to: &mut [f32; 4]);
    /// `a + b`.
    fn add(a: Self::F, b: Self::F) -> Self::F;
    /// `a · b`.
    fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a · b + c`, rounded once or twice.
    fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a - b`.
    fn sub(a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`.
    fn div(a: Self::F, b: Self::F) -> Self::F;
    /// `b` where `b < a`, else `a`: the smaller, and `a` where one is no number.
    fn min(a: Self::F, b: Self::F) -> Self::F;
    /// `b` where `a < b`, else `a`: the larger, and `a` where one is no number.
    fn max(a: Self::F, b: Self::F) -> Self::F;
    /// Square roots.
    fn sqrt(x: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn nearest(x: Self::F) -> Self::F;
    /// The largest integer that is not larger.
    fn floor(x: Self::F) -> Self::F;
    /// All bits set where `a < b`, none elsewhere.
    fn lt(a: Self::F, b: Self::F) -> Self::I;
    /// `a` where all bits of a lane are set, `b` where none is.
    fn select(mask: Self::I, a: Self::F, b: Self::F) -> Self::F;
    /// The bits of four f32.
    fn bits(x: Self::F) -> Self::I;
    /// Four f32 of those bits.
    fn from_bits(x: Self::I) -> Self::F;
    /// Four i32 shifted left.
    fn shift_left(x: Self::I, by: u32) -> Self::I;
    /// Four i32 shifted right, the sign kept.
    fn shift_right(x: Self::I, by: u32) -> Self::I;
    /// Bitwise and.
    fn and(a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise exclusive or.
    fn xor(a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise or.
    fn or(a: Self::I, b: Self::I) -> Self::I;
    /// Writes sixteen bytes.
    fn store_i(x: Self::I, to: &mut [u8; 16]);
    /// Four i32: `acc[i] + a[2i] · b[2i] + a[2i+1] · b[2i+1]` of eight i16 each, modulo 2³².
    fn dot_pairs(acc: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// Four i32 multiplied, modulo 2³².
    fn mul_i32(a: Self::I, b: Self::I) -> Self::I;
    /// Eight unsigned bytes as i16.
    fn widen_u8(from: &[u8; 8]) -> Self::I;
    /// Sixteen unsigned bytes as i16, the first eight and the others.
    fn widen_bytes(x: Self::I) -> [Self::I; 2];
    /// The second of each two of sixteen unsigned bytes, as eight i16.
    fn odd_bytes(x: Self::I) -> Self::I;
    /// Pairs of i16, one of `a` and one of `b`: the first four of each, and the others.
    fn pair_up(a: Self::I, b: Self::I) -> [Self::I; 2];
    /// Eight whole numbers of -32768 to 32767 as i16; what is none of these depends on the machine.
    fn to_i16(x: [Self::F; 2]) -> Self::I;
    /// Four i16 as i32.
    fn widen_i16(from: &[i16; 4]) -> Self::I;
    /// Sixteen whole numbers of 0 to 255 as bytes; what is no number is 0.
    fn to_bytes(x: [Self::F; 4]) -> Self::I;
    /// Sixteen whole numbers of -128 to 127 as signed bytes.
    fn to_signed_bytes(x: [Self::F; 4]) -> Self::I;
}
