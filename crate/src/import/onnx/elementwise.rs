//! Operators that work element by element.

use super::{Use, unsupported};
use crate::error::{Error, Result};
use crate::graph::ValueId;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::reshape::Reshape;
use crate::ops::select::Select;
use crate::ops::unary::{Unary, UnaryFunction};
use crate::tensor::{Narrowing, Round, Tensor};

pub(super) fn unary(of: &mut Use) -> Result<Vec<ValueId>> {
    use UnaryFunction::*;
    let node = of.node;
    let float = |name, default| Ok::<_, Error>(node.float(name)?.unwrap_or(default));
    let function = match node.op_type {
        "Abs" => Abs,
        "Acos" => Acos,
        "Acosh" => Acosh,
        "Asin" => Asin,
        "Asinh" => Asinh,
        "Atan" => Atan,
        "Atanh" => Atanh,
        "BitwiseNot" => BitNot,
        "Ceil" => Ceil,
        "Celu" => Celu { alpha: float("alpha", 1.0)? },
        "Cos" => Cos,
        "Cosh" => Cosh,
        "Elu" => Elu { alpha: float("alpha", 1.0)? },
        "Erf" => Erf,
        "Exp" => Exp,
        "Floor" => Floor,
        "Gelu" => Gelu { tanh: node.string("approximate")? == Some("tanh") },
        "HardSigmoid" => HardSigmoid { alpha: float("alpha", 0.2)?, beta: float("beta", 0.5)? },
        "HardSwish" => HardSwish,
        "IsInf" => IsInf {
            negative: node.int("detect_negative")?.unwrap_or(1) != 0,
            positive: node.int("detect_positive")?.unwrap_or(1) != 0,
        },
        "IsNaN" => IsNan,
        "LeakyRelu" => LeakyRelu { alpha: float("alpha", 0.01)? },
        "Log" => Ln,
        "Mish" => Mish,
        "Neg" => Neg,
        "Not" => Not,
        "Reciprocal" => Reciprocal,
        "Relu" => Relu,
        "Round" => Round,
        "Selu" => Selu { alpha: float("alpha", 1.673_263_2)?, gamma: float("gamma", 1.050_701)? },
        "Shrink" => Shrink { bias: float("bias", 0.0)?, lambda: float("lambd", 0.5)? },
        "Sigmoid" => Sigmoid,
        "Sign" => Sign,
        "Sin" => Sin,
        "Sinh" => Sinh,
        "Softplus" => Softplus,
        "Softsign" => Softsign,
        "Sqrt" => Sqrt,
        "Swish" => Swish { alpha: float("alpha", 1.0)? },
        "Tan" => Tan,
        "Tanh" => Tanh,
        "ThresholdedRelu" => ThresholdedRelu { alpha: float("alpha", 1.0)? },
        other => return unsupported(format!("{other} is no function of one tensor")),
    };
    let x = of.input(0)?;
    of.outputs(Unary { function }, &[Some(x)])
}

fn function_of(name: &str) -> Result<BinaryFunction> {
    use BinaryFunction::*;
    Ok(match name {
        "Add" | "Sum" => Add,
        "And" => And,
        "BitwiseAnd" => BitAnd,
        "BitwiseOr" => BitOr,
        "BitwiseXor" => BitXor,
        "Div" => Div,
        "Equal" => Equal,
        "Greater" => Greater,
        "GreaterOrEqual" => GreaterOrEqual,
        "Less" => Less,
        "LessOrEqual" => LessOrEqual,
        "Max" => Max,
        "Min" => Min,
        "Mul" => Mul,
        "Or" => Or,
        "PRelu" => PRelu,
        "Pow" => Pow,
        "Sub" => Sub,
        "Xor" => Xor,
        other => return unsupported(format!("{other} is no function of two tensors")),
    })
}

