//! Convolution as a product: the windows of a strip of outputs become columns of a matrix, which the weights multiply. No
//! more than a strip of them is in memory at once. A convolution with one channel a group runs directly.

use super::product;
use super::window::{Windows, for_each_index};

/// Outputs whose windows are columns at once.
const STRIP: usize = 1024;

/// `y [c_out, out…] = w [c_out, c_in / groups, kernel…] ∗ x [c_in, in…]` of one image, without bias.
pub fn conv(
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    windows: &Windows,
    groups: usize,
    input: &[usize],
    out: &[usize],
) {
    let (pixels, outputs) = (input.iter().product::<usize>(), out.iter().product::<usize>());
    if outputs == 0 || pixels == 0 {
        return y.fill(0.0);
    }
    let taps: usize = windows.kernel.iter().product();
    let (channels, filters) = (x.len() / pixels / groups, y.len() / outputs / groups);
    let k = channels * taps;
    let plain =
        taps == 1 && windows.strides.iter().all(|s| *s == 1) && windows.pads.iter().all(|p| *p == (0, 0));
    let mut columns = vec![0.0; if plain { 0 } else { k * STRIP.min(outputs) }];
    let mut strip_y = vec![0.0; if plain { 0 } else { filters * STRIP.min(outputs) }];
    let positions = positions(windows, input, out);
    for group in 0..groups {
        let x = &x[group * channels * pixels..][..channels * pixels];
        let w = &w[group * filters * k..][..filters * k];
        let y = &mut y[group * filters * outputs..][..filters * outputs];
        if plain {
            product::multiply(w, x, y, (filters, k, outputs));
            continue;
        }
        for start in (0..outputs).step_by(STRIP) {
            let n = STRIP.min(outputs - start);
            for (row, column) in columns[..k * n].chunks_exact_mut(n).enumerate() {
                let (channel, tap) = (row / taps, row % taps);
                let image = &x[channel * pixels..][..pixels];
                let of = &positions[tap * outputs + start..][..n];
                column
                    .iter_mut()
                    .zip(of)
                    .for_each(|(to, &at)| *to = image.get(at as usize).copied().unwrap_or(0.0));
            }
            let strip = &mut strip_y[..filters * n];
            product::multiply(w, &columns[..k * n], strip, (filters, k, n));
            for (row, strip) in strip.chunks_exact(n).enumerate() {
                y[row * outputs + start..][..n].copy_from_slice(strip);
            }
        }
    }
}

/// For each element of the window and each output: the pixel, or a number beyond all pixels.
fn positions(windows: &Windows, input: &[usize], out: &[usize]) -> Vec<u32> {
    let mut positions =
        Vec::with_capacity(windows.kernel.iter().product::<usize>() * out.iter().product::<usize>());
    for_each_index(&windows.kernel, |tap| {
        for_each_index(out, |index| {
            let at = (0..input.len())
                .try_fold(0, |at, i| Some(at * input[i] + windows.at(i, index[i], tap[i], input[i])?));
            positions.push(at.map_or(u32::MAX, |at| at as u32));
        });
    });
    positions
}

/// `y [c_out, out…] += xᵀ`: the gradient of a convolution, each pixel of `x [c_in, in…]` spread by
/// `w [c_in, c_out / groups, kernel…]`. `windows` slides over the output.
pub fn conv_transpose(
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    windows: &Windows,
    groups: usize,
    input: &[usize],
    out: &[usize],
) {
    let (pixels, outputs) = (input.iter().product::<usize>(), out.iter().product::<usize>());
    if pixels == 0 || outputs == 0 {
        return;
    }
    let taps: usize = windows.kernel.iter().product();
    let (channels, filters) = (x.len() / pixels / groups, y.len() / outputs / groups);
    let positions = positions(windows, out, input);
    for group in 0..groups {
        for channel in 0..channels {
            let image = &x[(group * channels + channel) * pixels..][..pixels];
            for filter in 0..filters {
                let w = &w[((group * channels + channel) * filters + filter) * taps..][..taps];
                let y = &mut y[(group * filters + filter) * outputs..][..outputs];
                for (w, positions) in w.iter().zip(positions.chunks_exact(pixels)) {
                    for (x, &at) in image.iter().zip(positions) {
                        if let Some(y) = y.get_mut(at as usize) {
                            *y += w * x;
                        }
                    }
                }
            }
        }
    }
}
