//! Convolution by filters of three by three in tiles of two by two outputs: sixteen products of transformed tiles by
//! transformed filters do what thirty-six would, 2.25 times fewer multiplications for each output. Lavin and Gray 2016,
//! arXiv:1509.09308, F(2×2, 3×3); the transforms only add, and halve filters, so little is lost to rounding.

use super::frame::Frame;
use super::{Filters, Sizes, product_of, zeros};
use crate::error::Result;
use crate::kernels::gemm::tile::{Epilogue, WIDE, multiply, pack_rows};
use crate::kernels::simd::{Best, Simd};
use crate::kernels::threads::{Places, Threads};

/// Elements of a tile, transformed or not.
const TILE: usize = 16;
/// Bytes of transformed tiles, and of their products, that are in work on each thread.
const WORK: usize = 640 << 10;
/// Bytes of the strip of padded images that they are made of.
const STRIP: usize = 320 << 10;

/// The filters `w [each, k, 3, 3]`, transformed and packed: a matrix `[each, k]` for each element of a tile.
pub(super) fn filters(w: &[f32], each: usize, k: usize) -> Result<Vec<f32>> {
    let own = each * k;
    let (mut plain, mut packed) = (zeros(product_of([own, TILE])?)?, zeros(product_of([own, TILE])?)?);
    for (i, w) in w.as_chunks::<9>().0.iter().enumerate().take(own) {
        let rows = [0, 1, 2].map(|column| along([w[column], w[3 + column], w[6 + column]]));
        for row in 0..4 {
            let line = along([rows[0][row], rows[1][row], rows[2][row]]);
            line.iter().enumerate().for_each(|(column, x)| plain[(4 * row + column) * own + i] = *x);
        }
    }
    for (plain, packed) in plain.chunks_exact(own.max(1)).zip(packed.chunks_exact_mut(own.max(1))) {
        pack_rows(Threads::single(), plain, (k, 1), (each, k), packed);
    }
    Ok(packed)
}

/// One dimension of the transform of a filter.
fn along([a, b, c]: [f32; 3]) -> [f32; 4] {
    [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c]
}

/// As [`super::conv`], of windows of three by three without strides.
pub(super) fn run(
    threads: Threads,
    x: &[f32],
    filters: &Filters,
    y: &mut [f32],
    sizes: &Sizes,
    epilogue: &Epilogue,
) -> Result<()> {
    let (each, channels, outputs) = (filters.each, filters.k, sizes.outputs());
    let [height, width] = [sizes.out[0], sizes.out[1]];
    // Tiles are windows of four by four, two apart, over an image that is padded to a whole number of them.
    let mut tiles = Sizes {
        windows: sizes.windows.clone(),
        input: sizes.input.clone(),
        out: vec![height.div_ceil(2), width.div_ceil(2)],
    };
    (tiles.windows.kernel, tiles.windows.strides) = (vec![4, 4], vec![2, 2]);
    for (i, pad) in tiles.windows.pads.iter_mut().enumerate() {
        pad.1 = product_of([pad.1])?.saturating_add(sizes.out[i] % 2);
    }
    let frame = Frame::new(&tiles)?;
    let slab = frame.slab()?;
    let fit = (STRIP / 4 / (slab * channels).max(1)).max(4).saturating_sub(2);
    let rows = (fit / 2).clamp(1, tiles.out[0].max(1));
    let plane = product_of([Frame::rows(&tiles, rows), slab])?;
    let mut strip = zeros(product_of([plane, channels])?)?;
    let (taps, starts) = (frame.taps(&tiles), frame.starts(&tiles, rows));
    let block = (WORK / 4 / TILE / (channels + each).max(1) / WIDE * WIDE).max(2 * WIDE) * threads.count();
    let block = block.min(starts.len().next_multiple_of(WIDE));
    let mut transformed = zeros(product_of([TILE * block, channels])?)?;
    let mut products = zeros(product_of([TILE * block, each])?)?;
    let pixels = sizes.pixels();
    for (image, y) in y.chunks_exact_mut((each * outputs).max(1)).enumerate() {
        let x = &x[image * channels * pixels..][..channels * pixels];
        for row in (0..tiles.out[0]).step_by(rows) {
            let rows = rows.min(tiles.out[0] - row);
            frame.fill_all(threads, &tiles, x, 2 * row, Frame::rows(&tiles, rows), (&mut strip, plane));
            let starts = &starts[..rows * tiles.out[1]];
            for (nth, starts) in starts.chunks(block).enumerate() {
                let n = starts.len().next_multiple_of(WIDE);
                let panels = &mut transformed[..TILE * n * channels];
                transform::<Best>(threads, &strip, plane, starts, &taps, panels);
                threads.for_rows(&mut products[..TILE * n * each], n * each, 1, |first, sums| {
                    let matrices = filters.values.chunks_exact((each * channels).max(1)).skip(first);
                    let panels = panels.chunks_exact((n * channels).max(1)).skip(first);
                    for ((rows, panels), sums) in
                        matrices.zip(panels).zip(sums.chunks_exact_mut((n * each).max(1)))
                    {
                        let sizes = (each, channels, n);
                        multiply(Threads::single(), rows, panels, sizes, sums, n, &Epilogue::default());
                    }
                });
                let first = (row * tiles.out[1] + nth * block, starts.len());
                threads.for_rows(y, outputs, 1, |filter, y| {
                    for (filter, y) in (filter..).zip(y.chunks_exact_mut(outputs)) {
                        let bias = epilogue.row_bias.map_or(0.0, |bias| bias[filter]);
                        outputs_of::<Best>(
                            &products[filter * n..],
                            (n, n * each),
                            bias,
                            first,
                            (height, width),
                            y,
                        );
                    }
                });
            }
            let (start, end) = (2 * row * width, (2 * (row + rows)).min(height) * width);
            let epilogue = epilogue.from(image * each * outputs);
            threads.for_rows(y, outputs, 1, |filter, y| {
                for (filter, y) in (filter..).zip(y.chunks_exact_mut(outputs)) {
                    epilogue.finish(&mut y[start..end], filter * outputs + start);
                }
            });
        }
    }
    Ok(())
}

