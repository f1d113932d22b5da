//! Convolution in f64, plain as a textbook: for elements that f32 does not hold.

use super::window::{Windows, for_each_index};

/// The sizes of a convolution of one image.
pub struct ConvSizes<'a> {
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output.
    pub filters: usize,
    /// Parts of the channels that do not meet.
    pub groups: usize,
    /// The spatial dimensions of the input.
    pub input: &'a [usize],
    /// Those of the output.
    pub out: &'a [usize],
}

/// `y [filters, out…] += w ∗ x [channels, input…]`, of one image; with `transposed`, the gradient: `windows` then slides
/// over the output. `w` is `[filters, channels / groups, kernel…]`, transposed `[channels, filters / groups, kernel…]`.
pub fn conv(x: &[f64], w: &[f64], y: &mut [f64], windows: &Windows, sizes: &ConvSizes, transposed: bool) {
    let taps: usize = windows.kernel.iter().product();
    let (pixels, outputs) = (sizes.input.iter().product::<usize>(), sizes.out.iter().product::<usize>());
    let (channels, filters) = (sizes.channels / sizes.groups, sizes.filters / sizes.groups);
    let (slides, over) = if transposed { (sizes.input, sizes.out) } else { (sizes.out, sizes.input) };
    let mut tap_number = 0;
    for_each_index(&windows.kernel, |tap| {
        let mut window = 0;
        for_each_index(slides, |index| {
            let at = (0..over.len())
                .try_fold(0, |at, i| Some(at * over[i] + windows.at(i, index[i], tap[i], over[i])?));
            if let Some(at) = at {
                let (pixel, output) = if transposed { (window, at) } else { (at, window) };
                for filter in 0..sizes.filters {
                    let group = filter / filters;
                    for channel in 0..channels {
                        let from = group * channels + channel;
                        let row = if transposed {
                            from * filters + filter % filters
                        } else {
                            filter * channels + channel
                        };
                        y[filter * outputs + output] += w[row * taps + tap_number] * x[from * pixels + pixel];
                    }
                }
            }
            window += 1;
        });
        tap_number += 1;
    });
}
