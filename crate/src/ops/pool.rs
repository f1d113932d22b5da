//! One number of each window of an image. ONNX MaxPool, AveragePool, LpPool and their global kin.

use super::reduce::ReduceFunction;
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::conv_launch::three;
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::kernels::math;
use crate::kernels::pool;
use crate::kernels::simd::Best as S;
use crate::kernels::threads::WORTH;
use crate::kernels::window::{Sliding, Windows, for_each_index};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};

/// `x [n, c, in…] → y [n, c, out…]`, and for the largest where each is: i64 like y.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What becomes of a window.
    pub function: PoolFunction,
    /// Elements of a window; a whole image where it is left out.
    pub kernel: Option<Vec<usize>>,
    /// Strides, dilations and padding.
    pub sliding: Sliding,
    /// Whether a window may end beyond the padding.
    pub ceil: bool,
    /// How many outputs the node has: 1, or 2 of the largest.
    pub outputs: usize,
}

/// The functions of the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PoolFunction {
    /// The largest element; positions are counted by columns first with `by_columns`.
    Max {
        /// Whether positions run down the columns.
        by_columns: bool,
    },
    /// The mean.
    Average {
        /// Whether elements beyond the edge count as zeros.
        count_pads: bool,
    },
    /// The p-th root of the sum of p-th powers.
    Lp {
        /// The power.
        p: f64,
    },
}

impl Pool {
    fn windows(&self, input: &[usize]) -> Result<(Windows, Vec<usize>)> {
        let kernel = self.kernel.clone().unwrap_or_else(|| input.to_vec());
        let windows = self.sliding.over(input, &kernel)?;
        let out = windows.count(input, self.ceil);
        Ok((windows, out))
    }
}

