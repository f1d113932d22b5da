//! Elementwise functions of two tensors. ONNX Add, Sub, Mul, Div. The second operand has the shape of the
//! first, or is one row that every row of the first meets.

use super::{CpuContext, GpuCaps, Input, Lowered, OpDef, Types, expect_dtype, required};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand::*, params, spread};
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// `(f32 [.., n], f32 [.., n] or [n]) → f32 [.., n]`.
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
    fn infer(&self, inputs: &[Option<&TensorType>]) -> Result<Vec<TensorType>> {
        let (a, b) = (required(inputs, 0)?, required(inputs, 1)?);
        expect_dtype(a, DType::F32, "the first operand")?;
        expect_dtype(b, DType::F32, "the second operand")?;
        ensure!(
            a.shape == b.shape || (b.shape.rank() == 1 && b.shape.0.last() == a.shape.0.last()),
            ShapeMismatch,
            "operands of shapes {} and {} do not go together",
            a.shape,
            b.shape
        );
        Ok(vec![a.clone()])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let b = inputs[1].tensor()?.data::<f32>()?;
        let y = outputs[0].data::<f32>()?;
        if let Some(a) = inputs[0].optional()? {
            y.copy_from_slice(a.data()?);
        }
        for row in y.chunks_mut(b.len().max(1)) {
            row.iter_mut().zip(b).for_each(|(y, b)| *y = self.function.apply(*y, *b));
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let n: usize = types.input(0)?.iter().product();
        let n_b = types.input(1)?.iter().product::<usize>() as u32;
        let params = Params { n: n as u32, n_b, function: self.function as u32 }.bytes();
        let (x, z) = spread(n.div_ceil(64));
        let bindings = vec![(0, Input(0)), (1, Input(1)), (2, Output(0))];
        Lowered::one(Dispatch::new("binary", &[], bindings, params, [x, 1, z])?)
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

params!("binary": n: u32, n_b: u32, function: u32);

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
            for (a, b) in [(&[1][..], &[1][..]), (&[5, 67], &[5, 67]), (&[3, 70], &[70]), (&[2, 3, 33], &[33])] {
                let inputs = vec![Given::noise(a, 1), Given::noise(b, 2)];
                cases.push(Case::new(
                    format!("{function:?} of {a:?} and {b:?}"),
                    Binary { function },
                    inputs,
                    Tolerance::of(1e-6),
                    |x| {
                        let (a, b) = (x[0].as_ref().expect("an input"), x[1].as_ref().expect("an input"));
                        let second = b.values.iter().cycle();
                        let y = a.values.iter().zip(second).map(|(a, b)| reference_binary(function, *a, *b));
                        vec![Array::new(&a.shape, y.collect())]
                    },
                ));
            }
        }
        cases
    }
}
