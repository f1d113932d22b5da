//! Recurrent layers.

use super::{Use, unsupported};
use crate::error::{Result, fail};
use crate::graph::ValueId;
use crate::ops::binary::BinaryFunction;
use crate::ops::cast::Cast;
use crate::ops::recurrent::{Activation, Cell, Direction, Recurrent};
use crate::ops::reshape::Reshape;
use crate::ops::transpose::Transpose;
use crate::ops::unary::UnaryFunction;
use crate::types::DType;

pub(super) fn recurrent(of: &mut Use) -> Result<Vec<ValueId>> {
    let cell = match of.node.op_type {
        "GRU" => Cell::Gru { linear_before_reset: of.flag("linear_before_reset")? },
        "LSTM" => Cell::Lstm { input_forget: of.flag("input_forget")? },
        _ => Cell::Rnn,
    };
    let op = layer(of, cell)?;
    of.as_is(op)
}

/// The layer that a node's attributes describe.
fn layer(of: &Use, cell: Cell) -> Result<Recurrent> {
    let direction = match of.node.string("direction")?.unwrap_or("forward") {
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        "bidirectional" => Direction::Both,
        other => return fail!(InvalidGraph, "a layer in the direction '{other}'"),
    };
    Ok(Recurrent {
        cell,
        direction,
        activations: activations(of, cell, direction)?,
        clip: of.node.float("clip")?.filter(|limit| *limit > 0.0),
        batch_first: of.flag("layout")?,
        rounds: false,
        outputs: of.node.outputs.len(),
    })
}

/// An LSTM whose weights `[dirs, in, 4·h]` are integers, with scales and zeros of directions, or of their columns.
pub(super) fn quantized_lstm(of: &mut Use) -> Result<Vec<ValueId>> {
    let w = integer_weight(of, "w", 1, 8)?;
    let r = integer_weight(of, "r", 2, 10)?;
    let mut inputs = of.inputs[..of.inputs.len().min(8)].to_vec();
    inputs[1..3].copy_from_slice(&[Some(w), Some(r)]);
    let op = Recurrent { rounds: true, ..layer(of, Cell::Lstm { input_forget: of.flag("input_forget")? })? };
    of.outputs(op, &inputs)
}

/// The numbers that input `at` stands for, `[dirs, 4·h, in]`. Its scale is input `scale`, its zero the next.
fn integer_weight(of: &mut Use, part: &str, at: usize, scale: usize) -> Result<ValueId> {
    let by_column = of.list(&format!("{part}_aligned"), &[0, 1, -1])?;
    let float = |of: &mut Use, index: usize, name: &str| -> Result<ValueId> {
        let x = of.input(index)?;
        Ok(of.step(&format!("{part}_{name}"), Cast::to(DType::F32), &[Some(x)]))
    };
    let mut weight = float(of, at, "levels")?;
    for (index, name, function) in
        [(scale + 1, "zero", BinaryFunction::Sub), (scale, "scale", BinaryFunction::Mul)]
    {
        if of.optional(index).is_none() && index > scale {
            continue;
        }
        let by = float(of, index, name)?;
        let to = Reshape::To { allow_zero: false };
        let by = of.step(&format!("{part}_{name}_aligned"), to, &[Some(by), Some(by_column)]);
        weight = of.binary(&format!("{part}_by_{name}"), function, weight, by);
    }
    let order = Transpose { order: Some(vec![0, 2, 1]) };
    Ok(of.step(&format!("{part}_numbers"), order, &[Some(weight)]))
}

/// The functions of all directions. Those that have an alpha or a beta take the next that the node lists.
fn activations(of: &Use, cell: Cell, direction: Direction) -> Result<Vec<Activation>> {
    let defaults: &[&str] = match cell {
        Cell::Rnn => &["Tanh", "Tanh"],
        Cell::Gru { .. } => &["Sigmoid", "Tanh", "Sigmoid", "Tanh"],
        Cell::Lstm { .. } => &["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Tanh"],
    };
    let n = cell.functions() * if direction == Direction::Both { 2 } else { 1 };
    let named = of.node.strings("activations")?.filter(|names| !names.is_empty());
    let names = named.unwrap_or_else(|| defaults[..n].to_vec());
    let mut alphas = of.node.floats("activation_alpha")?.unwrap_or_default().iter().copied();
    let mut betas = of.node.floats("activation_beta")?.unwrap_or_default().iter().copied();
    let mut alpha = |default: f32| alphas.next().unwrap_or(default);
    let mut beta = |default: f32| betas.next().unwrap_or(default);
    let function = |name: &str| {
        use UnaryFunction::*;
        Ok(Activation::Unary(match name.to_ascii_lowercase().as_str() {
            "relu" => Relu,
            "tanh" => Tanh,
            "sigmoid" => Sigmoid,
            "softsign" => Softsign,
            "softplus" => Softplus,
            "leakyrelu" => LeakyRelu { alpha: alpha(0.01) },
            "thresholdedrelu" => ThresholdedRelu { alpha: alpha(1.0) },
            "elu" => Elu { alpha: alpha(1.0) },
            "hardsigmoid" => HardSigmoid { alpha: alpha(0.2), beta: beta(0.5) },
            "affine" => return Ok(Activation::Affine { alpha: alpha(1.0), beta: beta(0.0) }),
            "scaledtanh" => return Ok(Activation::ScaledTanh { alpha: alpha(1.0), beta: beta(1.0) }),
            other => return unsupported(format!("the function '{other}' of a recurrent layer")),
        }))
    };
    names.into_iter().map(function).collect()
}
