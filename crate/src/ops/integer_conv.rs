//! Convolution of images of 8-bit integers, as exact as integers are: of `x - x_zero` by `w - w_zero`, and what
//! [becomes](super::finish) of the sums. ONNX ConvInteger and QLinearConv.

use super::finish::{self, Finish, is_byte};
use super::unary::UnaryFunction;
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Packing, Types};
use crate::error::{Result, ensure};
use crate::kernels::conv::integer::{IntegerFilters, IntegerImage};
use crate::kernels::conv::{self, Sizes};
use crate::kernels::gemm::tile::Epilogue;
use crate::kernels::integer_conv_launch::IntegerConvLaunch;
use crate::kernels::window::{Sliding, Windows};
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::{DType, Shape, TensorType};

/// `(x u8 or i8 [n, c, in…], w u8 or i8 [m, c / groups, kernel…], x_zero like x, one?, w_zero like w, one or [m]?, scale f32,
/// one or [m]?, bias f32 [m]?, y_scale f32?, y_zero u8 or i8?) → y [n, m, out…]`, i32, f32 or like y_zero.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerConv {
    /// Strides, dilations and padding.
    pub sliding: Sliding,
    /// Parts of the channels that do not meet.
    pub groups: usize,
    /// What numbers become.
    pub activation: Option<UnaryFunction>,
}

/// Elements of a window whose products f32 sums exactly: 255 · 255 · 256 < 2²⁴.
const EXACT: usize = 256;

impl IntegerConv {
    fn windows(&self, x: &[usize], w: &[usize]) -> Result<(Windows, Vec<usize>)> {
        let windows = self.sliding.over(&x[2..], &w[2..])?;
        let out = windows.count(&x[2..], false);
        Ok((windows, out))
    }

    /// Whether there is one channel and one filter a group, of few elements.
    fn sums_directly(&self, w: &[usize]) -> bool {
        w.len() <= 4 && w[0] == self.groups && w[1] == 1 && w[2..].iter().product::<usize>() <= EXACT
    }
}

