//! Operators that compute the same in another order of dimensions: which they are, and their attributes in that order. An order
//! is a transpose's: dimension `i` of a value is dimension `order[i]` of the same value as it lies before.

use super::matching::{constant, ints, rank};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::concat::Concat;
use crate::ops::reduce::{Reduce, ReduceAxes};
use crate::ops::reshape::Reshape;
use crate::ops::softmax::Softmax;
use crate::ops::split::Split;
use crate::ops::transpose::Transpose;
use crate::ops::{Op, axis_of};
use crate::tensor::Tensor;
use crate::types::Dim;

/// The order that undoes another.
pub fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, from)| inverse[*from] = i);
    inverse
}

/// A transpose after another as one.
pub fn compose(last: &[usize], first: &[usize]) -> Vec<usize> {
    last.iter().map(|i| first[*i]).collect()
}

/// The order of a transpose of a value of that rank, where it is one.
pub fn order_of(transpose: &Transpose, rank: usize) -> Option<Vec<usize>> {
    let order = transpose.order.clone().unwrap_or_else(|| (0..rank).rev().collect());
    let mut seen = vec![false; rank];
    order.iter().for_each(|i| seen.get_mut(*i).into_iter().for_each(|seen| *seen = true));
    (order.len() == rank && seen.iter().all(|seen| *seen)).then_some(order)
}

/// Whether a transpose to these dimensions moves no element, since only dimensions of 1 change places.
pub fn is_view(dims: &[Dim], order: &[usize]) -> bool {
    let moving = dims.iter().zip(order).filter(|(dim, _)| **dim != Dim::Known(1)).map(|(_, from)| *from);
    moving.is_sorted()
}

/// Integers that a node is given, where they are known: `None` where they are not, none where they are absent.
fn given(graph: &Graph, node: &Node, index: usize) -> Option<Option<Vec<i64>>> {
    match node.input(index) {
        None => Some(None),
        Some(id) => ints(graph, id).map(Some),
    }
}

/// The dimensions, of a value of that rank, that a node is given as integers.
fn axes(graph: &Graph, node: &Node, index: usize, rank: usize) -> Option<Option<Vec<usize>>> {
    let axes = given(graph, node, index)?;
    let axes = axes.map(|axes| axes.iter().map(|axis| axis_of(*axis, rank).ok()).collect::<Option<Vec<_>>>());
    match axes {
        None => Some(None),
        Some(axes) => axes.map(Some),
    }
}

/// Whether an operator treats each element by itself, beside those of its other operands.
pub fn is_by_element(op: &Op) -> bool {
    matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Select(_))
        || matches!(op, Op::Cast(cast) if cast.to.is_some())
}

/// Whether all inputs of an operator have the dimensions in one order, and not the first alone.
pub fn joins(op: &Op) -> bool {
    is_by_element(op) || matches!(op, Op::Concat(_))
}

/// The order that a node's outputs have after it, where its first input's is `order` and it can compute the same before.
pub fn order_after(graph: &Graph, node: &Node, order: &[usize]) -> Option<Vec<usize>> {
    let n = order.len();
    let same = Some(order.to_vec());
    match &node.op {
        op if is_by_element(op) => same,
        Op::Concat(Concat { axis }) | Op::Split(Split { axis, .. }) => {
            axis_of(*axis, n).ok()?;
            same
        }
        Op::Softmax(Softmax { axis, flatten: false, .. }) => {
            axis_of(*axis, n).ok()?;
            same
        }
        Op::Pad(_) => {
            let (pads, axes) = (given(graph, node, 1)??, axes(graph, node, 3, n)?);
            (pads.len() == 2 * axes.map_or(n, |axes| axes.len())).then_some(order.to_vec())
        }
        Op::Slice(_) => {
            let starts = given(graph, node, 1)??;
            let axes = axes(graph, node, 3, n)?.unwrap_or_else(|| (0..starts.len()).collect());
            (axes.len() == starts.len() && starts.len() <= n).then_some(order.to_vec())
        }
        Op::Reduce(Reduce { keep, axes: which, .. }) => {
            let gone = match which {
                ReduceAxes::Last => vec![n.checked_sub(1)?],
                ReduceAxes::Given { .. } => axes(graph, node, 1, n)??,
            };
            (!gone.is_empty()).then(|| if *keep { order.to_vec() } else { without(order, &gone) })
        }
        Op::Reshape(_) => {
            let Ones { gone, new } = ones(graph, node)?;
            let left = without(order, &gone);
            // Before, the new dimensions are the first.
            let (mut ones, mut own) = (0..new.len(), left.iter().map(|from| from + new.len()));
            let n = left.len() + new.len();
            (0..n).map(|i| if new.contains(&i) { ones.next() } else { own.next() }).collect()
        }
        _ => None,
    }
}

