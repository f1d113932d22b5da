//! Parts of the columns of a product. Queries, keys and values that are computed together and taken apart through more
//! dimensions are ranges of columns; and of a product of which all users take ranges of columns, each range is a product of
//! its own, so that nothing is copied.

use super::matching::{constant, each, ints, rank};
use super::permuted::order_of;
use super::turns::{reshape_to, sizes};
use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, Source, ValueId};
use crate::ops::matmul::MatMul;
use crate::ops::slice::Slice;
use crate::ops::split::Split;
use crate::ops::take::Take;
use crate::ops::transpose::Transpose;
use crate::ops::{Op, axis_of};
use crate::tensor::Tensor;
use crate::types::{DType, Dim};
use std::ops::Range;

/// Takes parts from the columns that they are made of.
pub fn parts(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| {
        let Some(part) = part_of(graph, node) else { return Ok(None) };
        let name = &node.name;
        let mut cut = vec![Some(part.columns)];
        for (what, at) in [("from", part.range.start), ("to", part.range.end), ("axis", part.axis)] {
            let at = Tensor::new(&[1], &[at as i64])?;
            cut.push(Some(graph.constant(&format!("{name}.{what}"), at)));
        }
        let cut = graph.emit1(&format!("{name}.columns"), Slice, &cut)?;
        let apart = reshape_to(graph, name, cut, &part.shape)?;
        if part.order.is_sorted() {
            return Ok(Some(apart));
        }
        graph.emit1(name, Transpose { order: Some(part.order) }, &[Some(apart)]).map(Some)
    })
}

/// A range of columns, and how they are laid out then.
struct Part {
    columns: ValueId,
    axis: usize,
    range: Range<usize>,
    shape: Vec<i64>,
    order: Vec<usize>,
}

fn shape_of(graph: &Graph, value: ValueId) -> Option<&[Dim]> {
    Some(&graph.value(value).ty.as_ref()?.shape.0)
}

/// What a node takes one index of along a dimension, which goes: the value, dimension and index.
fn taken(graph: &Graph, node: &Node) -> Option<(ValueId, usize, i64)> {
    let x = node.input(0)?;
    if let Op::Take(Take { axis }) = &node.op {
        let index = node.input(1).filter(|index| rank(graph, *index) == Some(0))?;
        return Some((x, axis_of(*axis, rank(graph, x)?).ok()?, *ints(graph, index)?.first()?));
    }
    let Op::Reshape(_) = node.op else { return None };
    let (_, cut) = graph.producer(x)?;
    let from = cut.input(0)?;
    let (whole, narrow) = (shape_of(graph, from)?, shape_of(graph, x)?);
    let (axis, index) = match &cut.op {
        Op::Slice(_) => {
            let given = |i: usize| ints(graph, cut.input(i)?);
            let (&[start], &[end], &[axis]) = (&given(1)?[..], &given(2)?[..], &given(3)?[..]) else {
                return None;
            };
            let by_one = cut.input(4).is_none() || given(4)? == [1];
            let axis = axis_of(axis, whole.len()).ok()?;
            (by_one && start >= 0 && end == start + 1).then_some((axis, start))?
        }
        Op::Split(Split { axis, parts }) => {
            let axis = axis_of(*axis, whole.len()).ok()?;
            let Source::Node(_, index) = graph.value(x).source else { return None };
            (whole.get(axis) == Some(&Dim::Known(*parts))).then_some((axis, index as i64))?
        }
        _ => return None,
    };
    let mut rest = narrow.to_vec();
    (rest.get(axis) == Some(&Dim::Known(1))).then_some(())?;
    rest.remove(axis);
    (rest[..] == *shape_of(graph, node.outputs[0])?).then_some((from, axis, index))
}

fn part_of(graph: &Graph, node: &Node) -> Option<Part> {
    let (value, axis, index) = taken(graph, node)?;
    let (_, before) = graph.producer(value)?;
    // The dimensions as they lie in the columns.
    let (apart, order) = match &before.op {
        Op::Transpose(transpose) => (before.input(0)?, order_of(transpose, rank(graph, value)?)?),
        _ => (value, (0..rank(graph, value)?).collect()),
    };
    let (_, reshape) = graph.producer(apart).filter(|(_, node)| matches!(node.op, Op::Reshape(_)))?;
    let columns = reshape.input(0)?;
    let (all, dims) = (shape_of(graph, columns)?, shape_of(graph, apart)?);
    let at = *order.get(axis)?;
    let (last, leading) = all.split_last()?;
    (dims.get(..at)? == leading).then_some(())?;
    let each = dims.get(at + 1..)?.iter().try_fold(1usize, |n, dim| n.checked_mul(dim.known()?))?;
    let n = dims.get(at)?.known()?;
    (last.known()? == n.checked_mul(each)? && each > 0).then_some(())?;
    let index =
        usize::try_from(if index < 0 { index.checked_add(i64::try_from(n).ok()?)? } else { index }).ok()?;
    (index < n).then_some(())?;
    let mut wanted = dims.to_vec();
    wanted.remove(at);
    let left = order.iter().filter(|from| **from != at).map(|from| from - usize::from(*from > at)).collect();
    Some(Part {
        columns,
        axis: at,
        range: index * each..(index + 1) * each,
        shape: sizes(&wanted, leading)?,
        order: left,
    })
}

