//! Elementwise functions of one tensor. ONNX Sigmoid, Tanh, Exp, Sqrt, Neg, Reciprocal; SiLU is
//! `x · sigmoid(x)`.

use super::{CpuContext, GpuCaps, Input, Lowered, OpDef, Types, expect_dtype, required};
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
    fn infer(&self, inputs: &[Option<&TensorType>]) -> Result<Vec<TensorType>> {
        let x = required(inputs, 0)?;
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