impl OpDef for Pool {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.shape(0)?;
        ensure!(x.len() > 2, ShapeMismatch, "{} is no image [n, c, …]", inputs.ty(0)?);
        let (_, out) = self.windows(&x[2..])?;
        let shape = Shape::known(&[&x[..2], &out[..]].concat());
        let of = |dtype| TensorType { dtype, shape: shape.clone() };
        Ok([of(inputs.dtype(0)?), of(DType::I64)].into_iter().take(self.outputs).collect())
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let input = &x.shape[2..];
        let (windows, out) = self.windows(input)?;
        if x.dtype == DType::F32 && outputs.len() == 1 && !matches!(self.function, PoolFunction::Lp { .. }) {
            let (x, pixels) = (x.data::<f32>()?, input.iter().product::<usize>());
            let (y, plane) = (outputs[0].data::<f32>()?, out.iter().product::<usize>());
            let grain = WORTH / (plane * windows.kernel.iter().product::<usize>()).max(1) + 1;
            cx.threads.for_rows(y, plane, grain, |first, y| {
                let x = &x[first * pixels..][..y.len() / plane.max(1) * pixels];
                self.fold(x, &windows, (input, &out), y);
            });
            return Ok(());
        }
        if matches!(x.dtype, DType::U8 | DType::I8)
            && outputs.len() == 1
            && matches!(self.function, PoolFunction::Max { .. })
        {
            // Of levels the largest is that of the largest number.
            let flip = if x.dtype == DType::I8 { 128 } else { 0 };
            let numbers: Vec<f32> = x.bytes.iter().map(|x| f32::from(x ^ flip)).collect();
            let mut largest = vec![0.0; outputs[0].len()];
            self.fold(&numbers, &windows, (input, &out), &mut largest);
            outputs[0].bytes.iter_mut().zip(largest).for_each(|(y, x)| *y = x.max(0.0) as u8 ^ flip);
            return Ok(());
        }
        let pixels: usize = input.iter().product();
        let values = x.to_floats()?;
        let taps: Vec<Vec<usize>> = {
            let mut taps = Vec::new();
            for_each_index(&windows.kernel, |tap| taps.push(tap.to_vec()));
            taps
        };
        let (mut results, mut places) = (Vec::new(), Vec::new());
        for (plane, image) in values.chunks_exact(pixels.max(1)).enumerate() {
            for_each_index(&out, |index| {
                let mut window = Window::default();
                for tap in &taps {
                    let at = (0..input.len()).try_fold(0, |at, i| {
                        Some(at * input[i] + windows.at(i, index[i], tap[i], input[i])?)
                    });
                    let padded = (0..input.len()).all(|i| {
                        let beyond = index[i] * windows.strides[i] + tap[i] * windows.dilations[i];
                        beyond < input[i] + windows.pads[i].0 + windows.pads[i].1
                    });
                    window.add(self.function, at.map(|at| (at, image[at])), padded);
                }
                results.push(window.result(self.function));
                places.push((plane * pixels + self.place(window.best, input)) as i128);
            });
        }
        outputs[0].narrow(Wide::Floats(results))?;
        match outputs.get_mut(1) {
            Some(indices) => indices.narrow(Wide::Ints(places)),
            None => Ok(()),
        }
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, y) = (types.input(0)?, types.output(0)?);
        let function = match self.function {
            PoolFunction::Max { .. } if self.outputs == 1 => 0,
            PoolFunction::Average { count_pads } if types.dtype(0) == Some(DType::F32) => {
                1 + u32::from(count_pads)
            }
            _ => {
                return Lowered::not_on_gpu(
                    "no kernel gives where the largest are, roots of powers, or means of integers",
                );
            }
        };
        let input = &x[2..];
        let (bytes, is_signed) = match types.dtype(0) {
            Some(DType::F32) => (false, false),
            Some(dtype @ (DType::U8 | DType::I8)) => (true, dtype == DType::I8),
            _ => return Lowered::not_on_gpu("no kernel has windows of this dtype"),
        };
        if input.len() > 3 {
            return Lowered::not_on_gpu("no kernel has windows of so many dimensions");
        }
        let (windows, out) = self.windows(input)?;
        if !bytes
            && windows.kernel == input
            && out.iter().all(|n| *n == 1)
            && windows.pads.iter().all(|pads| *pads == (0, 0))
        {
            // The window is the image.
            let function = if function == 0 { ReduceFunction::Max } else { ReduceFunction::Mean };
            return function.launch(&x, &(0..x.len()).map(|i| i > 1).collect::<Vec<_>>());
        }
        let pads = windows.pads;
        let padded: Vec<_> = input.iter().zip(&pads).map(|(n, (before, after))| n + before + after).collect();
        let before: Vec<_> = pads.iter().map(|(before, _)| *before).collect();
        let ([in_d, in_h, in_w], [out_d, out_h, out_w]) = (three(input, 1), three(&y[2..], 1));
        let ([kernel_d, kernel_h, kernel_w], [pad_d, pad_h, pad_w]) =
            (three(&windows.kernel, 1), three(&before, 0));
        let ([stride_d, stride_h, stride_w], [dilation_d, dilation_h, dilation_w]) =
            (three(&windows.strides, 1), three(&windows.dilations, 1));
        let [padded_d, padded_h, padded_w] = three(&padded, 1);
        let n = types.n_out()?;
        let params = Params {
            n: n as u32,
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
            padded_d,
            padded_h,
            padded_w,
            function,
            is_signed: is_signed.into(),
        };
        let bindings = vec![(0, Input(0)), (1, Output(0))];
        let (features, threads) = if bytes { ("bytes", n.div_ceil(4)) } else { ("", n) };
        Lowered::one(Dispatch::of_each("pool", &[features], bindings, params.bytes(), threads)?)
    }
}

