//! Sums of integers that become f32, times a scale, plus a bias: the product of integers does that itself.

use crate::error::Result;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::integer_product::IntegerProduct;
use crate::ops::quantize::Quantize;
use crate::types::DType;

/// Rewrites every product that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let products = graph.nodes().filter(|(_, node)| matches!(node.op, Op::IntegerProduct(_)));
    let found: Vec<(NodeId, Chain)> = products.filter_map(|(id, _)| Some((id, chain(graph, id)?))).collect();
    for (id, chain) in &found {
        let node = graph.node(*id).clone();
        let mut inputs = node.inputs.clone();
        inputs.resize(4, None);
        inputs.extend([Some(chain.scale), chain.bias]);
        let name = &*graph.value(chain.last).name.to_string();
        let fused = graph.defer(&node.name, IntegerProduct, &inputs, &[name])[0];
        graph.replace(chain.last, fused)?;
    }
    Ok(found.len())
}

/// What follows a product.
struct Chain {
    scale: ValueId,
    bias: Option<ValueId>,
    /// The value that all of it computes.
    last: ValueId,
}

fn chain(graph: &Graph, id: NodeId) -> Option<Chain> {
    let node = graph.node(id);
    let columns = columns(graph, node.input(1)?)?;
    if node.inputs.get(4).is_some() {
        return None;
    }
    let (cast, _) = only_user(graph, node.outputs[0])?;
    let Op::Cast(Cast { to: Some(DType::F32), .. }) = graph.node(cast).op else { return None };
    let whole = graph.node(cast).outputs[0];
    let (scaled, scale) = operand(graph, whole, BinaryFunction::Mul)?;
    if !is_scale(graph, scale, columns) {
        return None;
    }
    let bias = operand(graph, scaled, BinaryFunction::Add)
        .filter(|(_, bias)| constant(graph, *bias) == Some(vec![columns]));
    Some(match bias {
        Some((last, bias)) => Chain { scale, bias: Some(bias), last },
        None => Chain { scale, bias: None, last: scaled },
    })
}

/// The node that alone uses a value, which is no output, and at which of its inputs.
fn only_user(graph: &Graph, value: ValueId) -> Option<(NodeId, usize)> {
    let users = graph.consumers(value);
    let &[user] = users else { return None };
    let is_output = graph.outputs().iter().any(|(_, out)| *out == value);
    let at = graph.node(user).inputs.iter().position(|input| *input == Some(value))?;
    (!is_output).then_some((user, at))
}

/// What the function of a value and another, its only user, gives, and the other.
fn operand(graph: &Graph, value: ValueId, wanted: BinaryFunction) -> Option<(ValueId, ValueId)> {
    let (user, at) = only_user(graph, value)?;
    let node = graph.node(user);
    let Op::Binary(Binary { function }) = node.op else { return None };
    (function == wanted).then_some((node.outputs[0], node.input(1 - at)?))
}

/// The shape of an f32 constant.
fn constant(graph: &Graph, value: ValueId) -> Option<Vec<usize>> {
    match &graph.value(value).source {
        Source::Const(tensor) if tensor.dtype() == DType::F32 => Some(tensor.shape().to_vec()),
        _ => None,
    }
}

/// The columns of a constant matrix.
fn columns(graph: &Graph, value: ValueId) -> Option<usize> {
    match &graph.value(value).source {
        Source::Const(tensor) => tensor.shape().get(1).copied(),
        _ => None,
    }
}

/// Whether a value is one number, or one a column: a constant, the scale of a quantisation, or a product of such.
fn is_scale(graph: &Graph, value: ValueId, columns: usize) -> bool {
    if let Some(shape) = constant(graph, value) {
        return shape.is_empty() || shape == [1] || shape == [columns];
    }
    let Some((_, node)) = graph.producer(value) else { return false };
    match &node.op {
        Op::Quantize(Quantize::Dynamic) => node.outputs.get(1) == Some(&value),
        Op::Binary(Binary { function: BinaryFunction::Mul }) => node.inputs.iter().flatten().all(|id| {
            let of_quantize = |(_, node): (NodeId, &crate::graph::Node)| {
                matches!(node.op, Op::Quantize(Quantize::Dynamic)) && node.outputs.get(1) == Some(id)
            };
            constant(graph, *id).is_some_and(|shape| shape.is_empty() || shape == [1] || shape == [columns])
                || graph.producer(*id).is_some_and(of_quantize)
        }),
        _ => false,
    }
}
