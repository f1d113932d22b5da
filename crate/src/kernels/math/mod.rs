//! Functions of f32, four at a time. Each says how far it is from the truth; the tests hold it to that in f64 over
//! its range, with the arithmetic rounded once or twice.

mod scalar;
mod slices;
#[cfg(test)]
mod tests;

pub use scalar::{exp as exp_scalar, silu as silu_scalar};
pub use slices::{dot, largest, map, smallest, sum, zip};

use super::simd::Simd;
use std::hint::black_box;

/// A polynomial by Horner's rule, the highest coefficient first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(x: S::F, coefficients: [f32; N]) -> S::F {
    let mut y = S::splat(coefficients[0]);
    for c in &coefficients[1..] {
        y = S::mul_add(y, x, S::splat(*c));
    }
    y
}

/// The magnitude.
#[inline(always)]
pub fn abs<S: Simd>(x: S::F) -> S::F {
    S::from_bits(S::and(S::bits(x), S::splat_i32(i32::MAX)))
}

/// The magnitude of one with the sign of another.
#[inline(always)]
fn with_sign<S: Simd>(magnitude: S::F, sign: S::F) -> S::F {
    S::from_bits(S::or(S::bits(magnitude), S::and(S::bits(sign), S::splat_i32(i32::MIN))))
}

/// `2ⁿ·p` of `eˣ = 2ⁿ·eʳ` with `|r| ≤ ln 2 / 2`, for which a polynomial of degree 6 suffices. `x` lies in
/// -87.33..=88.72, or is no number.
#[inline(always)]
fn exp_within<S: Simd>(x: S::F) -> S::F {
    // The lowest bits of 1.5 · 2²³ + n are n.
    let magic = S::splat(12_582_912.0);
    let shifted = S::mul_add(x, S::splat(std::f32::consts::LOG2_E), magic);
    let n = S::sub(shifted, magic);
    let r = S::mul_add(n, S::splat(-0.693_359_4), x);
    let r = S::mul_add(n, S::splat(2.121_944_4e-4), r);
    let p = polynomial::<S, 7>(r, [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0]);
    S::from_bits(S::add_i32(S::bits(p), S::shift_left(S::bits(shifted), 23)))
}

/// `eˣ`, relative error below 3e-7; zero where that is below the smallest normal number.
#[inline(always)]
pub fn exp<S: Simd>(x: S::F) -> S::F {
    let (low, high) = (S::splat(-87.33), S::splat(88.722_83));
    let y = exp_within::<S>(S::min(S::max(x, low), high));
    let y = S::select(S::lt(x, low), S::splat(0.0), y);
    S::select(S::lt(high, x), S::splat(f32::INFINITY), y)
}

/// `eˣ` for `x` of at most 0: as [`exp`].
#[inline(always)]
pub fn exp_negative<S: Simd>(x: S::F) -> S::F {
    let low = S::splat(-87.33);
    let y = exp_within::<S>(S::max(x, low));
    S::select(S::lt(x, low), S::splat(0.0), y)
}

/// `2ˣ` for `x` of -100..=0, relative error below 3e-6, and zero of what is less. The function holds its constants, which V8
/// would otherwise make anew at each use.
#[inline(always)]
pub fn exp2_negative<S: Simd>() -> impl Fn(S::F) -> S::F {
    // The lowest bits of 1.5 · 2²³ + n are n. The polynomial has the least relative error over -1/2..=1/2.
    let constants =
        [-100.0, 12_582_912.0, 9.570_102e-3, 5.591_786e-2, 0.240_247_45, 0.693_121_8, 0.999_999_3];
    let [low, magic, a, b, c, d, e] = black_box(constants).map(S::splat);
    move |x| {
        let within = S::max(x, low);
        let shifted = S::add(within, magic);
        let r = S::sub(within, S::sub(shifted, magic));
        let p = [b, c, d, e].into_iter().fold(a, |p, c| S::mul_add(p, r, c));
        let y = S::from_bits(S::add_i32(S::bits(p), S::shift_left(S::bits(shifted), 23)));
        S::select(S::lt(x, low), S::splat(0.0), y)
    }
}

/// `2ⁿ` for whole numbers of at most 0, exact; zero where that is below the smallest normal number.
#[inline(always)]
pub fn exp2_whole<S: Simd>(n: S::F) -> S::F {
    // The lowest bits of 1.5 · 2²³ + n are n.
    let biased = S::add(S::max(n, S::splat(-127.0)), S::splat(12_582_912.0 + 127.0));
    S::from_bits(S::shift_left(S::bits(biased), 23))
}

/// `eˣ - 1`, relative error below 1e-6.
#[inline(always)]
pub fn exp_m1<S: Simd>(x: S::F) -> S::F {
    let small = polynomial::<S, 6>(x, [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0]);
    let large = S::sub(exp::<S>(x), S::splat(1.0));
    S::select(S::lt(abs::<S>(x), S::splat(0.25)), S::mul(small, x), large)
}

/// `1 / (1 + e⁻ˣ)`, relative error below 5e-7; zero below -87.
#[inline(always)]
pub fn sigmoid<S: Simd>(x: S::F) -> S::F {
    let one = S::splat(1.0);
    S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
}

/// `x · sigmoid(x)`, relative error below 6e-7.
#[inline(always)]
pub fn silu<S: Simd>(x: S::F) -> S::F {
    S::div(x, S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x))))
}