impl Pool {
    /// The largest elements or the means of f32 images.
    fn fold(&self, x: &[f32], windows: &Windows, (input, out): (&[usize], &[usize]), y: &mut [f32]) {
        let PoolFunction::Average { count_pads } = self.function else {
            let larger = |a: f32, b: f32| if (b > a) | b.is_nan() { b } else { a };
            y.copy_from_slice(&pool::fold(x, windows, (input, out), f32::NEG_INFINITY, larger));
            return;
        };
        let whole = windows.kernel == input && windows.pads.iter().all(|pads| *pads == (0, 0));
        if whole && windows.dilations.iter().all(|n| *n == 1) {
            let pixels = input.iter().product::<usize>().max(1);
            for (y, image) in y.iter_mut().zip(x.chunks_exact(pixels)) {
                *y = math::sum::<S>(image, |x| x) / pixels as f32;
            }
            return;
        }
        let sums = pool::fold(x, windows, (input, out), 0.0, |a, b| a + b);
        let mut counts = vec![1];
        for (i, &n) in out.iter().enumerate() {
            let along: Vec<usize> =
                (0..n).map(|o| pool::counted(windows, i, o, input[i], count_pads)).collect();
            counts = counts.iter().flat_map(|outer| along.iter().map(move |own| outer * own)).collect();
        }
        let factors: Vec<f32> = counts.into_iter().map(|count| 1.0 / count as f32).collect();
        let images = y.chunks_exact_mut(factors.len().max(1)).zip(sums.chunks_exact(factors.len().max(1)));
        for (y, sums) in images {
            y.iter_mut().zip(sums).zip(&factors).for_each(|((y, sum), factor)| *y = sum * factor);
        }
    }

    /// A pixel's position as the output counts it.
    fn place(&self, at: usize, input: &[usize]) -> usize {
        if self.function != (PoolFunction::Max { by_columns: true }) {
            return at;
        }
        let mut rest = at;
        let mut index: Vec<usize> = input
            .iter()
            .rev()
            .map(|n| {
                let digit = rest % n;
                rest /= n;
                digit
            })
            .collect();
        index.reverse();
        index.iter().zip(input).rev().fold(0, |at, (i, n)| at * n + i)
    }
}

/// What has been seen of a window.
#[derive(Default)]
struct Window {
    sum: f64,
    count: usize,
    best: usize,
    top: Option<f64>,
}

impl Window {
    fn add(&mut self, function: PoolFunction, element: Option<(usize, f64)>, padded: bool) {
        match (function, element) {
            (PoolFunction::Max { .. }, Some((at, x))) if self.top.is_none_or(|top| x > top || x.is_nan()) => {
                (self.best, self.top) = (at, Some(x));
            }
            (PoolFunction::Average { .. }, Some((_, x))) => {
                self.sum += x;
                self.count += 1;
            }
            (PoolFunction::Average { count_pads: true }, None) if padded => self.count += 1,
            (PoolFunction::Lp { p }, Some((_, x))) => self.sum += x.abs().powf(p),
            _ => {}
        }
    }

    fn result(&self, function: PoolFunction) -> f64 {
        match function {
            PoolFunction::Max { .. } => self.top.unwrap_or(f64::NEG_INFINITY),
            PoolFunction::Average { .. } => self.sum / self.count as f64,
            PoolFunction::Lp { p } => self.sum.powf(1.0 / p),
        }
    }
}

