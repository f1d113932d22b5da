//! `silu(Wgate · x) · (Wup · x)` becomes one product with both weights and SwiGLU after it.

use super::{plain_product, stack};
use crate::error::Result;
use crate::graph::{Graph, NodeId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::matmul::MatMul;
use crate::ops::unary::{Unary, UnaryFunction};

/// Rewrites every gated product that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let multiplies = |op: &Op| matches!(op, Op::Binary(Binary { function: BinaryFunction::Mul }));
    let found: Vec<NodeId> =
        graph.nodes().filter(|(_, node)| multiplies(&node.op)).map(|(id, _)| id).collect();
    let mut made = 0;
    for id in found {
        let node = graph.node(id).clone();
        let [Some(a), Some(b)] = node.inputs[..] else { continue };
        // The gate may be either operand.
        let gated = [(a, b), (b, a)].into_iter().find_map(|(gate, up)| {
            let (_, silu) = graph.producer(gate)?;
            let is_silu = matches!(silu.op, Op::Unary(Unary { function: UnaryFunction::Silu }));
            let gate_used_once = graph.consumers(gate).len() == 1;
            let (_, gate) = plain_product(graph, silu.input(0).filter(|_| is_silu && gate_used_once)?)?;
            let (_, up) = plain_product(graph, up)?;
            // Halves must be equal for the gate to meet its value.
            (graph.ty(gate.weight).ok()?.shape == graph.ty(up.weight).ok()?.shape).then_some([gate, up])
        });
        let Some(products) = gated else { continue };
        let name = format!("{}.gate_up", node.name);
        let Some((x, weight, bias)) = stack(graph, &name, &products) else { continue };
        let fused = graph.apply(
            &name,
            MatMul { swiglu: true, activation: None },
            &[Some(x), Some(weight), bias, None],
        )?;
        graph.replace(node.outputs[0], fused[0])?;
        made += 1;
    }
    Ok(made)
}
