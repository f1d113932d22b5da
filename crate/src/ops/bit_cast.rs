//! The bytes of elements read as another dtype of the same width. ONNX BitCast.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// `x → y` of the same shape.
#[derive(Clone, Debug, PartialEq)]
pub struct BitCast {
    /// The dtype wanted.
    pub to: DType,
}

impl OpDef for BitCast {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        let same = x.dtype.block_bytes() == self.to.block_bytes();
        ensure!(same, ShapeMismatch, "elements of {x} and of {} differ in width", self.to);
        Ok(vec![TensorType { dtype: self.to, shape: x.shape.clone() }])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        outputs[0].bytes.copy_from_slice(inputs[0].tensor()?.bytes);
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let inputs = vec![Given::fed(&[2], &[1.0f32, -2.0])];
        vec![Case::new("f32 to i32", BitCast { to: DType::I32 }, inputs, Tolerance::of(0.0), |_| {
            vec![Array::new(&[2], vec![f64::from(0x3f80_0000), f64::from(-0x4000_0000)])]
        })]
    }
}
