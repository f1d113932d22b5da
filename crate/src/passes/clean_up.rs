//! What moves no element, or moves it back, goes: casts to the same dtype, reshapes of reshapes, transposes of transposes, and
//! functions with their neutral element. Shapes that are computed from the shape itself become constants.

use super::matching::{binary_of, constant, each, ints, rank, same_type, scalar_beside, unary_of};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Op;
use crate::ops::binary::BinaryFunction;
use crate::ops::cast::Cast;
use crate::ops::choose::Choose;
use crate::ops::expand::Expand;
use crate::ops::hint::Int;
use crate::ops::reshape::Reshape;
use crate::ops::transpose::Transpose;
use crate::ops::unary::UnaryFunction;
use crate::tensor::Tensor;
use crate::types::Dim;

/// Rewrites every node that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| {
        if let Some(x) = as_it_is(graph, node) {
            return Ok(Some(x));
        }
        match &node.op {
            Op::Reshape(_) => reshape(graph, node),
            Op::Transpose(transpose) => transposed(graph, node, transpose),
            Op::Binary(_) => unexpanded(graph, node),
            _ => Ok(None),
        }
    })
}

/// The input, where it is the output too.
fn as_it_is(graph: &Graph, node: &Node) -> Option<ValueId> {
    let (x, y) = ((*node.inputs.first()?)?, *node.outputs.first()?);
    let same = || same_type(graph, x, y);
    let input = |i: usize| node.inputs.get(i).copied().flatten();
    let all = |i: usize, n: i64| {
        input(i).is_none_or(|id| ints(graph, id).is_some_and(|ints| ints.iter().all(|i| *i == n)))
    };
    let goes = match &node.op {
        Op::Cast(Cast { to: Some(to), .. }) => graph.value(x).ty.as_ref().is_some_and(|ty| ty.dtype == *to),
        Op::Reshape(Reshape::Same) => true,
        Op::Reshape(_) | Op::Expand(_) => same(),
        // As long as what it is cut from, and in the same order.
        Op::Slice(_) => same() && all(4, 1),
        Op::Pad(_) => input(1).is_some() && all(1, 0),
        Op::Concat(_) => node.inputs.len() == 1,
        Op::Split(split) => split.parts == 1,
        Op::Transpose(Transpose { order: Some(order) }) => {
            order.iter().enumerate().all(|(i, from)| i == *from)
        }
        Op::Unary(_) => unary_of(node).is_some_and(|(function, _)| match function {
            UnaryFunction::Clip { min, max } => min == f32::NEG_INFINITY && max == f32::INFINITY,
            _ => false,
        }),
        Op::Binary(_) => return neutral(graph, node),
        // A way that is known is the only one.
        Op::Choose(_) => return input(Choose::taken(constant(graph, x)?.view()).ok()?),
        _ => false,
    };
    goes.then_some(x)
}

/// The operand beside a number that changes nothing.
fn neutral(graph: &Graph, node: &Node) -> Option<ValueId> {
    use BinaryFunction::{Add, Div, Mul, Pow, Sub};
    let (function, a, b) = binary_of(node)?;
    let is = |x: ValueId, number: ValueId, wanted: f32| scalar_beside(graph, x, number) == Some(wanted);
    match function {
        Add | Sub if is(a, b, 0.0) => Some(a),
        Mul | Div | Pow if is(a, b, 1.0) => Some(a),
        Add if is(b, a, 0.0) => Some(b),
        Mul if is(b, a, 1.0) => Some(b),
        _ => None,
    }
}

/// An operand before it is repeated, where the other has all the dimensions.
fn unexpanded(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let shape = |value: ValueId| Some(&graph.value(value).ty.as_ref()?.shape);
    let found = [(0, 1), (1, 0)].into_iter().find_map(|(i, other)| {
        let (_, expand) = graph.producer(node.input(i)?)?;
        let Op::Expand(Expand::Broadcast) = expand.op else { return None };
        let mut inputs = node.inputs.clone();
        inputs[i] = Some(expand.input(0)?);
        let whole = shape(node.input(i)?)?;
        (whole == shape(node.input(other)?)? && shape(node.outputs[0])? == whole).then_some(inputs)
    });
    match found {
        Some(inputs) => graph.emit1(&node.name, node.op.clone(), &inputs).map(Some),
        None => Ok(None),
    }
}

