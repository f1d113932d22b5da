//! Elementwise functions of one tensor: ONNX's, by their names there. SiLU is `x · sigmoid(x)`.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, Operand::*, params, spread};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, TensorType};

/// `x → y` of the same type; tests of floats give bool.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// Which function.
    pub function: UnaryFunction,
}

/// The functions of the family, with their attributes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum UnaryFunction {
    Exp,
    Neg,
    Reciprocal,
    Sigmoid,
    Silu,
    Sqrt,
    Tanh,
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    BitNot,
    Ceil,
    Celu { alpha: f32 },
    Clip { min: f32, max: f32 },
    Cos,
    Cosh,
    Elu { alpha: f32 },
    Erf,
    Floor,
    Gelu { tanh: bool },
    HardSigmoid { alpha: f32, beta: f32 },
    HardSwish,
    IsInf { negative: bool, positive: bool },
    IsNan,
    LeakyRelu { alpha: f32 },
    Ln,
    Mish,
    Not,
    Relu,
    Round,
    Selu { alpha: f32, gamma: f32 },
    Shrink { bias: f32, lambda: f32 },
    Sign,
    Sin,
    Sinh,
    Softplus,
    Softsign,
    /// `x·sigmoid(alpha·x)`.
    Swish { alpha: f32 },
    Tan,
    ThresholdedRelu { alpha: f32 },
}

impl UnaryFunction {
    /// The number by which the shader knows it.
    fn code(self) -> Option<u32> {
        Some(match self {
            Self::Exp => 0,
            Self::Neg => 1,
            Self::Reciprocal => 2,
            Self::Sigmoid => 3,
            Self::Silu => 4,
            Self::Sqrt => 5,
            Self::Tanh => 6,
            _ => return None,
        })
    }

    fn tests(self) -> bool {
        matches!(self, Self::IsInf { .. } | Self::IsNan | Self::Not)
    }

    /// The function of one value.
    pub fn apply(self, x: f32) -> f32 {
        let truth = |x: bool| f32::from(u8::from(x));
        match self {
            Self::Exp => x.exp(),
            Self::Neg => -x,
            Self::Reciprocal => 1.0 / x,
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Sqrt => x.sqrt(),
            Self::Tanh => x.tanh(),
            Self::Abs => x.abs(),
            Self::Acos => x.acos(),
            Self::Acosh => x.acosh(),
            Self::Asin => x.asin(),
            Self::Asinh => x.asinh(),
            Self::Atan => x.atan(),
            Self::Atanh => x.atanh(),
            Self::BitNot | Self::Not => truth(x == 0.0),
            Self::Ceil => x.ceil(),
            Self::Celu { alpha } => x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0),
            Self::Clip { min, max } => if x < min { min.min(max) } else if x > max { max } else { x },
            Self::Cos => x.cos(),
            Self::Cosh => x.cosh(),
            Self::Elu { alpha } => if x < 0.0 { alpha * x.exp_m1() } else { x },
            Self::Erf => libm::erff(x),
            Self::Floor => x.floor(),
            Self::Gelu { tanh: false } => 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::Gelu { tanh: true } => {
                let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::IsInf { negative, positive } => {
                truth(x == f32::INFINITY && positive || x == f32::NEG_INFINITY && negative)
            }
            Self::IsNan => truth(x.is_nan()),
            Self::LeakyRelu { alpha } => if x < 0.0 { alpha * x } else { x },
            Self::Ln => x.ln(),
            Self::Mish => x * x.exp().ln_1p().tanh(),
            Self::Relu => if x < 0.0 { 0.0 } else { x },
            Self::Round => x.round_ties_even(),
            Self::Selu { alpha, gamma } => gamma * if x > 0.0 { x } else { alpha * x.exp_m1() },
            Self::Shrink { bias, lambda } => {
                if x < -lambda {
                    x + bias
                } else if x > lambda {
                    x - bias
                } else {
                    0.0
                }
            }
            Self::Sign => if x == 0.0 { 0.0 } else { x.signum() },
            Self::Sin => x.sin(),
            Self::Sinh => x.sinh(),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Swish { alpha } => x / (1.0 + (-alpha * x).exp()),
            Self::Tan => x.tan(),
            Self::ThresholdedRelu { alpha } => if x > alpha { x } else { 0.0 },
        }
    }

