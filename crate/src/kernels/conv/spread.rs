//! The gradient of a convolution with respect to its image: each pixel, multiplied by the filters, is added to all that
//! its window covers. The products of a strip of pixels are computed at once, then spread.

use super::{Filters, Sizes, product_of, zeros};
use crate::error::Result;
use crate::kernels::gemm::tile::{Epilogue, WIDE, multiply, pack_columns};
use crate::kernels::threads::Threads;

/// Bytes of the products that are in work.
const WORK: usize = 256 << 10;

pub(super) fn run(
    threads: Threads,
    x: &[f32],
    filters: &Filters,
    y: &mut [f32],
    sizes: &Sizes,
    epilogue: &Epilogue,
) -> Result<()> {
    let Filters { groups, each, k, .. } = *filters;
    let (pixels, covered, taps) = (sizes.outputs(), sizes.pixels(), sizes.taps());
    let planes = groups * each / taps.max(1);
    if covered == 0 {
        return Ok(());
    }
    for (plane, y) in y.chunks_exact_mut(covered).enumerate() {
        y.fill(epilogue.row_bias.map_or(0.0, |bias| bias[plane % planes.max(1)]));
    }
    let inner = pixels / sizes.out[0].max(1);
    let rows = (WORK / 4 / product_of([inner, each])?.max(1)).clamp(1, sizes.out[0].max(1));
    let n = rows * inner;
    let mut panels = zeros(product_of([k, n.next_multiple_of(WIDE)])?)?;
    let mut products = zeros(product_of([each, n])?)?;
    let images =
        x.chunks_exact((groups * k * pixels).max(1)).zip(y.chunks_exact_mut((planes * covered).max(1)));
    for (x, y) in images {
        for group in 0..groups {
            let x = &x[group * k * pixels..][..k * pixels];
            let y = &mut y[group * planes / groups * covered..][..planes / groups * covered];
            for row in (0..sizes.out[0]).step_by(rows) {
                let n = rows.min(sizes.out[0] - row) * inner;
                pack_columns(threads, &x[row * inner..], (pixels, 1), (k, n), &mut panels);
                let all = (each, k, n);
                multiply(threads, filters.group(group), &panels, all, &mut products, n, &Epilogue::default());
                threads.for_rows(y, covered, 1, |first, y| {
                    let products = &products[first * taps * n..][..y.len() / covered * taps * n];
                    spread(sizes, products, row, n / inner.max(1), y);
                });
            }
        }
    }
    threads.for_rows(y, covered, 1, |first, y| epilogue.finish(y, first * covered));
    Ok(())
}

/// Adds `products [filters · taps, rows, …]` of the pixels of `rows` rows to what their windows cover.
fn spread(sizes: &Sizes, products: &[f32], first: usize, rows: usize, y: &mut [f32]) {
    let w = &sizes.windows;
    let last = sizes.out.len() - 1;
    let (width, covered) = (sizes.out[last], sizes.input[last]);
    let lines = rows * sizes.out[1..last].iter().product::<usize>();
    let (taps, plane) = (sizes.taps(), sizes.pixels());
    for (i, products) in products.chunks_exact((lines * width).max(1)).enumerate() {
        let (filter, tap) = (i / taps, i % taps);
        let y = &mut y[filter * plane..];
        // The pixels of a line whose element at this tap lies within.
        let (reach, stride) = (tap % w.kernel[last] * w.dilations[last], w.strides[last]);
        let before = w.pads[last].0;
        let start = before.saturating_sub(reach).div_ceil(stride);
        let end = (covered + before).saturating_sub(reach).div_ceil(stride).min(width);
        if start >= end {
            continue;
        }
        for (line, products) in products.chunks_exact(width).enumerate() {
            let (mut line, mut tap, mut at) = (line, tap / w.kernel[last], Some((0, 1)));
            for d in (0..last).rev() {
                let size = if d == 0 { rows } else { sizes.out[d] };
                let index = line % size + if d == 0 { first } else { 0 };
                let inside = w.at(d, index, tap % w.kernel[d], sizes.input[d]);
                at = at.zip(inside).map(|((at, step), index)| (at + index * step, step * sizes.input[d]));
                (line, tap) = (line / size, tap / w.kernel[d]);
            }
            let Some((at, _)) = at else { continue };
            let to = &mut y[at * covered + start * stride + reach - before..];
            let values = &products[start..end];
            to.iter_mut().step_by(stride).zip(values).for_each(|(y, x)| *y += x);
        }
    }
}
