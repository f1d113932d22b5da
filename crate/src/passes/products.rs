//! A product reads its operands transposed, and multiplies by a number, itself.

use super::matching::{each, rank, scalar_beside, sole, with_scalar};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Op;
use crate::ops::binary::BinaryFunction::{Div, Mul};
use crate::ops::product::Product;
use crate::ops::transpose::Transpose;

/// Rewrites every product that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| {
        let found = match &node.op {
            Op::Product(product) => operands(graph, node, product),
            Op::Binary(_) => scaled(graph, node),
            _ => None,
        };
        match found {
            Some((op, inputs)) => graph.emit1(&node.name, op, &inputs).map(Some),
            None => Ok(None),
        }
    })
}

fn operands(graph: &Graph, node: &Node, product: &Product) -> Option<(Product, Vec<Option<ValueId>>)> {
    let (mut op, mut inputs, mut made) = (product.clone(), node.inputs.clone(), false);
    for (side, input) in inputs.iter_mut().enumerate().take(2) {
        let value = (*input)?;
        let rank = rank(graph, value)?;
        let last_two = |order: &[usize]| {
            rank > 1
                && order.len() == rank
                && order[rank - 2..] == [rank - 1, rank - 2]
                && order[..rank - 2].iter().enumerate().all(|(i, from)| i == *from)
        };
        if let Some((_, Node { op: Op::Transpose(Transpose { order }), inputs, .. })) = graph.producer(value)
            && order.as_ref().map_or(rank == 2, |order| last_two(order))
        {
            op.transposed[side] = !op.transposed[side];
            *input = inputs.first().copied().flatten();
            made = true;
        }
    }
    made.then_some((op, inputs))
}

fn scaled(graph: &Graph, node: &Node) -> Option<(Product, Vec<Option<ValueId>>)> {
    let (y, factor) = match with_scalar(graph, node, Mul) {
        Some(found) => found,
        None => {
            let (function, y, by) = super::matching::binary_of(node)?;
            (function == Div).then_some((y, 1.0 / scalar_beside(graph, y, by)?))?
        }
    };
    let Node { op: Op::Product(op), inputs, .. } = sole(graph, y)? else { return None };
    // Integers have no factor.
    super::matching::dims(graph, y)?;
    Some((Product { scale: op.scale * factor, ..op.clone() }, inputs.clone()))
}