impl OpDef for IntegerConv {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, w) = (inputs.shape(0)?, inputs.shape(1)?);
        let (of_x, of_w) = (inputs.dtype(0)?, inputs.dtype(1)?);
        let fits = is_byte(of_x)
            && is_byte(of_w)
            && x.len() > 2
            && w.len() == x.len()
            && self.groups > 0
            && w[1].checked_mul(self.groups) == Some(x[1])
            && w[0].is_multiple_of(self.groups);
        ensure!(
            fits,
            ShapeMismatch,
            "a weight {} in {} groups does not fit an image {} of 8-bit integers",
            inputs.ty(1)?,
            self.groups,
            inputs.ty(0)?
        );
        finish::expect_each(inputs, 2, of_x, Some(1))?;
        finish::expect_each(inputs, 3, of_w, Some(w[0]))?;
        let dtype = finish::dtype_of(inputs, Some(w[0]), self.activation)?;
        let (_, out) = self.windows(&x, &w)?;
        Ok(vec![TensorType::new(dtype, Shape::known(&[&[x[0], w[0]], &out[..]].concat()))])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let (packed, shape) = match &inputs[1] {
            Input::IntegerFilters(filters) => (Some(*filters), filters.shape()),
            other => (None, other.tensor()?.shape),
        };
        let (windows, out) = self.windows(x.shape, shape)?;
        let sizes = Sizes::new(&windows, &x.shape[2..], &out);
        let zero = finish::ints(inputs, 2)?.map_or(0, |zero| zero[0]);
        let zeros = finish::ints(inputs, 3)?;
        let finish = Finish::of(inputs, self.activation)?;
        let (size, is_integer) = (y.dtype.block_bytes(), y.dtype == DType::I32);
        if packed.is_none() && self.sums_directly(shape) {
            let numbers = shifted(x, &[zero]);
            let filters = shifted(inputs[1].tensor()?, zeros.as_deref().unwrap_or(&[0]));
            let mut sums = vec![0.0f32; y.len()];
            conv::depthwise(cx.threads, &numbers, &filters, &mut sums, &sizes, &Epilogue::default())?;
            let outputs: usize = out.iter().product::<usize>().max(1);
            let all = sums.chunks_exact_mut(outputs).zip(y.bytes.chunks_exact_mut(outputs * size));
            for (i, (sums, y)) in all.enumerate() {
                if is_integer {
                    let words: &mut [i32] = bytemuck::cast_slice_mut(y);
                    words.iter_mut().zip(sums).for_each(|(y, sum)| *y = *sum as i32);
                } else {
                    finish.filter(sums, i % shape[0].max(1), y);
                }
            }
            return Ok(());
        }
        let made;
        let filters = match packed {
            Some(filters) => filters,
            None => {
                let w = inputs[1].tensor()?;
                made = IntegerFilters::new(w.bytes, w.dtype == DType::I8, w.shape, self.groups)?;
                &made
            }
        };
        let image = IntegerImage { bytes: x.bytes, signed: x.dtype == DType::I8, zero };
        let zeros = finish::nonzero(zeros);
        let mut numbers = Vec::new();
        let mut put = |sums: &mut [i32], filter: usize, at: usize| {
            let y = &mut y.bytes[at * size..][..sums.len() * size];
            if is_integer {
                return y.copy_from_slice(bytemuck::cast_slice(sums));
            }
            numbers.clear();
            numbers.extend(sums.iter().map(|sum| *sum as f32));
            finish.filter(&mut numbers, filter, y);
        };
        conv::integer::conv(cx.threads, image, filters, zeros.as_deref(), &sizes, &mut put)
    }

    fn work(&self, types: &Types) -> u64 {
        let w = types.input(1).unwrap_or_default();
        let each = w.iter().skip(1).product::<usize>();
        (types.n_out().unwrap_or(0) as u64).saturating_mul(each as u64)
    }

    fn lower_gpu(&self, caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, w) = (types.input(0)?, types.input(1)?);
        if x.len() > 5 {
            return Lowered::not_on_gpu("no kernel has windows of so many dimensions");
        }
        let (windows, out) = self.windows(&x, &w)?;
        let launch = IntegerConvLaunch {
            images: x[0],
            channels: [x[1], w[0]],
            groups: self.groups,
            sizes: [&x[2..], &out],
            windows: &windows,
        };
        let words = launch.makes_words();
        finish::lower(caps, types, self.activation, words, &|sums| launch.dispatch(sums))
    }

    fn packs(&self, index: usize, shape: &[usize]) -> Option<Packing> {
        let packs = index == 1 && shape.len() > 2 && !self.sums_directly(shape);
        packs.then_some(Packing::IntegerFilters { groups: self.groups })
    }
}

