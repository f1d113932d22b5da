//! The kernels of networks on images and of networks of 8-bit integers.

use crate::cases::{Case, bytes, floats};
use homefire::kernels::conv::integer::{self, IntegerFilters, IntegerImage};
use homefire::kernels::conv::{Filters, Sizes, conv, depthwise};
use homefire::kernels::gemm::integer::{Finish, IntegerMatrix, IntegerRows, multiply};
use homefire::kernels::gemm::tile::Epilogue;
use homefire::kernels::window::Windows;

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        convolution([64, 64], 3, 1, 56),
        convolution([64, 128], 3, 2, 56),
        convolution([128, 128], 1, 1, 40),
        convolution([16, 96], 1, 1, 80),
        by_channel(96, 3, 1, 80),
        by_channel(128, 5, 1, 40),
        integers([64, 64], 3, 56),
        integer_product(128, 384, 1536),
    ]
}

/// Square windows over a square image, padded so that there is one for each pixel, or each other one.
fn square(kernel: usize, stride: usize, side: usize) -> (Sizes, usize) {
    let both = |n: usize| vec![n; 2];
    let pads = vec![(kernel / 2, kernel / 2); 2];
    let windows = Windows { kernel: both(kernel), strides: both(stride), dilations: both(1), pads };
    let out = side.div_ceil(stride);
    (Sizes::new(&windows, &both(side), &both(out)), out * out)
}

fn named(what: &str, kernel: usize, stride: usize, side: usize) -> String {
    let stride = if stride == 1 { String::new() } else { format!(", stride {stride}") };
    format!("{kernel} × {kernel}, {what}, {side} × {side}{stride}")
}

fn convolution([c, filters]: [usize; 2], kernel: usize, stride: usize, side: usize) -> Case {
    let (_, outputs) = square(kernel, stride, side);
    let k = c * kernel * kernel;
    Case::new("convolution", named(&format!("{c} → {filters}"), kernel, stride, side), move || {
        let shape = [filters, c, kernel, kernel];
        let w = floats(filters * k);
        // As the catalogue packs them.
        let tiled = kernel == 3 && stride == 1;
        let packed = if tiled { Filters::tiled(&w, &shape)? } else { Filters::new(&w, &shape, 1)? };
        let (x, mut y) = (floats(c * side * side), vec![0.0; filters * outputs]);
        let (sizes, _) = square(kernel, stride, side);
        Ok(Box::new(move |threads| {
            let done = conv(threads, &x, &packed, &mut y, &sizes, &Epilogue::default());
            done.unwrap_or_else(|error| panic!("{error}"));
        }))
    })
    .floats(2 * k * filters * outputs)
}

fn by_channel(c: usize, kernel: usize, stride: usize, side: usize) -> Case {
    let (_, outputs) = square(kernel, stride, side);
    Case::new("depthwise", named(&format!("{c} channels"), kernel, stride, side), move || {
        let (x, w) = (floats(c * side * side), floats(c * kernel * kernel));
        let (mut y, (sizes, _)) = (vec![0.0; c * outputs], square(kernel, stride, side));
        Ok(Box::new(move |threads| {
            let done = depthwise(threads, &x, &w, &mut y, &sizes, &Epilogue::default());
            done.unwrap_or_else(|error| panic!("{error}"));
        }))
    })
    .floats(2 * c * kernel * kernel * outputs)
}

fn integers([c, n]: [usize; 2], kernel: usize, side: usize) -> Case {
    let (_, outputs) = square(kernel, 1, side);
    let k = c * kernel * kernel;
    let name = named(&format!("{c} → {n}"), kernel, 1, side);
    Case::new("integer convolution", format!("{name}, exact"), move || {
        let filters = IntegerFilters::new(&bytes(n * k), true, &[n, c, kernel, kernel], 1)?;
        let (x, (sizes, _)) = (bytes(c * side * side), square(kernel, 1, side));
        Ok(Box::new(move |threads| {
            let image = IntegerImage { bytes: &x, signed: false, zero: 128 };
            let mut last = 0;
            let mut put = |sums: &mut [i32], _, _| last = sums[0];
            let done = integer::conv(threads, image, &filters, None, &sizes, &mut put);
            done.unwrap_or_else(|error| panic!("{error}"));
            std::hint::black_box(last);
        }))
    })
    .integers(2 * k * outputs * n)
}

fn integer_product(m: usize, k: usize, n: usize) -> Case {
    Case::new("integer product", format!("{m} × {k} × {n}, exact"), move || {
        let b = IntegerMatrix::new(&bytes(k * n), true, (k, n))?;
        let (a, mut y) = (bytes(m * k), vec![0u128; m * n / 4]);
        Ok(Box::new(move |threads| {
            let rows = IntegerRows { bytes: &a, signed: false, zeros: &[128] };
            let y = bytemuck::cast_slice_mut(&mut y);
            let done = multiply(threads, rows, &b, None, y, Finish::Integers);
            done.unwrap_or_else(|error| panic!("{error}"));
        }))
    })
    .integers(2 * m * k * n)
}
