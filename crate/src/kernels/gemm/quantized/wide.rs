//! Panels for many rows of activations: what every tile would have to widen is widened once.

use super::format::{self, Format, Held};
use crate::kernels::gemm::factors::GROWN;
use crate::kernels::simd::Simd;

/// A panel with factors of f32, and levels in bytes.
pub fn widen<'a, S: Simd, F: Format>(panel: &[u128], wide: &'a mut Vec<u128>) -> &'a [u128] {
    let held = Held::<S>::new::<F>();
    wide.resize(panel.len() / F::UNITS * F::WIDE_UNITS, 0);
    for (from, to) in panel.chunks_exact(F::UNITS).zip(wide.chunks_exact_mut(F::WIDE_UNITS)) {
        let (factors, levels) = to.split_at_mut(F::WIDE_FACTOR_UNITS);
        let (factors, _) = bytemuck::cast_slice_mut::<_, f32>(factors).as_chunks_mut::<4>();
        for (at, to) in factors.iter_mut().enumerate() {
            // SAFETY: a block has as many quads of factors, stored or wide.
            let x = unsafe { format::factors::<S, F, true>(from.as_ptr(), at, &held) };
            let grown = S::splat(GROWN);
            S::store(if F::HALF { S::mul(S::mul(x, grown), grown) } else { x }, to);
        }
        let (steps, _) = bytemuck::cast_slice_mut::<_, [u8; 16]>(levels).as_chunks_mut::<2>();
        for (step, quads) in steps.iter_mut().enumerate() {
            for (quad, to) in quads.iter_mut().enumerate() {
                // SAFETY: this is a block.
                let bytes = unsafe { format::bytes::<S, F, true>(from.as_ptr(), step, quad, &held) };
                S::store_i(bytes, to);
            }
        }
    }
    wide
}