pub(super) fn binary(of: &mut Use) -> Result<Vec<ValueId>> {
    let function = function_of(of.node.op_type)?;
    let (a, mut b) = (of.input(0)?, of.input(1)?);
    if of.import.opset < 7 {
        // Dimensions of `b` are those of `a` from an axis on; where none is named, the last ones.
        let axis = if function == BinaryFunction::PRelu { Some(1) } else { of.node.int("axis")? };
        if let Some(axis) = axis {
            b = of.step("aligned", Reshape::Align { axis }, &[Some(b), Some(a)]);
        }
    }
    of.outputs(Binary { function }, &[Some(a), Some(b)])
}

/// One function over any number of tensors, from the left.
pub(super) fn variadic(of: &mut Use) -> Result<Vec<ValueId>> {
    let function = function_of(of.node.op_type)?;
    let mut y = of.input(0)?;
    for i in 1..of.inputs.len() {
        let next = of.input(i)?;
        y = of.step(&i.to_string(), Binary { function }, &[Some(y), Some(next)]);
    }
    Ok(vec![y])
}

pub(super) fn mean(of: &mut Use) -> Result<Vec<ValueId>> {
    let mut y = of.input(0)?;
    for i in 1..of.inputs.len() {
        let next = of.input(i)?;
        y = of.step(&i.to_string(), Binary { function: BinaryFunction::Add }, &[Some(y), Some(next)]);
    }
    let n = of.constant("count", Tensor::new(&[], &[of.inputs.len() as f32])?);
    of.outputs(Binary { function: BinaryFunction::Div }, &[Some(y), Some(n)])
}

pub(super) fn modulo(of: &mut Use) -> Result<Vec<ValueId>> {
    let function = if of.flag("fmod")? { BinaryFunction::Fmod } else { BinaryFunction::Mod };
    of.as_is(Binary { function })
}

pub(super) fn bit_shift(of: &mut Use) -> Result<Vec<ValueId>> {
    let left = of.node.string("direction")? == Some("LEFT");
    let function = if left { BinaryFunction::ShiftLeft } else { BinaryFunction::ShiftRight };
    of.as_is(Binary { function })
}

/// Limits are attributes before opset 11, and inputs that may be absent, or computed, since.
pub(super) fn clip(of: &mut Use) -> Result<Vec<ValueId>> {
    let known = |of: &Use, i: usize, name: &str, open: f32| -> Result<Option<f32>> {
        if of.import.opset < 11 {
            return Ok(Some(of.node.float(name)?.unwrap_or(open)));
        }
        match (of.optional(i), of.known(i)) {
            (None, _) => Ok(Some(open)),
            (_, Some(tensor)) => Ok(tensor.data::<f32>().ok().and_then(|data| data.first().copied())),
            _ => Ok(None),
        }
    };
    let limits = (known(of, 1, "min", f32::NEG_INFINITY)?, known(of, 2, "max", f32::INFINITY)?);
    let x = of.input(0)?;
    if let (Some(min), Some(max)) = limits {
        return of.outputs(Unary { function: UnaryFunction::Clip { min, max } }, &[Some(x)]);
    }
    let mut y = x;
    for (i, function) in [(1, BinaryFunction::Max), (2, BinaryFunction::Min)] {
        if let Some(limit) = of.optional(i) {
            y = of.step(if i == 1 { "min" } else { "max" }, Binary { function }, &[Some(y), Some(limit)]);
        }
    }
    Ok(vec![y])
}

fn narrowing(of: &Use) -> Result<Narrowing> {
    let round = match of.node.string("round_mode")?.unwrap_or("up") {
        "up" => Round::Up,
        "down" => Round::Down,
        "nearest" => Round::Nearest,
        other => return unsupported(format!("a cast that rounds {other}")),
    };
    Ok(Narrowing { saturate: of.node.int("saturate")?.unwrap_or(1) != 0, round })
}

pub(super) fn cast(of: &mut Use) -> Result<Vec<ValueId>> {
    let (to, narrowing) = (of.dtype("to")?, narrowing(of)?);
    let x = of.input(0)?;
    of.outputs(Cast { to: Some(to), narrowing }, &[Some(x)])
}

pub(super) fn cast_like(of: &mut Use) -> Result<Vec<ValueId>> {
    let narrowing = narrowing(of)?;
    of.as_is(Cast { to: None, narrowing })
}

pub(super) fn select(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Select)
}
