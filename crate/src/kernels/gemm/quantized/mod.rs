//! Products of quantised panels with quantised activations.
//!
//! Bytes are multiplied with bytes where the vectors can ([`Simd::BYTE_PRODUCTS`]): four at a time, summed in i32, where the
//! machine does that in one instruction ([`Bytes::best`]); elsewhere two, and summed in i16 as long as those hold the
//! sums: levels of four bits over a whole block of 32 (`16 pairs / 2 lanes · 2 · 15 · 127 = 30,480`), of five over four steps
//! (`2 · 4 · 31 · 127`), of six over two (`2 · 2 · 63 · 127`); levels of eight bits then are widened to i16 and summed in i32,
//! as all are where vectors multiply no bytes. Either way the dot products of a block are exact integers. With a constant
//! offset, `scale · (dot − offset · Σa)` is exact in integers as well; mins add `min · Σa`.
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
use format::{FOURS, Format, Of, PAIRS, SIGNED_FOURS, WORDS};
use std::hint::black_box;
use std::ops::Range;
pub use tile::TILE;

/// Multiplications that are worth handing to another thread: a microsecond.
const WORTH: usize = 1 << 15;

/// The level of eight bits that means zero.
const SIGN: u8 = 128;

/// What is multiplied.
pub struct Job<'a> {
    pub threads: Threads,
    pub weight: &'a PackedMatrix,
    pub affine: AffineLayout,
    /// [`Bytes::best`], or another for a test.
    pub bytes: Bytes,
    /// `[m, k]`; quantised to 8 bits on the way.
    pub a: &'a [f32],
    pub m: usize,
    /// Whether each panel is multiplied along with that of the same place in the second half; a half is whole panels.
    pub halves: bool,
}

/// What a thread does with columns once it has their sums, and, of [halves](Job::halves), those of the second half.
pub type Done<'a> = &'a (dyn Fn(Range<usize>) + Sync);

/// How this machine best multiplies bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// [`PAIRS`].
    Pairs,
    /// [`FOURS`], unsigned or signed where they have more than seven bits.
    Fours { signed: bool },
}

impl Bytes {
    /// What one instruction does tells: where four products and their sum are one of the machine's, eight bits of weights are
    /// taken as they are, signed (`sdot`) or unsigned (`vpdpbusd`). Elsewhere sums of two are cut off at 16 bits.
    pub fn best<S: Simd>() -> Self {
        let (largest, all) = black_box(([127; 4], -1));
        let mut sums = [0; 16];
        S::store_i(S::dot_i32(S::zero_i(), S::splat_4(&largest), S::splat_i32(all)), &mut sums);
        match i32::from_le_bytes([sums[0], sums[1], sums[2], sums[3]]) {
            -508 => Self::Fours { signed: true },
            129_540 => Self::Fours { signed: false },
            _ => Self::Pairs,
        }
    }
}

/// `out[i, j] = Σ a[i, ·] · w[j, ·]`, `[m, n]`, and what comes after it. `BYTES` is [`S::BYTE_PRODUCTS`](Simd::BYTE_PRODUCTS), or
/// false for a test of what is without them.
///
/// # Safety
/// Nobody uses `out` meanwhile but `done`, and that the columns which it is given.
pub unsafe fn matmul<S: Simd, const BYTES: bool>(job: Job, out: &Places<f32>, done: Done) {
    let run = match (job.affine.bits, job.bytes) {
        (4, _) if !BYTES => run_of::<S, 4, WORDS>,
        (5, _) if !BYTES => run_of::<S, 5, WORDS>,
        (6, _) if !BYTES => run_of::<S, 6, WORDS>,
        (4, Bytes::Pairs) => run_of::<S, 4, PAIRS>,
        (5, Bytes::Pairs) => run_of::<S, 5, PAIRS>,
        (6, Bytes::Pairs) => run_of::<S, 6, PAIRS>,
        (4, _) => run_of::<S, 4, FOURS>,
        (5, _) => run_of::<S, 5, FOURS>,
        (6, _) => run_of::<S, 6, FOURS>,
        (_, Bytes::Fours { signed }) if BYTES && job.affine.offset == Some(SIGN) => match signed {
            true => run_of_bytes::<S, SIGNED_FOURS>,
            false => run_of_bytes::<S, FOURS>,
        },
        _ => run_of::<S, 8, WORDS>,
    };
    // SAFETY: the caller vouches for `out`.
    unsafe { run(job.affine)(job, out, done) };
}

type Run = unsafe fn(Job, &Places<f32>, Done);

fn run_of<S: Simd, const BITS: usize, const PRODUCTS: u8>(affine: AffineLayout) -> Run {
    match (affine.group, affine.offset, affine.half_factors) {
        (32, Some(_), true) => run::<S, Of<BITS, 1, true, true, PRODUCTS>>,
        (32, None, true) => run::<S, Of<BITS, 1, false, true, PRODUCTS>>,
        (32, Some(_), false) => run::<S, Of<BITS, 1, true, false, PRODUCTS>>,
        (32, None, false) => run::<S, Of<BITS, 1, false, false, PRODUCTS>>,
        // No format has halves for groups of 16.
        (_, Some(_), _) => run::<S, Of<BITS, 2, true, false, PRODUCTS>>,
        (_, None, _) => run::<S, Of<BITS, 2, false, false, PRODUCTS>>,
    }
}

/// What has eight bits and an offset has groups of 32.
fn run_of_bytes<S: Simd, const PRODUCTS: u8>(affine: AffineLayout) -> Run {
    match affine.half_factors {
        true => run::<S, Of<8, 1, true, true, PRODUCTS>>,
        false => run::<S, Of<8, 1, true, false, PRODUCTS>>,
    }
}

/// # Safety
/// As for [`matmul`].
unsafe fn run<S: Simd, F: Format>(job: Job, out: &Places<f32>, done: Done) {
    let Job { threads, weight, mut affine, a, m, halves, .. } = job;
    if F::PRODUCTS == SIGNED_FOURS {
        // Levels are less by that.
        affine.offset = affine.offset.map(|offset| offset - SIGN);
    }
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
