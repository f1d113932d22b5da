//! Where elements are not zero. ONNX NonZero.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::Result;
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::{DType, TensorType};

/// `x [d…] → i64 [rank, n]`: a column for each element that is not zero, in row-major order. Of a single number the
/// rank is 1.
#[derive(Clone, Debug, PartialEq)]
pub struct NonZero;

fn found(x: &TensorView) -> Result<Vec<usize>> {
    let values = x.to_floats()?;
    Ok(values.iter().enumerate().filter(|(_, x)| **x != 0.0).map(|(i, _)| i).collect())
}

impl OpDef for NonZero {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let Some(x) = inputs.value(0)? else {
            return crate::error::fail!(InvalidGraph, "input 0 is missing");
        };
        Ok(vec![TensorType::new(DType::I64, [x.shape.len().max(1), found(&x)?.len()])])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let found = found(&x)?;
        let strides = crate::kernels::strided::row_major(x.shape);
        for (axis, row) in outputs[0].data::<i64>()?.chunks_exact_mut(found.len().max(1)).enumerate() {
            let (stride, n) =
                (strides.get(axis).map_or(1, |s| *s as usize), x.shape.get(axis).copied().unwrap_or(1));
            row.iter_mut().zip(&found).for_each(|(y, at)| *y = (at / stride % n) as i64);
        }
        Ok(())
    }

    fn needs_values(&self) -> &'static [usize] {
        &[0]
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let inputs = vec![Given::known(&[2, 3], &[0.0f32, 4.0, 0.0, 5.0, 0.0, -1.0])];
        let want = vec![0.0, 1.0, 1.0, 1.0, 0.0, 2.0];
        vec![Case::new("3 of 6", NonZero, inputs, Tolerance::of(0.0), |_| {
            vec![Array::new(&[2, 3], want.clone())]
        })]
    }
}
