//! Channels scaled by statistics of the training data: `(x - mean) / √(variance + ε) · scale + bias`. ONNX
//! BatchNormalization in inference; Ioffe and Szegedy 2015, arXiv:1502.03167.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_float};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::kernels::threads::WORTH;
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x f32 [n, c, …], scale [c], bias [c], mean [c], variance [c]) → y` like `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// What is added to the variance.
    pub epsilon: f32,
}

impl OpDef for BatchNorm {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        expect_float(x, "the input of a norm")?;
        let channels = inputs.shape(0)?.get(1).copied().unwrap_or(1);
        for i in 1..5 {
            let fits = inputs.ty(i)?.shape == Shape::known(&[channels]);
            ensure!(
                fits,
                ShapeMismatch,
                "input {i}, {}, is not one number for each of {channels} channels",
                inputs.ty(i)?
            );
        }
        Ok(vec![x.clone()])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let y = &mut outputs[0];
        // None where it lies in the output.
        let x = inputs[0].optional()?.map(|x| x.data::<f32>()).transpose()?;
        let statistic = |i: usize| inputs[i].tensor()?.data::<f32>();
        let (scale, bias, mean, variance) = (statistic(1)?, statistic(2)?, statistic(3)?, statistic(4)?);
        let plane: usize = y.shape.iter().skip(2).product();
        cx.threads.for_rows(y.data::<f32>()?, plane, WORTH / plane.max(1) + 1, |first, planes| {
            for (i, y) in (first..).zip(planes.chunks_exact_mut(plane.max(1))) {
                let c = i % scale.len();
                let factor = scale[c] / (variance[c] + self.epsilon).sqrt();
                let shift = bias[c] - mean[c] * factor;
                match x {
                    Some(x) => {
                        y.iter_mut().zip(&x[i * plane..]).for_each(|(y, x)| *y = *x * factor + shift);
                    }
                    None => y.iter_mut().for_each(|x| *x = *x * factor + shift),
                }
            }
        });
        Ok(())
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let shape = types.input(0)?;
        let n = types.n_out()?;
        let params = Params {
            n: n as u32,
            channels: shape.get(1).copied().unwrap_or(1) as u32,
            plane: shape.iter().skip(2).product::<usize>() as u32,
            epsilon: self.epsilon,
        };
        let mut bindings: Vec<_> = (0..5).map(|i| (i as u32, Input(i))).collect();
        bindings.push((5, Output(0)));
        Lowered::one(Dispatch::of_each("batch_norm", &[], bindings, params.bytes(), n)?)
    }
}

params!("batch_norm": n: u32, channels: u32, plane: u32, epsilon: f32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let positive = Given::fed(&[3], &[0.5f32, 1.5, 2.0]);
        let noise = |seed| Given::noise(&[3], seed);
        let inputs = vec![Given::noise(&[2, 3, 4, 5], 1), noise(2), noise(3), noise(4), positive];
        vec![Case::new("3 channels", BatchNorm { epsilon: 1e-3 }, inputs, Tolerance::of(2e-6), |given| {
            let of = |i: usize, c: usize| given[i].as_ref().expect("an input").values[c];
            let x = given[0].as_ref().expect("an image");
            let y = x.values.iter().enumerate().map(|(i, x)| {
                let c = i / 20 % 3;
                (x - of(3, c)) / (of(4, c) + 1e-3).sqrt() * of(1, c) + of(2, c)
            });
            vec![Array::new(&x.shape, y.collect())]
        })]
    }
}
