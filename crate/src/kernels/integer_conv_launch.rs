//! Launches of convolutions of bytes, as a product with gathered windows or element by element; as those of floats
//! ([`conv_launch`](super::conv_launch)).

use super::conv_launch::{is_direct, three};
use super::dispatch::Dispatch;
use super::integer_launch::ByteSums;
use super::window::Windows;
use crate::error::Result;

/// A convolution of bytes with all its sizes. Operands are image and filters.
pub struct IntegerConvLaunch<'a> {
    /// Images.
    pub images: usize,
    /// Channels of the image, and filters.
    pub channels: [usize; 2],
    /// Parts of the channels that do not meet.
    pub groups: usize,
    /// Spatial dimensions of the image, one to three, and of the output.
    pub sizes: [&'a [usize]; 2],
    /// The windows.
    pub windows: &'a Windows,
}

impl IntegerConvLaunch<'_> {
    /// Channels and filters of a group.
    fn own(&self) -> [usize; 2] {
        self.channels.map(|n| n / self.groups)
    }

    fn is_direct(&self) -> bool {
        let [channels, filters] = self.own();
        is_direct(channels * self.windows.kernel.iter().product::<usize>(), filters)
    }

    /// Whether the launch can make levels, since one thread makes the elements of a word.
    pub fn makes_words(&self) -> bool {
        self.is_direct() || self.sizes[1].iter().product::<usize>().is_multiple_of(4)
    }

    /// The launch.
    pub fn dispatch(&self, sums: &ByteSums) -> Result<Dispatch> {
        if self.is_direct() { direct::dispatch(self, sums) } else { product::dispatch(self, sums) }
    }

    /// Strides, dilations and padding before, of layers, rows and columns.
    fn steps(&self) -> [[u32; 3]; 3] {
        let before: Vec<usize> = self.windows.pads.iter().map(|(before, _)| *before).collect();
        [three(&self.windows.strides, 1), three(&self.windows.dilations, 1), three(&before, 0)]
    }
}

/// What the shaders call sums, numbers and levels of them.
fn form(sums: &ByteSums) -> u32 {
    match (sums.scales, sums.levels) {
        (None, _) => 0,
        (Some(_), None) => 1,
        (Some(_), Some(_)) => 2,
    }
}

mod product {
    use super::super::dispatch::{Dispatch, params};
    use super::{ByteSums, IntegerConvLaunch, form, three};
    use crate::error::Result;

    pub fn dispatch(conv: &IntegerConvLaunch, sums: &ByteSums) -> Result<Dispatch> {
        let windows = conv.windows;
        let taps: usize = windows.kernel.iter().product();
        let [channels, m] = conv.own();
        let n: usize = conv.sizes[1].iter().product();
        let plain = taps == 1 && conv.sizes[0] == conv.sizes[1] && windows.strides.iter().all(|s| *s == 1);
        let ([in_d, in_h, in_w], [_, out_h, out_w]) = (three(conv.sizes[0], 1), three(conv.sizes[1], 1));
        let [kernel_d, kernel_h, kernel_w] = three(&windows.kernel, 1);
        let [[stride_d, stride_h, stride_w], [dilation_d, dilation_h, dilation_w], [pad_d, pad_h, pad_w]] =
            conv.steps();
        let [has_x_zero, w_zeros] = sums.many_zeros();
        let [scale_each, has_bias] = sums.each_and_bias();
        let (y_scale, y_zero, y_signed) = sums.of_levels();
        let params = Params {
            m: m as u32,
            k: (channels * taps) as u32,
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
            in_words: (plain && n.is_multiple_of(4)).into(),
            x_signed: sums.signed[0].into(),
            w_signed: sums.signed[1].into(),
            has_x_zero,
            w_zeros,
            form: form(sums),
            scale_each,
            has_bias,
            function: sums.function.0,
            alpha: sums.function.1,
            beta: sums.function.2,
            y_scale,
            y_zero,
            y_signed,
        };
        let (narrow, tile) = super::super::product_launch::tile(m);
        let groups = [n.div_ceil(tile[1]), m.div_ceil(tile[0]), conv.images * conv.groups];
        Dispatch::new("integer_conv", &[narrow], sums.bindings(), params.bytes(), groups)
    }

    params!("integer_conv": m: u32, k: u32, n: u32, groups: u32, in_d: u32, in_h: u32, in_w: u32, out_h: u32,
        out_w: u32, kernel_d: u32, kernel_h: u32, kernel_w: u32, stride_d: u32, stride_h: u32, stride_w: u32,
        dilation_d: u32, dilation_h: u32, dilation_w: u32, pad_d: u32, pad_h: u32, pad_w: u32, in_words: u32,
        x_signed: u32, w_signed: u32, has_x_zero: u32, w_zeros: u32, form: u32, scale_each: u32, has_bias: u32,
        function: u32, alpha: f32, beta: f32, y_scale: f32, y_zero: f32, y_signed: u32);
}

mod direct {
    use super::super::dispatch::{Dispatch, params};
    use super::{ByteSums, IntegerConvLaunch, form, three};
    use crate::error::Result;

    pub fn dispatch(conv: &IntegerConvLaunch, sums: &ByteSums) -> Result<Dispatch> {
        let windows = conv.windows;
        let n = conv.images * conv.channels[1] * conv.sizes[1].iter().product::<usize>();
        let [channels, m] = conv.own();
        let ([in_d, in_h, in_w], [out_d, out_h, out_w]) = (three(conv.sizes[0], 1), three(conv.sizes[1], 1));
        let [kernel_d, kernel_h, kernel_w] = three(&windows.kernel, 1);
        let [[stride_d, stride_h, stride_w], [dilation_d, dilation_h, dilation_w], [pad_d, pad_h, pad_w]] =
            conv.steps();
        let [has_x_zero, w_zeros] = sums.many_zeros();
        let [scale_each, has_bias] = sums.each_and_bias();
        let (y_scale, y_zero, y_signed) = sums.of_levels();
        let params = Params {
            n: n as u32,
            m: m as u32,
            channels: channels as u32,
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
            x_signed: sums.signed[0].into(),
            w_signed: sums.signed[1].into(),
            has_x_zero,
            w_zeros,
            form: form(sums),
            scale_each,
            has_bias,
            function: sums.function.0,
            alpha: sums.function.1,
            beta: sums.function.2,
            y_scale,
            y_zero,
            y_signed,
        };
        let words = n.div_ceil(4);
        Dispatch::of_each("integer_conv_direct", &[], sums.bindings(), params.bytes(), words)
    }

    params!("integer_conv_direct": n: u32, m: u32, channels: u32, groups: u32, in_d: u32, in_h: u32, in_w: u32,
        out_d: u32, out_h: u32, out_w: u32, kernel_d: u32, kernel_h: u32, kernel_w: u32, stride_d: u32, stride_h: u32,
        stride_w: u32, dilation_d: u32, dilation_h: u32, dilation_w: u32, pad_d: u32, pad_h: u32, pad_w: u32,
        x_signed: u32, w_signed: u32, has_x_zero: u32, w_zeros: u32, form: u32, scale_each: u32, has_bias: u32,
        function: u32, alpha: f32, beta: f32, y_scale: f32, y_zero: f32, y_signed: u32);
}
