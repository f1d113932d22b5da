//! `x / sqrt(mean(x · x) + epsilon) · weight`, spelt out as exporters do, is one norm; also with `x · (1 / sqrt(…))`.

use crate::error::Result;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::reduce::{Reduce, ReduceFunction};
use crate::ops::rms_norm::RmsNorm;
use crate::ops::unary::{Unary, UnaryFunction};
use crate::types::{DType, TensorType};

/// Rewrites every norm that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let found: Vec<(NodeId, Norm)> =
        graph.nodes().filter_map(|(id, _)| Some((id, norm(graph, id)?))).collect();
    for (id, norm) in &found {
        let node = graph.node(*id).clone();
        let fused = graph.apply1(&node.name, RmsNorm { epsilon: norm.epsilon }, &[norm.x, norm.weight])?;
        graph.replace(node.outputs[0], fused)?;
    }
    Ok(found.len())
}

struct Norm {
    x: ValueId,
    weight: ValueId,
    epsilon: f32,
}

fn norm(graph: &Graph, id: NodeId) -> Option<Norm> {
    use BinaryFunction::{Add, Div, Mul};
    let node = graph.node(id);
    let Op::Binary(Binary { function: Mul }) = node.op else { return None };
    let (scaled, weight) = (node.inputs[0]?, node.inputs[1]?);
    let (x, root) = match binary(graph, scaled)? {
        (Div, x, root) => (x, root),
        (Mul, x, inverse) => (x, unary(graph, inverse, UnaryFunction::Reciprocal)?),
        _ => return None,
    };
    let (Add, mean, epsilon) = binary(graph, unary(graph, root, UnaryFunction::Sqrt)?)? else { return None };
    let squares = match graph.producer(used_once(graph, mean)?)?.1 {
        node if node.op == Op::Reduce(Reduce::last(ReduceFunction::Mean)) => node.inputs[0]?,
        _ => return None,
    };
    let (Mul, a, b) = binary(graph, squares)? else { return None };
    let of_x = graph.ty(x).ok()?;
    let columns = of_x.shape.0.last()?.known()?;
    let fits = *graph.ty(weight).ok()? == TensorType::new(DType::F32, [columns]);
    (a == x && b == x && fits).then_some(Norm { x, weight, epsilon: scalar(graph, epsilon)? })
}

/// The value, if one node uses it and no output is it.
fn used_once(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let once = graph.consumers(value).len() == 1 && graph.outputs().iter().all(|(_, out)| *out != value);
    once.then_some(value)
}

/// The function and operands of the binary node that computes a value for one user.
fn binary(graph: &Graph, value: ValueId) -> Option<(BinaryFunction, ValueId, ValueId)> {
    let (_, node) = graph.producer(used_once(graph, value)?)?;
    match node.op {
        Op::Binary(Binary { function }) => Some((function, node.inputs[0]?, node.inputs[1]?)),
        _ => None,
    }
}

/// The operand of the unary node of that function that computes a value for one user.
fn unary(graph: &Graph, value: ValueId, wanted: UnaryFunction) -> Option<ValueId> {
    let (_, node) = graph.producer(used_once(graph, value)?)?;
    match node.op {
        Op::Unary(Unary { function }) if function == wanted => node.inputs[0],
        _ => None,
    }
}

/// A constant of one value.
fn scalar(graph: &Graph, value: ValueId) -> Option<f32> {
    let Source::Const(tensor) = &graph.value(value).source else { return None };
    match tensor.data::<f32>().ok()? {
        &[x] => Some(x),
        _ => None,
    }
}
