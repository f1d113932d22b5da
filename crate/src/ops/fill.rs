//! A tensor of one value. ONNX ConstantOfShape.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(shape i64 [r], value [1]) → y` of that shape and of the value's dtype.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill;

impl OpDef for Fill {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let shape = inputs.ints(0)?.unwrap_or_default();
        ensure!(shape.iter().all(|n| *n >= 0), ShapeMismatch, "{shape:?} is no shape");
        let shape: Vec<usize> = shape.into_iter().map(|n| n as usize).collect();
        Ok(vec![TensorType::new(inputs.dtype(1)?, Shape::known(&shape))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let value = inputs[1].tensor()?;
        ensure!(value.len() == 1, ShapeMismatch, "the value is not one element");
        outputs[0].bytes.chunks_exact_mut(value.bytes.len()).for_each(|y| y.copy_from_slice(value.bytes));
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
        let inputs = vec![Given::known(&[2], &[2i64, 3]), Given::fed(&[1], &[7i32])];
        vec![Case::new("[2, 3]", Fill, inputs, Tolerance::of(0.0), |_| {
            vec![Array::new(&[2, 3], vec![7.0; 6])]
        })]
    }
}
