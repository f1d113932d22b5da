//! A convolution of each channel with its own past, which is kept from call to call. ONNX CausalConvWithState.

use super::{CpuContext, Input, Known, OpDef, expect_float, optional, unary::UnaryFunction};
use crate::error::{Result, ensure};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x [b, c, n], w [c, 1, k], bias [c]?, past [b, c, k - 1]?) → (y like x, the last k - 1 of past and x)`. Without a
/// past, zeros come before.
#[derive(Clone, Debug, PartialEq)]
pub struct CausalConv {
    /// What the sums become.
    pub activation: Option<UnaryFunction>,
    /// How many outputs the node has: 1 or 2.
    pub outputs: usize,
}

impl OpDef for CausalConv {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, w) = (inputs.ty(0)?, inputs.ty(1)?);
        expect_float(x, "the input")?;
        let (shape, weight) = (inputs.shape(0)?, inputs.shape(1)?);
        let (&[b, c, _], &[filters, 1, k]) = (&shape[..], &weight[..]) else {
            return crate::error::fail!(
                ShapeMismatch,
                "{x} and a weight {w} are not [b, c, n] and [c, 1, k]"
            );
        };
        let past = TensorType::new(x.dtype, [b, c, k.max(1) - 1]);
        let fits = filters == c
            && k > 0
            && inputs.optional(2).is_none_or(|bias| bias.shape == Shape::known(&[c]))
            && inputs.optional(3).is_none_or(|given| given.shape == past.shape);
        ensure!(
            fits,
            ShapeMismatch,
            "a weight {w} of {x}, bias {:?}, past {:?}",
            inputs.optional(2),
            inputs.optional(3)
        );
        Ok([x.clone(), past].into_iter().take(self.outputs).collect())
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, w) = (inputs[0].tensor()?, inputs[1].tensor()?);
        let (channels, n, k) = (x.shape[1], x.shape[2], w.shape[2]);
        let (x, w) = (x.data::<f32>()?, w.data::<f32>()?);
        let given = |index: usize| optional(inputs, index)?.map(|view| view.data::<f32>()).transpose();
        let (bias, past) = (given(2)?, given(3)?);
        let mut line = vec![0.0; k - 1 + n];
        for row in
            0..x.len().checked_div(n).unwrap_or_else(|| past.map_or(0, |past| past.len() / (k - 1).max(1)))
        {
            if let Some(past) = past {
                line[..k - 1].copy_from_slice(&past[row * (k - 1)..][..k - 1]);
            }
            line[k - 1..].copy_from_slice(&x[row * n..][..n]);
            let channel = row % channels;
            let w = &w[channel * k..][..k];
            let y = &mut outputs[0].data::<f32>()?[row * n..][..n];
            for (y, window) in y.iter_mut().zip(line.windows(k)) {
                let sum = window.iter().zip(w).map(|(x, w)| x * w).sum::<f32>()
                    + bias.map_or(0.0, |bias| bias[channel]);
                *y = self.activation.map_or(sum, |activation| activation.apply(sum));
            }
            if let Some(state) = outputs.get_mut(1) {
                state.data::<f32>()?[row * (k - 1)..][..k - 1].copy_from_slice(&line[n..]);
            }
        }
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let inputs = vec![
            Given::noise(&[2, 3, 5], 1),
            Given::noise(&[3, 1, 3], 2),
            Given::noise(&[3], 3),
            Given::noise(&[2, 3, 2], 4),
        ];
        let op = CausalConv { activation: None, outputs: 2 };
        vec![Case::new("with a past", op, inputs, Tolerance::of(1e-6), |x| {
            let [Some(x), Some(w), Some(bias), Some(past)] = x else { panic!("four inputs") };
            let at =
                |b: usize, c: usize, i: usize| if i < 2 { past.at(&[b, c, i]) } else { x.at(&[b, c, i - 2]) };
            let y = indices(&[2, 3, 5]).map(|i| {
                bias.values[i[1]]
                    + (0..3).map(|tap| at(i[0], i[1], i[2] + tap) * w.at(&[i[1], 0, tap])).sum::<f64>()
            });
            let state = indices(&[2, 3, 2]).map(|i| at(i[0], i[1], i[2] + 5));
            vec![Array::new(&[2, 3, 5], y.collect()), Array::new(&[2, 3, 2], state.collect())]
        })]
    }
}
