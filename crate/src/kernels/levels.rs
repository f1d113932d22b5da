//! Numbers as levels of 8 bits: `x / scale`, rounded to even, `+ zero`, clamped.

use crate::kernels::simd::{Best as S, Simd};

/// How numbers become levels.
#[derive(Clone, Copy, Debug)]
pub struct Levels {
    /// The number that one step stands for.
    pub scale: f32,
    /// The level of 0.
    pub zero: i32,
    /// Whether levels are -128 to 127, not 0 to 255.
    pub signed: bool,
}

impl Levels {
    /// Writes the level of each number.
    pub fn of(&self, x: &[f32], y: &mut [u8]) {
        // Signed levels are the unsigned ones but for the first bit.
        let (above, flip) = if self.signed { (128, 128) } else { (0, 0) };
        let (by, zero) = (S::splat(self.scale), S::splat((self.zero + above) as f32));
        let level = |x: &[f32; 4]| {
            let x = S::add(S::nearest(S::div(S::load(x), by)), zero);
            S::min(S::max(x, S::splat(0.0)), S::splat(255.0))
        };
        let sixteen = |x: &[f32; 16], y: &mut [u8; 16]| {
            let (x, _) = x.as_chunks::<4>();
            S::store_i(S::to_bytes(std::array::from_fn(|i| level(&x[i]))), y);
        };
        let (blocks, rest) = x.as_chunks::<16>();
        let (levels, levels_rest) = y.as_chunks_mut::<16>();
        blocks.iter().zip(levels).for_each(|(x, y)| sixteen(x, y));
        let (mut last, mut to) = ([0.0; 16], [0; 16]);
        last[..rest.len()].copy_from_slice(rest);
        sixteen(&last, &mut to);
        levels_rest.copy_from_slice(&to[..levels_rest.len()]);
        if flip != 0 {
            y.iter_mut().for_each(|y| *y ^= flip);
        }
    }
}
