//! Convolution as a packed product. The windows of neighbouring outputs become panels of eight columns, as many as a
//! cache holds with what they are made of, and the filters multiply them there: no matrix of all windows exists.

use super::frame::Frame;
use super::{Filters, Sizes, product_of, zeros};
use crate::error::Result;
use crate::kernels::gemm::tile::{Epilogue, WIDE, multiply, pack_columns};
use crate::kernels::threads::Threads;

/// Bytes of the panels that are in work on each thread.
const PANELS: usize = 160 << 10;
/// Bytes of the strip of padded images that they are made of.
const STRIP: usize = 320 << 10;

/// Values that are worth handing to another thread to pack.
const WORTH: usize = 1 << 13;

/// What all images of a batch share: where windows lie, and memory to work in.
pub(super) struct Product<'a> {
    threads: Threads,
    filters: &'a Filters,
    sizes: &'a Sizes,
    frame: Frame,
    /// Elements of a channel of the strip.
    plane: usize,
    /// Rows of windows of a strip.
    rows: usize,
    /// Where the elements of a window over all channels of a group lie, from its beginning.
    taps: Vec<u32>,
    /// Where the windows of a strip begin.
    starts: Vec<u32>,
    strip: Vec<f32>,
    /// Columns of the panels in work.
    columns: usize,
    panels: Vec<f32>,
}

impl<'a> Product<'a> {
    pub(super) fn new(threads: Threads, filters: &'a Filters, sizes: &'a Sizes) -> Result<Self> {
        let frame = Frame::new(sizes)?;
        let channels = filters.k / sizes.taps().max(1);
        let slab = frame.slab()?;
        let rows = if frame.bare {
            sizes.out[0]
        } else {
            let halo = Frame::rows(sizes, 1);
            let fit = (STRIP / 4 / (slab * channels).max(1)).max(2 * halo).saturating_sub(halo);
            (fit / sizes.windows.strides[0] + 1).min(sizes.out[0])
        };
        let covered = Frame::rows(sizes, rows);
        let plane = if frame.bare { sizes.pixels() } else { product_of([covered, slab])? };
        let strip = zeros(if frame.bare { 0 } else { product_of([plane, channels])? })?;
        let plain = frame.bare && sizes.taps() == 1 && sizes.windows.strides.iter().all(|s| *s == 1);
        let (taps, starts) = if plain {
            (Vec::new(), Vec::new())
        } else {
            product_of([plane, channels, 4])?;
            let window = frame.taps(sizes);
            let of = |channel: usize| window.iter().map(move |tap| tap + (channel * plane) as u32);
            ((0..channels).flat_map(of).collect(), frame.starts(sizes, rows))
        };
        let fit = (PANELS / 4 / filters.k.max(1)).max(WIDE) / WIDE * WIDE * threads.count();
        let columns = fit.min(sizes.outputs().next_multiple_of(WIDE));
        let panels = zeros(product_of([columns, filters.k])?)?;
        Ok(Self { threads, filters, sizes, frame, plane, rows, taps, starts, strip, columns, panels })
    }

    /// Convolves the channels of one group of an image.
    pub(super) fn group(&mut self, x: &[f32], group: usize, y: &mut [f32], epilogue: &Epilogue) {
        let inner = self.sizes.outputs() / self.sizes.out[0].max(1);
        for row in (0..self.sizes.out[0]).step_by(self.rows.max(1)) {
            let rows = self.rows.min(self.sizes.out[0] - row);
            self.fill(x, row, rows);
            self.strip(x, row, (row * inner, rows * inner), group, y, epilogue);
        }
    }

    /// Copies what `rows` rows of windows cover, with its padding.
    fn fill(&mut self, x: &[f32], row: usize, rows: usize) {
        if self.frame.bare {
            return;
        }
        let (first, covered) = (row * self.sizes.windows.strides[0], Frame::rows(self.sizes, rows));
        self.frame.fill_all(self.threads, self.sizes, x, first, covered, (&mut self.strip, self.plane));
    }

    /// The outputs `start..start + n`, whose windows the strip has.
    fn strip(
        &mut self,
        x: &[f32],
        row: usize,
        (start, n): (usize, usize),
        group: usize,
        y: &mut [f32],
        epilogue: &Epilogue,
    ) {
        let (outputs, k) = (self.sizes.outputs(), self.filters.k);
        for column in (0..n).step_by(self.columns) {
            let wide = self.columns.min(n - column);
            let panels = &mut self.panels[..wide.next_multiple_of(WIDE) * k];
            if self.taps.is_empty() {
                pack_columns(self.threads, &x[column..], (outputs, 1), (k, wide), panels);
            } else {
                let slab = self.plane / self.sizes.input[0].max(1);
                let image = if self.frame.bare {
                    &x[row * self.sizes.windows.strides[0] * slab..]
                } else {
                    &self.strip
                };
                pack_windows(self.threads, image, &self.starts[column..][..wide], &self.taps, panels);
            }
            let at = start + column;
            let sizes = (self.filters.each, k, wide);
            let y = &mut y[at..];
            multiply(self.threads, self.filters.group(group), panels, sizes, y, outputs, &epilogue.from(at));
        }
    }
}

/// Packs the windows that begin at `starts` as columns: their elements lie `taps` from there.
fn pack_windows(threads: Threads, image: &[f32], starts: &[u32], taps: &[u32], panels: &mut [f32]) {
    let most = |of: &[u32]| of.iter().copied().max().unwrap_or(0) as usize;
    assert!(starts.is_empty() || taps.is_empty() || most(starts) + most(taps) < image.len());
    let own = (taps.len() * WIDE).max(1);
    threads.for_rows(panels, own, WORTH / own + 1, |first, panels| {
        for (starts, panel) in starts[first * WIDE..].chunks(WIDE).zip(panels.chunks_exact_mut(own)) {
            let columns = panel.as_chunks_mut::<WIDE>().0.iter_mut().zip(taps);
            let (first, last) = (starts[0] as usize, starts[starts.len() - 1] as usize);
            if starts.len() == WIDE && last - first == WIDE - 1 {
                for (column, &tap) in columns {
                    // SAFETY: the windows rise one by one to the last, of which every element lies in the image.
                    *column = unsafe { *image.as_ptr().add(first + tap as usize).cast::<[f32; WIDE]>() };
                }
            } else {
                for (column, &tap) in columns {
                    *column = [0.0; WIDE];
                    for (to, &start) in column.iter_mut().zip(starts) {
                        // SAFETY: every element of every window lies in the image.
                        *to = unsafe { *image.get_unchecked(start as usize + tap as usize) };
                    }
                }
            }
        }
    });
}
