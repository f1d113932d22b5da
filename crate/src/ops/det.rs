//! Determinants of square matrices, by elimination with the largest pivot. ONNX Det.

use super::{CpuContext, Input, Known, OpDef, expect_float};
use crate::error::{Result, fail};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{Shape, TensorType};

/// `x [.., n, n] → y [..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Det;

impl OpDef for Det {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        expect_float(inputs.ty(0)?, "the matrix")?;
        match &inputs.shape(0)?[..] {
            [outer @ .., m, n] if m == n => Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(outer))]),
            _ => fail!(ShapeMismatch, "{} is no square matrix", inputs.ty(0)?),
        }
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let n = x.shape[x.shape.len() - 1];
        let mut values = x.to_floats()?;
        let dets = match n {
            0 => vec![1.0; outputs[0].len()],
            _ => values.chunks_exact_mut(n * n).map(|matrix| det(matrix, n)).collect(),
        };
        outputs[0].narrow(Wide::Floats(dets))
    }
}

fn det(matrix: &mut [f64], n: usize) -> f64 {
    let mut det = 1.0;
    for i in 0..n {
        let size = |row: usize| matrix[row * n + i].abs();
        let pivot = (i..n).fold(i, |best, row| if size(row) > size(best) { row } else { best });
        if pivot != i {
            (0..n).for_each(|column| matrix.swap(i * n + column, pivot * n + column));
            det = -det;
        }
        det *= matrix[i * n + i];
        if det == 0.0 {
            return 0.0;
        }
        for row in i + 1..n {
            let factor = matrix[row * n + i] / matrix[i * n + i];
            (i..n).for_each(|column| matrix[row * n + column] -= factor * matrix[i * n + column]);
        }
    }
    det
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        vec![Case::new("3 by 3", Det, vec![Given::noise(&[4, 3, 3], 1)], Tolerance::of(1e-6), |x| {
            let x = x[0].as_ref().expect("matrices");
            let of = |m: &[f64]| {
                let minor = |a: usize, b: usize| m[3 + a] * m[6 + b] - m[3 + b] * m[6 + a];
                m[0] * minor(1, 2) - m[1] * minor(0, 2) + m[2] * minor(0, 1)
            };
            vec![Array::new(&[4], x.values.chunks_exact(9).map(of).collect())]
        })]
    }
}
