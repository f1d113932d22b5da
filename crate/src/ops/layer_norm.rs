//! Rows of zero mean and unit variance: `(x - mean) / √(variance + ε) · scale + bias`. ONNX LayerNormalization;
//! Ba et al. 2016, arXiv:1607.06450. Without the mean, ONNX RMSNormalization. ([`rms_norm`](super::rms_norm) is the
//! same for rows of the last dimension, on both back ends.)

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_float};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, MAX_LINE, Operand::*, params, spread};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::WORTH;
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x f32 [.., n…], scale f32 [n…], bias f32 [n…]?) → (y like x, mean f32 [.., 1…], 1/deviation f32 [.., 1…])`,
/// of which the last two may be left out.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// The first dimension of a row; negative ones count from the end.
    pub axis: i64,
    /// Whether the mean is taken away.
    pub centre: bool,
    /// What is added to the variance.
    pub epsilon: f32,
    /// How many outputs the node has: 1, 2 or 3.
    pub outputs: usize,
}

impl OpDef for LayerNorm {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        expect_float(x, "the input of a norm")?;
        let shape = inputs.shape(0)?;
        let axis = super::axis_of(self.axis, shape.len())?;
        let n: usize = shape[axis..].iter().product();
        inputs.ty(1)?;
        for i in [1, 2] {
            let fits = inputs
                .optional(i)
                .is_none_or(|ty| ty.known_shape().is_ok_and(|shape| shape.iter().product::<usize>() == n));
            ensure!(fits, ShapeMismatch, "a norm of rows of {n} elements has an input {i} of another size");
        }
        let mut outer = shape;
        outer[axis..].fill(1);
        let statistic = TensorType::f32(Shape::known(&outer));
        Ok([x.clone(), statistic.clone(), statistic].into_iter().take(self.outputs).collect())
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let scale = inputs[1].tensor()?.data::<f32>()?;
        let bias =
            inputs.get(2).map_or(Ok(None), Input::optional)?.map(|bias| bias.data::<f32>()).transpose()?;
        let n = scale.len().max(1);
        let (y, statistics) = outputs.split_at_mut(1);
        let y = y[0].data::<f32>()?;
        let x = inputs[0].optional()?.map(|x| x.data::<f32>()).transpose()?;
        let normalise = |row: &mut [f32]| {
            let mean = if self.centre { math::sum::<S>(row, |x| x) / n as f32 } else { 0.0 };
            let middle = S::splat(mean);
            let square = |x| {
                let x = S::sub(x, middle);
                S::mul(x, x)
            };
            let variance = math::sum::<S>(row, square) / n as f32;
            let factor = 1.0 / (variance + self.epsilon).sqrt();
            let by = S::splat(factor);
            math::zip::<S>(row, scale, |x, scale| S::mul(S::mul(S::sub(x, middle), by), scale));
            if let Some(bias) = bias {
                math::zip::<S>(row, bias, S::add);
            }
            [mean, factor]
        };
        if statistics.is_empty() {
            cx.threads.for_rows(y, n, WORTH / n + 1, |first, y| {
                if let Some(x) = x {
                    y.copy_from_slice(&x[first * n..][..y.len()]);
                }
                y.chunks_exact_mut(n).for_each(|row| _ = normalise(row));
            });
            return Ok(());
        }
        if let Some(x) = x {
            y.copy_from_slice(x);
        }
        for (i, row) in y.chunks_exact_mut(n).enumerate() {
            for (statistic, value) in statistics.iter_mut().zip(normalise(row)) {
                statistic.data::<f32>()?[i] = value;
            }
        }
        Ok(())
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        if self.outputs > 1 {
            return Lowered::not_on_gpu("no kernel gives the statistics of a norm");
        }
        let shape = types.input(0)?;
        let n: usize = shape[super::axis_of(self.axis, shape.len())?..].iter().product();
        if n > MAX_LINE {
            return Lowered::too_long(n);
        }
        let rows = shape.iter().product::<usize>() / n.max(1);
        let params = Params {
            rows: rows as u32,
            n: n as u32,
            epsilon: self.epsilon,
            centre: self.centre.into(),
            has_bias: types.has(2).into(),
        };
        let mut bindings = vec![(0, Input(0)), (1, Input(1)), (3, Output(0))];
        bindings.extend(types.has(2).then_some((2, Input(2))));
        let (x, z) = spread(rows);
        Lowered::one(Dispatch::new("layer_norm", &[], bindings, params.bytes(), [x, 1, z])?)
    }
}

params!("layer_norm": rows: u32, n: u32, epsilon: f32, centre: u32, has_bias: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_layer_norm(x: &Array, n: usize, scale: &Array, bias: &Array, epsilon: f64) -> Array {
        let rows = x.values.chunks_exact(n).flat_map(|row| {
            let mean = row.iter().sum::<f64>() / n as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let of =
                |i: usize| (row[i] - mean) / (variance + epsilon).sqrt() * scale.values[i] + bias.values[i];
            (0..n).map(of).collect::<Vec<_>>()
        });
        Array::new(&x.shape, rows.collect())
    }

    pub fn cases() -> Vec<Case> {
        let case = |axis: i64, own: &'static [usize]| {
            let inputs = vec![Given::noise(&[3, 4, 33], 1), Given::noise(own, 2), Given::noise(own, 3)];
            let op = LayerNorm { axis, centre: true, epsilon: 1e-2, outputs: 1 };
            Case::new(format!("from {axis} on"), op, inputs, Tolerance::of(2e-6), |x| {
                let [Some(x), Some(scale), Some(bias)] = x else { panic!("three inputs") };
                vec![reference_layer_norm(x, own.iter().product(), scale, bias, 1e-2)]
            })
        };
        vec![case(-1, &[33]), case(1, &[4, 33])]
    }
}
