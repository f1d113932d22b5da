//! Where the largest or smallest element along a dimension is. ONNX ArgMax and ArgMin.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::Result;
use crate::tensor::TensorViewMut;
use crate::types::{DType, Dim, TensorType};

/// `x [..] → i64`, without the dimension or with it as 1.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgReduce {
    /// The dimension; negative ones count from the end.
    pub axis: i64,
    /// Whether it stays, as 1.
    pub keep: bool,
    /// Whether the largest is wanted, or the smallest.
    pub largest: bool,
    /// Whether the last of equals is wanted, or the first.
    pub last: bool,
}

impl OpDef for ArgReduce {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let mut shape = inputs.ty(0)?.shape.clone();
        let axis = super::axis_of(self.axis, shape.rank())?;
        if self.keep {
            shape.0[axis] = Dim::Known(1);
        } else {
            shape.0.remove(axis);
        }
        Ok(vec![TensorType { dtype: DType::I64, shape }])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let axis = super::axis_of(self.axis, x.shape.len())?;
        let (n, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>());
        let values = x.to_floats()?;
        for (i, y) in outputs[0].data::<i64>()?.iter_mut().enumerate() {
            let start = i / inner * n * inner + i % inner;
            let at = |j: usize| values[start + j * inner];
            let mut best = 0;
            for j in 1..n {
                let better = if self.largest { at(j) > at(best) } else { at(j) < at(best) };
                if better || self.last && at(j) == at(best) {
                    best = j;
                }
            }
            *y = best as i64;
        }
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let x = [3.0f32, 9.0, 9.0, 1.0, 5.0, 1.0];
        let case = |axis: i64, largest: bool, last: bool, shape: &'static [usize], want: &'static [f64]| {
            let op = ArgReduce { axis, keep: true, largest, last };
            let inputs = vec![Given::fed(&[2, 3], &x)];
            Case::new(format!("{op:?}"), op, inputs, Tolerance::of(0.0), |_| {
                vec![Array::new(shape, want.to_vec())]
            })
        };
        vec![
            case(-1, true, false, &[2, 1], &[1.0, 1.0]),
            case(-1, true, true, &[2, 1], &[2.0, 1.0]),
            case(0, false, false, &[1, 3], &[1.0, 1.0, 1.0]),
        ]
    }
}
