//! What follows a product with a weight becomes part of it: factors go into the weight, sums by constants for each column are its
//! bias, then it adds what has its own type, and applies the function after that. A product with a constant matrix is one
//! with a weight.

use super::fuse_conv::is_activation;
use super::matching::{constant, dims, each, either, rank, same_type, sole, unary_of, with_scalar};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Op;
use crate::ops::binary::BinaryFunction::{Add, Div, Mul};
use crate::ops::matmul::MatMul;
use crate::ops::product::Product;
use crate::ops::transpose::Transpose;
use crate::tensor::Tensor;
use crate::types::DType;

/// Rewrites every product that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| match &node.op {
        Op::Product(product) if *product == Product::default() => with_weight(graph, node),
        Op::Binary(_) => {
            for rule in [factor, bias, residual] {
                if let Some(y) = rule(graph, node)? {
                    return Ok(Some(y));
                }
            }
            Ok(None)
        }
        Op::Unary(_) => activation(graph, node),
        Op::Reshape(_) => in_rows(graph, node),
        _ => Ok(None),
    })
}

/// The inputs of the product that computes `value` for one user, when no function is applied to it yet.
fn product(graph: &Graph, value: ValueId) -> Option<[Option<ValueId>; 4]> {
    let Node { op: Op::MatMul(MatMul { swiglu: false, activation: None }), inputs, .. } = sole(graph, value)?
    else {
        return None;
    };
    Some([0, 1, 2, 3].map(|i| inputs.get(i).copied().flatten()))
}

fn emit(graph: &mut Graph, node: &Node, op: MatMul, inputs: [Option<ValueId>; 4]) -> Result<Option<ValueId>> {
    let n = inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    graph.emit1(&node.name, op, &inputs[..n]).map(Some)
}

/// `a·b` with a constant matrix b.
fn with_weight(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let [Some(a), Some(b)] = node.inputs[..] else { return Ok(None) };
    let matrix = constant(graph, b)
        .filter(|b| b.dtype() == DType::F32 && b.shape().len() == 2 && !b.bytes().is_empty());
    let (Some(matrix), Some(1..)) = (matrix, dims(graph, a).map(<[_]>::len)) else { return Ok(None) };
    let transposed = Op::from(Transpose { order: None }).eval_now(&[Some(matrix)])?.swap_remove(0);
    let weight = graph.constant(&format!("{}.weight", node.name), transposed);
    emit(graph, node, MatMul::default(), [Some(a), Some(weight), None, None])
}

/// A product times a number.
fn factor(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let scaled = with_scalar(graph, node, Mul).or_else(|| match with_scalar(graph, node, Div) {
        // Only as the divisor.
        Some((x, by)) if node.input(0) == Some(x) => Some((x, 1.0 / by)),
        _ => None,
    });
    let found = scaled.and_then(|(x, factor)| {
        let [Some(x), Some(weight), bias, None] = product(graph, x)? else { return None };
        let scaled = |value: ValueId| {
            let tensor = constant(graph, value)?;
            let data: Vec<f32> = tensor.data::<f32>().ok()?.iter().map(|x| x * factor).collect();
            Tensor::new(tensor.shape(), &data).ok()
        };
        let bias = bias.map(|bias| scaled(bias).ok_or(())).transpose().ok()?;
        Some((x, scaled(weight)?, bias))
    });
    let Some((x, weight, bias)) = found else { return Ok(None) };
    let weight = graph.constant(&format!("{}.weight", node.name), weight);
    let bias = bias.map(|bias| graph.constant(&format!("{}.bias", node.name), bias));
    emit(graph, node, MatMul::default(), [Some(x), Some(weight), bias, None])
}

/// A product and a constant for each column.
fn bias(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = either(node, Add).find_map(|(y, added)| {
        let [x, weight, None, None] = product(graph, y)? else { return None };
        let tensor = constant(graph, added)?;
        let n = graph.value(weight?).ty.as_ref()?.shape.0.first()?.known()?;
        let (data, shape) = (tensor.data::<f32>().ok()?, tensor.shape());
        let one_row = shape.iter().rev().skip(1).all(|size| *size == 1) && shape.len() <= rank(graph, y)?;
        let bias = match data {
            &[one] if one_row => vec![one; n],
            many if one_row && many.len() == n => many.to_vec(),
            _ => return None,
        };
        Some((x, weight, Tensor::new(&[n], &bias).ok()?))
    });
    let Some((x, weight, bias)) = found else { return Ok(None) };
    let bias = graph.constant(&format!("{}.bias", node.name), bias);
    emit(graph, node, MatMul::default(), [x, weight, Some(bias), None])
}

fn residual(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = either(node, Add).find_map(|(y, other)| {
        let [x, weight, bias, None] = product(graph, y)? else { return None };
        (same_type(graph, y, other) && constant(graph, other).is_none()).then_some([
            x,
            weight,
            bias,
            Some(other),
        ])
    });
    match found {
        Some(inputs) => emit(graph, node, MatMul::default(), inputs),
        None => Ok(None),
    }
}

/// A product of rows that are put together before it, and taken apart as they were after it.
fn in_rows(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = node.input(0).and_then(|y| {
        let Node { op: op @ Op::MatMul(_), inputs, .. } = sole(graph, y)? else { return None };
        let (_, before) = graph.producer(inputs.first().copied()??)?;
        let (Op::Reshape(_), Some(x)) = (&before.op, before.input(0)) else { return None };
        let free = inputs.get(3).copied().flatten().is_none();
        let (own, flat, wanted) =
            (dims(graph, x)?, dims(graph, before.outputs[0])?, dims(graph, node.outputs[0])?);
        let same_rows = own.len() == wanted.len() && own[..own.len() - 1] == wanted[..wanted.len() - 1];
        let same_columns = own.last() == flat.last() && wanted.last() == dims(graph, y)?.last();
        let mut inputs = inputs.clone();
        inputs[0] = Some(x);
        (free && own.len() > 1 && same_rows && same_columns).then(|| (op.clone(), inputs))
    });
    match found {
        Some((op, inputs)) => graph.emit1(&node.name, op, &inputs).map(Some),
        None => Ok(None),
    }
}

fn activation(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = unary_of(node).filter(|(function, _)| is_activation(*function));
    // Weights that come later, or in blocks, may go to the GPU, whose kernel for them applies no function.
    let is_f32 = |weight| constant(graph, weight).is_some_and(|weight| weight.dtype() == DType::F32);
    let is_here = |inputs: &[Option<ValueId>; 4]| inputs[1].is_some_and(is_f32);
    let found = found.and_then(|(function, y)| Some((function, product(graph, y).filter(is_here)?)));
    match found {
        Some((function, inputs)) => {
            emit(graph, node, MatMul { swiglu: false, activation: Some(function) }, inputs)
        }
        None => Ok(None),
    }
}
