//! Convolution of images, and its gradient with respect to them. ONNX Conv and ConvTranspose.

use super::unary::UnaryFunction;
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Packing, Types, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::conv::{self, Sizes};
use crate::kernels::conv_launch::ConvLaunch;
use crate::kernels::conv_wide::{self, ConvSizes};
use crate::kernels::gemm::tile::{Activation, Epilogue};
use crate::kernels::window::{Padding, Sliding, Windows};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};

/// `(x [n, c, in…], w [m, c / groups, kernel…], bias [m]?, residual like y?) → y [n, m, out…]` of one float dtype, or i32;
/// transposed, w is `[c, m / groups, kernel…]`. The bias is added, then the residual, then the activation applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Strides, dilations and padding.
    pub sliding: Sliding,
    /// Parts of the channels that do not meet.
    pub groups: usize,
    /// Whether this is the gradient, and then what it says of the output's size.
    pub transposed: Option<Transposed>,
    /// What the sums become.
    pub activation: Option<UnaryFunction>,
}

/// What a transposed convolution says of its output's size.
#[derive(Clone, Debug, PartialEq)]
pub struct Transposed {
    /// Elements added at the end.
    pub output_padding: Option<Vec<usize>>,
    /// The size itself, which decides the padding.
    pub output_shape: Option<Vec<usize>>,
}

impl Conv {
    /// The windows, and the spatial dimensions of the output.
    fn windows(&self, x: &[usize], w: &[usize]) -> Result<(Windows, Vec<usize>)> {
        let (input, kernel) = (&x[2..], &w[2..]);
        let Some(transposed) = &self.transposed else {
            let windows = self.sliding.over(input, kernel)?;
            let out = windows.count(input, false);
            return Ok((windows, out));
        };
        let given = Sliding { padding: Padding::Valid, ..self.sliding.clone() };
        let mut windows = given.over(input, kernel)?;
        let rank = input.len();
        let added = transposed.output_padding.clone().unwrap_or_else(|| vec![0; rank]);
        ensure!(added.len() == rank, ShapeMismatch, "an output padding {added:?} of {rank} dimensions");
        let full = |i: usize| {
            (input[i].max(1) - 1) * windows.strides[i] + added[i] + (kernel[i] - 1) * windows.dilations[i] + 1
        };
        let same = matches!(self.sliding.padding, Padding::SameUpper | Padding::SameLower);
        let wanted = match &transposed.output_shape {
            Some(shape) => Some(shape[shape.len().saturating_sub(rank)..].to_vec()),
            None if same => Some((0..rank).map(|i| input[i] * windows.strides[i]).collect()),
            None => None,
        };
        let mut pads = vec![(0, 0); rank];
        let mut out = Vec::with_capacity(rank);
        for (i, pad) in pads.iter_mut().enumerate() {
            match (&wanted, &self.sliding.padding) {
                (Some(wanted), padding) => {
                    ensure!(wanted.len() == rank, ShapeMismatch, "an output {wanted:?} of {rank} dimensions");
                    let total = full(i).saturating_sub(wanted[i]);
                    let half = total / 2;
                    *pad = if *padding == Padding::SameUpper {
                        (half, total - half)
                    } else {
                        (total - half, half)
                    };
                    out.push(wanted[i]);
                }
                (None, Padding::Given(given)) => {
                    ensure!(
                        given.len() == 2 * rank,
                        ShapeMismatch,
                        "{} pads for {rank} dimensions",
                        given.len()
                    );
                    *pad = (given[i], given[i + rank]);
                    out.push(full(i).saturating_sub(pad.0 + pad.1));
                }
                (None, _) => out.push(full(i)),
            }
        }
        windows.pads = pads;
        Ok((windows, out))
    }
}

