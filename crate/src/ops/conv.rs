//! Convolution of images, and its gradient with respect to them. ONNX Conv and ConvTranspose.

#[cfg(any(test, feature = "parity"))]
pub(super) mod parity;

use super::unary::UnaryFunction;
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Packing, Types, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::conv::{self, Sizes};
use crate::kernels::conv_launch::ConvLaunch;
use crate::kernels::conv_wide::{self, ConvSizes};
use crate::kernels::gemm::tile::Epilogue;
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

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
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
        let activation = apply.as_ref().map(|apply| apply as &dyn Fn(&mut [f32]));
        let epilogue = Epilogue { row_bias: floats(2)?, residual: floats(3)?, activation, column_bias: None };
        let (input, x, y) = (&x.shape[2..], x.data::<f32>()?, y.data::<f32>()?);
        let sizes = match self.transposed {
            None => Sizes::new(&windows, input, &out),
            Some(_) => Sizes::new(&windows, &out, input),
        };
        if self.sums_directly(shape) {
            return conv::depthwise(x, inputs[1].tensor()?.data()?, y, &sizes, &epilogue);
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
            None => conv::conv(x, filters, y, &sizes, &epilogue),
            Some(_) => conv::conv_transpose(x, filters, y, &sizes, &epilogue),
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
        if x.len() > 5 || types.dtype(0) != Some(DType::F32) {
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
