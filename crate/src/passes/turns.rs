//! A transpose between two reshapes is one whose dimensions are split first: what a reshape puts together and the next takes
//! apart again moves together. So exporters swap the last two of four dimensions through three, and take heads apart.

use super::matching::{each, rank, sole};
use super::permuted::order_of;
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Op;
use crate::ops::reshape::Reshape;
use crate::ops::transpose::Transpose;
use crate::tensor::Tensor;
use crate::types::Dim;

/// The most dimensions that a transpose is given.
const MAX_RANK: usize = 6;

/// Rewrites every one that needs fewer reshapes then.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| {
        if !matches!(node.op, Op::Reshape(_)) {
            return Ok(None);
        }
        let Some(Turn { from, split, order, to }) = find(graph, node) else { return Ok(None) };
        let x = match split {
            Some(split) => reshape_to(graph, &format!("{}.split", node.name), from, &split)?,
            None => from,
        };
        let turned = graph.emit1(&node.name, Transpose { order: Some(order) }, &[Some(x)])?;
        match to {
            Some(to) => reshape_to(graph, &node.name, turned, &to).map(Some),
            None => Ok(Some(turned)),
        }
    })
}

/// What the three become.
struct Turn {
    from: ValueId,
    /// The shape before the transpose, where it is not the value's own.
    split: Option<Vec<i64>>,
    order: Vec<usize>,
    /// The shape after it, where it is not the one wanted.
    to: Option<Vec<i64>>,
}

fn shape_of(graph: &Graph, value: ValueId) -> Option<&[Dim]> {
    Some(&graph.value(value).ty.as_ref()?.shape.0)
}

fn find(graph: &Graph, node: &Node) -> Option<Turn> {
    let turned = node.input(0)?;
    let transpose = sole(graph, turned)?;
    let Op::Transpose(op) = &transpose.op else { return None };
    let middle = transpose.input(0)?;
    let order = order_of(op, rank(graph, middle)?)?;
    let (_, first) = graph.producer(middle).filter(|(_, node)| matches!(node.op, Op::Reshape(_)))?;
    let from = first.input(0)?;
    let (x, m) = (shape_of(graph, from)?, shape_of(graph, middle)?);
    let (t, y) = (shape_of(graph, turned)?, shape_of(graph, node.outputs[0])?);
    // Each dimension of the middle in the parts that both sides want.
    let (before, after) = (refine(x, m)?, refine(t, y)?);
    let mut parts: Vec<Vec<Dim>> = Vec::with_capacity(m.len());
    for i in 0..m.len() {
        let at = order.iter().position(|from| *from == i)?;
        let of_before: Vec<Dim> =
            before.iter().filter(|part| part.b == i).map(|part| part.dim.clone()).collect();
        let of_after: Vec<Dim> =
            after.iter().filter(|part| part.a == at).map(|part| part.dim.clone()).collect();
        parts.push(refine(&of_before, &of_after)?.into_iter().map(|part| part.dim).collect());
    }
    let starts: Vec<usize> = (0..m.len()).map(|i| parts[..i].iter().map(Vec::len).sum()).collect();
    let split: Vec<Dim> = parts.concat();
    let new_order: Vec<usize> = order
        .iter()
        .flat_map(|&i| (0..parts[i].len()).map(move |j| (i, j)))
        .map(|(i, j)| starts[i] + j)
        .collect();
    let result: Vec<Dim> = new_order.iter().map(|i| split[*i].clone()).collect();
    (split.len() <= MAX_RANK && (split[..] == *x || result[..] == *y)).then_some(())?;
    let wanted = |dims: &[Dim], have: &[Dim]| if dims == have { None } else { Some(sizes(dims, have)) };
    let (split, to) = (wanted(&split, x), wanted(y, &result));
    // A shape that is open in more than one place cannot be said.
    let closed = |shape: Option<Option<Vec<i64>>>| match shape {
        None => Some(None),
        Some(shape) => shape.map(Some),
    };
    Some(Turn { from, split: closed(split)?, order: new_order, to: closed(to)? })
}

/// A shape as a reshape is given it: 0 for the size that is there, -1 for one that is open.
pub(super) fn sizes(dims: &[Dim], have: &[Dim]) -> Option<Vec<i64>> {
    let mut open = 0;
    let mut size = |(i, dim): (usize, &Dim)| match dim {
        Dim::Known(0) => None,
        Dim::Known(n) => i64::try_from(*n).ok(),
        dim if have.get(i) == Some(dim) => Some(0),
        _ => {
            open += 1;
            Some(-1)
        }
    };
    let sizes = dims.iter().enumerate().map(&mut size).collect::<Option<Vec<_>>>()?;
    (open <= 1).then_some(sizes)
}

pub(super) fn reshape_to(graph: &mut Graph, name: &str, x: ValueId, shape: &[i64]) -> Result<ValueId> {
    let shape = Tensor::new(&[shape.len()], shape)?;
    let shape = graph.constant(&format!("{name}.shape"), shape);
    graph.emit1(name, Reshape::To { allow_zero: false }, &[Some(x), Some(shape)])
}

/// A part that lies in one dimension of each of two shapes.
struct Part {
    dim: Dim,
    a: usize,
    b: usize,
}

/// Two shapes of the same elements in the parts that both are made of, without those of 1.
fn refine(a: &[Dim], b: &[Dim]) -> Option<Vec<Part>> {
    let ones = |dims: &[Dim]| {
        let large = dims.iter().enumerate().filter(|(_, dim)| **dim != Dim::Known(1));
        large.map(|(i, dim)| (i, dim.clone())).rev().collect::<Vec<_>>()
    };
    let (mut a, mut b) = (ones(a), ones(b));
    let mut parts = Vec::new();
    while let (Some((i, x)), Some((j, y))) = (a.pop(), b.pop()) {
        let dim = if x == y {
            x
        } else if let Some(rest) = over(&x, &y) {
            a.push((i, rest));
            y
        } else {
            b.push((j, over(&y, &x)?));
            x
        };
        parts.push(Part { dim, a: i, b: j });
    }
    (a.is_empty() && b.is_empty()).then_some(parts)
}

/// The quotient of two dimensions, where it comes out.
fn over(of: &Dim, by: &Dim) -> Option<Dim> {
    match (of, by) {
        (Dim::Known(n), Dim::Known(m)) => {
            (*m > 1 && *n > 0 && n.is_multiple_of(*m)).then(|| Dim::Known(n / m))
        }
        (Dim::Times(dim, n), Dim::Known(m)) => (*m > 1 && n.is_multiple_of(*m)).then(|| dim.times(n / m)),
        (Dim::Times(dim, n), by) => (**dim == *by && *n > 1).then_some(Dim::Known(*n)),
        _ => None,
    }
}
