//! Norms that exporters spell out become one: `(x - mean) / √(mean((x - mean)²) + ε)`, times a scale and perhaps plus a bias, and
//! `x / √(mean(x²) + ε)`, times a scale; with quotients, reciprocals or powers, and operands in any order.

use super::matching::{binary, binary_of, each, either, ints, rank, scalar, sole, unary, with_scalar};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Op;
use crate::ops::binary::BinaryFunction::{Add, Div, Mul, Pow, Sub};
use crate::ops::layer_norm::LayerNorm;
use crate::ops::reduce::{Reduce, ReduceAxes, ReduceFunction};
use crate::ops::rms_norm::RmsNorm;
use crate::ops::unary::UnaryFunction;
use crate::types::{DType, TensorType};

/// Rewrites every norm that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| {
        if let Some((x, weight, epsilon, centre)) = scaled(graph, node) {
            let inputs = [Some(x), Some(weight)];
            return if centre {
                let op = LayerNorm { axis: -1, centre, epsilon, outputs: 1 };
                graph.emit1(&node.name, op, &inputs).map(Some)
            } else {
                graph.emit1(&node.name, RmsNorm { epsilon }, &inputs).map(Some)
            };
        }
        match biased(graph, node) {
            Some((op, inputs)) => graph.emit1(&node.name, op, &inputs.map(Some)).map(Some),
            None => Ok(None),
        }
    })
}

/// A norm without a bias, and the bias.
fn biased(graph: &Graph, node: &Node) -> Option<(LayerNorm, [ValueId; 3])> {
    either(node, Add).find_map(|(norm, bias)| {
        let Node { op: Op::LayerNorm(op @ LayerNorm { axis: -1, outputs: 1, .. }), inputs, .. } =
            sole(graph, norm)?
        else {
            return None;
        };
        let &[Some(x), Some(weight)] = &inputs[..] else { return None };
        fits(graph, x, bias).then(|| (op.clone(), [x, weight, bias]))
    })
}

/// Whether a value has a number for each column of `x`.
fn fits(graph: &Graph, x: ValueId, value: ValueId) -> bool {
    let columns = || graph.value(x).ty.as_ref()?.shape.0.last()?.known();
    let of_rows = |n| graph.value(value).ty.as_ref() == Some(&TensorType::new(DType::F32, [n]));
    columns().is_some_and(of_rows) && graph.value(x).ty.as_ref().is_some_and(|ty| ty.dtype == DType::F32)
}

/// What is normed, the weight, ε, and whether the mean is taken away.
fn scaled(graph: &Graph, node: &Node) -> Option<(ValueId, ValueId, f32, bool)> {
    either(node, Mul).find_map(|(normed, weight)| {
        let (centred, root) = quotient(graph, normed)?;
        let (variance, epsilon) = with_scalar(graph, sole(graph, root)?, Add)?;
        let of = square(graph, mean_of_last(graph, sole(graph, variance)?)?)?;
        (of == centred).then_some(())?;
        let centre = graph.producer(centred).and_then(|(_, node)| binary_of(node));
        let centre = centre.filter(|(function, x, mean)| *function == Sub && is_mean(graph, *mean, *x));
        let x = centre.map_or(centred, |(_, x, _)| x);
        fits(graph, x, weight).then_some((x, weight, epsilon, centre.is_some()))
    })
}

fn is_mean(graph: &Graph, mean: ValueId, x: ValueId) -> bool {
    graph.producer(mean).and_then(|(_, node)| mean_of_last(graph, node)) == Some(x)
}

/// Of `x / √r`, however it is written: x and r.
fn quotient(graph: &Graph, value: ValueId) -> Option<(ValueId, ValueId)> {
    let node = sole(graph, value)?;
    if let Some((Div, x, root)) = binary_of(node) {
        return Some((x, root_of(graph, root)?));
    }
    either(node, Mul).find_map(|(x, inverse)| {
        let root = match binary(graph, inverse) {
            Some((Div, one, root)) if scalar(graph, one) == Some(1.0) => root_of(graph, root),
            Some((Pow, root, power)) if scalar(graph, power) == Some(-0.5) => Some(root),
            _ => root_of(graph, unary(graph, inverse, UnaryFunction::Reciprocal)?),
        };
        Some((x, root?))
    })
}

fn root_of(graph: &Graph, value: ValueId) -> Option<ValueId> {
    match binary(graph, value) {
        Some((Pow, root, power)) => (scalar(graph, power) == Some(0.5)).then_some(root),
        _ => unary(graph, value, UnaryFunction::Sqrt),
    }
}

/// The mean of each row of what, kept as a column.
fn mean_of_last(graph: &Graph, node: &Node) -> Option<ValueId> {
    let Op::Reduce(Reduce { function: ReduceFunction::Mean, axes, keep: true }) = &node.op else {
        return None;
    };
    let x = node.input(0)?;
    let last = match axes {
        ReduceAxes::Last => true,
        ReduceAxes::Given { .. } => {
            let axes = ints(graph, (*node.inputs.get(1)?)?)?;
            axes == [-1] || rank(graph, x).is_some_and(|rank| axes == [rank as i64 - 1])
        }
    };
    last.then_some(x)
}

/// What a value is the square of.
fn square(graph: &Graph, value: ValueId) -> Option<ValueId> {
    match binary(graph, value)? {
        (Mul, a, b) if a == b => Some(a),
        (Pow, a, two) if scalar(graph, two) == Some(2.0) => Some(a),
        _ => None,
    }
}
