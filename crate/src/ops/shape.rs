//! The shape of a tensor, or how many elements it has, as i64. ONNX Shape and Size. Both are known as soon as
//! the input's type is.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, fail};
use crate::tensor::{Tensor, TensorViewMut};
use crate::types::{DType, TensorType};

/// `x → i64 [end - start]`, or `i64 []`.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// The dimensions from `start` to before `end`, which may be negative and are clamped.
    Dimensions {
        /// The first.
        start: i64,
        /// The one after the last; all of them where it is left out.
        end: Option<i64>,
    },
    /// Their product.
    Size,
}

impl Shape {
    fn value(&self, inputs: &Known) -> Result<Tensor> {
        let shape: Vec<i64> = inputs.shape(0)?.into_iter().map(|n| n as i64).collect();
        match self {
            Self::Size => Tensor::new(&[], &[shape.iter().product::<i64>()]),
            Self::Dimensions { start, end } => {
                let n = shape.len() as i64;
                let clamp = |at: i64| (if at < 0 { at + n } else { at }).clamp(0, n) as usize;
                let (start, end) = (clamp(*start), clamp(end.unwrap_or(n)));
                let part = &shape[start.min(end)..end];
                Tensor::new(&[part.len()], part)
            }
        }
    }
}

impl OpDef for Shape {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let shape = self.value(inputs)?.shape().to_vec();
        Ok(vec![TensorType::new(DType::I64, crate::types::Shape::known(&shape))])
    }

    fn outputs_of_types(&self, inputs: &Known) -> Result<Option<Vec<Tensor>>> {
        Ok(Some(vec![self.value(inputs)?]))
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let Some(Ok(x)) = inputs.first().map(Input::tensor) else {
            return fail!(Internal, "the shape of what is not there");
        };
        let ty = TensorType::new(x.dtype, crate::types::Shape::known(x.shape));
        outputs[0].bytes.copy_from_slice(self.value(&Known::types(&[Some(&ty)]))?.bytes());
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |op: Shape, want: &'static [f64], shape: &'static [usize]| {
            let inputs = vec![Given::noise(&[2, 3, 4], 1)];
            Case::new(format!("{op:?}"), op, inputs, Tolerance::of(0.0), |_| {
                vec![Array::new(shape, want.to_vec())]
            })
        };
        vec![
            case(Shape::Size, &[24.0], &[]),
            case(Shape::Dimensions { start: 0, end: None }, &[2.0, 3.0, 4.0], &[3]),
            case(Shape::Dimensions { start: -2, end: Some(-1) }, &[3.0], &[1]),
        ]
    }
}
