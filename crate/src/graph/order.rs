//! The order in which nodes can run.

use super::{Graph, NodeId, Source, ValueId};
use crate::error::{Error, ErrorKind, Result};

impl Graph {
    /// The nodes that `outputs` need, each after those whose outputs it uses. A node that updates a state
    /// comes before those that read the updated value.
    pub fn topological_order(&self, outputs: &[ValueId]) -> Result<Vec<NodeId>> {
        self.order_after(outputs, |_| false)
    }

    /// The same, without the nodes that only values that `has` already need.
    pub fn order_after(&self, outputs: &[ValueId], has: impl Fn(ValueId) -> bool) -> Result<Vec<NodeId>> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.nodes.len()];
        let mut order = Vec::new();
        let producer = |value: ValueId| match self.value(value).source {
            Source::Node(id, _) if !has(value) => Some(id),
            _ => None,
        };
        // A stack of (node, whether its inputs have been pushed), so that depth never meets the call stack.
        let mut stack: Vec<(NodeId, bool)> =
            outputs.iter().rev().filter_map(|&v| producer(v)).map(|n| (n, false)).collect();
        while let Some((id, ready)) = stack.pop() {
            let mark = &mut marks[id.0 as usize];
            if ready {
                *mark = Mark::Done;
                order.push(id);
                continue;
            }
            match *mark {
                Mark::Done => continue,
                Mark::Open => {
                    let name = self.node(id).name.to_string();
                    return Err(Error::new(ErrorKind::InvalidGraph, "the graph has a cycle").at(name));
                }
                Mark::New => *mark = Mark::Open,
            }
            stack.push((id, true));
            for input in self.node(id).inputs.iter().rev().flatten() {
                if let Some(node) = producer(*input)
                    && marks[node.0 as usize] != Mark::Done
                {
                    stack.push((node, false));
                }
            }
        }
        Ok(order)
    }
}
