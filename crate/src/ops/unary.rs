//! Elementwise functions of one tensor: ONNX's, by their names there. SiLU is `x · sigmoid(x)`.

#[cfg(any(test, feature = "parity"))]
pub(super) mod parity;

use super::binary::{Binary, BinaryFunction};
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::kernels::math::{self, map};
use crate::kernels::simd::{Best as S, Simd};
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
    Celu {
        alpha: f32,
    },
    Clip {
        min: f32,
        max: f32,
    },
    Cos,
    Cosh,
    Elu {
        alpha: f32,
    },
    Erf,
    Floor,
    Gelu {
        tanh: bool,
    },
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    IsInf {
        negative: bool,
        positive: bool,
    },
    IsNan,
    LeakyRelu {
        alpha: f32,
    },
    Ln,
    Mish,
    Not,
    Relu,
    Round,
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Shrink {
        bias: f32,
        lambda: f32,
    },
    Sign,
    Sin,
    Sinh,
    Softplus,
    Softsign,
    /// `x·sigmoid(alpha·x)`.
    Swish {
        alpha: f32,
    },
    Tan,
    ThresholdedRelu {
        alpha: f32,
    },
}

impl UnaryFunction {
    /// The number by which shaders know it, and its attributes (`shared/functions.wgsl`). None where they do not.
    pub(super) fn code(self) -> Option<(u32, f32, f32)> {
        let plain = |code: u32| Some((code, 0.0, 0.0));
        match self {
            Self::Exp => plain(0),
            Self::Neg => plain(1),
            Self::Reciprocal => plain(2),
            Self::Sigmoid => plain(3),
            Self::Silu => plain(4),
            Self::Sqrt => plain(5),
            Self::Tanh => plain(6),
            Self::Abs => plain(7),
            Self::Ceil => plain(8),
            Self::Floor => plain(9),
            Self::Round => plain(10),
            Self::Sign => plain(11),
            Self::Relu => plain(12),
            Self::LeakyRelu { alpha } => Some((13, alpha, 0.0)),
            Self::Clip { min, max } => Some((14, min, max)),
            Self::HardSigmoid { alpha, beta } => Some((15, alpha, beta)),
            Self::HardSwish => plain(16),
            Self::Elu { alpha } => Some((17, alpha, 0.0)),
            Self::Celu { alpha } => Some((18, alpha, 0.0)),
            Self::Selu { alpha, gamma } => Some((19, alpha, gamma)),
            Self::Erf => plain(20),
            Self::Gelu { tanh: false } => plain(21),
            Self::Gelu { tanh: true } => plain(22),
            Self::Ln => plain(23),
            Self::Softplus => plain(24),
            Self::Softsign => plain(25),
            Self::Mish => plain(26),
            Self::ThresholdedRelu { alpha } => Some((27, alpha, 0.0)),
            Self::Swish { alpha } => Some((28, alpha, 0.0)),
            Self::Sin => plain(29),
            Self::Cos => plain(30),
            Self::Shrink { bias, lambda } => Some((31, bias, lambda)),
            _ => None,
        }
    }