/// Hyperbolic tangent, relative error below 5e-7: a quotient of polynomials in `x²` (Eigen's), odd by a factor `x`.
#[inline(always)]
pub fn tanh<S: Simd>(x: S::F) -> S::F {
    let limit = 7.905_311;
    let x = S::max(S::min(x, S::splat(limit)), S::splat(-limit));
    let square = S::mul(x, x);
    let p = polynomial::<S, 7>(
        square,
        [
            -2.760_768_5e-16,
            2.000_188e-13,
            -8.604_672e-11,
            5.122_297e-8,
            1.485_722_4e-5,
            6.372_619_3e-4,
            4.893_524_6e-3,
        ],
    );
    let q = polynomial::<S, 4>(square, [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3]);
    S::div(S::mul(x, p), q)
}

/// The error function, relative error below 3e-7: a polynomial near zero, `1 - eᵖ` beyond (Juffa's).
#[inline(always)]
pub fn erf<S: Simd>(x: S::F) -> S::F {
    static NEAR: [f32; 6] =
        [-5.967_617e-4, 4.991_194_2e-3, -2.676_813_5e-2, 0.112_819_93, -0.376_125_34, 0.128_379_17];
    static FAR: [f32; 7] = [
        -1.728_534_7e-5,
        3.831_972e-4,
        -3.883_964_4e-3,
        2.425_462_2e-2,
        -0.106_777_88,
        -0.634_846_7,
        -0.128_717_51,
    ];
    let t = S::min(abs::<S>(x), S::splat(4.0));
    let s = S::mul(x, x);
    // So many constants do not fit into registers, and are slower to make than to read.
    let near = polynomial::<S, 6>(s, *black_box(&NEAR));
    let near = S::mul_add(near, x, x);
    let far = polynomial::<S, 7>(t, *black_box(&FAR));
    let far = exp_within::<S>(S::sub(S::mul(far, t), t));
    let far = with_sign::<S>(S::sub(S::splat(1.0), far), x);
    // What is no number stays so.
    S::select(S::lt(S::splat(0.927_734_4), abs::<S>(x)), far, near)
}

/// `x · (1 + erf(x / √2)) / 2`, within 3e-7 of `|x|`.
#[inline(always)]
pub fn gelu<S: Simd>(x: S::F) -> S::F {
    let half = S::mul(x, S::splat(0.5));
    S::mul_add(half, erf::<S>(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2))), half)
}

/// Gelu by a hyperbolic tangent, `x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2`, within 4e-7 of `|x|`.
#[inline(always)]
pub fn gelu_tanh<S: Simd>(x: S::F) -> S::F {
    let half = S::mul(x, S::splat(0.5));
    let inner = S::mul_add(S::mul(x, x), S::splat(0.044_715 * 0.797_884_6), S::splat(0.797_884_6));
    S::mul_add(half, tanh::<S>(S::mul(x, inner)), half)
}

/// Natural logarithm, relative error below 3e-7 (Cephes' polynomial on √½..√2); of what is below the smallest normal
/// number minus infinity, of what is negative no number.
#[inline(always)]
pub fn ln<S: Simd>(x: S::F) -> S::F {
    let bits = S::bits(x);
    // The exponent that leaves a mantissa in √½..√2.
    let shifted = S::add_i32(bits, S::splat_i32(0x3f80_0000_u32.wrapping_sub(0x3f35_04f3).cast_signed()));
    let exponent = S::shift_right(shifted, 23);
    let n = S::to_f32(S::add_i32(exponent, S::splat_i32(-127)));
    let mantissa = S::add_i32(S::and(shifted, S::splat_i32(0x007f_ffff)), S::splat_i32(0x3f35_04f3));
    let m = S::sub(S::from_bits(mantissa), S::splat(1.0));
    let p = polynomial::<S, 9>(
        m,
        [
            7.037_683_6e-2,
            -0.115_146_1,
            0.116_769_98,
            -0.124_201_41,
            0.142_493_23,
            -0.166_680_57,
            0.200_007_15,
            -0.249_999_94,
            0.333_333_3,
        ],
    );
    let square = S::mul(m, m);
    let y = S::mul(S::mul(p, m), square);
    let y = S::mul_add(n, S::splat(-2.121_944_4e-4), y);
    let y = S::mul_add(square, S::splat(-0.5), y);
    let y = S::mul_add(n, S::splat(0.693_359_4), S::add(m, y));
    let y = S::select(S::lt(x, S::splat(f32::MIN_POSITIVE)), S::splat(f32::NEG_INFINITY), y);
    let y = S::select(S::lt(x, S::splat(0.0)), S::splat(f32::NAN), y);
    // Infinity and what is no number are their own logarithms.
    S::select(S::lt(x, S::splat(f32::INFINITY)), y, x)
}

/// `ln(1 + x)` for finite `x` of at least 0, relative error below 6e-7 (Kahan's correction of `ln(1 + x)` as rounded).
#[inline(always)]
pub fn ln_1p<S: Simd>(x: S::F) -> S::F {
    let one = S::splat(1.0);
    let u = S::add(one, x);
    let d = S::sub(u, one);
    let y = S::mul(ln::<S>(u), S::div(x, d));
    S::select(S::lt(S::splat(0.0), d), y, x)
}

/// `ln(1 + eˣ)`, relative error below 1e-6.
#[inline(always)]
pub fn softplus<S: Simd>(x: S::F) -> S::F {
    let tail = ln_1p::<S>(exp_negative::<S>(S::sub(S::splat(0.0), abs::<S>(x))));
    S::add(S::max(x, S::splat(0.0)), tail)
}
