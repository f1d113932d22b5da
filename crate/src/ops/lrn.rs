//! Pixels divided by the strength of those in neighbouring channels: `x / (k + α/n · Σ x²)^β`. ONNX LRN; Krizhevsky et
//! al. 2012.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_float};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand, params};
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// `x [n, c, …] → y` like it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lrn {
    /// How many channels count, the pixel's own in the middle.
    pub size: usize,
    /// α.
    pub alpha: f32,
    /// β.
    pub beta: f32,
    /// k.
    pub bias: f32,
}

impl OpDef for Lrn {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        expect_float(x, "the image")?;
        ensure!(x.shape.rank() >= 2 && self.size > 0, ShapeMismatch, "{} channels of {x}", self.size);
        Ok(vec![x.clone()])
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let (channels, plane) = (x.shape[1], x.shape[2..].iter().product::<usize>());
        let (x, y) = (x.data::<f32>()?, outputs[0].data::<f32>()?);
        let (before, after) = ((self.size - 1) / 2, self.size / 2);
        let (alpha, mut sums) = (self.alpha / self.size as f32, vec![0.0; plane]);
        for (i, y) in y.chunks_exact_mut(plane.max(1)).enumerate() {
            let (image, channel) = (i / channels * channels, i % channels);
            sums.fill(0.0);
            for other in channel.saturating_sub(before)..channels.min(channel.saturating_add(after + 1)) {
                let plane = &x[(image + other) * plane..][..plane];
                sums.iter_mut().zip(plane).for_each(|(sum, x)| *sum += x * x);
            }
            let own = &x[i * plane..][..plane];
            y.iter_mut()
                .zip(own)
                .zip(&sums)
                .for_each(|((y, x), sum)| *y = x / (self.bias + alpha * sum).powf(self.beta));
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        if !(self.bias > 0.0 && self.alpha >= 0.0) {
            return Lowered::not_on_gpu("no kernel has powers of what may be negative");
        }
        let most = u32::MAX as usize / 4;
        let n = types.n_out()?;
        let params = Params {
            n: n as u32,
            channels: x[1] as u32,
            plane: x[2..].iter().product::<usize>() as u32,
            before: ((self.size - 1) / 2).min(most) as u32,
            after: (self.size / 2).min(most) as u32,
            alpha: self.alpha / self.size as f32,
            beta: self.beta,
            bias: self.bias,
        };
        let bindings = vec![(0, Operand::Input(0)), (1, Operand::Output(0))];
        Lowered::one(Dispatch::of_each("lrn", &[], bindings, params.bytes(), n)?)
    }
}

params!("lrn": n: u32, channels: u32, plane: u32, before: u32, after: u32, alpha: f32, beta: f32, bias: f32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let op = Lrn { size: 4, alpha: 0.5, beta: 0.75, bias: 1.5 };
        vec![Case::new(
            "4 of 6 channels",
            op,
            vec![Given::noise(&[2, 6, 3, 2], 1)],
            Tolerance::of(1e-6),
            |x| {
                let x = x[0].as_ref().expect("an image");
                let of = |at: Vec<usize>| {
                    let near = (0..6).filter(|c| at[1] <= c + 1 && *c <= at[1] + 2);
                    let sum: f64 = near.map(|c| x.at(&[at[0], c, at[2], at[3]]).powi(2)).sum();
                    x.at(&at) / (1.5 + 0.5 / 4.0 * sum).powf(0.75)
                };
                vec![Array::new(&x.shape, indices(&x.shape).map(of).collect())]
            },
        )]
    }
}
