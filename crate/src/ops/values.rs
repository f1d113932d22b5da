//! Operators on values that are no bytes: texts, lists, and what is absent. They are computed while planning, from
//! inputs that are all known, so that no plan and no back end meets such a value.
//!
//! An operator that only moves elements needs no code for texts: each distinct text gets a number, the operator moves
//! the numbers, and the results are texts again.

use super::{CpuContext, Input, Known, Op, OpDef};
use crate::error::{Result, ensure, fail};
use crate::tensor::{Tensor, TensorViewMut};
use crate::types::{DType, TensorType};
use std::collections::HashMap;
use std::sync::Arc;

/// An operator that is always computed while planning.
pub trait ValueOp {
    /// The outputs. Inputs beyond those that the node has are absent.
    fn compute(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>>;
}

impl<T: ValueOp> OpDef for T {
    fn needs_all_values(&self) -> bool {
        true
    }

    fn eval_values(&self, inputs: &[Option<&Tensor>]) -> Result<Option<Vec<Tensor>>> {
        self.compute(inputs).map(Some)
    }

    fn infer(&self, _inputs: &Known) -> Result<Vec<TensorType>> {
        fail!(Internal, "the types of values that are no bytes come with them")
    }

    fn eval_cpu(&self, _cx: &CpuContext, _inputs: &[Input], _outputs: &mut [TensorViewMut]) -> Result<()> {
        fail!(Internal, "values that are no bytes reached a back end")
    }
}

/// A required input.
pub(super) fn required<'a>(inputs: &[Option<&'a Tensor>], index: usize) -> Result<&'a Tensor> {
    match optional(inputs, index) {
        Some(tensor) => Ok(tensor),
        None => fail!(InvalidGraph, "input {index} is missing"),
    }
}

/// An input that may be absent.
pub(super) fn optional<'a>(inputs: &[Option<&'a Tensor>], index: usize) -> Option<&'a Tensor> {
    inputs.get(index).copied().flatten()
}

/// The outputs, of these types, of an operator that takes or gives elements that are no bytes.
pub(super) fn eval(op: &Op, inputs: &[Option<&Tensor>], types: &[TensorType]) -> Result<Vec<Tensor>> {
    if let Some(outputs) = op.def().eval_values(inputs)? {
        return Ok(outputs);
    }
    let dtypes = inputs.iter().flatten().map(|tensor| tensor.dtype()).chain(types.iter().map(|ty| ty.dtype));
    let is_known = |dtype: DType| dtype.has_bytes() || dtype == DType::Text;
    let what = dtypes.clone().find(|dtype| !dtype.has_bytes()).unwrap_or(DType::Text);
    ensure!(
        op.def().moves_elements() && dtypes.clone().all(is_known),
        UnsupportedOp,
        "{} of {what} elements is not supported",
        op.name()
    );
    by_number(op, inputs, types)
}

fn by_number(op: &Op, inputs: &[Option<&Tensor>], types: &[TensorType]) -> Result<Vec<Tensor>> {
    // What an operator adds is zeros, so that these are the empty text.
    let mut texts: Vec<Arc<str>> = vec!["".into()];
    let mut numbers = HashMap::from([(texts[0].clone(), 0u32)]);
    let mut number = |text: &Arc<str>| {
        *numbers.entry(text.clone()).or_insert_with(|| {
            texts.push(text.clone());
            texts.len() as u32 - 1
        })
    };
    let mut stand_ins = Vec::with_capacity(inputs.len());
    for tensor in inputs.iter().flatten().filter(|tensor| tensor.dtype() == DType::Text) {
        let all: Vec<u32> = tensor.texts()?.iter().map(&mut number).collect();
        stand_ins.push(Tensor::new(tensor.shape(), &all)?);
    }
    let mut next = stand_ins.iter();
    let inputs: Vec<_> = (inputs.iter())
        .map(|input| match input {
            Some(tensor) if tensor.dtype() == DType::Text => next.next(),
            other => *other,
        })
        .collect();
    let outputs = op.eval_now(&inputs)?.into_iter().zip(types);
    let named = |(tensor, ty): (Tensor, &TensorType)| {
        if ty.dtype != DType::Text {
            return Ok(tensor);
        }
        let all = tensor.data::<u32>()?.iter().map(|&n| texts.get(n as usize).cloned().unwrap_or_default());
        Tensor::of_texts(tensor.shape(), all.collect())
    };
    outputs.map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::ops::binary::{Binary, BinaryFunction};
    use crate::ops::concat::Concat;
    use crate::ops::pad::{Pad, PadMode};
    use crate::ops::unary::{Unary, UnaryFunction};

    fn texts(shape: &[usize], texts: &[&str]) -> Tensor {
        Tensor::of_texts(shape, texts.iter().map(|text| Arc::from(*text)).collect()).unwrap()
    }

    #[test]
    fn what_moves_elements_moves_texts() {
        let (a, b) = (texts(&[2], &["x", ""]), texts(&[1], &["y"]));
        let joined = Op::from(Concat { axis: 0 }).eval_now(&[Some(&a), Some(&b)]).unwrap();
        assert!(joined[0] == texts(&[3], &["x", "", "y"]));
        let pads = Tensor::new(&[2], &[1i64, 0]).unwrap();
        let padded = Op::from(Pad { mode: PadMode::Constant }).eval_now(&[Some(&b), Some(&pads)]).unwrap();
        assert!(padded[0] == texts(&[2], &["", "y"]));
    }

    #[test]
    fn texts_are_equal_or_not_and_nothing_else() {
        let (a, b) = (texts(&[2], &["x", "y"]), texts(&[1], &["y"]));
        let of = |function| Op::from(Binary { function }).eval_now(&[Some(&a), Some(&b)]);
        assert_eq!(of(BinaryFunction::Equal).unwrap()[0].bytes(), [0, 1]);
        for error in [
            of(BinaryFunction::Less).unwrap_err(),
            of(BinaryFunction::Add).unwrap_err(),
            Op::from(Unary { function: UnaryFunction::Neg }).eval_now(&[Some(&a)]).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::UnsupportedOp, "{error}");
        }
        let list = Tensor::list(vec![Arc::new(a)]);
        assert!(Op::from(Concat { axis: 0 }).eval_now(&[Some(&list), Some(&list)]).is_err());
    }
}