    /// In f64 where that makes a difference.
    /// The function of each value.
    pub fn apply_all(self, values: &mut [f32]) {
        /// One loop a function, without a choice in it: it vectorises.
        fn each(values: &mut [f32], function: impl Fn(f32) -> f32) {
            values.iter_mut().for_each(|x| *x = function(*x));
        }
        match self {
            Self::Neg => each(values, |x| -x),
            Self::Abs => each(values, f32::abs),
            Self::Sqrt => each(values, f32::sqrt),
            Self::Reciprocal => each(values, |x| 1.0 / x),
            Self::Relu => each(values, |x| if x < 0.0 { 0.0 } else { x }),
            Self::LeakyRelu { alpha } => each(values, |x| if x < 0.0 { alpha * x } else { x }),
            Self::Clip { min, max } => {
                let min = min.min(max);
                each(values, |x| if x < min { min } else if x > max { max } else { x });
            }
            Self::HardSigmoid { alpha, beta } => each(values, |x| (alpha * x + beta).clamp(0.0, 1.0)),
            Self::HardSwish => each(values, |x| x * (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)),
            _ => each(values, |x| self.apply(x)),
        }
    }

    fn of_double(self, x: f64) -> f64 {
        match self {
            Self::Exp => x.exp(),
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => 1.0 / x,
            Self::Ceil => x.ceil(),
            Self::Floor => x.floor(),
            Self::Round => x.round_ties_even(),
            Self::Ln => x.ln(),
            Self::Relu => x.max(0.0),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Erf => libm::erf(x),
            other => f64::from(other.apply(x as f32)),
        }
    }

    fn of_int(self, x: i128) -> i128 {
        match self {
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Sign => x.signum(),
            Self::BitNot => !x,
            Self::Not => i128::from(x == 0),
            Self::Relu => x.max(0),
            Self::Ceil | Self::Floor | Self::Round => x,
            other => other.of_double(x as f64) as i128,
        }
    }
}

impl OpDef for Unary {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        let dtype = if self.function.tests() { DType::Bool } else { x.dtype };
        Ok(vec![TensorType { dtype, shape: x.shape.clone() }])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let y = &mut outputs[0];
        let x = inputs[0].optional()?;
        if y.dtype == DType::F32 {
            let y = y.data::<f32>()?;
            if let Some(x) = x {
                y.copy_from_slice(x.data()?);
            }
            self.function.apply_all(y);
            return Ok(());
        }
        let values = match x.unwrap_or(y.as_view()).widen()? {
            Wide::Floats(values) => Wide::Floats(values.into_iter().map(|x| self.function.of_double(x)).collect()),
            Wide::Ints(values) => Wide::Ints(values.into_iter().map(|x| self.function.of_int(x)).collect()),
        };
        y.narrow(values)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (Some(function), Some(DType::F32)) = (self.function.code(), types.dtype(0)) else {
            return Lowered::not_on_gpu("this operator has no GPU kernel for this function or dtype");
        };
        let n: usize = types.input(0)?.iter().product();
        let params = Params { n: n as u32, function }.bytes();
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
            UnaryFunction::Gelu { .. } => 0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044715 * x.powi(3))).tanh()),
            UnaryFunction::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            UnaryFunction::Mish => x * (1.0 + x.exp()).ln().tanh(),
            UnaryFunction::Softplus => (1.0 + x.exp()).ln(),
            other => panic!("no case uses {other:?}"),
        }
    }

    pub fn cases() -> Vec<Case> {
        use UnaryFunction::*;
        let mut cases = Vec::new();
        let of_cpu = [Gelu { tanh: true }, HardSwish, Mish, Softplus];
        for function in [Exp, Neg, Reciprocal, Sigmoid, Silu, Sqrt, Tanh].into_iter().chain(of_cpu) {
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