/// Bytes as the numbers that they are, less a zero, or one for each equal part.
fn shifted(x: TensorView, zeros: &[i32]) -> Vec<f32> {
    let (signed, part) = (x.dtype == DType::I8, (x.len() / zeros.len().max(1)).max(1));
    let mut y = Vec::with_capacity(x.len());
    for (part, zero) in x.bytes.chunks(part).zip(zeros) {
        if signed {
            y.extend(part.iter().map(|x| (i32::from(x.cast_signed()) - zero) as f32));
        } else {
            y.extend(part.iter().map(|x| (i32::from(*x) - zero) as f32));
        }
    }
    y
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::kernels::window::{Padding, for_each_index};
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_integer_conv(op: &IntegerConv, given: &[Option<Array>], lowest: f64) -> Array {
        let array = |i: usize| given.get(i).and_then(Option::as_ref);
        let (x, w) = (array(0).expect("an image"), array(1).expect("filters"));
        let (windows, out) = op.windows(&x.shape, &w.shape).expect("windows");
        let one = |i: usize, at: usize, otherwise: f64| match array(i) {
            Some(x) if x.values.len() == 1 => x.values[0],
            Some(x) => x.values[at],
            None => otherwise,
        };
        let (filters, own) = (w.shape[0], w.shape[1]);
        let mut y = Vec::new();
        for (image, filter) in (0..x.shape[0]).flat_map(|n| (0..filters).map(move |f| (n, f))) {
            for_each_index(&out, |o| {
                let mut sum = 0.0;
                for_each_index(&windows.kernel, |t| {
                    let at = |i: usize| windows.at(i, o[i], t[i], x.shape[2 + i]);
                    let Some(at) = (0..t.len()).map(at).collect::<Option<Vec<usize>>>() else { return };
                    for c in 0..own {
                        let channel = filter / (filters / op.groups) * own + c;
                        let number = x.at(&[&[image, channel], &at[..]].concat()) - one(2, 0, 0.0);
                        sum += number * (w.at(&[&[filter, c], t].concat()) - one(3, filter, 0.0));
                    }
                });
                let number = sum * one(4, filter, 1.0) + one(5, filter, 0.0);
                let number = if op.activation.is_some() { number.max(0.0) } else { number };
                y.push(match array(7) {
                    Some(zero) => {
                        let level = (number / one(6, 0, 1.0)).round_ties_even() + zero.values[0];
                        level.clamp(lowest, lowest + 255.0)
                    }
                    None => number,
                });
            });
        }
        Array::new(&[&[x.shape[0], filters], &out[..]].concat(), y)
    }

    pub fn cases() -> Vec<Case> {
        let bytes = |shape: &[usize], seed: usize| -> Vec<u8> {
            let n: usize = shape.iter().product();
            (0..n).map(|i| (((i * 7 + seed) * 2_654_435_761) >> 7) as u8).collect()
        };
        let signed = |shape: &[usize], seed: usize| -> Vec<i8> {
            bytes(shape, seed).into_iter().map(u8::cast_signed).collect()
        };
        // Image, filters, stride, dilation, pad, groups.
        type Of = (&'static [usize], &'static [usize], usize, usize, usize, usize);
        let all: &[Of] = &[
            (&[1, 3, 6, 7], &[4, 3, 3, 3], 1, 1, 1, 1),
            (&[2, 5, 9, 8], &[7, 5, 1, 1], 1, 1, 0, 1),
            (&[1, 4, 9, 11], &[6, 2, 3, 2], 2, 1, 1, 2),
            (&[2, 6, 9, 10], &[6, 1, 3, 3], 1, 2, 2, 6),
            (&[1, 3, 40], &[5, 3, 5], 3, 1, 2, 1),
            (&[1, 40, 30, 33], &[19, 40, 3, 3], 1, 1, 1, 1),
            // Windows are pixels.
            (&[2, 36, 6, 8], &[70, 18, 1, 1], 1, 1, 0, 2),
            (&[2, 20, 7, 7], &[9, 20, 1, 1], 1, 1, 0, 1),
        ];
        let mut cases = Vec::new();
        for &(x, w, stride, dilation, pad, groups) in all {
            let rank = x.len() - 2;
            let sliding = Sliding {
                strides: Some(vec![stride; rank]),
                dilations: Some(vec![dilation; rank]),
                padding: Padding::Given(vec![pad; 2 * rank]),
            };
            let m = [w[0]];
            let image = || vec![Given::fed(x, &bytes(x, 1)), Given::known(w, &signed(w, 2))];
            let zeros = vec![Given::fed(&[], &[131u8]), Given::fed(&m, &signed(&m, 3))];
            let floats = vec![Given::noise(&m, 5), Given::noise(&m, 6)];
            let none = || vec![Given::fed(&[], &[131u8]), Given::Absent];
            let levels = vec![Given::fed(&[], &[500.0f32]), Given::fed(&[], &[120u8])];
            let mut add = |what: &str, inputs: Vec<Given>, activation, tolerance: f64| {
                let op = IntegerConv { sliding: sliding.clone(), groups, activation };
                let name = format!("{what}, {x:?} by {w:?}");
                cases.push(Case::new(name, op.clone(), inputs, Tolerance::of(tolerance), move |given| {
                    vec![reference_integer_conv(&op, given, 0.0)]
                }));
            };
            add("plain", image(), None, 0.0);
            add("zeros", [image(), zeros].concat(), None, 0.0);
            let scaled = [image(), none(), floats].concat();
            add("scaled", scaled.clone(), Some(UnaryFunction::Relu), 1e-6);
            // A sum halfway between two levels may go to either.
            add("levels", [scaled.clone(), levels].concat(), None, 0.008);
            let levels = vec![Given::known(&[], &[500.0f32]), Given::known(&[], &[120u8])];
            add("known levels", [scaled, levels].concat(), Some(UnaryFunction::Relu), 0.008);
        }
        cases.extend(other_way_round());
        cases
    }

    /// Signed images and unsigned filters with all their zeros, strides and dilations that differ by dimension, padding at
    /// the beginning only, and signed levels; then the largest sums.
    fn other_way_round() -> Vec<Case> {
        let bytes =
            |n: usize, seed: usize| (0..n).map(move |i| (((i * 13 + seed) * 2_654_435_761) >> 9) as u8);
        let signed = |n: usize, seed: usize| bytes(n, seed).map(u8::cast_signed).collect::<Vec<i8>>();
        // Image, filters, groups.
        type Of = (&'static [usize], &'static [usize], usize);
        let all: &[Of] = &[
            (&[2, 6, 5, 6, 7], &[8, 3, 2, 3, 2], 2),
            (&[1, 5, 5, 6, 9], &[10, 1, 2, 3, 2], 5),
            (&[2, 12, 9, 10], &[70, 12, 3, 2], 1),
            (&[1, 8, 11, 9], &[40, 4, 3, 3], 2),
            (&[3, 16, 37], &[33, 16, 5], 1),
            (&[2, 7, 19], &[7, 1, 3], 7),
        ];
        let mut cases = Vec::new();
        for &(x, w, groups) in all {
            let rank = x.len() - 2;
            let sliding = Sliding {
                strides: Some((1..=rank).collect()),
                dilations: Some((1..=rank).rev().collect()),
                padding: Padding::Given([vec![1; rank], vec![0; rank]].concat()),
            };
            let count = |shape: &[usize]| shape.iter().product::<usize>();
            let filters: Vec<u8> = bytes(count(w), 2).collect();
            let zeros: Vec<u8> = bytes(w[0], 3).collect();
            let integers = vec![
                Given::fed(x, &signed(count(x), 1)),
                Given::fed(w, &filters),
                Given::fed(&[1], &[-77i8]),
                Given::fed(&w[..1], &zeros),
            ];
            let numbers = vec![Given::fed(&[1], &[0.25f32]), Given::Absent];
            let levels = vec![Given::known(&[1], &[300.0f32]), Given::known(&[1], &[-7i8])];
            let floats = [integers.clone(), numbers].concat();
            for (what, inputs, tolerance) in [
                ("signed by unsigned", integers, 0.0),
                ("signed by unsigned, scaled", floats.clone(), 1e-6),
                // As above.
                ("signed by unsigned, levels", [floats, levels].concat(), 0.008),
            ] {
                let op = IntegerConv { sliding: sliding.clone(), groups, activation: None };
                let name = format!("{what}, {x:?} by {w:?}");
                cases.push(Case::new(name, op.clone(), inputs, Tolerance::of(tolerance), move |given| {
                    vec![reference_integer_conv(&op, given, -128.0)]
                }));
            }
        }
        let sliding = Sliding { strides: None, dilations: None, padding: Padding::Given(vec![1; 2]) };
        let op = IntegerConv { sliding, groups: 1, activation: None };
        let extremes = vec![
            Given::fed(&[1, 200, 6], &[255u8; 1200]),
            Given::known(&[20, 200, 3], &[-128i8; 12_000]),
            Given::Absent,
            Given::fed(&[1], &[127i8]),
        ];
        cases.push(Case::new("extremes", op.clone(), extremes, Tolerance::of(0.0), move |given| {
            vec![reference_integer_conv(&op, given, 0.0)]
        }));
        cases
    }
}
