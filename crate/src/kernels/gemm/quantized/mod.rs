//! Products of quantised panels with quantised activations.
//!
//! Bytes are multiplied with bytes where the vectors can ([`Simd::BYTE_PRODUCTS`]), and summed in i16 as long as those hold the
//! sums: levels of four bits over a whole block of 32 (`16 pairs / 2 lanes · 2 · 15 · 127 = 30,480`), of five over four steps
//! (`2 · 4 · 31 · 127`), of six over two (`2 · 2 · 63 · 127`). Levels of eight bits, and all where vectors cannot do that, are
//! widened to i16 and summed in i32. Either way the dot products of a block are exact integers. With a constant offset,
//! `scale · (dot − offset · Σa)` is exact in integers as well; mins add `min · Σa`.
//!
//! A product of one row waits for the weights to come from memory ([`one`]); of more rows, four are multiplied with what of a
//! panel is in registers ([`tile`]). A row's sums are the same in both. Both sides are read front to back by pointers: the
//! layouts are those of [`PackedMatrix`] and [`Tiles::new`]. More than four rows read panels whose factors and
//! levels were widened once ([`wide`]), others read them as they are stored.

mod format;
mod one;
mod tile;
mod wide;

use super::Tiles;
use super::pack::{PackedMatrix, ROWS};
use super::streams;
use crate::kernels::simd::Simd;
use crate::kernels::threads::{Places, Threads};
use crate::quant::AffineLayout;
use format::{Format, Of};
use std::ops::Range;
pub use tile::TILE;

/// Multiplications that are worth handing to another thread: a microsecond.
const WORTH: usize = 1 << 15;

/// What is multiplied.
pub struct Job<'a> {
    pub threads: Threads,
    pub weight: &'a PackedMatrix,
    pub affine: AffineLayout,
    /// `[m, k]`; quantised to 8 bits on the way.
    pub a: &'a [f32],
    pub m: usize,
    /// Whether each panel is multiplied along with that of the same place in the second half; a half is whole panels.
    pub halves: bool,
}

/// What a thread does with columns once it has their sums, and, of [halves](Job::halves), those of the second half.
pub type Done<'a> = &'a (dyn Fn(Range<usize>) + Sync);

/// `out[i, j] = Σ a[i, ·] · w[j, ·]`, `[m, n]`, and what comes after it. `BYTES` is [`S::BYTE_PRODUCTS`](Simd::BYTE_PRODUCTS), or
/// false for a test of what is without them.
///
/// # Safety
/// Nobody uses `out` meanwhile but `done`, and that the columns which it is given.
pub unsafe fn matmul<S: Simd, const BYTES: bool>(job: Job, out: &Places<f32>, done: Done) {
    let run = match job.affine.bits {
        4 if BYTES => run_of::<S, 4, false>,
        5 if BYTES => run_of::<S, 5, false>,
        6 if BYTES => run_of::<S, 6, false>,
        4 => run_of::<S, 4, true>,
        5 => run_of::<S, 5, true>,
        6 => run_of::<S, 6, true>,
        _ => run_of::<S, 8, true>,
    };
    // SAFETY: the caller vouches for `out`.
    unsafe { run(job.affine)(job, out, done) };
}

type Run = unsafe fn(Job, &Places<f32>, Done);

fn run_of<S: Simd, const BITS: usize, const WORDS: bool>(affine: AffineLayout) -> Run {
    match (affine.group, affine.offset, affine.half_factors) {
        (32, Some(_), true) => run::<S, Of<BITS, 1, true, true, WORDS>>,
        (32, None, true) => run::<S, Of<BITS, 1, false, true, WORDS>>,
        (32, Some(_), false) => run::<S, Of<BITS, 1, true, false, WORDS>>,
        (32, None, false) => run::<S, Of<BITS, 1, false, false, WORDS>>,
        // No format has halves for groups of 16.
        (_, Some(_), _) => run::<S, Of<BITS, 2, true, false, WORDS>>,
        (_, None, _) => run::<S, Of<BITS, 2, false, false, WORDS>>,
    }
}

/// # Safety
/// As for [`matmul`].
unsafe fn run<S: Simd, F: Format>(job: Job, out: &Places<f32>, done: Done) {
    let Job { threads, weight, affine, a, m, halves } = job;
    let (n, k, n_panels) = (weight.n(), weight.k(), weight.n_panels());
    debug_assert!(!halves || (n / 2).is_multiple_of(ROWS));
    let out = Sums { out, n };
    let (n_shared, parts) = if halves { (n_panels / 2, 2) } else { (n_panels, 1) };
    let grain = WORTH / (parts * ROWS * m * k).max(1) + 1;
    let share = |multiply: &(dyn Fn(Range<usize>) + Sync)| {
        threads.for_each(n_shared, grain, |panels| {
            for part in 0..parts {
                multiply(part * n_shared + panels.start..part * n_shared + panels.end);
            }
            done(panels.start * ROWS..(panels.end * ROWS).min(n));
        });
    };
    if m == 1 {
        let tiles = tiles::<F, 1>(threads, affine, a, k);
        let row = tiles.iter().next().unwrap_or_default();
        return streams::choose(weight.memory_bytes(), |streams| {
            share(&|panels| one::multiply::<S, F>(weight, panels, streams, row, &out));
        });
    }
    let tiles = tiles::<F, TILE>(threads, affine, a, k);
    share(&|panels| {
        let mut widened = Vec::new();
        for panel in panels {
            let units = weight.panel(panel);
            let wide = (F::WIDENS && m > TILE).then(|| wide::widen::<S, F>(units, &mut widened));
            for (first, words) in (0..m).step_by(TILE).zip(tiles.iter()) {
                let sums = match wide {
                    Some(units) => tile::sums::<S, F, false>(units, words, k),
                    None => tile::sums::<S, F, true>(units, words, k),
                };
                for (sums, row) in sums.into_iter().zip(first..m) {
                    // SAFETY: the columns of a panel belong to one thread.
                    unsafe { out.put::<S>(panel, row, sums) };
                }
            }
        }
    });
}

/// Where sums go.
struct Sums<'a> {
    out: &'a Places<'a, f32>,
    n: usize,
}

impl Sums<'_> {
    /// Puts the sums of a row with a panel. (A copy of a length that is not known would be a call for each panel.)
    ///
    /// # Safety
    /// Nobody else uses the columns of the panel meanwhile.
    #[inline(always)]
    unsafe fn put<S: Simd>(&self, panel: usize, row: usize, sums: [S::F; 2]) {
        let first = panel * ROWS;
        let at = row * self.n + first;
        let width = (self.n - first).min(ROWS);
        // SAFETY: the caller vouches for them.
        let out = unsafe { self.out.range(at..at + width) };
        if let ([low, high], []) = out.as_chunks_mut::<4>() {
            S::store(sums[0], low);
            S::store(sums[1], high);
            return;
        }
        let mut both = [[0.0; 4]; 2];
        S::store(sums[0], &mut both[0]);
        S::store(sums[1], &mut both[1]);
        out.iter_mut().zip(both.as_flattened()).for_each(|(to, sum)| *to = *sum);
    }
}

fn tiles<F: Format, const ROWS: usize>(threads: Threads, affine: AffineLayout, a: &[f32], k: usize) -> Tiles {
    match F::WORDS {
        true => Tiles::new::<ROWS, true>(threads, affine, a, k),
        false => Tiles::new::<ROWS, false>(threads, affine, a, k),
    }
}
