//! A node whose inputs are all known is computed once, now.

use crate::error::Result;
use crate::graph::{Graph, Node, NodeId, Source};
use crate::kernels::threads::Threads;
use crate::ops::{CpuContext, Input};
use crate::tensor::Tensor;

/// Bytes that a result may have: a larger one is better computed from what is small.
const MAX_BYTES: usize = 1 << 20;

/// Replaces every node that it can, also those that become computable by it.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let wanted: Vec<_> = graph.outputs().iter().map(|(_, id)| *id).collect();
    let mut made = 0;
    for id in graph.topological_order(&wanted)? {
        let Some(results) = fold(graph, id)? else { continue };
        let node = graph.node(id).clone();
        for (output, result) in node.outputs.into_iter().zip(results) {
            let constant = graph.constant(&node.name, result);
            graph.replace(output, constant)?;
        }
        made += 1;
    }
    Ok(made)
}

/// The outputs of a node, where its inputs are constants and its operator takes them as they are.
fn fold(graph: &Graph, id: NodeId) -> Result<Option<Vec<Tensor>>> {
    let Node { name, op, inputs, outputs } = graph.node(id);
    let def = op.def();
    let mut known = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        known.push(match input.map(|id| &graph.value(id).source) {
            None => Input::Absent,
            Some(Source::Const(tensor)) if !def.packs(i) => Input::Tensor(tensor.view()),
            Some(_) => return Ok(None),
        });
    }
    let mut results = Vec::new();
    for &output in outputs {
        let ty = &graph.value(output).ty;
        match ty.shape.to_known() {
            Some(shape) if ty.n_bytes()? <= MAX_BYTES => results.push(Tensor::zeros(ty.dtype, &shape)?),
            _ => return Ok(None),
        }
    }
    if inputs.is_empty() || !def.updates_state().is_empty() {
        return Ok(None);
    }
    let threads = Threads::single();
    let cx = CpuContext { threads: &threads, exact: true };
    let mut views: Vec<_> = results.iter_mut().map(Tensor::view_mut).collect();
    def.eval_cpu(&cx, &known, &mut views).map_err(|e| e.at(&**name))?;
    Ok(Some(results))
}
