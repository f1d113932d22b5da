//! Products of quantised panels with quantised activations.
//!
//! An unsigned 4-bit level times a signed 8-bit one is summed in i16 over a whole block of 32:
//! `16 pairs / 2 lanes · 2 · 15 · 127 = 30,480` fits. One dot product with a constant widens the sums to i32.
//! An 8-bit level is two nibbles, `16 · high + low`, each summed that way. With a constant offset,
//! `scale · (dot − offset · Σa)` is exact in integers; mins add `min · Σa`.
//!
//! A tile is one or two quads of rows by `C` columns of activations, all accumulators in registers.

use super::QuantizedRows;
use super::pack::{BLOCK, PackedMatrix, ROWS};
use crate::kernels::simd::Simd;
use crate::kernels::threads::Threads;
use crate::quant::AffineLayout;

/// `out[i, j] = Σ a[i, ·] · w[j, ·]` for `m` rows of activations; `out` is `[m, n]`.
pub fn matmul<S: Simd>(
    threads: &Threads,
    weight: &PackedMatrix,
    affine: AffineLayout,
    a: &QuantizedRows,
    m: usize,
    out: &mut [f32],
) {
    match (affine.bits, affine.group, affine.offset) {
        (4, 32, Some(offset)) => run::<S, 4, 1, true>(threads, weight, offset, a, m, out),
        (4, 32, None) => run::<S, 4, 1, false>(threads, weight, 0, a, m, out),
        (4, _, Some(offset)) => run::<S, 4, 2, true>(threads, weight, offset, a, m, out),
        (4, _, None) => run::<S, 4, 2, false>(threads, weight, 0, a, m, out),
        (_, 32, Some(offset)) => run::<S, 8, 1, true>(threads, weight, offset, a, m, out),
        (_, 32, None) => run::<S, 8, 1, false>(threads, weight, 0, a, m, out),
        (_, _, Some(offset)) => run::<S, 8, 2, true>(threads, weight, offset, a, m, out),
        (_, _, None) => run::<S, 8, 2, false>(threads, weight, 0, a, m, out),
    }
}

fn run<S: Simd, const BITS: usize, const GROUPS: usize, const OFFSET: bool>(
    threads: &Threads,
    weight: &PackedMatrix,
    offset: u8,
    a: &QuantizedRows,
    m: usize,
    out: &mut [f32],
) {
    let n = weight.n();
    threads.parallel_for(weight.n_panels(), |panels| {
        for panel in panels {
            let units: &[[u8; 16]] = bytemuck::cast_slice(weight.panel(panel));
            let first = panel * ROWS;
            let mut put = |row: usize, quad: usize, sums: [f32; 4]| {
                let start = first + quad * 4;
                let width = n.saturating_sub(start).min(4);
                out[row * n..][start.min(n)..][..width].copy_from_slice(&sums[..width]);
            };
            let mut row = 0;
            while row + 4 <= m {
                for quad in 0..2 {
                    let sums = tile::<S, BITS, GROUPS, OFFSET, 1, 4>(units, quad, offset, a, row, weight.k());
                    for (c, sums) in sums.into_iter().enumerate() {
                        put(row + c, quad, sums[0]);
                    }
                }
                row += 4;
            }
            while row < m {
                let [sums] = tile::<S, BITS, GROUPS, OFFSET, 2, 1>(units, 0, offset, a, row, weight.k());
                put(row, 0, sums[0]);
                put(row, 1, sums[1]);
                row += 1;
            }
        }
    });
}

/// The sums of `Q` quads of rows, from quad `quad`, by `C` rows of activations, from row `row`.
#[inline(always)]
fn tile<
    S: Simd,
    const BITS: usize,
    const GROUPS: usize,
    const OFFSET: bool,
    const Q: usize,
    const C: usize,