params!("pool": n: u32, in_d: u32, in_h: u32, in_w: u32, out_d: u32, out_h: u32, out_w: u32, kernel_d: u32, kernel_h: u32,
    kernel_w: u32, stride_d: u32, stride_h: u32, stride_w: u32, dilation_d: u32, dilation_h: u32, dilation_w: u32,
    pad_d: u32, pad_h: u32, pad_w: u32, padded_d: u32, padded_h: u32, padded_w: u32, function: u32,
    is_signed: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::kernels::window::Padding;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    /// Windows of `kernel` with a padding of one, in one dimension after the last.
    fn padded(function: PoolFunction, kernel: usize, stride: usize, shape: &'static [usize]) -> Case {
        let sliding =
            Sliding { strides: Some(vec![stride; 2]), dilations: None, padding: Padding::Given(vec![1; 4]) };
        let op = Pool { function, kernel: Some(vec![kernel; 2]), sliding, ceil: false, outputs: 1 };
        let name = format!("{function:?} of {kernel} by {kernel}, every {stride}");
        Case::new(name, op, vec![Given::noise(&[1, 2, 13, 13], 2)], Tolerance::of(2e-6), move |x| {
            let x = x[0].as_ref().expect("an image");
            let of = |o: Vec<usize>| {
                let at = |o: usize, tap: usize| (o * stride + tap).checked_sub(1).filter(|at| *at < 13);
                let square = [kernel, kernel];
                let taps = indices(&square);
                let inside = taps.filter_map(|tap| Some([at(o[2], tap[0])?, at(o[3], tap[1])?]));
                let window: Vec<f64> = inside.map(|[r, c]| x.at(&[0, o[1], r, c])).collect();
                match function {
                    PoolFunction::Max { .. } => window.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    PoolFunction::Average { count_pads: true } => {
                        window.iter().sum::<f64>() / (kernel * kernel) as f64
                    }
                    _ => window.iter().sum::<f64>() / window.len() as f64,
                }
            };
            vec![Array::new(shape, indices(shape).map(of).collect())]
        })
    }

    /// In any number of dimensions, every window anew.
    fn of_any_rank(function: PoolFunction, image: &[usize], kernel: &[usize]) -> Case {
        let rank = kernel.len();
        let pads = [vec![1; rank], vec![0; rank]].concat();
        let sliding = Sliding {
            strides: Some((1..=rank).collect()),
            dilations: Some((1..=rank).rev().collect()),
            padding: Padding::Given(pads),
        };
        let op = Pool { function, kernel: Some(kernel.to_vec()), sliding, ceil: false, outputs: 1 };
        let windows = op.windows(&image[2..]).expect("windows that fit").0;
        let shape = [&image[..2], &windows.count(&image[2..], false)].concat();
        let name = format!("{function:?} of {kernel:?} in {rank} dimensions");
        Case::new(name, op, vec![Given::noise(image, 5)], Tolerance::of(2e-6), move |x| {
            let x = x[0].as_ref().expect("an image");
            let of = |o: Vec<usize>| {
                let at = |tap: &[usize]| -> Option<f64> {
                    let place = |i: usize| (o[2 + i] * (i + 1) + tap[i] * (rank - i)).checked_sub(1);
                    let places: Option<Vec<usize>> = (0..rank).map(place).collect();
                    let places = places.filter(|p| p.iter().zip(&x.shape[2..]).all(|(at, n)| at < n))?;
                    Some(x.at(&[&o[..2], &places].concat()))
                };
                let taps = indices(&windows.kernel).collect::<Vec<_>>();
                let inside: Vec<f64> = taps.iter().filter_map(|tap| at(tap)).collect();
                match function {
                    PoolFunction::Max { .. } => inside.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    PoolFunction::Average { count_pads: true } => {
                        inside.iter().sum::<f64>() / taps.len() as f64
                    }
                    _ => inside.iter().sum::<f64>() / inside.len() as f64,
                }
            };
            vec![Array::new(&shape, indices(&shape).map(of).collect())]
        })
    }

    pub fn cases() -> Vec<Case> {
        let case = |function: PoolFunction, mean: bool| {
            let sliding = Sliding { strides: Some(vec![2, 2]), dilations: None, padding: Padding::Valid };
            let op = Pool { function, kernel: Some(vec![3, 2]), sliding, ceil: false, outputs: 1 };
            Case::new(
                format!("{function:?}"),
                op,
                vec![Given::noise(&[2, 3, 9, 8], 1)],
                Tolerance::of(1e-6),
                |x| {
                    let x = x[0].as_ref().expect("an image");
                    let of = |o: Vec<usize>| {
                        let window = indices(&[3, 2])
                            .map(|tap| x.at(&[o[0], o[1], 2 * o[2] + tap[0], 2 * o[3] + tap[1]]));
                        if mean {
                            window.sum::<f64>() / 6.0
                        } else {
                            window.fold(f64::NEG_INFINITY, f64::max)
                        }
                    };
                    vec![Array::new(&[2, 3, 4, 4], indices(&[2, 3, 4, 4]).map(of).collect())]
                },
            )
        };
        let max = PoolFunction::Max { by_columns: false };
        // Levels, with an edge on which nothing is but padding; and a window that is the image.
        let levels = |shape: &[usize], signed: bool, kernel: Option<Vec<usize>>| {
            let n: usize = shape.iter().product();
            let numbers: Vec<i16> =
                (0..n).map(|i| (i * 89 % 251) as i16 - if signed { 128 } else { 0 }).collect();
            let x = if signed {
                Given::fed(shape, &numbers.iter().map(|x| *x as i8).collect::<Vec<_>>())
            } else {
                Given::fed(shape, &numbers.iter().map(|x| *x as u8).collect::<Vec<_>>())
            };
            let sliding = Sliding {
                strides: Some(vec![2, 1]),
                dilations: None,
                padding: Padding::Given(if kernel.is_some() { vec![2, 0, 1, 1] } else { vec![0; 4] }),
            };
            let op = Pool { function: max, kernel, sliding, ceil: false, outputs: 1 };
            let own = op.clone();
            let name = format!("bytes {shape:?}, signed: {signed}");
            Case::new(name, op, vec![x], Tolerance::of(0.0), move |x| {
                let x = x[0].as_ref().expect("an image");
                let (windows, out) = own.windows(&x.shape[2..]).expect("windows that fit");
                let shape = [&x.shape[..2], &out[..]].concat();
                let of = |o: Vec<usize>| {
                    let at = |i: usize, tap: &[usize]| windows.at(i, o[2 + i], tap[i], x.shape[2 + i]);
                    let taps = indices(&windows.kernel);
                    let inside = taps.filter_map(|tap| Some([o[0], o[1], at(0, &tap)?, at(1, &tap)?]));
                    let lowest = if signed { -128.0 } else { 0.0 };
                    inside.map(|at| x.at(&at)).fold(lowest, f64::max)
                };
                vec![Array::new(&shape, indices(&shape).map(of).collect())]
            })
        };
        let average = |count_pads| PoolFunction::Average { count_pads };
        let whole = Pool {
            function: average(false),
            kernel: None,
            sliding: Sliding { strides: None, dilations: None, padding: Padding::Valid },
            ceil: false,
            outputs: 1,
        };
        let whole = Case::new(
            "whole images",
            whole,
            vec![Given::noise(&[2, 3, 7, 19], 3)],
            Tolerance::of(2e-6),
            |x| {
                let x = x[0].as_ref().expect("an image");
                let means = x.values.chunks(7 * 19).map(|image| image.iter().sum::<f64>() / (7.0 * 19.0));
                vec![Array::new(&[2, 3, 1, 1], means.collect())]
            },
        );
        vec![
            levels(&[2, 3, 9, 7], false, Some(vec![2, 3])),
            levels(&[1, 5, 8, 9], true, Some(vec![2, 2])),
            levels(&[2, 3, 7, 5], true, None),
            of_any_rank(max, &[2, 3, 19], &[4]),
            of_any_rank(average(true), &[2, 3, 19], &[4]),
            of_any_rank(max, &[1, 2, 7, 9, 11], &[2, 3, 2]),
            of_any_rank(average(false), &[1, 2, 7, 9, 11], &[2, 3, 2]),
            case(max, false),
            case(average(false), true),
            padded(max, 3, 1, &[1, 2, 13, 13]),
            padded(max, 3, 2, &[1, 2, 7, 7]),
            padded(average(true), 3, 2, &[1, 2, 7, 7]),
            padded(average(false), 3, 1, &[1, 2, 13, 13]),
            whole,
        ]
    }
}
