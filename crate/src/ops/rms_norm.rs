//! Root-mean-square normalisation of rows: `y = x / sqrt(mean(x²) + epsilon) · weight`
//! (Zhang and Sennrich 2019, arXiv:1910.07467; ONNX RMSNormalization on the last axis).

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::kernels::threads::WORTH;
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// `(f32 [.., n], weight f32 [n]) → f32 [.., n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RmsNorm {
    /// What is added to the mean square.
    pub epsilon: f32,
}

impl OpDef for RmsNorm {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, weight) = (inputs.ty(0)?, inputs.ty(1)?);
        expect_dtype(x, DType::F32, "the input of a norm")?;
        expect_dtype(weight, DType::F32, "the weight of a norm")?;
        ensure!(
            weight.shape.rank() == 1 && weight.shape.0.last() == x.shape.0.last(),
            ShapeMismatch,
            "a norm's weight {weight} does not fit its input {x}"
        );
        Ok(vec![x.clone()])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let weight = inputs[1].tensor()?.data::<f32>()?;
        let y = outputs[0].data::<f32>()?;
        let x = inputs[0].optional()?.map(|x| x.data::<f32>()).transpose()?;
        let n = weight.len().max(1);
        cx.threads.for_rows(y, n, WORTH / n + 1, |first, y| {
            for (i, y) in y.chunks_exact_mut(n).enumerate() {
                match x {
                    Some(x) => {
                        let x = &x[(first + i) * n..][..n];
                        let scale = rms_scale(x, self.epsilon);
                        y.iter_mut().zip(x).zip(weight).for_each(|((y, x), w)| *y = *x * scale * w);
                    }
                    None => rms_norm_row(y, weight, self.epsilon),
                }
            }
        });
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        let columns = x.last().copied().unwrap_or(1);
        let rows = x.iter().product::<usize>() / columns.max(1);
        let params = Params { columns: columns as u32, epsilon: self.epsilon }.bytes();
        let bindings = vec![(0, Input(0)), (1, Input(1)), (2, Output(0))];
        Lowered::one(Dispatch::new("rms_norm", &[], bindings, params, [rows, 1, 1])?)
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

params!("rms_norm": columns: u32, epsilon: f32);

/// Normalises one row where it lies.
pub(super) fn rms_norm_row(row: &mut [f32], weight: &[f32], epsilon: f32) {
    let scale = rms_scale(row, epsilon);
    row.iter_mut().zip(weight).for_each(|(x, w)| *x = *x * scale * w);
}

/// What a row is multiplied with. The squares are summed in eight lanes, which vectorises.
fn rms_scale(row: &[f32], epsilon: f32) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = row.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().map(|x| x * x).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += x * x);
    }
    let mean = (lanes.iter().sum::<f32>() + rest) / row.len() as f32;
    1.0 / (mean + epsilon).sqrt()
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_rms_norm(x: &Array, weight: &Array, epsilon: f64) -> Array {
        let rows = x.rows().flat_map(|row| {
            let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
            row.iter().zip(&weight.values).map(move |(x, w)| x / (mean + epsilon).sqrt() * w)
        });
        Array::new(&x.shape, rows.collect())
    }

    pub fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for shape in [&[1, 1][..], &[3, 63], &[1, 576], &[2, 3, 130]] {
            let weight = Given::weight(DType::F32, &shape[shape.len() - 1..], 2);
            let op = RmsNorm { epsilon: 1e-5 };
            cases.push(Case::new(
                format!("{shape:?}"),
                op,
                vec![Given::noise(shape, 1), weight],
                Tolerance::of(1e-5),
                |x| vec![reference_rms_norm(x[0].as_ref().expect("x"), x[1].as_ref().expect("weight"), 1e-5)],
            ));
        }
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::rms_norm_row;

    fn reference_rms_norm(x: &[f32], weight: &[f32], epsilon: f64) -> Vec<f64> {
        let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / x.len() as f64;
        x.iter().zip(weight).map(|(x, w)| f64::from(*x) / (mean + epsilon).sqrt() * f64::from(*w)).collect()
    }

    #[test]
    fn agrees_with_the_reference_at_every_length() {
        for n in 1..40 {
            let x: Vec<f32> = (0..n).map(|i| ((i * 37 % 11) as f32 - 5.0) * 3.0).collect();
            let weight: Vec<f32> = (0..n).map(|i| 0.5 + i as f32 * 0.1).collect();
            let want = reference_rms_norm(&x, &weight, 1e-5);
            let mut got = x.clone();
            rms_norm_row(&mut got, &weight, 1e-5);
            for (got, want) in got.iter().zip(want) {
                assert!((f64::from(*got) - want).abs() <= 1e-5 * want.abs() + 1e-6, "{n}: {got} {want}");
            }
        }
    }
}
