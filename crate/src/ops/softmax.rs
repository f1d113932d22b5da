//! Rows that sum to one: `exp(x - max) / Σ exp(x - max)`, its logarithm, or a one at the largest. ONNX Softmax,
//! LogSoftmax and Hardmax over one or several neighbouring dimensions.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, MAX_LINE, Operand::*, params, spread};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::WORTH;
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, TensorType};

/// `x float [..] → y` of the same type.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    /// What becomes of a row.
    pub function: SoftmaxFunction,
    /// The dimension that sums to one; negative ones count from the end.
    pub axis: i64,
    /// Whether all dimensions from the axis on are one row, as before ONNX's opset 13.
    pub flatten: bool,
}

/// The functions of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum SoftmaxFunction {
    Softmax,
    Log,
    Hard,
}

impl SoftmaxFunction {
    fn apply(self, row: &mut [f32]) {
        let largest = math::largest::<S>(row);
        match self {
            Self::Hard => {
                let first = row.iter().position(|x| *x == largest);
                row.iter_mut().enumerate().for_each(|(i, x)| *x = if Some(i) == first { 1.0 } else { 0.0 });
            }
            Self::Softmax => {
                let top = S::splat(largest);
                math::map::<S>(row, |x| math::exp_negative::<S>(S::sub(x, top)));
                let scale = S::splat(1.0 / math::sum::<S>(row, |x| x));
                math::map::<S>(row, |x| S::mul(x, scale));
            }
            Self::Log => {
                let top = S::splat(largest);
                let sum = math::sum::<S>(row, |x| math::exp_negative::<S>(S::sub(x, top)));
                let shift = S::splat(largest + sum.ln());
                math::map::<S>(row, |x| S::sub(x, shift));
            }
        }
    }
}

impl OpDef for Softmax {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        if x.shape.rank() > 0 {
            super::axis_of(self.axis, x.shape.rank())?;
        }
        Ok(vec![x.clone()])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (y, x) = (&mut outputs[0], inputs[0].optional()?);
        let shape = if y.shape.is_empty() { &[1] } else { y.shape };
        let axis = super::axis_of(self.axis, shape.len())?;
        let n: usize = if self.flatten { shape[axis..].iter().product() } else { shape[axis] };
        let inner: usize = if self.flatten { 1 } else { shape[axis + 1..].iter().product() };
        if y.is_empty() {
            return Ok(());
        }
        if y.dtype == DType::F32 {
            let (block, x) = (n * inner, x.map(|x| x.data::<f32>()).transpose()?);
            cx.threads.for_rows(y.data()?, block, WORTH / block + 1, |first, y| {
                if let Some(x) = x {
                    y.copy_from_slice(&x[first * block..][..y.len()]);
                }
                over(y, n, inner, self.function);
            });
            return Ok(());
        }
        if let Some(x) = x {
            y.bytes.copy_from_slice(x.bytes);
        }
        let mut values: Vec<f32> = y.as_view().to_floats()?.into_iter().map(|x| x as f32).collect();
        over(&mut values, n, inner, self.function);
        y.narrow(Wide::Floats(values.into_iter().map(f64::from).collect()))
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let shape = types.input(0)?;
        let function = match self.function {
            SoftmaxFunction::Softmax => 0,
            SoftmaxFunction::Log => 1,
            SoftmaxFunction::Hard => return Lowered::not_on_gpu("no kernel has this function"),
        };
        if types.dtype(0) != Some(DType::F32) || shape.is_empty() {
            return Lowered::not_on_gpu("no kernel has rows of this dtype");
        }
        let axis = super::axis_of(self.axis, shape.len())?;
        let n: usize = if self.flatten { shape[axis..].iter().product() } else { shape[axis] };
        let inner: usize = if self.flatten { 1 } else { shape[axis + 1..].iter().product() };
        if n > MAX_LINE {
            return Lowered::too_long(n);
        }
        let rows = shape.iter().product::<usize>() / n.max(1);
        let params = Params { rows: rows as u32, n: n as u32, inner: inner as u32, function }.bytes();
        let (x, z) = spread(rows);
        Lowered::one(Dispatch::new("softmax", &[], vec![(0, Input(0)), (1, Output(0))], params, [x, 1, z])?)
    }
}

/// Applies the function to each line of `n` elements that are `inner` apart.
fn over(values: &mut [f32], n: usize, inner: usize, function: SoftmaxFunction) {
    if inner == 1 {
        return values.chunks_exact_mut(n).for_each(|row| function.apply(row));
    }
    if function == SoftmaxFunction::Softmax {
        return values.chunks_exact_mut(n * inner).for_each(|block| columns(block, inner));
    }
    let mut row = vec![0.0; n];
    for block in values.chunks_exact_mut(n * inner) {
        for column in 0..inner {
            row.iter_mut().zip(block[column..].iter().step_by(inner)).for_each(|(to, x)| *to = *x);
            function.apply(&mut row);
            block[column..].iter_mut().step_by(inner).zip(&row).for_each(|(to, x)| *to = *x);
        }
    }
}

/// Softmax of all columns of `[n, inner]` at once.
fn columns(block: &mut [f32], inner: usize) {
    let (mut largest, mut sums) = (block[..inner].to_vec(), vec![0.0; inner]);
    block.chunks_exact(inner).for_each(|row| math::zip::<S>(&mut largest, row, S::max));
    for row in block.chunks_exact_mut(inner) {
        math::zip::<S>(row, &largest, |x, top| math::exp_negative::<S>(S::sub(x, top)));
        math::zip::<S>(&mut sums, row, S::add);
    }
    block.chunks_exact_mut(inner).for_each(|row| math::zip::<S>(row, &sums, S::div));
}

params!("softmax": rows: u32, n: u32, inner: u32, function: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    /// Over a dimension, every element anew.
    fn reference_softmax(x: &Array, axis: usize, log: bool) -> Array {
        let of = |index: Vec<usize>| {
            let line = |i: usize| {
                let mut at = index.clone();
                at[axis] = i;
                x.at(&at).exp()
            };
            let share = x.at(&index).exp() / (0..x.shape[axis]).map(line).sum::<f64>();
            if log { share.ln() } else { share }
        };
        Array::new(&x.shape, indices(&x.shape).map(of).collect())
    }

    pub fn cases() -> Vec<Case> {
        let case = |function: SoftmaxFunction, axis: i64| {
            let op = Softmax { function, axis, flatten: false };
            let inputs = vec![Given::noise(&[3, 5, 7], 1)];
            Case::new(format!("{function:?} on {axis}"), op, inputs, Tolerance::of(1e-6), |x| {
                let axis = if axis < 0 { 2 } else { axis as usize };
                vec![reference_softmax(
                    x[0].as_ref().expect("an input"),
                    axis,
                    function == SoftmaxFunction::Log,
                )]
            })
        };
        vec![
            case(SoftmaxFunction::Softmax, -1),
            case(SoftmaxFunction::Softmax, 1),
            case(SoftmaxFunction::Log, 0),
        ]
    }
}
