//! Activations of 8 bits: blocks of 32 values share one f32 scale, and each block knows the sum of its
//! levels, which offsets and mins of the weights are multiplied with.

use super::factors::GROWN;
use super::pack::{BLOCK, Layout};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::Threads;
use crate::quant::AffineLayout;

/// 32 values as 8-bit levels: `x[i] ≈ scale · level[i]`.
pub(super) struct Block {
    /// Levels in -127..=127.
    pub levels: [i8; BLOCK],
    pub scale: f32,
    /// Sums of the levels of each half.
    pub sums: [i32; 2],
}

impl Block {
    /// Quantises 32 values.
    #[inline(always)]
    pub fn of(x: &[f32; BLOCK]) -> Self {
        let (x, _) = x.as_chunks::<4>();
        let x: [_; BLOCK / 4] = std::array::from_fn(|i| S::load(&x[i]));
        let mut lanes = [0.0; 4];
        let largest = x.iter().fold(S::splat(0.0), |largest, x| S::max(largest, math::abs::<S>(*x)));
        S::store(largest, &mut lanes);
        // Magnitudes are in the order of their bits, which have a maximum of one instruction.
        let largest = f32::from_bits(lanes.into_iter().map(f32::to_bits).fold(0, u32::max));
        let inverse = S::splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
        let mut block = Self { levels: [0; BLOCK], scale: largest / 127.0, sums: [0; 2] };
        let (halves, _) = bytemuck::cast_slice_mut::<i8, u8>(&mut block.levels).as_chunks_mut::<16>();
        for (half, (levels, sum)) in halves.iter_mut().zip(&mut block.sums).enumerate() {
            let whole = std::array::from_fn(|i| S::nearest(S::mul(x[half * 4 + i], inverse)));
            let whole = S::to_signed_bytes(whole);
            S::store_i(whole, levels);
            let pairs = S::dot_i16(S::zero_i(), whole, S::splat_4(&[1; 4]));
            let mut fours = [0; 16];
            S::store_i(S::dot_pairs(S::zero_i(), pairs, S::splat_8(&[1; 4])), &mut fours);
            *sum = bytemuck::cast::<_, [i32; 4]>(fours).iter().sum();
        }
        block
    }
}

/// Rows of activations as a product reads them: quantised, in tiles of so many rows.
pub struct Tiles {
    words: Vec<u32>,
    tile_words: usize,
}

/// Blocks that are worth handing to another thread: some microseconds.
const WORTH: usize = 256;

impl Tiles {
    /// Quantises rows `[m, k]` for a weight of that layout, `ROWS` to a tile, with rows past the last as zeros; `k` is a multiple
    /// of 32, above 0. Per block of 32, words:
    ///
    /// ```text
    /// levels  [8][ROWS]        four levels each, step g has levels 4g..4g+4 of every row: bytes, or (`WIDE`) i16,
    ///                          and of several rows 4g and 4g+2 come first, as bytes of weights are taken apart
    /// scales  [ROWS] f32       grown where they meet halves: one tile alone does
    /// terms   [groups][ROWS]   what is added to a dot product, -offset · Σ levels as i32; for a format of
    ///                          mins what these are multiplied with, scale · Σ levels as f32
    /// ```
    pub fn new<const ROWS: usize, const WIDE: bool>(
        threads: Threads,
        affine: AffineLayout,
        x: &[f32],
        k: usize,
    ) -> Self {
        let (groups, n_blocks, m) = (Layout::groups(affine), k / BLOCK, x.len() / k.max(1));
        let block_words = ROWS * (if WIDE { 16 } else { 8 } + 1 + groups);
        let tile_words = n_blocks * block_words;
        let mut words = vec![0; m.div_ceil(ROWS) * tile_words];
        let grown = if affine.half_factors && m <= ROWS { GROWN } else { 1.0 };
        threads.for_rows(&mut words, tile_words, WORTH / (ROWS * n_blocks).max(1) + 1, |first, tiles| {
            let rows = x[first * ROWS * k..].chunks_exact(k);
            for (i, x) in rows.take(tiles.len() / tile_words * ROWS).enumerate() {
                let tile = &mut tiles[i / ROWS * tile_words..][..tile_words];
                for (x, words) in x.as_chunks().0.iter().zip(tile.chunks_exact_mut(block_words)) {
                    put::<ROWS, WIDE>(&Block::of(x), affine, grown, i % ROWS, words);
                }
            }
        });
        Self { words, tile_words }
    }

    /// The words of each tile.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        self.words.chunks_exact(self.tile_words)
    }
}

/// Writes a block of row `row` of a tile to the words of that block.
#[inline(always)]
fn put<const ROWS: usize, const WIDE: bool>(
    block: &Block,
    affine: AffineLayout,
    grown: f32,
    row: usize,
    words: &mut [u32],
) {
    let (levels, words) = words.split_at_mut(ROWS * if WIDE { 16 } else { 8 });
    let (fours, _) = block.levels.as_chunks::<4>();
    if ROWS == 1 && !WIDE {
        bytemuck::cast_slice_mut(levels).copy_from_slice(&block.levels);
    } else if WIDE {
        let order = if ROWS == 1 { [0, 1, 2, 3] } else { [0, 2, 1, 3] };
        let (steps, _) = bytemuck::cast_slice_mut::<_, [i16; 4]>(levels).as_chunks_mut::<ROWS>();
        steps.iter_mut().zip(fours).for_each(|(step, four)| step[row] = order.map(|i| four[i].into()));
    } else {
        let (steps, _) = bytemuck::cast_slice_mut::<_, [i8; 4]>(levels).as_chunks_mut::<ROWS>();
        steps.iter_mut().zip(fours).for_each(|(step, four)| step[row] = *four);
    }
    let scale = block.scale * grown;
    words[row] = scale.to_bits();
    let [first, second] = block.sums;
    let groups = Layout::groups(affine);
    let sums = if groups == 1 { [first + second, 0] } else { [first, second] };
    for (group, sum) in sums.into_iter().enumerate().take(groups) {
        words[(1 + group) * ROWS + row] = match affine.offset {
            Some(offset) => (-i32::from(offset) * sum).cast_unsigned(),
            None => (scale * sum as f32).to_bits(),
        };
    }
}
