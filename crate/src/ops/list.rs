//! Sequences and optional values. ONNX's Sequence operators, SplitToSequence, ConcatFromSequence, OptionalHasElement and
//! OptionalGetElement.

use super::concat::Concat;
use super::reshape::Reshape;
use super::split::Split;
use super::take::wrapped;
use super::values::{ValueOp, optional, required};
use super::{Op, axis_of};
use crate::error::{Result, ensure, fail};
use crate::tensor::Tensor;
use crate::types::DType;
use std::sync::Arc;

/// One value out of its inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum List {
    /// `(values…) → list`.
    Of,
    /// `(list, value, position?) → list` with the value before that position, or at the end.
    Insert,
    /// `(list, position?) → list` without the value at that position, or the last.
    Erase,
    /// `(list, position) → value`.
    At,
    /// `(value, position) → value`: that at the position of a list, and of anything else itself.
    Each,
    /// `list → i64 []`.
    Length,
    /// `(x, sizes?) → list` of parts of `x`: of one size, of these sizes, or of single slices.
    Split {
        /// The dimension; negative ones count from the end.
        axis: i64,
        /// Whether single slices keep the dimension.
        keep: bool,
    },
    /// `list → tensor`, one value after the other.
    Join {
        /// The dimension; negative ones count from the end.
        axis: i64,
        /// Whether it is a new one.
        new: bool,
    },
    /// `value? → bool []`: whether it is there.
    IsThere,
    /// `value → value`, which must be there.
    Get,
}

impl ValueOp for List {
    fn compute(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>> {
        Ok(vec![match self {
            Self::Of => {
                let there = (0..inputs.len()).map(|i| Ok(Arc::new(required(inputs, i)?.clone())));
                list(there.collect::<Result<_>>()?)?
            }
            Self::Insert => {
                let mut items = required(inputs, 0)?.items()?.to_vec();
                let at = match position(inputs, 2)? {
                    Some(at) if at == items.len() as i64 => items.len(),
                    Some(at) => wrapped(at, items.len())?,
                    None => items.len(),
                };
                items.insert(at, Arc::new(required(inputs, 1)?.clone()));
                list(items)?
            }
            Self::Erase => {
                let mut items = required(inputs, 0)?.items()?.to_vec();
                items.remove(wrapped(position(inputs, 1)?.unwrap_or(-1), items.len())?);
                list(items)?
            }
            Self::At => at(inputs)?,
            Self::Each => match required(inputs, 0)? {
                tensor if tensor.dtype() == DType::List => at(inputs)?,
                other => other.clone(),
            },
            Self::Length => Tensor::new(&[], &[required(inputs, 0)?.items()?.len() as i64])?,
            Self::Split { axis, keep } => split(required(inputs, 0)?, optional(inputs, 1), *axis, *keep)?,
            Self::Join { axis, new } => join(required(inputs, 0)?.items()?, *axis, *new)?,
            Self::IsThere => {
                let mut there = Tensor::zeros(DType::Bool, &[])?;
                let value = optional(inputs, 0).is_some_and(|value| value.dtype() != DType::Absent);
                there.view_mut().bytes[0] = u8::from(value);
                there
            }
            Self::Get => {
                let value = required(inputs, 0)?;
                ensure!(value.dtype() != DType::Absent, InvalidInput, "the optional value is not there");
                value.clone()
            }
        }])
    }
}

/// A list. Fails when one of its values is a list itself.
fn list(items: Vec<Arc<Tensor>>) -> Result<Tensor> {
    let nested = items.iter().any(|item| item.dtype() == DType::List);
    ensure!(!nested, UnsupportedOp, "sequences of sequences are not supported");
    Ok(Tensor::list(items))
}

fn position(inputs: &[Option<&Tensor>], index: usize) -> Result<Option<i64>> {
    let Some(tensor) = optional(inputs, index) else { return Ok(None) };
    match tensor.view().to_ints()?[..] {
        [position] => Ok(Some(position)),
        _ => fail!(ShapeMismatch, "a position is one integer, and {tensor:?} came"),
    }
}

fn at(inputs: &[Option<&Tensor>]) -> Result<Tensor> {
    let items = required(inputs, 0)?.items()?;
    let Some(at) = position(inputs, 1)? else { return fail!(InvalidGraph, "the position is missing") };
    Ok(Tensor::clone(&items[wrapped(at, items.len())?]))
}

fn split(x: &Tensor, sizes: Option<&Tensor>, axis: i64, keep: bool) -> Result<Tensor> {
    let n = x.shape().get(axis_of(axis, x.shape().len())?).copied().unwrap_or(0);
    let sizes = match sizes {
        None => vec![1; n],
        Some(size) => match (size.view().to_ints()?, size.shape().len()) {
            (sizes, 0) => {
                let size = usize::try_from(sizes[0]).unwrap_or(0);
                ensure!(size > 0, InvalidInput, "{x:?} cannot be split into parts of {}", sizes[0]);
                (0..n.div_ceil(size)).map(|i| size.min(n - i * size) as i64).collect()
            }
            (sizes, _) => sizes,
        },
    };
    let squeeze = sizes_are_single(&sizes) && !keep;
    let parts = sizes.len();
    if parts == 0 {
        return list(Vec::new());
    }
    let sizes = Tensor::new(&[parts], &sizes)?;
    let axes = Tensor::new(&[1], &[axis])?;
    let part = |part: Tensor| match squeeze {
        true => {
            Ok(Arc::new(Op::from(Reshape::Squeeze).eval_now(&[Some(&part), Some(&axes)])?.swap_remove(0)))
        }
        false => Ok(Arc::new(part)),
    };
    let all = Op::from(Split { axis, parts }).eval_now(&[Some(x), Some(&sizes)])?;
    list(all.into_iter().map(part).collect::<Result<_>>()?)
}

fn sizes_are_single(sizes: &[i64]) -> bool {
    sizes.iter().all(|size| *size == 1)
}

fn join(items: &[Arc<Tensor>], axis: i64, new: bool) -> Result<Tensor> {
    ensure!(!items.is_empty(), ShapeMismatch, "an empty sequence cannot be joined");
    let axes = Tensor::new(&[1], &[axis])?;
    let item = |item: &Arc<Tensor>| match new {
        true => Ok(Op::from(Reshape::Unsqueeze).eval_now(&[Some(item), Some(&axes)])?.swap_remove(0)),
        false => Ok(Tensor::clone(item)),
    };
    let items = items.iter().map(item).collect::<Result<Vec<_>>>()?;
    let items: Vec<_> = items.iter().map(Some).collect();
    Ok(Op::from(Concat { axis }).eval_now(&items)?.swap_remove(0))
}

/// A list is not a case: the tests below have them.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use crate::ops::case::Case;