/// The dimensions of 1 that a reshape takes away, and those that it puts in.
struct Ones {
    gone: Vec<usize>,
    new: Vec<usize>,
}

/// Where nothing but dimensions of 1 come and go.
fn ones(graph: &Graph, node: &Node) -> Option<Ones> {
    let dims = |value: ValueId| Some(&graph.value(value).ty.as_ref()?.shape.0);
    let (x, y) = (dims(node.input(0)?)?, dims(*node.outputs.first()?)?);
    let one = |dims: &[Dim]| (0..dims.len()).filter(|i| dims[*i] == Dim::Known(1)).collect::<Vec<_>>();
    let large =
        |dims: &Vec<Dim>| dims.iter().filter(|dim| **dim != Dim::Known(1)).cloned().collect::<Vec<_>>();
    (large(x) == large(y) && x != y).then(|| Ones { gone: one(x), new: one(y) })
}

/// An order once some dimensions are gone.
fn without(order: &[usize], gone: &[usize]) -> Vec<usize> {
    let gone_before: Vec<usize> = gone.iter().map(|i| order[*i]).collect();
    let left = order.iter().filter(|from| !gone_before.contains(from));
    left.map(|from| from - gone_before.iter().filter(|gone| *gone < from).count()).collect()
}

fn constant_ints(graph: &mut Graph, node: &Node, values: &[i64]) -> Result<Option<ValueId>> {
    let tensor = Tensor::new(&[values.len()], values)?;
    Ok(Some(graph.constant(&format!("{}.axes", node.name), tensor)))
}

/// The operator of a node as it is before its input has that order, where [`order_after`] gives one, of inputs that lie
/// so already: all those of an operator that [joins], else the first.
pub fn before(
    graph: &mut Graph,
    node: &Node,
    order: &[usize],
    mut inputs: Vec<Option<ValueId>>,
) -> Result<Option<(Op, Vec<Option<ValueId>>)>> {
    let n = order.len();
    let mut op = node.op.clone();
    let moved = |axis: i64| axis_of(axis, n).map(|axis| order[axis] as i64);
    match &mut op {
        Op::Concat(Concat { axis }) | Op::Split(Split { axis, .. }) | Op::Softmax(Softmax { axis, .. }) => {
            *axis = moved(*axis)?;
        }
        Op::Pad(_) | Op::Slice(_) => {
            let count = given(graph, node, 1).flatten().map_or(0, |given| given.len());
            let count = if matches!(op, Op::Pad(_)) { count / 2 } else { count };
            let Some(axes) = axes(graph, node, 3, n) else { return Ok(None) };
            let axes = axes.unwrap_or_else(|| (0..count).collect());
            let axes: Vec<i64> = axes.into_iter().map(|axis| order[axis] as i64).collect();
            inputs.resize(inputs.len().max(4), None);
            inputs[3] = constant_ints(graph, node, &axes)?;
        }
        Op::Reduce(reduce) => {
            let gone = match reduce.axes {
                ReduceAxes::Last => vec![n - 1],
                ReduceAxes::Given { .. } => match axes(graph, node, 1, n).flatten() {
                    Some(gone) => gone,
                    None => return Ok(None),
                },
            };
            let gone: Vec<i64> = gone.into_iter().map(|axis| order[axis] as i64).collect();
            if gone != [n as i64 - 1] || reduce.axes != ReduceAxes::Last {
                reduce.axes = ReduceAxes::Given { none_is_none: true };
                inputs.resize(2, None);
                inputs[1] = constant_ints(graph, node, &gone)?;
            }
        }
        Op::Reshape(_) => {
            let Some(Ones { gone, new }) = ones(graph, node) else { return Ok(None) };
            let gone: Vec<i64> = gone.into_iter().map(|axis| order[axis] as i64).collect();
            let first: Vec<i64> = (0..new.len() as i64).collect();
            inputs.resize(2, None);
            if !gone.is_empty() && !first.is_empty() {
                let narrow = [inputs[0], constant_ints(graph, node, &gone)?];
                inputs[0] = Some(graph.emit1(&format!("{}.narrow", node.name), Reshape::Squeeze, &narrow)?);
            }
            (op, inputs[1]) = if first.is_empty() {
                (Reshape::Squeeze.into(), constant_ints(graph, node, &gone)?)
            } else {
                (Reshape::Unsqueeze.into(), constant_ints(graph, node, &first)?)
            };
        }
        _ => {}
    }
    Ok(Some((op, inputs)))
}

