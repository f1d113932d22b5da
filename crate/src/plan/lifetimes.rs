//! When values die, and which values are states under another name.

use crate::graph::{Graph, Node, NodeId, Source, ValueId};
use std::collections::HashMap;

/// Values that are the elements of another in another shape, or another that was chosen.
pub struct Views(HashMap<ValueId, ValueId>);

impl Views {
    /// The views among what `order` computes, `chosen` ones included. A view of a state is none: the state may change
    /// under it.
    pub fn new(
        graph: &Graph,
        order: &[NodeId],
        states: &HashMap<ValueId, ValueId>,
        chosen: &HashMap<ValueId, ValueId>,
    ) -> Self {
        let mut views = Self(HashMap::new());
        for node in order.iter().map(|id| graph.node(*id)) {
            let Some(&to) = node.outputs.first() else { continue };
            let from = match chosen.get(&to) {
                Some(from) => *from,
                None if node.op.def().is_view() => match node.inputs.first() {
                    Some(&Some(from)) => from,
                    _ => continue,
                },
                None => continue,
            };
            let root = views.root(from);
            if !states.contains_key(&root) && !matches!(graph.value(root).source, Source::State) {
                views.0.insert(to, root);
            }
        }
        views
    }

    /// The value whose elements these are.
    pub fn root(&self, id: ValueId) -> ValueId {
        self.0.get(&id).copied().unwrap_or(id)
    }

    /// Whether a node only gives its input another shape.
    pub fn is_view(&self, node: &Node) -> bool {
        node.outputs.first().is_some_and(|id| self.0.contains_key(id))
    }
}

/// For each value that a node of `order` computes or uses: the position of the last step that needs it, or a
/// view of it. Outputs of the run live for ever.
pub fn last_use(
    graph: &Graph,
    order: &[NodeId],
    outputs: &[ValueId],
    views: &Views,
) -> HashMap<ValueId, usize> {
    let mut last = HashMap::new();
    for (position, &id) in order.iter().enumerate() {
        let node = graph.node(id);
        for &value in node.inputs.iter().flatten().chain(&node.outputs) {
            last.insert(views.root(value), position);
        }
    }
    for &value in outputs {
        last.insert(views.root(value), usize::MAX);
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
