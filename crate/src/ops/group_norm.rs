//! Groups of channels of zero mean and unit variance, then scaled by channel. ONNX GroupNormalization and
//! InstanceNormalization; Wu and He 2018, arXiv:1803.08494.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_float};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, MAX_LINE, Operand::*, params, spread};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x [n, c, …], scale [c], bias [c]) → y` like `x`, all floats; scales may be by group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    /// How many groups; one a channel where it is left out.
    pub groups: Option<usize>,
    /// What is added to the variance.
    pub epsilon: f32,
}

impl OpDef for GroupNorm {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        expect_float(x, "the input of a norm")?;
        let channels = inputs.shape(0)?.get(1).copied().unwrap_or(1);
        let scales = inputs.ty(1)?;
        let groups = self.groups.unwrap_or(channels);
        let each = [channels, groups].iter().any(|n| scales.shape == Shape::known(&[*n]));
        let fits = (channels == 0 || groups > 0 && channels.is_multiple_of(groups))
            && each
            && inputs.ty(2)?.shape == scales.shape;
        ensure!(fits, ShapeMismatch, "{x} in {:?} groups, with scales {}", self.groups, inputs.ty(1)?);
        Ok(vec![x.clone()])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let y = &mut outputs[0];
        if let Some(x) = inputs[0].optional()? {
            y.bytes.copy_from_slice(x.bytes);
        }
        let (scale, bias) = (inputs[1].tensor()?.data::<f32>()?, inputs[2].tensor()?.data::<f32>()?);
        let plane: usize = y.shape.iter().skip(2).product::<usize>().max(1);
        let channels = y.shape.get(1).copied().unwrap_or(1);
        let group = channels / self.groups.unwrap_or(channels).max(1);
        let each = channels / scale.len().max(1);
        for (i, values) in y.data::<f32>()?.chunks_exact_mut((group * plane).max(1)).enumerate() {
            let n = values.len() as f64;
            let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
            let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
            let factor = 1.0 / (variance + f64::from(self.epsilon)).sqrt();
            for (j, plane) in values.chunks_exact_mut(plane).enumerate() {
                let c = (i * group + j) % channels / each;
                let (factor, mean) = (factor as f32 * scale[c], mean as f32);
                plane.iter_mut().for_each(|x| *x = (*x - mean) * factor + bias[c]);
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
        let shape = types.input(0)?;
        let &[n, c, ..] = &shape[..] else { return Lowered::not_on_gpu("there are no channels") };
        let groups = self.groups.unwrap_or(c);
        let count = shape[1..].iter().product::<usize>() / groups.max(1);
        if count > MAX_LINE {
            return Lowered::too_long(count);
        }
        let params = Params {
            rows: (n * groups) as u32,
            channels: (c / groups.max(1)) as u32,
            groups: groups as u32,
            plane: shape[2..].iter().product::<usize>() as u32,
            epsilon: self.epsilon,
        };
        let bindings = vec![(0, Input(0)), (1, Input(1)), (2, Input(2)), (3, Output(0))];
        let (x, z) = spread(n * groups);
        Lowered::one(Dispatch::new("group_norm", &[], bindings, params.bytes(), [x, 1, z])?)
    }
}

params!("group_norm": rows: u32, channels: u32, groups: u32, plane: u32, epsilon: f32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |groups: Option<usize>| {
            let inputs = vec![Given::noise(&[2, 4, 7], 1), Given::noise(&[4], 2), Given::noise(&[4], 3)];
            let op = GroupNorm { groups, epsilon: 1e-2 };
            Case::new(format!("{groups:?} groups"), op, inputs, Tolerance::of(2e-6), |given| {
                let [Some(x), Some(scale), Some(bias)] = given else { panic!("three inputs") };
                let n = 28 / groups.unwrap_or(4);
                let values = x.values.chunks_exact(n).enumerate().flat_map(|(i, part)| {
                    let mean = part.iter().sum::<f64>() / n as f64;
                    let variance = part.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
                    let channel = move |j: usize| (i * n + j) / 7 % 4;
                    let of = |(j, x): (usize, &f64)| {
                        let c = channel(j);
                        (x - mean) / (variance + 1e-2).sqrt() * scale.values[c] + bias.values[c]
                    };
                    part.iter().enumerate().map(of).collect::<Vec<_>>()
                });
                vec![Array::new(&x.shape, values.collect())]
            })
        };
        vec![case(None), case(Some(2))]
    }
}
