//! When values die, and which values are states under another name.

use crate::graph::{Graph, NodeId, Source, ValueId};
use std::collections::HashMap;

/// For each value that a node of `order` computes or uses: the position of the last step that needs it.
/// Outputs of the run live for ever.
pub fn last_use(graph: &Graph, order: &[NodeId], outputs: &[ValueId]) -> HashMap<ValueId, usize> {
    let mut last = HashMap::new();
    for (position, &id) in order.iter().enumerate() {
        let node = graph.node(id);
        for &value in node.inputs.iter().flatten().chain(&node.outputs) {
            last.insert(value, position);
        }
    }
    for &value in outputs {
        last.insert(value, usize::MAX);
    }
    last
}

/// The values that are a state after an update, each with the state it is.
pub fn states(graph: &Graph, order: &[NodeId]) -> HashMap<ValueId, ValueId> {
    let mut states: HashMap<ValueId, ValueId> = HashMap::new();
    for &id in order {
        let node = graph.node(id);
        for &(input, output) in node.op.def().updates_state() {
            let Some(Some(before)) = node.inputs.get(input) else { continue };
            let root = match graph.value(*before).source {
                Source::State => Some(*before),
                _ => states.get(before).copied(),
            };
            if let (Some(root), Some(after)) = (root, node.outputs.get(output)) {
                states.insert(*after, root);
            }
        }
    }
    states
}
