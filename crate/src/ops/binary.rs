//! Elementwise functions of two tensors. ONNX Add, Sub, Mul, Div. The second operand has the shape of the
//! first, or is one row that every row of the first meets, or has one value for each of its rows.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand::*, params, spread};
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// `(f32 [.., n], f32 [.., n] or [n] or [.., 1]) → f32 [.., n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// Which function.
    pub function: BinaryFunction,
}

/// The functions of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum BinaryFunction {
    Add,
    Div,
    Mul,
    Sub,
}

impl BinaryFunction {
    fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Div => a / b,
            Self::Mul => a * b,
            Self::Sub => a - b,
        }
    }
}

impl OpDef for Binary {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (a, b) = (inputs.ty(0)?, inputs.ty(1)?);
        expect_dtype(a, DType::F32, "the first operand")?;
        expect_dtype(b, DType::F32, "the second operand")?;
        ensure!(
            a.shape == b.shape
                || (b.shape.rank() == 1 && b.shape.0.last() == a.shape.0.last())
                || is_column(&a.shape.0, &b.shape.0),
            ShapeMismatch,
            "operands of shapes {} and {} do not go together",
            a.shape,
            b.shape
        );
        Ok(vec![a.clone()])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let b = inputs[1].tensor()?;
        let column = is_column(outputs[0].shape, b.shape);
        let (_, columns) = outputs[0].as_rows();
        let b = b.data::<f32>()?;
        let y = outputs[0].data::<f32>()?;
        if let Some(a) = inputs[0].optional()? {
            y.copy_from_slice(a.data()?);
        }
        if column {
            for (row, b) in y.chunks_mut(columns.max(1)).zip(b) {
                row.iter_mut().for_each(|y| *y = self.function.apply(*y, *b));
            }
            return Ok(());
        }
        for row in y.chunks_mut(b.len().max(1)) {
            row.iter_mut().zip(b).for_each(|(y, b)| *y = self.function.apply(*y, *b));
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (a, b) = (types.input(0)?, types.input(1)?);
        let n: usize = a.iter().product();
        let n_b = b.iter().product::<usize>() as u32;
        let each = if is_column(&a, &b) { a.last().copied().unwrap_or(1) as u32 } else { 1 };
        let params = Params { n: n as u32, n_b, each, function: self.function as u32 }.bytes();
        let (x, z) = spread(n.div_ceil(64));
        let bindings = vec![(0, Input(0)), (1, Input(1)), (2, Output(0))];
        Lowered::one(Dispatch::new("binary", &[], bindings, params, [x, 1, z])?)
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

params!("binary": n: u32, n_b: u32, each: u32, function: u32);

/// Whether `b` has one element for each row of `a`.
fn is_column<T: PartialEq + From<usize>>(a: &[T], b: &[T]) -> bool {
    match (a, b) {
        ([rows_a @ .., _], [rows_b @ .., last]) => rows_a == rows_b && *last == T::from(1),
        _ => false,
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_binary(function: BinaryFunction, a: f64, b: f64) -> f64 {
        match function {
            BinaryFunction::Add => a + b,
            BinaryFunction::Div => a / b,
            BinaryFunction::Mul => a * b,
            BinaryFunction::Sub => a - b,
        }
    }

    pub fn cases() -> Vec<Case> {
        use BinaryFunction::*;
        let mut cases = Vec::new();
        for function in [Add, Div, Mul, Sub] {
            for (a, b) in [(&[1][..], &[1][..]), (&[5, 67], &[5, 67]), (&[3, 70], &[70]), (&[2, 3, 33], &[33]), (&[2, 3, 33], &[2, 3, 1])] {
                let inputs = vec![Given::noise(a, 1), Given::noise(b, 2)];
                cases.push(Case::new(
                    format!("{function:?} of {a:?} and {b:?}"),
                    Binary { function },
                    inputs,
                    Tolerance::of(1e-6),
                    |x| {
                        let (a, b) = (x[0].as_ref().expect("an input"), x[1].as_ref().expect("an input"));
                        let column = b.shape.len() > 1 && b.shape.last() == Some(&1);
                        let n = a.shape.last().copied().unwrap_or(1);
                        let second = |i: usize| if column { b.values[i / n] } else { b.values[i % b.values.len()] };
                        let y = a.values.iter().enumerate().map(|(i, a)| reference_binary(function, *a, second(i)));
                        vec![Array::new(&a.shape, y.collect())]
                    },
                ));
            }
        }
        cases
    }
}
