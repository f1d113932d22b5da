//! The `k` largest or smallest elements along a dimension, with where they are. ONNX TopK. ([`top_k`](super::top_k) is the
//! same for the rows of logits, on both back ends.)

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, Dim, TensorType};
use std::cmp::Ordering;

/// `(x, k i64 [1]) → (values of x's dtype, indices i64)`; the first of equals comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct SortK {
    /// The dimension; negative ones count from the end.
    pub axis: i64,
    /// Whether the largest are wanted, or the smallest.
    pub largest: bool,
}

impl OpDef for SortK {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let mut shape = inputs.ty(0)?.shape.clone();
        let axis = super::axis_of(self.axis, shape.rank())?;
        let k = inputs.ints(1)?.unwrap_or_default();
        let fits = k.len() == 1 && (0..=inputs.shape(0)?[axis] as i64).contains(&k[0]);
        ensure!(fits, ShapeMismatch, "the {k:?} first along dimension {axis} of {}", inputs.ty(0)?);
        shape.0[axis] = Dim::Known(k[0] as usize);
        let of = |dtype| TensorType { dtype, shape: shape.clone() };
        Ok(vec![of(inputs.dtype(0)?), of(DType::I64)])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let axis = super::axis_of(self.axis, x.shape.len())?;
        let (n, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>());
        let k = outputs[0].shape[axis];
        let order: Vec<usize> = match x.widen()? {
            Wide::Floats(x) => self.order(&x, n, inner, k, by_size),
            Wide::Ints(x) => self.order(&x, n, inner, k, Ord::cmp),
        };
        let size = x.dtype.block_bytes();
        for (y, &at) in outputs[0].bytes.chunks_exact_mut(size).zip(&order) {
            y.copy_from_slice(&x.bytes[at * size..][..size]);
        }
        let indices = outputs[1].data::<i64>()?;
        indices.iter_mut().zip(&order).for_each(|(y, at)| *y = (at / inner % n) as i64);
        Ok(())
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1]
    }
}

/// Floats by size, with what is no number above all: a total order, which sorting needs.
fn by_size(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

impl SortK {
    /// Where each element of the output comes from, in its order.
    fn order<T>(
        &self,
        x: &[T],
        n: usize,
        inner: usize,
        k: usize,
        compare: impl Fn(&T, &T) -> Ordering,
    ) -> Vec<usize> {
        let outer = x.len().checked_div(n * inner).unwrap_or(0);
        let mut order = vec![0; outer * k * inner];
        for (block, column) in (0..outer).flat_map(|block| (0..inner).map(move |column| (block, column))) {
            let at = |i: usize| (block * n + i) * inner + column;
            let mut line: Vec<usize> = (0..n).collect();
            line.sort_by(|&a, &b| {
                let ascending = compare(&x[at(a)], &x[at(b)]);
                if self.largest { ascending.reverse() } else { ascending }
            });
            line[..k].iter().enumerate().for_each(|(j, &i)| order[(block * k + j) * inner + column] = at(i));
        }
        order
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |largest: bool, values: &'static [f64], indices: &'static [f64]| {
            let x = [3.0f32, 9.0, 9.0, 1.0, 5.0, 1.0];
            let inputs = vec![Given::fed(&[2, 3], &x), Given::known(&[1], &[2i64])];
            Case::new(
                format!("largest: {largest}"),
                SortK { axis: -1, largest },
                inputs,
                Tolerance::of(0.0),
                |_| vec![Array::new(&[2, 2], values.to_vec()), Array::new(&[2, 2], indices.to_vec())],
            )
        };
        vec![
            case(true, &[9.0, 9.0, 5.0, 1.0], &[1.0, 2.0, 1.0, 0.0]),
            case(false, &[3.0, 9.0, 1.0, 1.0], &[0.0, 1.0, 0.0, 2.0]),
        ]
    }
}