>(
    panel: &[[u8; 16]],
    quad: usize,
    offset: u8,
    a: &QuantizedRows,
    row: usize,
    k: usize,
) -> [[[f32; 4]; Q]; C] {
    let n_blocks = k / BLOCK;
    let factor_units = GROUPS * 2 * if OFFSET { 1 } else { 2 };
    let steps = if BITS == 4 { 4 } else { 8 };
    let (levels, _) = a.levels.as_chunks::<4>();
    let (sums, _) = a.sums.as_chunks::<2>();
    let levels: [&[[i8; 4]]; C] = std::array::from_fn(|c| &levels[(row + c) * k / 4..][..k / 4]);
    let scales: [&[f32]; C] = std::array::from_fn(|c| &a.scales[(row + c) * n_blocks..][..n_blocks]);
    let sums: [&[[i32; 2]]; C] = std::array::from_fn(|c| &sums[(row + c) * n_blocks..][..n_blocks]);
    let mut total = [[S::splat(0.0); Q]; C];
    for (block, units) in panel.chunks_exact(factor_units + steps * 2).enumerate().take(n_blocks) {
        let (factors, weights) = units.split_at(factor_units);
        let activations: [&[[i8; 4]; 8]; C] =
            std::array::from_fn(|c| levels[c][block * 8..][..8].first_chunk().unwrap_or(&[[0; 4]; 8]));
        // low[g], high[g]: the i16 sums of group g, of low and high nibbles.
        let mut low = [[[S::zero_i(); Q]; C]; GROUPS];
        let mut high = [[[S::zero_i(); Q]; C]; GROUPS];
        for step in 0..steps {
            for q in 0..Q {
                let weight = S::load_i(&weights[step * 2 + quad + q]);
                let (lo, hi) = (S::low_nibbles(weight), S::high_nibbles(weight));
                for c in 0..C {
                    if BITS == 4 {
                        // Low nibbles are columns 0..16, high ones 16..32: the same sum, or two groups.
                        let (x, y) =
                            (S::splat_4(&activations[c][step]), S::splat_4(&activations[c][step + 4]));
                        low[0][c][q] = S::dot_i16(low[0][c][q], x, lo);
                        low[GROUPS - 1][c][q] = S::dot_i16(low[GROUPS - 1][c][q], y, hi);
                    } else {
                        let group = step * GROUPS / 8;
                        let x = S::splat_4(&activations[c][step]);
                        low[group][c][q] = S::dot_i16(low[group][c][q], x, lo);
                        high[group][c][q] = S::dot_i16(high[group][c][q], x, hi);
                    }
                }
            }
        }
        for group in 0..GROUPS {
            for c in 0..C {
                let [first, second] = sums[c][block];
                let sum = match (GROUPS, group) {
                    (1, _) => first + second,
                    (_, 0) => first,
                    _ => second,
                };
                let scale = S::splat(scales[c][block]);
                for q in 0..Q {
                    let mut dot = S::widen_dot(low[group][c][q], 1);
                    if BITS == 8 {
                        dot = S::add_i32(dot, S::widen_dot(high[group][c][q], 16));
                    }
                    if OFFSET {
                        dot = S::add_i32(dot, S::splat_i32(-i32::from(offset) * sum));
                    }
                    let factor = S::mul(load_factor::<S>(factors, group * 2 + quad + q), scale);
                    total[c][q] = S::mul_add(S::to_f32(dot), factor, total[c][q]);
                    if !OFFSET {
                        let min = load_factor::<S>(factors, (GROUPS + group) * 2 + quad + q);
                        let sum = S::splat(scales[c][block] * sum as f32);
                        total[c][q] = S::mul_add(min, sum, total[c][q]);
                    }
                }
            }
        }
    }
    total.map(|quads| {
        quads.map(|sums| {
            let mut out = [0.0; 4];
            S::store(sums, &mut out);
            out
        })
    })
}

#[inline(always)]
fn load_factor<S: Simd>(factors: &[[u8; 16]], unit: usize) -> S::F {
    S::load(bytemuck::cast_ref::<[u8; 16], [f32; 4]>(&factors[unit]))
}
