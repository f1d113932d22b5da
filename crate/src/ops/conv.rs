//! Convolution of images, and its gradient with respect to them. ONNX Conv and ConvTranspose.

use super::unary::UnaryFunction;
use super::{CpuContext, Input, Known, OpDef, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::conv;
use crate::kernels::window::{Padding, Sliding, Windows};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x f32 [n, c, in…], w f32 [m, c / groups, kernel…], bias f32 [m]?, residual f32 like y?) → y f32 [n, m, out…]`;
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
                    *pad = if *padding == Padding::SameUpper { (half, total - half) } else { (total - half, half) };
                    out.push(wanted[i]);
                }
                (None, Padding::Given(given)) => {
                    ensure!(given.len() == 2 * rank, ShapeMismatch, "{} pads for {rank} dimensions", given.len());
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
        ensure!(dtype == DType::F32, UnsupportedOp, "a convolution of {dtype}: only f32 is supported yet");
        expect_dtype(inputs.ty(1)?, DType::F32, "the weight")?;
        let fits = x.len() > 2 && w.len() == x.len() && self.groups > 0 && {
            let channels = if self.transposed.is_some() { w[0] } else { w[1] * self.groups };
            channels == x[1] && w[0].is_multiple_of(self.groups)
        };
        ensure!(fits, ShapeMismatch, "a weight {} in {} groups does not fit an image {}", inputs.ty(1)?, self.groups, inputs.ty(0)?);
        let filters = if self.transposed.is_some() { w[1] * self.groups } else { w[0] };
        if let Some(bias) = inputs.optional(2) {
            ensure!(bias.shape == Shape::known(&[filters]), ShapeMismatch, "a bias {bias} for {filters} filters");
        }
        let (_, out) = self.windows(&x, &w)?;
        let y = TensorType::f32(Shape::known(&[&[x[0], filters], &out[..]].concat()));
        if let Some(residual) = inputs.optional(3) {
            ensure!(*residual == y, ShapeMismatch, "a residual {residual} does not fit the convolution {y}");
        }
        Ok(vec![y])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, w, y) = (inputs[0].tensor()?, inputs[1].tensor()?, &mut outputs[0]);
        let (windows, out) = self.windows(x.shape, w.shape)?;
        let (input, pixels) = (&x.shape[2..], x.shape[1..].iter().product::<usize>());
        let (filters, each) = (y.shape[1], y.shape[1..].iter().product::<usize>());
        let (x, w, y) = (x.data::<f32>()?, w.data::<f32>()?, y.data::<f32>()?);
        let kernel = if self.transposed.is_some() { conv::conv_transpose } else { conv::conv };
        if self.transposed.is_some() {
            y.fill(0.0);
        }
        for (x, y) in x.chunks_exact(pixels.max(1)).zip(y.chunks_exact_mut(each.max(1))) {
            kernel(x, w, y, &windows, self.groups, input, &out);
        }
        if let Some(bias) = inputs.get(2).map_or(Ok(None), Input::optional)? {
            let bias = bias.data::<f32>()?;
            let planes = y.chunks_exact_mut((each / filters.max(1)).max(1)).enumerate();
            planes.for_each(|(i, plane)| plane.iter_mut().for_each(|y| *y += bias[i % filters]));
        }
        if let Some(residual) = inputs.get(3).map_or(Ok(None), Input::optional)? {
            y.iter_mut().zip(residual.data::<f32>()?).for_each(|(y, r)| *y += r);
        }
        if let Some(activation) = self.activation {
            activation.apply_all(y);
        }
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    /// In two dimensions, every output anew.
    fn reference_conv(x: &Array, w: &Array, bias: &Array, stride: usize, pad: usize, groups: usize, shape: &[usize]) -> Array {
        let filters = w.shape[0] / groups;
        let of = |index: Vec<usize>| {
            let mut sum = bias.values[index[1]];
            for tap in indices(&w.shape[1..]) {
                let channel = index[1] / filters * w.shape[1] + tap[0];
                let at = |i: usize| (index[2 + i] * stride + tap[1 + i]).checked_sub(pad).filter(|at| *at < x.shape[2 + i]);
                if let (Some(row), Some(column)) = (at(0), at(1)) {
                    sum += x.at(&[index[0], channel, row, column]) * w.at(&[&[index[1]], &tap[..]].concat());
                }
            }
            sum
        };
        Array::new(shape, indices(shape).map(of).collect())
    }

    pub fn cases() -> Vec<Case> {
        let case = |x: &[usize], w: &[usize], stride: usize, pad: usize, groups: usize, shape: &'static [usize]| {
            let sliding = Sliding { strides: Some(vec![stride; 2]), dilations: None, padding: Padding::Given(vec![pad; 4]) };
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
        ]
    }
}