/// What stands, beside values of that order, for an operand that is in none.
#[derive(Debug)]
pub enum Beside {
    /// The operand: one number.
    AsItIs,
    /// A constant, which is transposed now.
    Constant,
    /// A reshape to these sizes: only dimensions of 1 change places.
    View(Vec<i64>),
    /// What a transpose computes already.
    There(ValueId),
}

/// What stands for an operand beside values that have that order, where it costs nothing.
pub fn beside(graph: &Graph, value: ValueId, order: &[usize]) -> Option<Beside> {
    let n = order.len();
    let back = inverse(order);
    if let Some(tensor) = constant(graph, value) {
        let is_one = tensor.shape().iter().all(|n| *n == 1);
        return (tensor.shape().len() <= n).then_some(if is_one { Beside::AsItIs } else { Beside::Constant });
    }
    let rank = rank(graph, value).filter(|rank| *rank <= n)?;
    let dims = &graph.value(value).ty.as_ref()?.shape.0;
    if dims.iter().all(|dim| *dim == Dim::Known(1)) {
        return Some(Beside::AsItIs);
    }
    let dims: Vec<&Dim> = (rank..n).map(|_| &Dim::Known(1)).chain(dims).collect();
    let permuted: Vec<Dim> = back.iter().map(|i| dims[*i].clone()).collect();
    let open = permuted.iter().filter(|dim| dim.known().is_none()).count();
    if open <= 1 && !permuted.contains(&Dim::Known(0)) && is_view(&permuted, &back) {
        let size = |dim: &Dim| dim.known().map_or(Some(-1), |n| i64::try_from(n).ok());
        return permuted.iter().map(size).collect::<Option<_>>().map(Beside::View);
    }
    (rank == n).then_some(())?;
    graph.consumers(value).iter().find_map(|user| match &graph.node(*user).op {
        Op::Transpose(other) if order_of(other, n)? == back && !graph.is_dead(*user) => {
            graph.node(*user).outputs.first().copied().map(Beside::There)
        }
        _ => None,
    })
}

/// Makes that.
pub fn put_beside(
    graph: &mut Graph,
    node: &Node,
    value: ValueId,
    order: &[usize],
    how: Beside,
) -> Result<Option<ValueId>> {
    match how {
        Beside::AsItIs => Ok(Some(value)),
        Beside::There(value) => Ok(Some(value)),
        Beside::View(shape) => {
            let shape = Tensor::new(&[shape.len()], &shape)?;
            let shape = graph.constant(&format!("{}.shape", node.name), shape);
            let inputs = [Some(value), Some(shape)];
            graph
                .emit1(&format!("{}.beside", node.name), Reshape::To { allow_zero: false }, &inputs)
                .map(Some)
        }
        Beside::Constant => {
            let Some(tensor) = constant(graph, value) else { return Ok(None) };
            let missing = order.len() - tensor.shape().len();
            let axes: Vec<i64> = (0..missing as i64).collect();
            let axes = Tensor::new(&[missing], &axes)?;
            let wide = Op::from(Reshape::Unsqueeze).eval_now(&[Some(tensor), Some(&axes)])?;
            let turn = Op::from(Transpose { order: Some(inverse(order)) });
            let turned = turn.eval_now(&[wide.first()])?.swap_remove(0);
            Ok(Some(graph.constant(&format!("{}.constant", node.name), turned)))
        }
    }
}
