//! Sums or products of all elements before, along one dimension. ONNX CumSum and CumProd.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::Result;
use crate::tensor::{TensorViewMut, Wide};
use crate::types::TensorType;

/// `(x, axis integer []) → y` like `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cumulative {
    /// Whether elements are multiplied, or added.
    pub product: bool,
    /// Whether an element is left out of its own result.
    pub exclusive: bool,
    /// Whether it goes from the end.
    pub reverse: bool,
}

impl OpDef for Cumulative {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        inputs.ty(1)?;
        Ok(vec![inputs.ty(0)?.clone()])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, axis) = (inputs[0].tensor()?, inputs[1].tensor()?.to_ints()?);
        let axis = super::axis_of(axis.first().copied().unwrap_or(0), x.shape.len())?;
        let (n, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>());
        let values = match x.widen()? {
            Wide::Floats(x) => Wide::Floats(self.over(
                x,
                n,
                inner,
                |a, b| if self.product { a * b } else { a + b },
                if self.product { 1.0 } else { 0.0 },
            )),
            Wide::Ints(x) => Wide::Ints(self.over(
                x,
                n,
                inner,
                |a, b| if self.product { a.wrapping_mul(b) } else { a + b },
                i128::from(self.product),
            )),
        };
        outputs[0].narrow(values)
    }
}

impl Cumulative {
    fn over<T: Copy>(
        &self,
        mut values: Vec<T>,
        n: usize,
        inner: usize,
        join: impl Fn(T, T) -> T,
        none: T,
    ) -> Vec<T> {
        for block in values.chunks_exact_mut((n * inner).max(1)) {
            for column in 0..inner {
                let mut so_far = none;
                for i in 0..n {
                    let at = if self.reverse { n - 1 - i } else { i } * inner + column;
                    let joined = join(so_far, block[at]);
                    block[at] = if self.exclusive { so_far } else { joined };
                    so_far = joined;
                }
            }
        }
        values
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |product: bool, exclusive: bool, reverse: bool, want: &'static [f64]| {
            let inputs = vec![Given::fed(&[2, 3], &[1i32, 2, 3, 4, 5, 6]), Given::known(&[], &[1i64])];
            let op = Cumulative { product, exclusive, reverse };
            Case::new(format!("{op:?}"), op, inputs, Tolerance::of(0.0), |_| {
                vec![Array::new(&[2, 3], want.to_vec())]
            })
        };
        vec![
            case(false, false, false, &[1.0, 3.0, 6.0, 4.0, 9.0, 15.0]),
            case(false, true, true, &[5.0, 3.0, 0.0, 11.0, 6.0, 0.0]),
            case(true, false, false, &[1.0, 2.0, 6.0, 4.0, 20.0, 120.0]),
        ]
    }
}
