//! The order of nodes: each after those whose outputs it uses. Depth first, without recursion, so that the depth of a
//! graph never meets the call stack.

use super::{Graph, Node, NodeId, Source, ValueId};
use crate::error::{Error, ErrorKind, Result};

/// What a walk over a graph asks, and tells.
pub trait Visit {
    /// Whether a value is there without the node that computes it.
    fn has(&self, _value: ValueId) -> bool {
        false
    }

    /// Names those of a node's inputs that must be there before it is visited. It is asked again once they are, and may
    /// name more, but none less.
    fn needs(&self, node: &Node, name: &mut dyn FnMut(ValueId)) {
        node.inputs.iter().flatten().copied().for_each(name);
    }

    /// Takes a node whose needs are there.
    fn visit(&mut self, _id: NodeId, _node: &Node) -> Result<()> {
        Ok(())
    }
}

/// Visits nothing.
struct Order;

impl Visit for Order {}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

impl Graph {
    /// The nodes that `outputs` need, each after those whose outputs it uses. A node that updates a state
    /// comes before those that read the updated value.
    pub fn topological_order(&self, outputs: &[ValueId]) -> Result<Vec<NodeId>> {
        self.walk(outputs, &mut Order)
    }

    /// Visits the nodes that `outputs` need, in an order that is given back. Fails when the graph has a cycle, and as
    /// a visit does, naming the node.
    pub fn walk(&self, outputs: &[ValueId], visitor: &mut dyn Visit) -> Result<Vec<NodeId>> {
        let mut marks = vec![Mark::New; self.nodes.len()];
        let mut order = Vec::new();
        let producer = |value: ValueId, visitor: &dyn Visit| match self.value(value).source {
            Source::Node(id, _) if !visitor.has(value) => Some(id),
            _ => None,
        };
        // A stack of (node, whether it has been opened).
        let mut stack: Vec<(NodeId, bool)> =
            outputs.iter().rev().filter_map(|&v| producer(v, visitor)).map(|n| (n, false)).collect();
        while let Some((id, opened)) = stack.pop() {
            let node = self.node(id);
            match marks[id.0 as usize] {
                Mark::Done => continue,
                Mark::Open if !opened => {
                    let error = Error::new(ErrorKind::InvalidGraph, "the graph has a cycle");
                    return Err(error.at(&*node.name));
                }
                _ => marks[id.0 as usize] = Mark::Open,
            }
            let height = stack.len();
            stack.push((id, true));
            visitor.needs(node, &mut |input| {
                if let Some(needed) = producer(input, visitor)
                    && marks[needed.0 as usize] != Mark::Done
                {
                    stack.push((needed, false));
                }
            });
            stack[height + 1..].reverse();
            if stack.len() == height + 1 {
                stack.pop();
                visitor.visit(id, node).map_err(|e| e.at(&*node.name))?;
                marks[id.0 as usize] = Mark::Done;
                order.push(id);
            }
        }
        Ok(order)
    }
}
