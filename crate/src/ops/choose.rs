//! One of two values. ONNX If, each of whose outputs is one: its branches are part of the graph, and a plan visits the
//! one that the condition takes.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure, fail};
use crate::tensor::{Tensor, TensorView, TensorViewMut};
use crate::types::TensorType;

/// `(condition bool of one element, a, b) → a` where the condition holds, else `b`, of whatever type. The other need
/// not be computable.
#[derive(Clone, Debug, PartialEq)]
pub struct Choose;

impl Choose {
    /// Which input is the output.
    pub fn taken(condition: TensorView) -> Result<usize> {
        ensure!(
            condition.dtype.has_bytes() && condition.len() == 1,
            ShapeMismatch,
            "a condition is one bool, and {} of shape {:?} came",
            condition.dtype,
            condition.shape
        );
        Ok(if condition.bytes.iter().any(|byte| *byte != 0) { 1 } else { 2 })
    }
}

impl OpDef for Choose {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let Some(condition) = inputs.value(0)? else { return fail!(InvalidGraph, "there is no condition") };
        Ok(vec![inputs.ty(Self::taken(condition)?)?.clone()])
    }

    fn needs_values(&self) -> &'static [usize] {
        &[0]
    }

    fn eval_values(&self, inputs: &[Option<&Tensor>]) -> Result<Option<Vec<Tensor>>> {
        let taken = Self::taken(super::values::required(inputs, 0)?.view())?;
        Ok(Some(vec![super::values::required(inputs, taken)?.clone()]))
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let taken = inputs[Self::taken(inputs[0].tensor()?)?].tensor()?;
        outputs[0].bytes.copy_from_slice(taken.bytes);
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Case, Given, Tolerance};
    use crate::types::DType;

    pub fn cases() -> Vec<Case> {
        let case = |holds: bool| {
            let mut condition = Tensor::zeros(DType::Bool, &[]).expect("one element");
            condition.view_mut().bytes[0] = u8::from(holds);
            let inputs = vec![Given::Known(condition), Given::noise(&[3], 1), Given::noise(&[2, 2], 2)];
            Case::new(format!("{holds}"), Choose, inputs, Tolerance::of(0.0), move |x| {
                vec![x[if holds { 1 } else { 2 }].clone().expect("an input")]
            })
        };
        vec![case(true), case(false)]
    }
}
