//! Products with f32 activations: of float panels as they are, and of quantised ones decoded block by block
//! into a buffer that stays in the cache. A tile is eight rows by up to four columns.

use super::pack::{BLOCK, Layout, PackedMatrix, ROWS};
use crate::kernels::simd::Simd;
use crate::kernels::threads::Threads;

/// `out[i, j] = Σ a[i, ·] · w[j, ·]`; `a` is `[m, k]`, `out` `[m, n]`.
pub fn matmul<S: Simd>(threads: &Threads, weight: &PackedMatrix, a: &[f32], m: usize, out: &mut [f32]) {
    let (n, k) = (weight.n(), weight.k());
    threads.parallel_for(weight.n_panels(), |panels| {
        let mut decoded = match weight.layout {
            Layout::Float => Vec::new(),
            Layout::Affine(_) => vec![0.0f32; k * ROWS],
        };
        for panel in panels {
            let units = weight.panel(panel);
            let values: &[f32] = match weight.layout {
                Layout::Float => bytemuck::cast_slice(units),
                Layout::Affine(affine) => {
                    for (block, out) in decoded.chunks_exact_mut(BLOCK * ROWS).enumerate() {
                        weight.decode_block(affine, units, block, out);
                    }
                    &decoded
                }
            };
            let (values, _) = values.as_chunks::<ROWS>();
            let mut put = |row: usize, sums: [f32; ROWS]| {
                let width = (n - panel * ROWS).min(ROWS);
                out[row * n + panel * ROWS..][..width].copy_from_slice(&sums[..width]);
            };
            let mut row = 0;
            while row + 4 <= m {
                let sums = tile::<S, 4>(values, a, row, k);
                sums.into_iter().enumerate().for_each(|(c, sums)| put(row + c, sums));
                row += 4;
            }
            while row < m {
                let [sums] = tile::<S, 1>(values, a, row, k);
                put(row, sums);
                row += 1;
            }
        }
    });
}

#[inline(always)]
fn tile<S: Simd, const C: usize>(panel: &[[f32; ROWS]], a: &[f32], row: usize, k: usize) -> [[f32; ROWS]; C] {
    let rows: [&[f32]; C] = std::array::from_fn(|c| &a[(row + c) * k..][..k]);
    let mut total = [[S::splat(0.0); 2]; C];
    for (i, weights) in panel.iter().enumerate().take(k) {
        let (halves, _) = weights.as_chunks::<4>();
        let (low, high) = (S::load(&halves[0]), S::load(&halves[1]));
        for c in 0..C {
            let x = S::splat(rows[c][i]);
            total[c][0] = S::mul_add(x, low, total[c][0]);
            total[c][1] = S::mul_add(x, high, total[c][1]);
        }
    }
    total.map(|[low, high]| {
        let mut out = [0.0; ROWS];
        let (halves, _) = out.as_chunks_mut::<4>();
        S::store(low, &mut halves[0]);
        S::store(high, &mut halves[1]);
        out
    })
}
