//! The naive reference, and cases.

use super::*;
use crate::ops::case::{Array, Case, Given, Tolerance};

fn reference_unary(function: UnaryFunction, x: f64) -> f64 {
    use UnaryFunction::*;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let wide = |x: f32| f64::from(x);
    match function {
        Exp => x.exp(),
        Neg => -x,
        Reciprocal => x.recip(),
        Sigmoid => sigmoid(x),
        Silu => x * sigmoid(x),
        Sqrt => x.sqrt(),
        Tanh => x.tanh(),
        Abs => x.abs(),
        Ceil => x.ceil(),
        Floor => x.floor(),
        Round => x.round_ties_even(),
        Sign => f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)),
        Relu => x.max(0.0),
        LeakyRelu { alpha } => {
            if x < 0.0 {
                wide(alpha) * x
            } else {
                x
            }
        }
        Clip { min, max } => x.max(wide(min)).min(wide(max)),
        HardSigmoid { alpha, beta } => (wide(alpha) * x + wide(beta)).clamp(0.0, 1.0),
        HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Elu { alpha } => {
            if x < 0.0 {
                wide(alpha) * x.exp_m1()
            } else {
                x
            }
        }
        Celu { alpha } => x.max(0.0) + (wide(alpha) * (x / wide(alpha)).exp_m1()).min(0.0),
        Selu { alpha, gamma } => wide(gamma) * if x > 0.0 { x } else { wide(alpha) * x.exp_m1() },
        Erf => libm::erf(x),
        Gelu { tanh: false } => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Gelu { tanh: true } => {
            0.5 * x * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044715 * x.powi(3))).tanh())
        }
        Ln => x.ln(),
        Softplus => (1.0 + x.exp()).ln(),
        Softsign => x / (1.0 + x.abs()),
        Mish => x * (1.0 + x.exp()).ln().tanh(),
        ThresholdedRelu { alpha } => {
            if x > wide(alpha) {
                x
            } else {
                0.0
            }
        }
        Swish { alpha } => x * sigmoid(wide(alpha) * x),
        Sin => x.sin(),
        Cos => x.cos(),
        Shrink { bias, lambda } if x < wide(-lambda) => x + wide(bias),
        Shrink { bias, lambda } if x > wide(lambda) => x - wide(bias),
        Shrink { .. } => 0.0,
        other => panic!("no case uses {other:?}"),
    }
}

/// All functions that shaders have.
pub fn functions() -> Vec<UnaryFunction> {
    use UnaryFunction::*;
    let plain =
        [Exp, Neg, Reciprocal, Sigmoid, Silu, Sqrt, Tanh, Abs, Ceil, Floor, Round, Sign, Relu, HardSwish];
    let more = [Erf, Ln, Softplus, Softsign, Mish, Sin, Cos, Gelu { tanh: false }, Gelu { tanh: true }];
    let with_attributes = [
        LeakyRelu { alpha: 0.1 },
        Clip { min: -1.5, max: 2.5 },
        HardSigmoid { alpha: 0.3, beta: 0.4 },
        Elu { alpha: 1.3 },
        Celu { alpha: 0.7 },
        Selu { alpha: 1.6, gamma: 1.05 },
        ThresholdedRelu { alpha: 0.5 },
        Swish { alpha: 1.7 },
        Shrink { bias: 0.5, lambda: 1.5 },
    ];
    plain.into_iter().chain(more).chain(with_attributes).collect()
}

/// What every element becomes.
pub fn applied(function: UnaryFunction, x: &mut Array) {
    x.values.iter_mut().for_each(|x| *x = reference_unary(function, *x));
}

pub fn cases() -> Vec<Case> {
    use UnaryFunction::*;
    let mut cases = Vec::new();
    for function in functions() {
        for n in [3, 63, 300] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 - 0.4 * n as f32) * 20.0 / n as f32 + 0.013).collect();
            let positive = matches!(function, Sqrt | Ln);
            let x: Vec<f32> = x.iter().map(|x| if positive { x.abs() } else { *x }).collect();
            cases.push(Case::new(
                format!("{function:?} of {n}"),
                Unary { function },
                vec![Given::fed(&[n], &x)],
                Tolerance::of(2e-5),
                |x| {
                    let mut y = x[0].as_ref().expect("an input").clone();
                    applied(function, &mut y);
                    vec![y]
                },
            ));
        }
    }
    let mut truths = crate::tensor::Tensor::zeros(DType::Bool, &[7]).expect("a small tensor");
    truths.view_mut().bytes.copy_from_slice(&[1, 0, 0, 1, 1, 0, 1]);
    cases.push(Case::new(
        "of truths",
        Unary { function: Not },
        vec![Given::Fed(truths)],
        Tolerance::of(0.0),
        |x| {
            let x = x[0].as_ref().expect("truths");
            vec![Array::new(&x.shape, x.values.iter().map(|x| 1.0 - x).collect())]
        },
    ));
    cases
}