    /// The code of a function that may be none.
    pub(super) fn code_of(function: Option<Self>) -> Option<(u32, f32, f32)> {
        function.map_or(Some((u32::MAX, 0.0, 0.0)), Self::code)
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
            Self::Clip { min, max } => {
                if x < min {
                    min.min(max)
                } else if x > max {
                    max
                } else {
                    x
                }
            }
            Self::Cos => x.cos(),
            Self::Cosh => x.cosh(),
            Self::Elu { alpha } => {
                if x < 0.0 {
                    alpha * x.exp_m1()
                } else {
                    x
                }
            }
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
            Self::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::Ln => x.ln(),
            Self::Mish => x * x.exp().ln_1p().tanh(),
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
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
            Self::Sign => {
                if x == 0.0 {
                    0.0
                } else {
                    x.signum()
                }
            }
            Self::Sin => x.sin(),
            Self::Sinh => x.sinh(),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Swish { alpha } => x / (1.0 + (-alpha * x).exp()),
            Self::Tan => x.tan(),
            Self::ThresholdedRelu { alpha } => {
                if x > alpha {
                    x
                } else {
                    0.0
                }
            }
        }
    }

    /// The function of every element, four at a time where that pays.
    pub fn apply_all(self, values: &mut [f32]) {
        let (zero, one) = (S::splat(0.0), S::splat(1.0));
        let clamp = |x, low, high| S::min(S::max(x, S::splat(low)), S::splat(high));
        let exp_m1 = |x| math::exp_m1::<S>(S::min(x, zero));
        match self {
            Self::Exp => map::<S>(values, math::exp::<S>),
            Self::Neg => map::<S>(values, |x| S::mul(x, S::splat(-1.0))),
            Self::Reciprocal => map::<S>(values, |x| S::div(one, x)),
            Self::Sigmoid => map::<S>(values, math::sigmoid::<S>),
            Self::Silu => map::<S>(values, math::silu::<S>),
            Self::Sqrt => map::<S>(values, S::sqrt),
            Self::Tanh => map::<S>(values, math::tanh::<S>),
            Self::Abs => map::<S>(values, math::abs::<S>),
            Self::Celu { alpha } => map::<S>(values, |x| {
                let below = S::mul(exp_m1(S::div(x, S::splat(alpha))), S::splat(alpha));
                S::add(S::max(x, zero), S::min(below, zero))
            }),
            Self::Clip { min, max } => map::<S>(values, |x| clamp(x, min, max)),
            Self::Elu { alpha } => {
                map::<S>(values, |x| S::select(S::lt(x, zero), S::mul(exp_m1(x), S::splat(alpha)), x))
            }
            Self::Erf => map::<S>(values, math::erf::<S>),
            Self::Floor => map::<S>(values, S::floor),
            Self::Gelu { tanh: false } => map::<S>(values, math::gelu::<S>),
            Self::Gelu { tanh: true } => map::<S>(values, math::gelu_tanh::<S>),
            Self::HardSigmoid { alpha, beta } => {
                map::<S>(values, |x| clamp(S::mul_add(x, S::splat(alpha), S::splat(beta)), 0.0, 1.0))
            }
            Self::HardSwish => map::<S>(values, |x| {
                S::mul(x, clamp(S::mul_add(x, S::splat(1.0 / 6.0), S::splat(0.5)), 0.0, 1.0))
            }),
            Self::LeakyRelu { alpha } => {
                map::<S>(values, |x| S::select(S::lt(x, zero), S::mul(x, S::splat(alpha)), x))
            }
            Self::Ln => map::<S>(values, math::ln::<S>),
            Self::Mish => map::<S>(values, |x| S::mul(x, math::tanh::<S>(math::softplus::<S>(x)))),
            Self::Relu => map::<S>(values, |x| S::max(x, zero)),
            Self::Round => map::<S>(values, S::nearest),
            Self::Selu { alpha, gamma } => map::<S>(values, |x| {
                let y = S::select(S::lt(zero, x), x, S::mul(exp_m1(x), S::splat(alpha)));
                S::mul(y, S::splat(gamma))
            }),
            Self::Softplus => map::<S>(values, math::softplus::<S>),
            Self::Softsign => map::<S>(values, |x| S::div(x, S::add(one, math::abs::<S>(x)))),
            Self::Swish { alpha } => {
                map::<S>(values, |x| S::mul(x, math::sigmoid::<S>(S::mul(x, S::splat(alpha)))))
            }
            other => values.iter_mut().for_each(|x| *x = other.apply(*x)),
        }
    }

    /// In f64 where that makes a difference.
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
            Wide::Floats(values) => {
                Wide::Floats(values.into_iter().map(|x| self.function.of_double(x)).collect())
            }
            Wide::Ints(values) => Wide::Ints(values.into_iter().map(|x| self.function.of_int(x)).collect()),
        };
        y.narrow(values)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        if let (UnaryFunction::Not, Some(DType::Bool)) = (self.function, types.dtype(0)) {
            return Binary { function: BinaryFunction::Equal }.with_nothing(types.n_out()?);
        }
        let (Some((function, alpha, beta)), Some(DType::F32)) = (self.function.code(), types.dtype(0)) else {
            return Lowered::not_on_gpu("no kernel has this function of this dtype");
        };
        let n = types.n_out()?;
        let params = Params { n: n as u32, function, alpha, beta }.bytes();
        Lowered::one(Dispatch::of_each("unary", &[], vec![(0, Input(0)), (1, Output(0))], params, n)?)
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

params!("unary": n: u32, function: u32, alpha: f32, beta: f32);

#[cfg(test)]
mod tests {
    use super::UnaryFunction::*;

    #[test]
    fn four_at_a_time_is_one_at_a_time() {
        let unit = [Acos, Asin, Atanh, Sqrt, Ln, Reciprocal];
        let all = [
            Exp,
            Neg,
            Sigmoid,
            Silu,
            Tanh,
            Abs,
            Celu { alpha: 0.7 },
            Clip { min: -1.0, max: 2.0 },
            Elu { alpha: 1.3 },
            Erf,
            Floor,
            Gelu { tanh: false },
            Gelu { tanh: true },
            HardSigmoid { alpha: 0.3, beta: 0.4 },
            HardSwish,
            LeakyRelu { alpha: 0.1 },
            Mish,
            Relu,
            Round,
            Selu { alpha: 1.6, gamma: 1.05 },
            Softplus,
            Softsign,
            Swish { alpha: 1.7 },
            ThresholdedRelu { alpha: 0.5 },
            Sin,
        ];
        for function in all.into_iter().chain(unit) {
            let share = if unit.contains(&function) { 0.04 } else { 1.0 };
            let x: Vec<f32> = (0..803)
                .map(|i| (i as f32 * 0.05 - 20.0).abs().max(0.01 / share) * share)
                .enumerate()
                .map(|(i, x)| if i % 2 == 0 || share < 1.0 { x } else { -x })
                .collect();
            let mut y = x.clone();
            function.apply_all(&mut y);
            for (x, y) in x.iter().zip(&y) {
                let want = function.apply(*x);
                let near = (want - y).abs() <= 2e-6 * want.abs() + 4e-7 * x.abs();
                assert!(near, "{function:?} of {x} is {y}, not {want}");
            }
            let mut limits = [f32::NAN, f32::NAN, f32::NAN, f32::NAN, f32::NAN];
            function.apply_all(&mut limits);
            let stays = !function.apply(f32::NAN).is_nan() || limits.iter().all(|x| x.is_nan());
            assert!(stays, "{function:?} of no number is {limits:?}");
        }
    }

    #[test]
    fn the_shaders_cases_have_every_code_once() {
        let mut codes: Vec<_> =
            super::parity::functions().iter().map(|function| function.code().unwrap().0).collect();
        codes.sort_unstable();
        assert_eq!(codes, (0..32).collect::<Vec<_>>());
    }

    #[test]
    fn known_values() {
        assert_eq!(Silu.apply(0.0), 0.0);
        assert!((Silu.apply(1.0) - 0.731_058_6).abs() < 1e-6);
        assert!((Sigmoid.apply(-2.0) - 0.119_202_92).abs() < 1e-6);
        assert_eq!(Neg.apply(3.0), -3.0);
        assert_eq!(Sqrt.apply(9.0), 3.0);
    }
}
