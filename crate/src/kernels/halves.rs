//! f32 to f16.

use half::f16;

/// What is at least this becomes infinite.
const BEYOND: f32 = 65_536.0;
/// The biased f32 exponent of the smallest normal f16.
const SMALLEST: u32 = 127 - 14;
/// Bits that the mantissa of an f32 has more.
const MORE: u32 = 13;

/// Rounds each to the nearest f16, ties to even, as IEEE 754 has it. Without a branch, so that the compiler makes vectors
/// of it.
pub fn narrow(from: &[f32], to: &mut [f16]) {
    let to = bytemuck::cast_slice_mut::<f16, u16>(to);
    to.iter_mut().zip(from).for_each(|(to, x)| *to = narrow_one(*x));
}

#[inline(always)]
fn narrow_one(x: f32) -> u16 {
    let (sign, magnitude) = (x.to_bits() >> 16 & 0x8000, x.abs());
    let within = if magnitude < BEYOND { magnitude } else { BEYOND };
    // Next to a power of two so much larger, the last place is that of the f16: the addition rounds, and counts the steps.
    let exponent = (within.to_bits() >> 23).max(SMALLEST);
    let anchor = (exponent + MORE) << 23;
    let steps = (within + f32::from_bits(anchor)).to_bits() - anchor;
    // Steps up to the first normal number are the bits of the subnormal ones; beyond, each exponent has 1024.
    let bits = ((exponent - SMALLEST) << 10) + steps;
    let bits = if magnitude.is_nan() { 0x7e00 } else { bits };
    (sign | bits) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_as_ieee_754_has_it() {
        // Each f16, what lies half way to the next, and the f32 on both sides of that.
        let finite = (0..0x7c00u16).map(|bits| f16::from_bits(bits).to_f32());
        let half_way = (0..0x7bffu16)
            .map(|bits| (f16::from_bits(bits).to_f32() + f16::from_bits(bits + 1).to_f32()) / 2.0);
        let beside = |x: f32| [x, x.next_up(), x.next_down().max(0.0)];
        let more = [65_519.996, 65_520.0, 65_535.0, 65_536.0, 1e9, f32::MAX, f32::INFINITY, 1e-45, 1e-10];
        let all: Vec<f32> =
            finite.chain(half_way).chain(more).flat_map(beside).flat_map(|x| [x, -x]).collect();
        let mut got = vec![f16::ZERO; all.len()];
        narrow(&all, &mut got);
        for (x, got) in all.into_iter().zip(got) {
            assert_eq!(got.to_bits(), f16::from_f32(x).to_bits(), "{x:e}");
        }
        let mut got = [f16::ZERO; 2];
        narrow(&[f32::NAN, -f32::NAN], &mut got);
        assert!(got.iter().all(|x| x.is_nan()));
    }
}
