//! Activations of 8 bits: blocks of 32 values share one f32 scale, and each block knows the sum of its
//! levels, which offsets and mins of the weights are multiplied with.

use super::factors::GROWN;
use super::pack::{BLOCK, Layout};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::{Places, Threads};
use crate::quant::AffineLayout;

/// Quantised rows `[m, k]`, `k` a multiple of 32: `x[i] ≈ scale · level`, levels in -127..=127.
pub struct QuantizedRows {
    /// Levels `[m, k]`.
    pub levels: Vec<i8>,
    /// Scales `[m, k / 32]`.
    pub scales: Vec<f32>,
    /// Sums of the levels of each half block of 16, `[m, k / 16]`.
    pub sums: Vec<i32>,
}

/// Blocks that are worth handing to another thread: some microseconds.
const WORTH: usize = 256;

impl QuantizedRows {
    /// Quantises `x` `[m, k]`.
    pub fn new(threads: Threads, x: &[f32]) -> Self {
        let n_blocks = x.len() / BLOCK;
        let mut rows = Self {
            levels: vec![0; n_blocks * BLOCK],
            scales: vec![0.0; n_blocks],
            sums: vec![0; n_blocks * 2],
        };
        let (blocks, _) = x.as_chunks::<BLOCK>();
        let levels = Places::new(rows.levels.as_chunks_mut::<BLOCK>().0);
        let sums = Places::new(rows.sums.as_chunks_mut::<2>().0);
        threads.for_rows(&mut rows.scales, 1, WORTH, |first, scales| {
            let all = first..first + scales.len();
            // SAFETY: each block belongs to one thread, as its scale does.
            let (levels, sums) = unsafe { (levels.range(all.clone()), sums.range(all.clone())) };
            quantize(&blocks[all], levels, scales, sums);
        });
        rows
    }
}

fn quantize(blocks: &[[f32; BLOCK]], levels: &mut [[i8; BLOCK]], scales: &mut [f32], sums: &mut [[i32; 2]]) {
    for (((x, levels), scale), sums) in blocks.iter().zip(levels).zip(scales).zip(sums) {
        let (x, _) = x.as_chunks::<4>();
        let x: [_; BLOCK / 4] = std::array::from_fn(|i| S::load(&x[i]));
        let mut lanes = [0.0; 4];
        let largest = x.iter().fold(S::splat(0.0), |largest, x| S::max(largest, math::abs::<S>(*x)));
        S::store(largest, &mut lanes);
        let largest = lanes.into_iter().fold(0.0, f32::max);
        *scale = largest / 127.0;
        let inverse = S::splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
        let (halves, _) = bytemuck::cast_slice_mut::<i8, u8>(levels).as_chunks_mut::<16>();
        for (half, (levels, sum)) in halves.iter_mut().zip(sums).enumerate() {
            let whole = std::array::from_fn(|i| S::nearest(S::mul(x[half * 4 + i], inverse)));
            let whole = S::to_signed_bytes(whole);
            S::store_i(whole, levels);
            let mut fours = [0; 16];
            S::store_i(S::widen_dot(S::dot_i16(S::zero_i(), whole, S::splat_4(&[1; 4])), 1), &mut fours);
            *sum = bytemuck::cast::<_, [i32; 4]>(fours).iter().sum();
        }
    }
}

impl QuantizedRows {
    /// The rows in tiles of `columns` rows for the kernel, rows past the last as zeros; per block of 32, words:
    ///
    /// ```text
    /// levels  [8][columns]        four levels each: step g has levels 4g..4g+4 of every row
    /// scales  [columns] f32       grown where they meet halves: one tile alone does
    /// terms   [groups][columns]   what is added to a dot product, -offset · Σ levels as i32; for a format of
    ///                             mins what these are multiplied with, scale · Σ levels as f32
    /// ```
    pub(super) fn tiles(&self, threads: Threads, affine: AffineLayout, k: usize, columns: usize) -> Vec<u32> {
        let groups = Layout::groups(affine);
        let n_blocks = k / BLOCK;
        let block_words = columns * (9 + groups);
        let rows = self.scales.len() / n_blocks.max(1);
        let mut words = vec![0; rows.div_ceil(columns) * n_blocks * block_words];
        let tile_words = n_blocks * block_words;
        let grown = if affine.half_factors && rows <= columns { GROWN } else { 1.0 };
        threads.for_rows(&mut words, tile_words, WORTH / (columns * n_blocks).max(1) + 1, |first, tiles| {
            let first = first * columns;
            for row in first..rows.min(first + tiles.len() / tile_words.max(1) * columns) {
                let tile = &mut tiles[(row - first) / columns * tile_words..][..tile_words];
                let column = row % columns;
                for (i, words) in tile.chunks_exact_mut(block_words).enumerate() {
                    let block = row * n_blocks + i;
                    let (levels, _) = self.levels[block * BLOCK..][..BLOCK].as_chunks::<4>();
                    for (step, four) in levels.iter().enumerate() {
                        words[step * columns + column] = u32::from_ne_bytes(four.map(i8::cast_unsigned));
                    }
                    let scale = self.scales[block] * grown;
                    words[8 * columns + column] = scale.to_bits();
                    let halves = &self.sums[block * 2..][..2];
                    for group in 0..groups {
                        let sum = if groups == 1 { halves[0] + halves[1] } else { halves[group] };
                        words[(9 + group) * columns + column] = match affine.offset {
                            Some(offset) => (-i32::from(offset) * sum).cast_unsigned(),
                            None => (scale * sum as f32).to_bits(),
                        };
                    }
                }
            }
        });
        words
    }
}
