//! Functions that exporters spell out become one: HardSigmoid, HardSwish, SiLU, Mish and GELU in both forms, whatever the order of
//! operands and wherever their constants stand.

use super::matching::{
    Factors, either, factors, factors_of, near, scalar_beside, unary, unary_of, with_scalar,
};
use super::matching::{binary, each, sole};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::binary::BinaryFunction::{Add, Mul, Pow};
use crate::ops::unary::{Unary, UnaryFunction};

/// Rewrites every function that it knows.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| {
        let Some((x, function)) = found(graph, node) else { return Ok(None) };
        graph.emit1(&node.name, Unary { function }, &[Some(x)]).map(Some)
    })
}

fn found(graph: &Graph, node: &Node) -> Option<(ValueId, UnaryFunction)> {
    if let Some(clip) = hard_sigmoid(graph, node) {
        return Some(clip);
    }
    let product = factors(graph, node)?;
    gated(graph, &product).or_else(|| gelu(graph, &product))
}

/// `clip(x + b, 0, c) / c`, and `clip(a·x + b, 0, 1)`.
fn hard_sigmoid(graph: &Graph, node: &Node) -> Option<(ValueId, UnaryFunction)> {
    let sigmoid = |x, alpha, beta| Some((x, UnaryFunction::HardSigmoid { alpha, beta }));
    if let Some((UnaryFunction::Clip { min: 0.0, max: 1.0 }, sum)) = unary_of(node) {
        let (product, beta) = with_scalar(graph, sole(graph, sum)?, Add)?;
        let (x, alpha) = linear(graph, product);
        return sigmoid(x, alpha, beta);
    }
    let product = factors(graph, node)?;
    let [clipped] = product.values[..] else { return None };
    let (x, shift, top) = shifted_clip(graph, clipped)?;
    (product.number * f64::from(top) - 1.0).abs().le(&1e-4).then_some(())?;
    sigmoid(x, 1.0 / top, shift / top)
}

/// A value as a number times another.
fn linear(graph: &Graph, value: ValueId) -> (ValueId, f32) {
    match factors_of(graph, value) {
        Factors { number, values } if values.len() == 1 => (values[0], number as f32),
        _ => (value, 1.0),
    }
}

/// `clip(x + shift, 0, top)`.
fn shifted_clip(graph: &Graph, value: ValueId) -> Option<(ValueId, f32, f32)> {
    let (UnaryFunction::Clip { min: 0.0, max }, sum) = unary_of(sole(graph, value)?)? else { return None };
    let (x, shift) = with_scalar(graph, sole(graph, sum)?, Add)?;
    (max > 0.0 && max.is_finite()).then_some((x, shift, max))
}

/// `x · gate(x)`.
fn gated(graph: &Graph, product: &Factors) -> Option<(ValueId, UnaryFunction)> {
    product.pairs().find_map(|(x, gate)| {
        let one = (product.number - 1.0).abs() < 1e-6;
        if let Some((of, 3.0, 6.0)) = shifted_clip(graph, gate)
            && of == x
            && (product.number * 6.0 - 1.0).abs() < 1e-4
        {
            return Some((x, UnaryFunction::HardSwish));
        }
        one.then_some(())?;
        match unary_of(sole(graph, gate)?)? {
            (UnaryFunction::HardSigmoid { alpha, beta }, of)
                if of == x && near(alpha, 1.0 / 6.0) && near(beta, 0.5) =>
            {
                Some((x, UnaryFunction::HardSwish))
            }
            (UnaryFunction::Sigmoid, of) if of == x => Some((x, UnaryFunction::Silu)),
            (UnaryFunction::Sigmoid, scaled) => {
                let (of, alpha) = linear(graph, scaled);
                let function =
                    if alpha == 1.0 { UnaryFunction::Silu } else { UnaryFunction::Swish { alpha } };
                (of == x).then_some((x, function))
            }
            (UnaryFunction::Tanh, soft) => {
                let of = unary(graph, soft, UnaryFunction::Softplus).or_else(|| softplus(graph, soft))?;
                (of == x).then_some((x, UnaryFunction::Mish))
            }
            _ => None,
        }
    })
}

/// `ln(1 + exp(x))`.
fn softplus(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let sum = unary(graph, value, UnaryFunction::Ln)?;
    let (exp, one) = with_scalar(graph, sole(graph, sum)?, Add)?;
    (one == 1.0).then(|| unary(graph, exp, UnaryFunction::Exp)).flatten()
}

/// `½·x·(1 + erf(x/√2))`, and `½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
fn gelu(graph: &Graph, product: &Factors) -> Option<(ValueId, UnaryFunction)> {
    (product.number - 0.5).abs().le(&1e-6).then_some(())?;
    product.pairs().find_map(|(x, sum)| {
        let (curve, one) = with_scalar(graph, sole(graph, sum)?, Add)?;
        (one == 1.0).then_some(())?;
        let tanh = match unary_of(sole(graph, curve)?)? {
            (UnaryFunction::Erf, inner) => {
                let (of, factor) = linear(graph, inner);
                (of == x && near(factor, std::f32::consts::FRAC_1_SQRT_2)).then_some(false)?
            }
            (UnaryFunction::Tanh, inner) => (cubic(graph, x, inner)?).then_some(true)?,
            _ => return None,
        };
        Some((x, UnaryFunction::Gelu { tanh }))
    })
}

/// Whether a value is `√(2/π)·(x + 0.044715·x³)`, or the same with x taken out.
fn cubic(graph: &Graph, x: ValueId, value: ValueId) -> Option<bool> {
    let inner = factors_of(graph, value);
    near(inner.number as f32, (2.0 / std::f32::consts::PI).sqrt()).then_some(())?;
    if let [sum] = inner.values[..] {
        let node = sole(graph, sum)?;
        let cube = either(node, Add).find_map(|(own, cube)| (own == x).then_some(cube))?;
        let cube = factors_of(graph, cube);
        let power = cube.values.iter().try_fold(0, |sum, of| Some(sum + power_of(graph, x, *of)?))?;
        return Some(power == 3 && near(cube.number as f32, 0.044715));
    }
    inner.pairs().find_map(|(own, sum)| {
        let (square, one) = with_scalar(graph, sole(graph, sum)?, Add)?;
        let square = factors_of(graph, square);
        let power = square.values.iter().try_fold(0, |sum, of| Some(sum + power_of(graph, x, *of)?))?;
        Some(own == x && one == 1.0 && power == 2 && near(square.number as f32, 0.044715))
    })
}

/// Which whole power of x a value is.
fn power_of(graph: &Graph, x: ValueId, value: ValueId) -> Option<usize> {
    if value == x {
        return Some(1);
    }
    match binary(graph, value)? {
        (Pow, base, exponent) if base == x => match scalar_beside(graph, x, exponent)? {
            2.0 => Some(2),
            3.0 => Some(3),
            _ => None,
        },
        (Mul, a, b) => Some(power_of(graph, x, a)? + power_of(graph, x, b)?),
        _ => None,
    }
}