impl OpDef for Conv {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, w) = (inputs.shape(0)?, inputs.shape(1)?);
        let dtype = inputs.dtype(0)?;
        ensure!(dtype.is_float() || dtype == DType::I32, UnsupportedOp, "a convolution of {dtype}");
        expect_dtype(inputs.ty(1)?, dtype, "the weight")?;
        let fits = x.len() > 2 && w.len() == x.len() && self.groups > 0 && {
            let channels = if self.transposed.is_some() { w[0] } else { w[1] * self.groups };
            channels == x[1] && w[0].is_multiple_of(self.groups)
        };
        ensure!(
            fits,
            ShapeMismatch,
            "a weight {} in {} groups does not fit an image {}",
            inputs.ty(1)?,
            self.groups,
            inputs.ty(0)?
        );
        let filters = if self.transposed.is_some() { w[1] * self.groups } else { w[0] };
        if let Some(bias) = inputs.optional(2) {
            ensure!(
                bias.shape == Shape::known(&[filters]),
                ShapeMismatch,
                "a bias {bias} for {filters} filters"
            );
        }
        let (_, out) = self.windows(&x, &w)?;
        let y = TensorType::new(dtype, Shape::known(&[&[x[0], filters], &out[..]].concat()));
        if let Some(residual) = inputs.optional(3) {
            ensure!(*residual == y, ShapeMismatch, "a residual {residual} does not fit the convolution {y}");
        }
        Ok(vec![y])
    }

    fn computes_in_f32(&self, dtype: DType) -> bool {
        dtype != DType::F64
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let (packed, shape) = match &inputs[1] {
            Input::Filters(filters) => (Some(*filters), filters.shape()),
            other => (None, other.tensor()?.shape),
        };
        let (windows, out) = self.windows(x.shape, shape)?;
        if y.dtype != DType::F32 {
            return self.eval_wide(inputs, y, &windows, &out);
        }
        let floats = |i: usize| {
            let input = inputs.get(i).map_or(Ok(None), Input::optional)?;
            input.map(|tensor| tensor.data::<f32>()).transpose()
        };
        let apply = self.activation.map(|activation| move |y: &mut [f32]| activation.apply_all(y));
        let activation = apply.as_ref().map(|apply| apply as Activation);
        let epilogue = Epilogue { row_bias: floats(2)?, residual: floats(3)?, activation, column_bias: None };
        let (input, x, y) = (&x.shape[2..], x.data::<f32>()?, y.data::<f32>()?);
        let sizes = match self.transposed {
            None => Sizes::new(&windows, input, &out),
            Some(_) => Sizes::new(&windows, &out, input),
        };
        if self.sums_directly(shape) {
            return conv::depthwise(cx.threads, x, inputs[1].tensor()?.data()?, y, &sizes, &epilogue);
        }
        let made;
        let filters = match packed {
            Some(filters) => filters,
            None => {
                made = self.packing(shape).filters(inputs[1].tensor()?)?;
                &made
            }
        };
        match self.transposed {
            None => conv::conv(cx.threads, x, filters, y, &sizes, &epilogue),
            Some(_) => conv::conv_transpose(cx.threads, x, filters, y, &sizes, &epilogue),
        }
    }

    fn work(&self, types: &Types) -> u64 {
        let elements = |shape: Result<Vec<usize>>| shape.map_or(0, |shape| shape.iter().product::<usize>());
        let filters = types.input(1).ok().and_then(|w| w.first().copied()).unwrap_or(1).max(1);
        let image = if self.transposed.is_some() { types.input(0) } else { types.output(0) };
        (elements(image) as u64).saturating_mul((elements(types.input(1)) / filters) as u64)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, w, y) = (types.input(0)?, types.input(1)?, types.output(0)?);
        let Some(function) = UnaryFunction::code_of(self.activation) else {
            return Lowered::not_on_gpu("no kernel applies the activation");
        };
        if x.len() > 4 || types.dtype(0) != Some(DType::F32) {
            return Lowered::not_on_gpu("no kernel has windows of this dtype or so many dimensions");
        }
        let (windows, out) = self.windows(&x, &w)?;
        let launch = ConvLaunch {
            images: x[0],
            channels: [x[1], y[1]],
            groups: self.groups,
            sizes: [&x[2..], &out],
            windows: &windows,
            transposed: self.transposed.is_some(),
            added: [types.has(2), types.has(3)],
            function,
        };
        Lowered::one(launch.dispatch()?)
    }

    fn packs(&self, index: usize, shape: &[usize]) -> Option<Packing> {
        (index == 1 && shape.len() > 2 && !self.sums_directly(shape)).then(|| self.packing(shape))
    }
}

impl Conv {
    /// Whether there is one channel and one filter a group, so that nothing is to be packed.
    fn sums_directly(&self, w: &[usize]) -> bool {
        self.transposed.is_none() && w.len() <= 4 && w[0] == self.groups && w[1] == 1
    }

