//! A product of one-hot rows with a constant matrix takes rows of it, and one of zeros where an index has none: as exporters
//! spell an embedding. What the product does after that, to columns or to each element, it does to the table.

use super::matching::{constant, each, ints, rank};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::matmul::MatMul;
use crate::ops::one_hot::OneHot;
use crate::ops::reshape::Reshape;
use crate::ops::take::Take;
use crate::tensor::Tensor;
use crate::types::{DType, Dim};

/// Rewrites every product that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| match &node.op {
        Op::MatMul(MatMul { swiglu: false, .. }) => lookup(graph, node),
        _ => Ok(None),
    })
}

/// Rows that are one but for zeros.
struct Rows {
    /// Where the ones are.
    indices: ValueId,
    /// Whether the indices have a last dimension of 1, in the place of the one-hot dimension.
    wide: bool,
    /// Whether indices below zero count from the end.
    wraps: bool,
}

fn lookup(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = node.input(0).and_then(|x| one_hot(graph, x)).zip(table(graph, node));
    let Some((Rows { indices, wide, wraps }, (mut rows, n, columns))) = found else { return Ok(None) };
    // One behind the last is the row of zeros. An index that is one too low reaches it from the end.
    let all = n * columns;
    let lowest = if wraps {
        rows.extend_from_within(..all);
        -(n as i64) - 1
    } else {
        -1
    };
    let table = Tensor::new(&[rows.len() / columns, columns], &rows)?;
    let table = graph.constant(&format!("{}.table", node.name), table);
    let mut at = indices;
    for (what, function, limit) in
        [("from", BinaryFunction::Max, lowest), ("to", BinaryFunction::Min, n as i64)]
    {
        let name = format!("{}.{what}", node.name);
        let limit = match graph.ty(indices)?.dtype {
            DType::I32 => Tensor::new(&[], &[limit as i32])?,
            _ => Tensor::new(&[], &[limit])?,
        };
        let limit = graph.constant(&format!("{name}.limit"), limit);
        at = graph.emit1(&name, Binary { function }, &[Some(at), Some(limit)])?;
    }
    if wide {
        let axis = graph.constant(&format!("{}.axis", node.name), Tensor::new(&[1], &[-1i64])?);
        at = graph.emit1(&format!("{}.indices", node.name), Reshape::Squeeze, &[Some(at), Some(axis)])?;
    }
    graph.emit1(&node.name, Take { axis: 0 }, &[Some(table), Some(at)]).map(Some)
}

/// What the product makes of each row and of one without a one; how many rows, and how many columns.
fn table(graph: &Graph, node: &Node) -> Option<(Vec<f32>, usize, usize)> {
    let Op::MatMul(MatMul { activation, .. }) = node.op else { return None };
    let weight = constant(graph, node.input(1)?)?;
    let (&[columns, n], weight) = (weight.shape(), weight.data::<f32>().ok()?) else { return None };
    let finite = weight.iter().all(|x| x.is_finite());
    (finite && columns > 0 && i32::try_from(n).is_ok_and(|n| n < i32::MAX) && node.input(3).is_none())
        .then_some(())?;
    let bias = match node.input(2) {
        Some(bias) => constant(graph, bias)?.data::<f32>().ok()?.to_vec(),
        None => vec![0.0; columns],
    };
    let element = |row: usize, column: usize| match row {
        row if row < n => weight[column * n + row] + bias[column],
        _ => bias[column],
    };
    let rows = (0..=n).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let mut rows: Vec<f32> = rows.map(|(row, column)| element(row, column)).collect();
    if let Some(activation) = activation {
        activation.apply_all(&mut rows);
    }
    Some((rows, n, columns))
}

/// One-hot rows of f32 along the last dimension, of indices that are integers.
fn one_hot(graph: &Graph, x: ValueId) -> Option<Rows> {
    let (_, node) = graph.producer(x)?;
    match &node.op {
        Op::Cast(Cast { to: Some(DType::F32), .. }) => one_hot(graph, node.input(0)?),
        Op::Binary(Binary { function: BinaryFunction::Equal }) => {
            let sides = [(node.input(0)?, node.input(1)?), (node.input(1)?, node.input(0)?)];
            sides.into_iter().find_map(|(indices, places)| {
                let counts = ints(graph, places)?.iter().copied().eq(0..last_of(graph, places)?);
                let beside = rank(graph, places)? <= rank(graph, indices)?;
                let wide = graph.ty(indices).ok()?.shape.0.last() == Some(&Dim::Known(1));
                (counts && beside && wide).then_some(Rows { indices, wide, wraps: false })
            })
        }
        Op::OneHot(OneHot { axis }) => {
            let indices = node.input(0)?;
            let last = *axis == -1 || Some(*axis) == i64::try_from(rank(graph, indices)?).ok();
            let values = constant(graph, node.input(2)?)?.view().to_floats().ok()?;
            let whole = matches!(graph.ty(indices).ok()?.dtype, DType::I32 | DType::I64);
            (last && whole && values == [0.0, 1.0]).then_some(Rows { indices, wide: false, wraps: true })
        }
        _ => None,
    }
}

/// The size of the last dimension, where all others are 1.
fn last_of(graph: &Graph, value: ValueId) -> Option<i64> {
    let (last, others) = constant(graph, value)?.shape().split_last()?;
    others.iter().all(|n| *n == 1).then(|| i64::try_from(*last).ok())?
}
