//! What is computed twice of the same inputs is computed once; so are small constants.

use super::matching::constant;
use crate::error::Result;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use crate::types::TensorType;
use std::collections::HashMap;

/// Bytes of a constant up to which others like it are looked for. What has none may be texts.
const MAX_BYTES: usize = 1 << 10;

/// Replaces every value that an earlier one equals.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let mut seen: HashMap<(&str, Vec<Option<ValueId>>), Vec<NodeId>> = HashMap::new();
    let mut constants: HashMap<(TensorType, Vec<u8>), ValueId> = HashMap::new();
    let mut made = 0;
    for id in (0..graph.nodes().count() as u32).map(NodeId) {
        for input in graph.node(id).inputs.clone().into_iter().flatten() {
            let small =
                constant(graph, input).filter(|tensor| (1..=MAX_BYTES).contains(&tensor.bytes().len()));
            let Some(tensor) = small else { continue };
            let key = (tensor.ty(), tensor.bytes().to_vec());
            let first = *constants.entry(key).or_insert(input);
            if first != input {
                graph.replace(input, first)?;
                made += 1;
            }
        }
        let node = graph.node(id);
        if graph.is_dead(id) || !repeats(&node.op) || node.inputs.iter().all(Option::is_none) {
            continue;
        }
        let like = seen.entry((node.op.name(), node.inputs.clone())).or_default();
        let same = |first: &&NodeId| {
            let first = graph.node(**first);
            first.op == node.op && first.outputs.len() == node.outputs.len()
        };
        let Some(&first) = like.iter().find(same) else {
            like.push(id);
            continue;
        };
        let firsts = graph.node(first).outputs.clone();
        for (again, first) in node.outputs.clone().into_iter().zip(firsts) {
            if graph.fits(again, first) {
                graph.replace(again, first)?;
            }
        }
        made += 1;
    }
    Ok(made)
}

/// Whether an operator gives the same of the same each time, and its attributes are few.
fn repeats(op: &Op) -> bool {
    op.def().updates_state().is_empty() && !op.def().varies()
}
