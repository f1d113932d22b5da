//! Elementwise functions of one tensor. ONNX Sigmoid, Tanh, Exp, Sqrt, Neg, Reciprocal; SiLU is
//! `x · sigmoid(x)`.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, Operand::*, params, spread};
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// `f32 [..] → f32 [..]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Which function.
    pub function: UnaryFunction,
}

/// The functions of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum UnaryFunction {
    Exp,
    Neg,
    Reciprocal,
    Sigmoid,
    Silu,
    Sqrt,
    Tanh,
}

impl UnaryFunction {
    fn apply(self, x: f32) -> f32 {
        match self {
            Self::Exp => x.exp(),
            Self::Neg => -x,
            Self::Reciprocal => 1.0 / x,
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Sqrt => x.sqrt(),
            Self::Tanh => x.tanh(),
        }
    }
}

impl OpDef for Unary {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        expect_dtype(x, DType::F32, "the input of an elementwise function")?;
        Ok(vec![x.clone()])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let y = outputs[0].data::<f32>()?;
        if let Some(x) = inputs[0].optional()? {
            y.copy_from_slice(x.data()?);
        }
        y.iter_mut().for_each(|y| *y = self.function.apply(*y));
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let n: usize = types.input(0)?.iter().product();
        let params = Params { n: n as u32, function: self.function as u32 }.bytes();
        let (x, z) = spread(n.div_ceil(64));
        Lowered::one(Dispatch::new("unary", &[], vec![(0, Input(0)), (1, Output(0))], params, [x, 1, z])?)
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

params!("unary": n: u32, function: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_unary(function: UnaryFunction, x: f64) -> f64 {
        match function {
            UnaryFunction::Exp => x.exp(),
            UnaryFunction::Neg => -x,
            UnaryFunction::Reciprocal => x.recip(),
            UnaryFunction::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            UnaryFunction::Silu => x / (1.0 + (-x).exp()),
            UnaryFunction::Sqrt => x.sqrt(),
            UnaryFunction::Tanh => x.tanh(),
        }
    }

    pub fn cases() -> Vec<Case> {
        use UnaryFunction::*;
        let mut cases = Vec::new();
        for function in [Exp, Neg, Reciprocal, Sigmoid, Silu, Sqrt, Tanh] {
            for n in [1, 63, 300] {
                let x: Vec<f32> = (0..n).map(|i| (i as f32 - 0.4 * n as f32) * 20.0 / n as f32 + 0.013).collect();
                let x: Vec<f32> = x.iter().map(|x| if function == Sqrt { x.abs() } else { *x }).collect();
                cases.push(Case::new(
                    format!("{function:?} of {n}"),
                    Unary { function },
                    vec![Given::fed(&[n], &x)],
                    Tolerance::of(2e-5),
                    |x| {
                        let x = x[0].as_ref().expect("an input");
                        let y = x.values.iter().map(|x| reference_unary(function, *x)).collect();
                        vec![Array::new(&x.shape, y)]
                    },
                ));
            }
        }
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::UnaryFunction::*;

    #[test]
    fn known_values() {
        assert_eq!(Silu.apply(0.0), 0.0);
        assert!((Silu.apply(1.0) - 0.731_058_6).abs() < 1e-6);
        assert!((Sigmoid.apply(-2.0) - 0.119_202_92).abs() < 1e-6);
        assert_eq!(Neg.apply(3.0), -3.0);
        assert_eq!(Sqrt.apply(9.0), 3.0);
    }
}
