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
pub use tile::TILE;

/// Multiplications that are worth handing to another thread: a microsecond.
const WORTH: usize = 1 << 15;

/// `out[i, j] = Σ a[i, ·] · w[j, ·]` with `m` rows of activations, which are quantised to 8 bits; `out` is `[m, n]`. `BYTES` is
/// [`S::BYTE_PRODUCTS`](Simd::BYTE_PRODUCTS), or false for a test of what is without them.
pub fn matmul<S: Simd, const BYTES: bool>(
    threads: Threads,
    weight: &PackedMatrix,
    affine: AffineLayout,
    a: &[f32],
    m: usize,
    out: &mut [f32],
) {
    if weight.k() == 0 || m == 0 {
        return out.fill(0.0);
    }
    let run = match affine.bits {
        4 if BYTES => run_of::<S, 4, false>(affine),
        5 if BYTES => run_of::<S, 5, false>(affine),
        6 if BYTES => run_of::<S, 6, false>(affine),
        4 => run_of::<S, 4, true>(affine),
        5 => run_of::<S, 5, true>(affine),
        6 => run_of::<S, 6, true>(affine),
        _ => run_of::<S, 8, true>(affine),
    };
    run(Job { threads, weight, affine, a, m }, out);
}

/// What is multiplied.
struct Job<'a> {
    threads: Threads,
    weight: &'a PackedMatrix,
    affine: AffineLayout,
    a: &'a [f32],
    m: usize,
}

type Run = fn(Job, &mut [f32]);

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

fn run<S: Simd, F: Format>(job: Job, out: &mut [f32]) {
    let Job { threads, weight, affine, a, m } = job;
    let (n, k, out) = (weight.n(), weight.k(), Places::new(out));
    let put = |panel: usize, row: usize, sums: [S::F; 2]| {
        let mut both = [[0.0; 4]; 2];
        S::store(sums[0], &mut both[0]);
        S::store(sums[1], &mut both[1]);
        let first = panel * ROWS;
        let at = row * n + first;
        let width = (n - first).min(ROWS);
        // SAFETY: the columns of a panel belong to one thread.
        let out = unsafe { out.range(at..at + width) };
        out.copy_from_slice(&both.as_flattened()[..width]);
    };
    let grain = WORTH / (ROWS * m * k) + 1;
    if m == 1 {
        let tiles = tiles::<F, 1>(threads, affine, a, k);
        let row = tiles.iter().next().unwrap_or_default();
        return streams::choose(weight.memory_bytes(), |streams| {
            threads.for_each(weight.n_panels(), grain, |panels| {
                one::multiply::<S, F>(weight, panels, streams, row, &put);
            });
        });
    }
    let tiles = tiles::<F, TILE>(threads, affine, a, k);
    threads.for_each(weight.n_panels(), grain, |panels| {
        let mut widened = Vec::new();
        for panel in panels {
            let units = weight.panel(panel);
            let wide = (F::WIDENS && m > TILE).then(|| wide::widen::<S, F>(units, &mut widened));
            for (first, words) in (0..m).step_by(TILE).zip(tiles.iter()) {
                let sums = match wide {
                    Some(units) => tile::sums::<S, F, false>(units, words, k),
                    None => tile::sums::<S, F, true>(units, words, k),
                };
                sums.into_iter().zip(first..m).for_each(|(sums, row)| put(panel, row, sums));
            }
        }
    });
}

fn tiles<F: Format, const ROWS: usize>(threads: Threads, affine: AffineLayout, a: &[f32], k: usize) -> Tiles {
    match F::WORDS {
        true => Tiles::new::<ROWS, true>(threads, affine, a, k),
        false => Tiles::new::<ROWS, false>(threads, affine, a, k),
    }
}
