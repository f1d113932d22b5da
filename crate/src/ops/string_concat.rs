//! Texts one behind the other. ONNX StringConcat, with its broadcasting.

use super::broadcast_shape;
use super::values::{ValueOp, required};
use crate::error::{Result, ensure};
use crate::tensor::Tensor;

/// `(a, b) → y`, all texts.
#[derive(Clone, Debug, PartialEq)]
pub struct StringConcat;

/// Elements that texts are joined to at most: two shapes broadcast to more than either has.
const MAX_ELEMENTS: usize = 1 << 24;

/// The element of `shape` that broadcasts to element `at` of `out`.
fn source(mut at: usize, out: &[usize], shape: &[usize]) -> usize {
    let (mut index, mut stride) = (0, 1);
    for (&n, i) in out.iter().rev().zip(1..=shape.len()) {
        let dim = shape[shape.len() - i];
        if dim > 1 {
            index += at % n * stride;
        }
        (at, stride) = (at / n, stride * dim);
    }
    index
}

impl ValueOp for StringConcat {
    fn compute(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>> {
        let (a, b) = (required(inputs, 0)?, required(inputs, 1)?);
        let shape = broadcast_shape(a.shape(), b.shape())?;
        let len = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).unwrap_or(usize::MAX);
        ensure!(len <= MAX_ELEMENTS, OutOfMemory, "{a:?} and {b:?} give too many texts");
        let (left, right) = (a.texts()?, b.texts()?);
        let one = |at| {
            let (left, right) = (&left[source(at, &shape, a.shape())], &right[source(at, &shape, b.shape())]);
            [&**left, &**right].concat().into()
        };
        Ok(vec![Tensor::of_texts(&shape, (0..len).map(one).collect())?])
    }
}

/// Texts are no case: the tests below have them.
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

    fn texts(shape: &[usize], all: &[&str]) -> Tensor {
        Tensor::of_texts(shape, all.iter().map(|text| (*text).into()).collect()).unwrap()
    }

    #[test]
    fn either_side_may_broadcast() {
        let (a, b) = (texts(&[2, 1], &["a", "b"]), texts(&[3], &["1", "", "ü"]));
        let both = |a: &Tensor, b: &Tensor| StringConcat.compute(&[Some(a), Some(b)]);
        assert!(both(&a, &b).unwrap()[0] == texts(&[2, 3], &["a1", "a", "aü", "b1", "b", "bü"]));
        assert!(both(&b, &a).unwrap()[0] == texts(&[2, 3], &["1a", "a", "üa", "1b", "b", "üb"]));
        assert!(both(&texts(&[], &["x"]), &texts(&[0], &[])).unwrap()[0].is_empty());
        assert!(both(&b, &texts(&[2], &["", ""])).is_err());
        assert!(both(&a, &Tensor::new(&[1], &[1i64]).unwrap()).is_err());
    }
}
