//! Queries, keys and values that are three products of the same activations become one product.

use super::{plain_product, stack};
use crate::error::Result;
use crate::graph::{Graph, NodeId};
use crate::ops::Op;
use crate::ops::matmul::MatMul;
use crate::ops::rope_cache::input::{K, Q, V};

/// Rewrites every `RopeCache` that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let found: Vec<NodeId> =
        graph.nodes().filter(|(_, node)| matches!(node.op, Op::RopeCache(_))).map(|(id, _)| id).collect();
    let mut made = 0;
    for id in found {
        let node = graph.node(id).clone();
        let (Some(q), Some(k), Some(v)) = (node.input(Q), node.input(K), node.input(V)) else { continue };
        let products: Option<Vec<_>> =
            [q, k, v].iter().map(|&value| plain_product(graph, value).map(|(_, product)| product)).collect();
        let Some(products) = products else { continue };
        let name = format!("{}.qkv", node.name);
        let Some((x, weight, bias)) = stack(graph, &name, &products) else { continue };
        let fused = graph.apply(&name, MatMul::default(), &[Some(x), Some(weight), bias, None])?;
        let mut inputs = node.inputs.clone();
        (inputs[Q], inputs[K], inputs[V]) = (fused.first().copied(), None, None);
        let outputs = graph.apply(&node.name, node.op.clone(), &inputs)?;
        for (&old, new) in node.outputs.iter().zip(outputs) {
            graph.replace(old, new)?;
        }
        made += 1;
    }
    Ok(made)
}
