//! Activations of 8 bits: blocks of 32 values share one f32 scale, and each block knows the sum of its
//! levels, which offsets and mins of the weights are multiplied with.

use super::pack::{BLOCK, Layout};
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
        let largest = x.iter().fold(0.0f32, |a, x| if x.abs() > a { x.abs() } else { a });
        *scale = largest / 127.0;
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        for (level, x) in levels.iter_mut().zip(x) {
            // Adding and taking away 1.5 · 2²³ rounds to the nearest integer, ties to even.
            *level = ((x * inverse + 12_582_912.0) - 12_582_912.0) as i8;
        }
        for (sum, half) in sums.iter_mut().zip(levels.chunks_exact(16)) {
            *sum = half.iter().map(|&level| i32::from(level)).sum();
        }
    }
}

impl QuantizedRows {
    /// The rows in tiles of `columns` rows for the kernel, rows past the last as zeros; per block of 32, words:
    ///
    /// ```text
    /// levels  [8][columns]        four levels each: step g has levels 4g..4g+4 of every row
    /// scales  [columns] f32
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
                    let scale = self.scales[block];
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
