//! What is computed twice of the same inputs is computed once; so are small constants.

use super::matching::constant;
use crate::error::Result;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Op;
use std::collections::HashMap;

/// Bytes of a constant up to which others like it are looked for. What has none may be texts.
const MAX_BYTES: usize = 1 << 10;

/// Replaces every value that an earlier one equals.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let mut seen: HashMap<String, Vec<ValueId>> = HashMap::new();
    let mut constants: HashMap<(String, Vec<u8>), ValueId> = HashMap::new();
    let mut made = 0;
    for id in (0..graph.nodes().count() as u32).map(NodeId) {
        for input in graph.node(id).inputs.clone().into_iter().flatten() {
            let small =
                constant(graph, input).filter(|tensor| (1..=MAX_BYTES).contains(&tensor.bytes().len()));
            let Some(tensor) = small else { continue };
            let key = (format!("{:?}", tensor.ty()), tensor.bytes().to_vec());
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
        let key = format!("{:?}{:?}", node.op, node.inputs);
        match seen.get(&key) {
            None => {
                seen.insert(key, node.outputs.clone());
            }
            Some(first) if first.len() == node.outputs.len() => {
                let pairs: Vec<_> = node.outputs.iter().copied().zip(first.iter().copied()).collect();
                for (again, first) in pairs {
                    if graph.fits(again, first) {
                        graph.replace(again, first)?;
                    }
                }
                made += 1;
            }
            Some(_) => {}
        }
    }
    Ok(made)
}

/// Whether an operator gives the same of the same each time, and its attributes are few.
fn repeats(op: &Op) -> bool {
    op.def().updates_state().is_empty() && !op.def().varies()
}
