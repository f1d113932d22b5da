//! Images with their padding around them, so that no window looks beyond an edge. Along the last dimension, elements
//! that are a stride apart lie side by side, so that neighbouring windows read neighbouring elements.

use super::{Sizes, product_of};
use crate::error::Result;
use crate::kernels::threads::Threads;

/// Values that are worth handing to another thread to copy.
const WORTH: usize = 1 << 14;

/// How a strip of an image lies in memory: rows `first..first + rows` of the padded first dimension, the others whole.
pub(super) struct Frame {
    /// Padded sizes of all dimensions but the first and the last.
    middle: Vec<usize>,
    /// Elements of one phase of a row.
    phase: usize,
    /// Elements of a row: as many phases as the stride.
    row: usize,
    /// Whether the image needs no copy.
    pub bare: bool,
}

impl Frame {
    pub(super) fn new(sizes: &Sizes) -> Result<Self> {
        let w = &sizes.windows;
        let last = sizes.input.len() - 1;
        let padded = |i: usize| {
            let sum = sizes.input[i].checked_add(w.pads[i].0).and_then(|n| n.checked_add(w.pads[i].1));
            product_of([sum.unwrap_or(usize::MAX)])
        };
        let bare = w.pads.iter().all(|pad| *pad == (0, 0)) && w.strides[last] == 1;
        let phase = padded(last)?.div_ceil(w.strides[last]);
        let row = product_of([phase, w.strides[last]])?;
        let middle = (1..last).map(padded).collect::<Result<_>>()?;
        Ok(Self { middle, phase, row, bare })
    }

    /// Elements of one step along the first dimension.
    pub(super) fn slab(&self) -> Result<usize> {
        product_of(self.middle.iter().copied().chain([self.row]))
    }

    /// Rows of the padded first dimension that `out` windows along it cover.
    pub(super) fn rows(sizes: &Sizes, out: usize) -> usize {
        let w = &sizes.windows;
        out.saturating_sub(1) * w.strides[0] + (w.kernel[0] - 1) * w.dilations[0] + 1
    }

    /// Distances along all dimensions but the last.
    fn strides(&self) -> Vec<usize> {
        let mut strides = vec![self.row];
        for n in self.middle.iter().rev() {
            strides.insert(0, strides[0] * n);
        }
        strides
    }

    /// Where each element of the window lies, from where the window begins.
    pub(super) fn taps(&self, sizes: &Sizes) -> Vec<u32> {
        let w = &sizes.windows;
        let (last, stride) = (w.kernel.len() - 1, w.strides[w.kernel.len() - 1]);
        let mut at = vec![0];
        for (i, step) in self.strides().into_iter().enumerate() {
            at = spread(&at, w.kernel[i], w.dilations[i] * step);
        }
        let along = (0..w.kernel[last]).map(|t| t * w.dilations[last]);
        let along: Vec<usize> = along.map(|t| t % stride * self.phase + t / stride).collect();
        at.iter().flat_map(|at| along.iter().map(move |t| (at + t) as u32)).collect()
    }

    /// Where each of `rows` rows of windows begins.
    pub(super) fn starts(&self, sizes: &Sizes, rows: usize) -> Vec<u32> {
        let w = &sizes.windows;
        let mut at = vec![0];
        for (i, step) in self.strides().into_iter().enumerate() {
            at = spread(&at, if i == 0 { rows } else { sizes.out[i] }, w.strides[i] * step);
        }
        let along = sizes.out[sizes.out.len() - 1];
        at.iter().flat_map(|at| (0..along).map(move |i| (at + i) as u32)).collect()
    }

    /// Copies those rows of all channels of `x`, each to a plane of `out`.
    pub(super) fn fill_all(
        &self,
        threads: Threads,
        sizes: &Sizes,
        x: &[f32],
        first: usize,
        rows: usize,
        (out, plane): (&mut [f32], usize),
    ) {
        let pixels = sizes.pixels();
        threads.for_rows(out, plane, WORTH / plane.max(1) + 1, |channel, out| {
            let images = x[channel * pixels..].chunks_exact(pixels.max(1));
            images
                .zip(out.chunks_exact_mut(plane.max(1)))
                .for_each(|(x, out)| self.fill(sizes, x, first, rows, out));
        });
    }

    /// Copies rows `first..first + rows` of the padded first dimension of one channel.
    pub(super) fn fill<T: Copy + Default>(
        &self,
        sizes: &Sizes,
        image: &[T],
        first: usize,
        rows: usize,
        out: &mut [T],
    ) {
        let w = &sizes.windows;
        let last = sizes.input.len() - 1;
        let width = sizes.input[last];
        let lines = rows * self.middle.iter().product::<usize>();
        for (line, out) in out.chunks_exact_mut(self.row.max(1)).take(lines).enumerate() {
            let mut rest = line;
            let mut at = Some((0, 1));
            for i in (0..last).rev() {
                let size = if i == 0 { rows } else { self.middle[i - 1] };
                let index = rest % size + if i == 0 { first } else { 0 };
                rest /= size;
                let inside = index.checked_sub(w.pads[i].0).filter(|index| *index < sizes.input[i]);
                at = at.zip(inside).map(|((at, step), index)| (at + index * step, step * sizes.input[i]));
            }
            match at {
                Some((at, _)) => self.line(&image[at * width..][..width], w.pads[last].0, out),
                None => out.fill(T::default()),
            }
        }
    }

    fn line<T: Copy + Default>(&self, from: &[T], before: usize, out: &mut [T]) {
        let stride = self.row / self.phase.max(1);
        if stride == 1 {
            out[..before].fill(T::default());
            out[before..][..from.len()].copy_from_slice(from);
            out[before + from.len()..].fill(T::default());
            return;
        }
        out.fill(T::default());
        if stride == 2 {
            // Both phases at once.
            let (even, odd) = out.split_at_mut(self.phase);
            let (first, second) = if before.is_multiple_of(2) {
                (&mut even[before / 2..], &mut odd[before / 2..])
            } else {
                (&mut odd[before / 2..], &mut even[before / 2 + 1..])
            };
            let (pairs, rest) = from.as_chunks::<2>();
            if let (Some(last), Some(to)) = (rest.first(), first.get_mut(pairs.len())) {
                *to = *last;
            }
            for ((a, b), pair) in first.iter_mut().zip(second).zip(pairs) {
                (*a, *b) = (pair[0], pair[1]);
            }
            return;
        }
        for skipped in 0..stride.min(from.len()) {
            let (at, values) = (before + skipped, from[skipped..].iter().step_by(stride));
            let to = &mut out[at % stride * self.phase + at / stride..];
            to.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
        }
    }
}

fn spread(at: &[usize], n: usize, step: usize) -> Vec<usize> {
    at.iter().flat_map(|at| (0..n).map(move |i| at + i * step)).collect()
}
