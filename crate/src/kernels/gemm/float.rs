//! Products with f32 activations: of float panels as they are, and of quantised ones decoded panel by panel
//! into a buffer that stays in the cache.

use super::pack::{BLOCK, Layout, PackedMatrix, ROWS};
use super::tile::{self, Epilogue, Product, TALL};
use crate::kernels::threads::{Places, Threads};

/// Bytes of packed activations that stay in the cache while all panels go by.
const CACHED: usize = 1 << 18;

/// `out[i, j] = Σ a[i, ·] · w[j, ·]`, and the epilogue; `a` is `[m, k]`, `out` `[m, n]`.
pub fn matmul(
    threads: Threads,
    weight: &PackedMatrix,
    a: &[f32],
    m: usize,
    out: &mut [f32],
    epilogue: &Epilogue,
) {
    let (n, k) = (weight.n(), weight.k());
    let block = (CACHED / 4 / k.max(1)).max(TALL).next_multiple_of(TALL).min(m);
    let mut packed = vec![0.0; if m > 1 { block * k } else { 0 }];
    for start in (0..m).step_by(block.max(1)) {
        let rows = block.min(m - start);
        let a = &a[start * k..][..rows * k];
        let (out, epilogue) = (&mut out[start * n..][..rows * n], epilogue.from(start * n));
        let a = if m > 1 {
            tile::pack_rows(threads, a, (k, 1), (rows, k), &mut packed);
            &packed[..]
        } else {
            a
        };
        match weight.layout {
            Layout::Float => {
                let panels = bytemuck::cast_slice(weight.all_panels());
                tile::multiply(threads, a, panels, (rows, k, n), out, n, &epilogue);
            }
            Layout::Affine(affine) => {
                let y = Places::new(out);
                threads.for_each(weight.n_panels(), 1, |panels| {
                    let mut decoded = vec![0.0f32; k * ROWS];
                    for panel in panels {
                        let units = weight.panel(panel);
                        for (block, out) in decoded.chunks_exact_mut(BLOCK * ROWS).enumerate() {
                            weight.decode_block(affine, units, block, out);
                        }
                        let (first, wide) = (panel * ROWS, (n - panel * ROWS).min(ROWS));
                        let epilogue = Epilogue {
                            column_bias: epilogue.column_bias.map(|bias| &bias[first..]),
                            ..epilogue.from(first)
                        };
                        let product = Product {
                            rows: a,
                            panels: &decoded,
                            sizes: (rows, k, wide),
                            y: y.after(first),
                            stride: n,
                            epilogue: &epilogue,
                        };
                        // SAFETY: the columns of a panel belong to one thread.
                        unsafe { product.part(0..rows, 0..wide) };
                    }
                });
            }
        }
    }
}
