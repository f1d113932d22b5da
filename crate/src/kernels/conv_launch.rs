//! Launches of convolutions in one to three dimensions: as a product with gathered windows, or element by element where a
//! window has few elements, and for the gradient with respect to the image.

use super::dispatch::{Dispatch, Operand};
use super::window::Windows;
use crate::error::Result;

/// Elements of a window below which the product would wait for memory.
const FEW: usize = 16;

/// Whether a convolution of so many elements a window, and filters a group, is one element by element.
pub fn is_direct(elements: usize, filters: usize) -> bool {
    elements < FEW || filters == 1
}

/// A convolution with all its sizes. Inputs are image, weight, bias and residual, as those of the operator.
pub struct ConvLaunch<'a> {
    /// Images.
    pub images: usize,
    /// Channels of the image, and of the output.
    pub channels: [usize; 2],
    /// Parts of the channels that do not meet.
    pub groups: usize,
    /// Spatial dimensions of the image, one to three, and of the output.
    pub sizes: [&'a [usize]; 2],
    /// The windows.
    pub windows: &'a Windows,
    /// Whether this is the gradient.
    pub transposed: bool,
    /// Whether there are a bias and a residual.
    pub added: [bool; 2],
    /// The code and the attributes of what the sums become.
    pub function: (u32, f32, f32),
}

/// Layers, rows and columns: the last of these, and before them `one`.
pub fn three(all: &[usize], one: u32) -> [u32; 3] {
    let mut sizes = [one; 3];
    sizes.iter_mut().rev().zip(all.iter().rev()).for_each(|(size, n)| *size = *n as u32);
    sizes
}

impl ConvLaunch<'_> {
    /// The launch.
    pub fn dispatch(&self) -> Result<Dispatch> {
        let own = self.channels[0] / self.groups;
        let taps: usize = self.windows.kernel.iter().product();
        if self.transposed || is_direct(own * taps, self.channels[1] / self.groups) {
            return direct::dispatch(self);
        }
        product::dispatch(self)
    }

    fn bindings(&self) -> Vec<(u32, Operand)> {
        let mut bindings = vec![(0, Operand::Input(0)), (1, Operand::Input(1)), (4, Operand::Output(0))];
        bindings.extend(self.added[0].then_some((2, Operand::Input(2))));
        bindings.extend(self.added[1].then_some((3, Operand::Input(3))));
        bindings
    }

    fn pads(&self) -> [u32; 3] {
        three(&self.windows.pads.iter().map(|(before, _)| *before).collect::<Vec<_>>(), 0)
    }
}

mod product {
    use super::super::dispatch::{Dispatch, params};
    use super::{ConvLaunch, three};
    use crate::error::Result;

    pub fn dispatch(conv: &ConvLaunch) -> Result<Dispatch> {
        let windows = conv.windows;
        let taps: usize = windows.kernel.iter().product();
        let (m, k) = (conv.channels[1] / conv.groups, conv.channels[0] / conv.groups * taps);
        let n: usize = conv.sizes[1].iter().product();
        let ([in_d, in_h, in_w], [_, out_h, out_w]) = (three(conv.sizes[0], 1), three(conv.sizes[1], 1));
        let ([kernel_d, kernel_h, kernel_w], [pad_d, pad_h, pad_w]) =
            (three(&windows.kernel, 1), conv.pads());
        let ([stride_d, stride_h, stride_w], [dilation_d, dilation_h, dilation_w]) =
            (three(&windows.strides, 1), three(&windows.dilations, 1));
        let params = Params {
            m: m as u32,
            k: k as u32,
            n: n as u32,
            groups: conv.groups as u32,
            in_d,
            in_h,
            in_w,
            out_h,
            out_w,
            kernel_d,
            kernel_h,
            kernel_w,
            stride_d,
            stride_h,
            stride_w,
            dilation_d,
            dilation_h,
            dilation_w,
            pad_d,
            pad_h,
            pad_w,
            has_bias: conv.added[0].into(),
            has_residual: conv.added[1].into(),
            function: conv.function.0,
            alpha: conv.function.1,
            beta: conv.function.2,
        };
        let plain = taps == 1 && conv.sizes[0] == conv.sizes[1] && windows.strides.iter().all(|s| *s == 1);
        let (narrow, tile) = super::super::product_launch::tile(m);
        let gathered = if conv.sizes[0].len() > 2 { "volume" } else { "" };
        let features = [if plain { "plain" } else { gathered }, narrow];
        let groups = [n.div_ceil(tile[1]), m.div_ceil(tile[0]), conv.images * conv.groups];
        Dispatch::new("conv", &features, conv.bindings(), params.bytes(), groups)
    }

    params!("conv": m: u32, k: u32, n: u32, groups: u32, in_d: u32, in_h: u32, in_w: u32, out_h: u32,
        out_w: u32, kernel_d: u32, kernel_h: u32, kernel_w: u32, stride_d: u32, stride_h: u32, stride_w: u32,
        dilation_d: u32, dilation_h: u32, dilation_w: u32, pad_d: u32, pad_h: u32, pad_w: u32,
        has_bias: u32, has_residual: u32, function: u32, alpha: f32, beta: f32);
}

mod direct {
    use super::super::dispatch::{Dispatch, params};
    use super::{ConvLaunch, three};
    use crate::error::Result;

    pub fn dispatch(conv: &ConvLaunch) -> Result<Dispatch> {
        let windows = conv.windows;
        let n = conv.images * conv.channels[1] * conv.sizes[1].iter().product::<usize>();
        let ([in_d, in_h, in_w], [out_d, out_h, out_w]) = (three(conv.sizes[0], 1), three(conv.sizes[1], 1));
        let ([kernel_d, kernel_h, kernel_w], [pad_d, pad_h, pad_w]) =
            (three(&windows.kernel, 1), conv.pads());
        let ([stride_d, stride_h, stride_w], [dilation_d, dilation_h, dilation_w]) =
            (three(&windows.strides, 1), three(&windows.dilations, 1));
        let params = Params {
            n: n as u32,
            m: (conv.channels[1] / conv.groups) as u32,
            channels: (conv.channels[0] / conv.groups) as u32,
            groups: conv.groups as u32,
            in_d,
            in_h,
            in_w,
            out_d,
            out_h,
            out_w,
            kernel_d,
            kernel_h,
            kernel_w,
            stride_d,
            stride_h,
            stride_w,
            dilation_d,
            dilation_h,
            dilation_w,
            pad_d,
            pad_h,
            pad_w,
            has_bias: conv.added[0].into(),
            has_residual: conv.added[1].into(),
            function: conv.function.0,
            alpha: conv.function.1,
            beta: conv.function.2,
        };
        let features = [if conv.transposed { "transposed" } else { "" }];
        Dispatch::of_each("conv_direct", &features, conv.bindings(), params.bytes(), n)
    }

    params!("conv_direct": n: u32, m: u32, channels: u32, groups: u32, in_d: u32, in_h: u32, in_w: u32, out_d: u32,
        out_h: u32, out_w: u32, kernel_d: u32, kernel_h: u32, kernel_w: u32, stride_d: u32, stride_h: u32, stride_w: u32,
        dilation_d: u32, dilation_h: u32, dilation_w: u32, pad_d: u32, pad_h: u32, pad_w: u32, has_bias: u32, has_residual: u32, function: u32, alpha: f32, beta: f32);
}
