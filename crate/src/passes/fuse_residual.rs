//! A product that is only added to something adds it itself.

use super::plain_product;
use crate::error::Result;
use crate::graph::{Graph, NodeId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::matmul::MatMul;

/// Rewrites every sum that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let adds = |op: &Op| matches!(op, Op::Binary(Binary { function: BinaryFunction::Add }));
    let found: Vec<NodeId> = graph.nodes().filter(|(_, node)| adds(&node.op)).map(|(id, _)| id).collect();
    let mut made = 0;
    for id in found {
        let node = graph.node(id).clone();
        let [Some(a), Some(b)] = node.inputs[..] else { continue };
        let ty = |value| &graph.value(value).ty;
        let product = [(a, b), (b, a)].into_iter().find_map(|(product, residual)| {
            let (_, found) = plain_product(graph, product)?;
            (ty(product).is_some() && ty(product) == ty(residual)).then_some((found, residual))
        });
        let Some((product, residual)) = product else { continue };
        let inputs = [Some(product.x), Some(product.weight), product.bias, Some(residual)];
        let fused = graph.apply(&node.name, MatMul::default(), &inputs)?;
        graph.replace(node.outputs[0], fused[0])?;
        made += 1;
    }
    Ok(made)
}
