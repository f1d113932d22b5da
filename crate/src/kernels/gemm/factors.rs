//! Scales and mins in 16 bits. A product of one row waits for memory, and those of most formats are f16 in the file.
//!
//! A *half* has the bits of an f16 of another bias: sign, 5 bits of exponent, 10 of mantissa, for values from 2⁻²⁴
//! to just below 128. So those that an f16 has with fewer bits, which processors are slow at, are numbers as any others. One shift and one mask
//! make of it an f32 that is [`SHRUNK`]² of its value; activations and sums are multiplied with what is missing. All of
//! that are powers of two: no bit of a product changes.

use crate::kernels::simd::Simd;

/// A decoded half is its value times the square of this, 2⁻⁵¹.
pub const SHRUNK: f32 = 1.0 / (1u64 << 51) as f32;
/// The inverse.
pub const GROWN: f32 = (1u64 << 51) as f32;
/// What a half has of the bits of an f32, 13 places higher: the sign, and all that is below three bits of the exponent.
pub const KEPT: u32 = 0x8fff_e000;

/// The half of a value, where it has one.
pub fn to_half(x: f32) -> Option<u16> {
    let bits = (x * SHRUNK * SHRUNK).to_bits();
    let half = (bits >> 16 & 0x8000 | bits >> 13 & 0x7fff) as u16;
    (from_half(half) == x).then_some(half)
}

/// The value of a half.
pub fn from_half(half: u16) -> f32 {
    let shifted = (i32::from(half.cast_signed()) << 13).cast_unsigned();
    f32::from_bits(shifted & KEPT) * GROWN * GROWN
}

/// Four halves, shrunk. `kept` is [`KEPT`], four times.
#[inline(always)]
pub fn four_halves<S: Simd>(halves: &[i16; 4], kept: S::I) -> S::F {
    S::from_bits(S::and(S::shift_left(S::widen_i16(halves), 13), kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::Best;

    #[test]
    fn every_f16_below_128_is_a_half() {
        for bits in 0..=u16::MAX {
            let x = half::f16::from_bits(bits).to_f32();
            let half = to_half(x);
            assert_eq!(half.is_some(), x.abs() < 128.0, "{x}");
            let Some(half) = half else { continue };
            assert_eq!(from_half(half).to_bits(), x.to_bits());
            let mut out = [0.0; 4];
            let halves = [half.cast_signed(); 4];
            Best::store(four_halves::<Best>(&halves, Best::splat_i32(KEPT.cast_signed())), &mut out);
            assert_eq!(out.map(|x| x * GROWN * GROWN), [x; 4]);
        }
        assert!([1.0 + f32::EPSILON, 1e-9, f32::NAN, f32::INFINITY].iter().all(|x| to_half(*x).is_none()));
    }
}