/// Computes each range of columns by itself where users want nothing but ranges.
pub fn narrow(graph: &mut Graph) -> Result<usize> {
    let mut made = 0;
    for id in (0..graph.nodes().count() as u32).map(NodeId) {
        if graph.is_dead(id) {
            continue;
        }
        let node = graph.node(id).clone();
        let Some(Ranges { x, weight, bias, ranges, op }) = ranges_of(graph, &node) else { continue };
        let mut places = Vec::new();
        for (value, range) in ranges {
            let name = graph.value(value).name.clone();
            let rows = |tensor: &Tensor| {
                let width: usize = tensor.shape().iter().skip(1).product();
                let mut shape = tensor.shape().to_vec();
                shape[0] = range.len();
                Tensor::new(
                    &shape,
                    tensor.data::<f32>()?.get(range.start * width..range.end * width).unwrap_or(&[]),
                )
            };
            let (part, own) = (rows(&weight)?, bias.as_ref().map(rows).transpose()?);
            let part = graph.constant(&format!("{name}.weight"), part);
            let own = own.map(|bias| graph.constant(&format!("{name}.bias"), bias));
            let inputs = [Some(x), Some(part), own];
            let n = if own.is_some() { 3 } else { 2 };
            let y = graph.emit1(&name, op.clone(), &inputs[..n])?;
            places.push((value, y));
        }
        if places.iter().all(|(old, new)| graph.fits(*old, *new)) {
            made += places.len();
            for (old, new) in places {
                graph.replace(old, new)?;
            }
        }
    }
    Ok(made)
}

/// A product with constants, and the ranges of its columns that are wanted.
struct Ranges {
    x: ValueId,
    weight: Tensor,
    bias: Option<Tensor>,
    op: MatMul,
    ranges: Vec<(ValueId, Range<usize>)>,
}

fn ranges_of(graph: &Graph, node: &Node) -> Option<Ranges> {
    let Op::MatMul(op @ MatMul { swiglu: false, .. }) = &node.op else { return None };
    let (x, weight, y) = (node.input(0)?, constant(graph, node.input(1)?)?, *node.outputs.first()?);
    let is_plain = node.input(3).is_none() && !graph.is_output(y) && weight.dtype() == DType::F32;
    let (&[n, _], true) = (weight.shape(), is_plain) else { return None };
    let bias = match node.input(2) {
        Some(bias) => Some(constant(graph, bias)?),
        None => None,
    };
    let users = graph.consumers(y);
    let rank = rank(graph, y)?;
    let mut ranges = Vec::new();
    for user in users {
        let user = graph.node(*user);
        let given = |i: usize| ints(graph, user.input(i)?);
        (user.input(0) == Some(y)).then_some(())?;
        match &user.op {
            Op::Slice(_) => {
                let (&[start], &[end], &[axis]) = (&given(1)?[..], &given(2)?[..], &given(3)?[..]) else {
                    return None;
                };
                let by_one = user.input(4).is_none() || given(4)? == [1];
                (by_one && axis_of(axis, rank).ok()? + 1 == rank).then_some(())?;
                let at = |at: i64| {
                    let n = n as i64;
                    (if at < 0 { at.saturating_add(n) } else { at }).clamp(0, n) as usize
                };
                (at(start) < at(end)).then(|| ranges.push((user.outputs[0], at(start)..at(end))))?;
            }
            Op::Split(Split { axis, parts }) => {
                (axis_of(*axis, rank).ok()? + 1 == rank).then_some(())?;
                let widths: Vec<usize> = match user.input(1) {
                    Some(_) => given(1)?.iter().map(|n| usize::try_from(*n).ok()).collect::<Option<_>>()?,
                    None => {
                        let width = n.div_ceil((*parts).max(1));
                        (0..*parts).map(|i| n.saturating_sub(i * width).min(width)).collect()
                    }
                };
                let sum = widths.iter().try_fold(0usize, |sum, width| sum.checked_add(*width))?;
                (sum == n && widths.len() == user.outputs.len() && !widths.contains(&0)).then_some(())?;
                let mut start = 0;
                for (value, width) in user.outputs.iter().zip(widths) {
                    if graph.is_output(*value) || !graph.consumers(*value).is_empty() {
                        ranges.push((*value, start..start + width));
                    }
                    start += width;
                }
            }
            _ => return None,
        }
    }
    // Nothing is computed twice.
    let total: usize = ranges.iter().map(|(_, range)| range.len()).sum();
    let bias_fits = bias.is_none_or(|bias| bias.shape() == [n] && bias.dtype() == DType::F32);
    (total <= n && !ranges.is_empty() && bias_fits).then(|| Ranges {
        x,
        weight: weight.clone(),
        bias: bias.cloned(),
        op: op.clone(),
        ranges,
    })
}