    fn packing(&self, w: &[usize]) -> Packing {
        let ones = |of: &Option<Vec<usize>>| of.iter().flatten().all(|n| *n == 1);
        let plain = self.groups == 1 && ones(&self.sliding.strides) && ones(&self.sliding.dilations);
        match w {
            // With fewer channels or filters, transforming tiles costs more than it saves.
            &[m, c, 3, 3] if plain && m.min(c) >= 16 && self.transposed.is_none() => Packing::Tiles,
            _ => Packing::Filters { groups: self.groups, transposed: self.transposed.is_some() },
        }
    }
}

impl Conv {
    /// Elements that f32 does not hold, one by one in f64, which is exact for products of 32 bits.
    fn eval_wide(
        &self,
        inputs: &[Input],
        y: &mut TensorViewMut,
        windows: &Windows,
        out: &[usize],
    ) -> Result<()> {
        let (x, w) = (inputs[0].tensor()?, inputs[1].tensor()?);
        let (values, weights) = (x.to_floats()?, w.to_floats()?);
        let (pixels, each) = (x.shape[2..].iter().product::<usize>(), out.iter().product::<usize>());
        let sizes = ConvSizes {
            channels: x.shape[1],
            filters: y.shape[1],
            groups: self.groups,
            input: &x.shape[2..],
            out,
        };
        let mut sums = vec![0.0; y.len()];
        let images = values.chunks_exact((x.shape[1] * pixels).max(1));
        for (x, y) in images.zip(sums.chunks_exact_mut((y.shape[1] * each).max(1))) {
            conv_wide::conv(x, &weights, y, windows, &sizes, self.transposed.is_some());
        }
        for (index, by_filter) in [(2, true), (3, false)] {
            let Some(added) = super::optional(inputs, index)? else { continue };
            let (added, filters) = (added.to_floats()?, y.shape[1]);
            let of = |i: usize| if by_filter { added[i / each.max(1) % filters] } else { added[i] };
            sums.iter_mut().enumerate().for_each(|(i, y)| *y += of(i));
        }
        if let Some(activation) = self.activation {
            sums.iter_mut().for_each(|y| *y = f64::from(activation.apply(*y as f32)));
        }
        y.narrow(Wide::Floats(sums))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    /// In two dimensions, every output anew.
    fn reference_conv(
        x: &Array,
        w: &Array,
        bias: &Array,
        stride: usize,
        pad: usize,
        groups: usize,
        shape: &[usize],
    ) -> Array {
        let filters = w.shape[0] / groups;
        let of = |index: Vec<usize>| {
            let mut sum = bias.values[index[1]];
            for tap in indices(&w.shape[1..]) {
                let channel = index[1] / filters * w.shape[1] + tap[0];
                let at = |i: usize| {
                    (index[2 + i] * stride + tap[1 + i]).checked_sub(pad).filter(|at| *at < x.shape[2 + i])
                };
                if let (Some(row), Some(column)) = (at(0), at(1)) {
                    sum += x.at(&[index[0], channel, row, column]) * w.at(&[&[index[1]], &tap[..]].concat());
                }
            }
            sum
        };
        Array::new(shape, indices(shape).map(of).collect())
    }

    /// The gradient, in two dimensions: every pixel anew.
    fn reference_transposed(
        x: &Array,
        w: &Array,
        stride: usize,
        pad: usize,
        groups: usize,
        shape: &[usize],
    ) -> Array {
        let (own, each) = (x.shape[1] / groups, w.shape[1]);
        let of = |index: Vec<usize>| {
            let (group, filter) = (index[1] / each, index[1] % each);
            let mut sum = 0.0;
            for tap in indices(&w.shape[2..]) {
                let at = |i: usize| {
                    let at = (index[2 + i] + pad).checked_sub(tap[i])?;
                    (at.is_multiple_of(stride) && at / stride < x.shape[2 + i]).then_some(at / stride)
                };
                let (Some(row), Some(column)) = (at(0), at(1)) else { continue };
                for channel in group * own..(group + 1) * own {
                    sum += x.at(&[index[0], channel, row, column]) * w.at(&[channel, filter, tap[0], tap[1]]);
                }
            }
            sum
        };
        Array::new(shape, indices(shape).map(of).collect())
    }

    fn square(stride: usize, pad: usize) -> Sliding {
        Sliding { strides: Some(vec![stride; 2]), dilations: None, padding: Padding::Given(vec![pad; 4]) }
    }

    /// With a weight of the file and all that may follow the sums.
    fn fused(
        x: &[usize],
        w: &[usize],
        stride: usize,
        pad: usize,
        groups: usize,
        shape: &'static [usize],
    ) -> Case {
        let (sliding, activation) = (square(stride, pad), Some(UnaryFunction::HardSwish));
        let op = Conv { sliding, groups, transposed: None, activation };
        let Given::Fed(weight) = Given::noise(w, 2) else { panic!("noise is fed") };
        let given =
            [Given::noise(x, 1), Given::Known(weight), Given::noise(&w[..1], 3), Given::noise(shape, 4)];
        Case::new(format!("fused, {x:?} by {w:?}"), op, given.to_vec(), Tolerance::of(4e-6), move |given| {
            let [Some(x), Some(w), Some(bias), Some(residual)] = given else { panic!("four inputs") };
            let mut y = reference_conv(x, w, bias, stride, pad, groups, shape);
            y.values.iter_mut().zip(&residual.values).for_each(|(y, r)| *y += r);
            y.values.iter_mut().for_each(|y| *y *= (*y / 6.0 + 0.5).clamp(0.0, 1.0));
            vec![y]
        })
    }

    fn transposed(
        x: &[usize],
        w: &[usize],
        stride: usize,
        pad: usize,
        groups: usize,
        shape: &'static [usize],
    ) -> Case {
        let transposed = Some(Transposed { output_padding: None, output_shape: None });
        let op = Conv { sliding: square(stride, pad), groups, transposed, activation: None };
        let given = vec![Given::noise(x, 1), Given::noise(w, 2)];
        Case::new(format!("transposed, {x:?} by {w:?}"), op, given, Tolerance::of(2e-6), move |given| {
            let [Some(x), Some(w)] = given else { panic!("two inputs") };
            vec![reference_transposed(x, w, stride, pad, groups, shape)]
        })
    }

    pub fn cases() -> Vec<Case> {
        let case =
            |x: &[usize], w: &[usize], stride: usize, pad: usize, groups: usize, shape: &'static [usize]| {
                let sliding = Sliding {
                    strides: Some(vec![stride; 2]),
                    dilations: None,
                    padding: Padding::Given(vec![pad; 4]),
                };
                let op = Conv { sliding, groups, transposed: None, activation: None };
                let inputs = vec![Given::noise(x, 1), Given::noise(w, 2), Given::noise(&w[..1], 3)];
                Case::new(format!("{x:?} by {w:?}"), op, inputs, Tolerance::of(2e-6), |given| {
                    let [Some(x), Some(w), Some(bias)] = given else { panic!("three inputs") };
                    vec![reference_conv(x, w, bias, stride, pad, groups, shape)]
                })
            };
        vec![
            case(&[2, 3, 9, 11], &[4, 3, 3, 3], 1, 1, 1, &[2, 4, 9, 11]),
            case(&[1, 6, 8, 8], &[6, 1, 3, 3], 2, 1, 6, &[1, 6, 4, 4]),
            case(&[1, 5, 40, 30], &[7, 5, 1, 1], 1, 0, 1, &[1, 7, 40, 30]),
            case(&[1, 4, 12, 40], &[6, 2, 5, 5], 3, 2, 2, &[1, 6, 4, 14]),
            case(&[1, 6, 17, 37], &[6, 1, 5, 5], 1, 2, 6, &[1, 6, 17, 37]),
            case(&[1, 9, 11, 13], &[10, 9, 1, 1], 2, 0, 1, &[1, 10, 6, 7]),
            fused(&[2, 20, 13, 13], &[6, 20, 3, 3], 1, 1, 1, &[2, 6, 13, 13]),
            fused(&[1, 12, 20, 21], &[12, 1, 3, 3], 2, 1, 12, &[1, 12, 10, 11]),
            fused(&[2, 18, 15, 21], &[17, 18, 3, 3], 1, 1, 1, &[2, 17, 15, 21]),
            transposed(&[2, 6, 7, 9], &[6, 5, 2, 2], 2, 0, 1, &[2, 5, 14, 18]),
            transposed(&[1, 4, 5, 6], &[4, 3, 3, 3], 2, 1, 2, &[1, 6, 9, 11]),
        ]
    }
}
