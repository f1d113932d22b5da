//! Ones on a diagonal. ONNX EyeLike.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, fail};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};

/// `x [m, n] or [n] → y [m, n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Eye {
    /// How far above the main diagonal.
    pub above: i64,
    /// The dtype; that of `x` where it is left out.
    pub dtype: Option<DType>,
}

impl OpDef for Eye {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let shape = match *inputs.shape(0)? {
            [n] => [n, n],
            [m, n] => [m, n],
            _ => return fail!(ShapeMismatch, "{} is no matrix", inputs.ty(0)?),
        };
        Ok(vec![TensorType::new(self.dtype.unwrap_or(inputs.dtype(0)?), Shape::known(&shape))])
    }

    fn eval_cpu(&self, _cx: &CpuContext, _inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let n = outputs[0].shape[1] as i64;
        let of = |i: usize| i128::from(i as i64 % n == (i as i64 / n).saturating_add(self.above));
        let values = (0..outputs[0].len()).map(of).collect();
        outputs[0].narrow(Wide::Ints(values))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let op = Eye { above: 1, dtype: None };
        vec![Case::new("above the diagonal", op, vec![Given::noise(&[2, 3], 1)], Tolerance::of(0.0), |_| {
            vec![Array::new(&[2, 3], vec![0.0, 1.0, 0.0, 0.0, 0.0, 1.0])]
        })]
    }
}