    pub fn cases() -> Vec<Case> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(op: List, inputs: &[Option<&Tensor>]) -> Result<Tensor> {
        Op::from(op).eval_now(inputs).map(|mut outputs| outputs.swap_remove(0))
    }

    #[test]
    fn what_is_split_joins_to_what_it_was() {
        let x = Tensor::new(&[2, 5], &[1i32, 2, 3, 4, 5, 6, 7, 8, 9, 10]).unwrap();
        let two = Tensor::new(&[], &[2i64]).unwrap();
        let parts = eval(List::Split { axis: 1, keep: true }, &[Some(&x), Some(&two)]).unwrap();
        let shapes: Vec<_> = parts.items().unwrap().iter().map(|part| part.shape().to_vec()).collect();
        assert_eq!(shapes, [[2, 2], [2, 2], [2, 1]]);
        assert!(eval(List::Join { axis: -1, new: false }, &[Some(&parts)]).unwrap() == x);
        let slices = eval(List::Split { axis: 0, keep: false }, &[Some(&x), None]).unwrap();
        assert_eq!(slices.items().unwrap()[1].shape(), [5]);
        assert!(eval(List::Join { axis: 0, new: true }, &[Some(&slices)]).unwrap() == x);
    }

    #[test]
    fn positions_count_from_either_end_and_no_further() {
        let of = |n: i64| Tensor::new(&[], &[n]).unwrap();
        let (a, b) = (of(10), of(20));
        let both = eval(List::Of, &[Some(&a), Some(&b)]).unwrap();
        assert!(eval(List::At, &[Some(&both), Some(&of(-2))]).unwrap() == a);
        assert!(eval(List::At, &[Some(&both), Some(&of(2))]).is_err());
        let three = eval(List::Insert, &[Some(&both), Some(&of(30)), Some(&of(0))]).unwrap();
        assert!(three.items().unwrap()[0].data::<i64>().unwrap() == [30]);
        assert!(eval(List::Erase, &[Some(&three), Some(&of(0))]).unwrap() == both);
        assert!(eval(List::Erase, &[Some(&Tensor::list(Vec::new()))]).is_err());
        assert!(eval(List::Of, &[Some(&both)]).is_err());
        assert_eq!(eval(List::IsThere, &[Some(&Tensor::absent())]).unwrap().bytes(), [0]);
        assert!(eval(List::Get, &[Some(&Tensor::absent())]).is_err());
    }
}