/// The shape of a value as an input of a reshape: one size at most is open.
fn shape_of(graph: &Graph, value: ValueId) -> Option<Vec<i64>> {
    let dims = &graph.value(value).ty.as_ref()?.shape.0;
    let open = dims.iter().filter(|dim| dim.known().is_none()).count();
    let no_zero = dims.iter().all(|dim| *dim != Dim::Known(0));
    let size = |dim: &Dim| dim.known().map_or(Some(-1), |n| i64::try_from(n).ok());
    (open <= 1 && no_zero).then(|| dims.iter().map(size).collect()).flatten()
}

fn reshape_to(graph: &mut Graph, node: &Node, x: ValueId, shape: &[i64]) -> Result<Option<ValueId>> {
    let shape = Tensor::new(&[shape.len()], shape)?;
    let shape = graph.constant(&format!("{}.shape", node.name), shape);
    graph.emit1(&node.name, Reshape::To { allow_zero: false }, &[Some(x), Some(shape)]).map(Some)
}

fn reshape(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let (Some(x), y) = (node.input(0), node.outputs[0]) else { return Ok(None) };
    // What is reshaped before has the elements already.
    let before = graph.producer(x).filter(|(_, node)| matches!(node.op, Op::Reshape(_)));
    if let Some(first) = before.and_then(|(_, node)| node.input(0)) {
        if same_type(graph, first, y) {
            return Ok(Some(first));
        }
        if let Some(shape) = shape_of(graph, y) {
            return reshape_to(graph, node, first, &shape);
        }
    }
    let known = node.inputs.get(1).copied().flatten().is_some_and(|id| constant(graph, id).is_some());
    if known || !matches!(node.op, Op::Reshape(Reshape::To { allow_zero: false })) {
        return Ok(None);
    }
    match following(graph, x, node.input(1)) {
        Some(shape) => reshape_to(graph, node, x, &shape),
        None => Ok(None),
    }
}

/// A constant in place of a computed shape: 0 for the input's own dimensions, and -1 for one that is something else.
fn following(graph: &Graph, x: ValueId, shape: Option<ValueId>) -> Option<Vec<i64>> {
    let wanted = graph.value(shape?).ints.as_ref()?;
    let dims = &graph.value(x).ty.as_ref()?.shape.0;
    let mut open = 0;
    let mut size = |(i, int): (usize, &Int)| match int {
        Int::Known(n) => {
            open += i32::from(*n == -1);
            *n
        }
        Int::Size(dim) if dims.get(i) == Some(dim) => 0,
        _ => {
            open += 1;
            -1
        }
    };
    let shape = wanted.iter().enumerate().map(&mut size).collect();
    (open <= 1).then_some(shape)
}

fn transposed(graph: &mut Graph, node: &Node, transpose: &Transpose) -> Result<Option<ValueId>> {
    let Some(x) = node.input(0) else { return Ok(None) };
    let Some(n) = rank(graph, x) else { return Ok(None) };
    let order = |transpose: &Transpose| {
        let order = transpose.order.clone().unwrap_or_else(|| (0..n).rev().collect());
        (order.len() == n && order.iter().all(|i| *i < n)).then_some(order)
    };
    let Some(own) = order(transpose) else { return Ok(None) };
    if let Some((_, Node { op: Op::Transpose(first), inputs, .. })) = graph.producer(x)
        && let (Some(first), &[from]) = (order(first), &inputs[..])
    {
        let both: Vec<usize> = own.iter().map(|&i| first[i]).collect();
        if both.iter().enumerate().all(|(i, from)| i == *from) {
            return Ok(from);
        }
        return graph.emit1(&node.name, Transpose { order: Some(both) }, &[from]).map(Some);
    }
    // Where only dimensions of 1 change places, no element does.
    let Some(dims) = graph.value(x).ty.as_ref().map(|ty| ty.shape.0.clone()) else { return Ok(None) };
    let moving: Vec<usize> = own.iter().copied().filter(|i| dims[*i] != Dim::Known(1)).collect();
    match shape_of(graph, node.outputs[0]) {
        Some(shape) if moving.is_sorted() => reshape_to(graph, node, x, &shape),
        _ => Ok(None),
    }
}