/// Transforms the tiles that begin at `starts` in each channel to panels `[16][n / 8][channels][8]`.
fn transform<S: Simd>(
    threads: Threads,
    strip: &[f32],
    plane: usize,
    starts: &[u32],
    taps: &[u32],
    panels: &mut [f32],
) {
    let most = |of: &[u32]| of.iter().copied().max().unwrap_or(0) as usize;
    assert!(plane == 0 || taps.len() == TILE && most(starts) + most(taps) < plane);
    let channels = strip.len() / plane.max(1);
    let apart = panels.len() / TILE;
    let panels = Places::new(panels);
    threads.for_each(starts.len().div_ceil(WIDE), 1 + 128 / channels.max(1), |all| {
        for panel in all {
            let starts = &starts[panel * WIDE..starts.len().min((panel + 1) * WIDE)];
            let (first, last) = (starts[0] as usize, starts[starts.len() - 1] as usize);
            let side_by_side = starts.len() == WIDE && last - first == WIDE - 1;
            for (channel, image) in strip.chunks_exact(plane.max(1)).enumerate() {
                let mut tile = [[0.0; WIDE]; TILE];
                for (elements, &tap) in tile.iter_mut().zip(taps) {
                    if side_by_side {
                        elements.copy_from_slice(&image[first + tap as usize..][..WIDE]);
                    } else {
                        let each = elements.iter_mut().zip(starts);
                        each.for_each(|(to, &start)| *to = image[start as usize + tap as usize]);
                    }
                }
                let at = (panel * channels + channel) * WIDE;
                for half in 0..2 {
                    let d: [[S::F; 4]; 4] = std::array::from_fn(|row| {
                        std::array::from_fn(|column| {
                            S::load(&tile[4 * row + column].as_chunks::<4>().0[half])
                        })
                    });
                    let one =
                        |[a, b, c, d]: [S::F; 4]| [S::sub(a, c), S::add(b, c), S::sub(c, b), S::sub(b, d)];
                    let rows = d.map(one);
                    let columns: [[S::F; 4]; 4] =
                        std::array::from_fn(|column| one(std::array::from_fn(|row| rows[row][column])));
                    for (column, line) in columns.into_iter().enumerate() {
                        for (row, x) in line.into_iter().enumerate() {
                            let first = (4 * row + column) * apart + at + 4 * half;
                            // SAFETY: each panel belongs to one thread.
                            let to = unsafe { panels.range(first..first + 4) };
                            if let Some(to) = to.first_chunk_mut() {
                                S::store(x, to);
                            }
                        }
                    }
                }
            }
        }
    });
}

/// Writes the outputs of tiles `first..first + count` of one filter: element `e` of tile `t` is `products[e · apart + t]`.
fn outputs_of<S: Simd>(
    products: &[f32],
    (n, apart): (usize, usize),
    bias: f32,
    (first, count): (usize, usize),
    (height, width): (usize, usize),
    y: &mut [f32],
) {
    let bias = S::splat(bias);
    let across = width.div_ceil(2);
    for tile in (0..n).step_by(4) {
        let m: [[S::F; 4]; 4] = std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                let at = &products[(4 * row + column) * apart + tile..];
                at.first_chunk().map_or(bias, S::load)
            })
        });
        let one = |[a, b, c, d]: [S::F; 4]| [S::add(S::add(a, b), c), S::sub(S::sub(b, c), d)];
        let rows = m.map(one);
        let mut out = [[[0.0; 4]; 2]; 2];
        for column in 0..2 {
            let line = one(std::array::from_fn(|row| rows[row][column]));
            for (row, x) in line.into_iter().enumerate() {
                S::store(S::add(x, bias), &mut out[row][column]);
            }
        }
        let (at, left) = (first + tile, count.saturating_sub(tile).min(4));
        for lane in 0..left {
            let (tile_row, tile_column) = ((at + lane) / across, (at + lane) % across);
            for (row, out) in out.iter().enumerate() {
                let (row, column) = (2 * tile_row + row, 2 * tile_column);
                if row < height {
                    let y = &mut y[row * width..][..width];
                    y[column] = out[0][lane];
                    if let Some(y) = y.get_mut(column + 1) {
                        *y = out[1][lane];
                    }
                }
            }
        }
    }
}
