//! Recurrent layers.

use super::{Use, unsupported};
use crate::error::{Result, fail};
use crate::graph::ValueId;
use crate::ops::recurrent::{Activation, Cell, Direction, Recurrent};
use crate::ops::unary::UnaryFunction;

pub(super) fn recurrent(of: &mut Use) -> Result<Vec<ValueId>> {
    let cell = match of.node.op_type {
        "GRU" => Cell::Gru { linear_before_reset: of.flag("linear_before_reset")? },
        "LSTM" | "DynamicQuantizeLSTM" => Cell::Lstm { input_forget: of.flag("input_forget")? },
        _ => Cell::Rnn,
    };
    let direction = match of.node.string("direction")?.unwrap_or("forward") {
        "forward" => Direction::Forward,
        "reverse" => Direction::Reverse,
        "bidirectional" => Direction::Both,
        other => return fail!(InvalidGraph, "a layer in the direction '{other}'"),
    };
    let op = Recurrent {
        cell,
        direction,
        activations: activations(of, cell, direction)?,
        clip: of.node.float("clip")?.filter(|limit| *limit > 0.0),
        batch_first: of.flag("layout")?,
        outputs: of.node.outputs.len(),
    };
    of.as_is(op)
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
