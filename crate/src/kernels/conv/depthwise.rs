//! Convolution with a filter for each channel alone. A row of outputs is summed in registers, sixteen at a time, over
//! the elements of the window: their neighbours lie side by side in the framed image.

use super::frame::Frame;
use super::{Sizes, product_of, zeros};
use crate::error::Result;
use crate::kernels::gemm::tile::Epilogue;
use crate::kernels::simd::{Best, Simd};
use crate::kernels::threads::{Places, Threads};
use crate::kernels::window::Windows;
use std::ops::Range;

/// Outputs that are read beyond the end of a row.
const SLACK: usize = 16;

/// Multiplications that are worth handing to another thread.
const WORTH: usize = 1 << 15;

pub(super) fn run(
    threads: Threads,
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    sizes: &Sizes,
    epilogue: &Epilogue,
) -> Result<()> {
    let frame = Frame::new(sizes)?;
    let covered = Frame::rows(sizes, sizes.out[0]);
    let slab = frame.slab()?;
    let room = product_of([covered, slab])?.saturating_add(SLACK);
    let taps = frame.taps(sizes);
    let (pixels, outputs, width) = (sizes.pixels(), sizes.outputs(), sizes.out[1]);
    let channels = w.len() / taps.len().max(1);
    // Rows of padding are neither copied nor read.
    let (before, height) = (sizes.windows.pads[0].0, sizes.input[0]);
    let (within, own) = (height.min(covered.saturating_sub(before)), sizes.windows.kernel[1]);
    let inside: Vec<Range<usize>> =
        (0..sizes.out[0]).map(|row| rows_inside(&sizes.windows, row, height)).collect();
    let (planes, y) = (y.len() / outputs.max(1), Places::new(y));
    threads.try_for_each(planes, WORTH / (outputs * taps.len()).max(1) + 1, |planes| {
        let mut framed = zeros(room)?;
        for plane in planes {
            // SAFETY: each plane belongs to one thread.
            let y = unsafe { y.range(plane * outputs..(plane + 1) * outputs) };
            let channel = plane % channels.max(1);
            let w = &w[channel * taps.len()..][..taps.len()];
            let image = &x[plane * pixels..][..pixels];
            if within > 0 {
                frame.fill(sizes, image, before, within, &mut framed[before * slab..]);
            }
            let bias = epilogue.row_bias.map_or(0.0, |bias| bias[channel]);
            for (row, out) in y.chunks_exact_mut(width.max(1)).enumerate() {
                let start = row * sizes.windows.strides[0] * slab;
                let inside = inside[row].start * own..inside[row].end * own;
                line::<Best>(&framed[start..], &taps[inside.clone()], &w[inside], bias, out);
            }
            epilogue.finish(y, plane * outputs);
        }
        Ok(())
    })
}

/// The rows of the kernel that lie within an image of that height, of windows whose row is `row`.
fn rows_inside(windows: &Windows, row: usize, height: usize) -> Range<usize> {
    let (at, before, dilation) = (row * windows.strides[0], windows.pads[0].0, windows.dilations[0]);
    let end = (height + before).saturating_sub(at).div_ceil(dilation).min(windows.kernel[0]);
    before.saturating_sub(at).div_ceil(dilation).min(end)..end
}

/// One row of outputs: output `i` is the sum of `w[t] · image[taps[t] + i]`.
fn line<S: Simd>(image: &[f32], taps: &[u32], w: &[f32], bias: f32, out: &mut [f32]) {
    let most = taps.iter().copied().max().unwrap_or(0) as usize;
    assert!(most + out.len().next_multiple_of(SLACK) <= image.len());
    let mut done = 0;
    while done < out.len() {
        let (image, out) = (&image[done..], &mut out[done..]);
        // SAFETY: at each tap the image has all outputs of a row, filled up to whole sixteens, and this is as many as
        // begin before the last output ends.
        done += unsafe {
            match out.len() {
                13.. => sums::<S, 4>(image, taps, w, bias, out),
                5.. => sums::<S, 2>(image, taps, w, bias, out),
                _ => sums::<S, 1>(image, taps, w, bias, out),
            }
        };
    }
}

/// The first `4 · V` outputs, or as many as there are; gives their number.
///
/// # Safety
/// At each tap the image has `4 · V` values.
#[inline(always)]
unsafe fn sums<S: Simd, const V: usize>(
    image: &[f32],
    taps: &[u32],
    w: &[f32],
    bias: f32,
    out: &mut [f32],
) -> usize {
    let mut sums = [S::splat(bias); V];
    for (&tap, &w) in taps.iter().zip(w) {
        let w = S::splat(w);
        // SAFETY: the caller vouches for these values; f32 align as arrays of them do.
        let vectors = unsafe { &*image.as_ptr().add(tap as usize).cast::<[[f32; 4]; V]>() };
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            *sum = S::mul_add(w, S::load(vector), *sum);
        }
    }
    let (whole, _) = out.as_chunks_mut::<4>();
    if whole.len() >= V {
        sums.iter().zip(whole).for_each(|(sum, to)| S::store(*sum, to));
        return 4 * V;
    }
    let mut all = [[0.0; 4]; V];
    sums.iter().zip(&mut all).for_each(|(sum, to)| S::store(*sum, to));
    out.copy_from_slice(&all.as_flattened()[..out.len()]);
    out.len()
}
