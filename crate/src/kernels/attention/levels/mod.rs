//! Attention over keys and values that are whole numbers: products of 16 bits, two to an instruction and lane, add up without
//! an error, so no order of additions has to be kept. A softmax takes powers of two, and the next whole number above the largest
//! score in its place: what parts are weighed by is exact too.

mod few;
mod many;

use super::Causal;
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::{Places, Threads};
use std::array::from_fn;

/// The largest level of keys and values: twelve bits, and a sign.
const LEVELS: i32 = 4095;
/// Keys of a part.
const PART: usize = 64;
/// The largest level of a weight: so the sums of a part fit into 32 bits.
const WEIGHTS: f32 = (i32::MAX / (LEVELS * PART as i32)) as f32;
/// Queries from which on these are shared out among threads; the parts and heads of the keys of fewer are.
const MANY: usize = 5;

/// What a query has of one part: what its weights count for, in the exponent of two; their sum; and the weighted sum of
/// values. That many elements are before the last.
const BEFORE: usize = 2;
/// A scale that is less is zero: so nothing divided by one is infinite.
const LEAST: f32 = 1e-30;

/// A vector of scores, weights or sums.
type F = <S as Simd>::F;

/// Elements of a key or value of a head: its levels, and their scale, the upper half of an f32.
pub const fn row(head_dim: usize) -> usize {
    head_dim + 1
}

/// Writes the key or value of a head to its row of a cache.
pub fn write(head: &[f32], row: &mut [i16]) {
    let (levels, stored) = row.split_at_mut(head.len());
    // Up, so that no level is beyond the largest.
    let upper = ((largest(head) / LEVELS as f32).to_bits() + 0xffff) >> 16;
    stored[0] = (upper as u16).cast_signed();
    quantise(head, scale(stored[0]), levels);
}

/// A scale as it is stored.
fn scale(stored: i16) -> f32 {
    f32::from_bits(u32::from(stored.cast_unsigned()) << 16)
}

/// The nearest levels, one of which counts for `scale`.
fn quantise(x: &[f32], scale: f32, levels: &mut [i16]) {
    let inverse = S::splat(if scale > LEAST { 1.0 / scale } else { 0.0 });
    let eight = |x: &[f32; 8], levels: &mut [i16; 8]| {
        let (x, _) = x.as_chunks::<4>();
        let whole = from_fn(|i| S::nearest(S::mul(S::load(&x[i]), inverse)));
        S::store_i(S::to_i16(whole), bytemuck::cast_mut(levels));
    };
    let ((x, x_rest), (levels, levels_rest)) = (x.as_chunks(), levels.as_chunks_mut());
    x.iter().zip(levels).for_each(|(x, levels)| eight(x, levels));
    if !x_rest.is_empty() {
        let (mut x, mut levels) = ([0.0; 8], [0; 8]);
        x[..x_rest.len()].copy_from_slice(x_rest);
        eight(&x, &mut levels);
        levels_rest.copy_from_slice(&levels[..levels_rest.len()]);
    }
}

/// The largest magnitude.
fn largest(x: &[f32]) -> f32 {
    let (vectors, rest) = x.as_chunks::<4>();
    let most = vectors.iter().fold(S::splat(0.0), |most, x| S::max(most, math::abs::<S>(S::load(x))));
    largest_of(lanes(most).into_iter().chain(rest.iter().map(|x| x.abs())))
}

/// The largest of numbers of at least 0, which are in the order of their bits.
fn largest_of(x: impl Iterator<Item = f32>) -> f32 {
    f32::from_bits(x.map(f32::to_bits).fold(0, u32::max))
}

fn lanes(x: F) -> [f32; 4] {
    let mut lanes = [0.0; 4];
    S::store(x, &mut lanes);
    lanes
}

/// Keys or values of one head, from some position on.
#[derive(Clone, Copy)]
struct Rows<'a> {
    rows: &'a [i16],
    head_dim: usize,
}

impl<'a> Rows<'a> {
    fn stride(&self) -> usize {
        row(self.head_dim)
    }

    fn levels(&self, row: usize) -> &'a [i16] {
        &self.rows[row * self.stride()..][..self.head_dim]
    }

    /// The scales of some rows, and zeros.
    fn scales(&self, rows: usize, to: &mut [f32; PART]) {
        for (to, row) in to.iter_mut().zip(self.rows.chunks(self.stride())).take(rows) {
            *to = row.last().map_or(0.0, |stored| scale(*stored));
        }
        to[rows..].fill(0.0);
    }
}

impl Causal<'_, i16> {
    pub(super) fn run(&self, threads: Threads, out: &Places<f32>) {
        if self.rows < MANY { self.few(threads, out) } else { self.many(threads, out) }
    }

    /// The levels of a query, and what one counts for in the exponent of two.
    fn query(&self, x: &[f32], levels: &mut [i16]) -> f32 {
        let d = i32::try_from(self.shape.head_dim).unwrap_or(i32::MAX);
        // The largest: so the products with keys fit into 32 bits.
        let most = (i32::MAX / LEVELS / d).min(i16::MAX.into());
        let scale = largest(x) / most as f32;
        quantise(x, scale, levels);
        scale * self.shape.scale * std::f32::consts::LOG2_E
    }

    /// Keys and values of a head, from a position on.
    fn head(&self, head: usize, first: usize) -> [Rows<'_>; 2] {
        let (head_dim, n) = (self.shape.head_dim, self.shape.n_kv_heads);
        self.cache.map(|cache| {
            let of_head = &cache[head * (cache.len() / n)..][..cache.len() / n];
            Rows { rows: &of_head[first * row(head_dim)..], head_dim }
        })
    }
}
