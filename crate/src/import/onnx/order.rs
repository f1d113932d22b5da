//! The order in which nodes of a file are imported. ONNX wants each after those whose outputs it uses; files that tools have
//! rewritten do not always keep to it (casts of inputs put at the end of a model made f16), and runtimes take them.

use crate::formats::onnx::{AttributeValue, Graph, Node};
use std::collections::HashMap;

/// Indices of nodes, each after those of the list that compute what it uses, also within its graphs. Nodes that are in
/// order stay as they are; of those in a cycle one comes before what it needs.
pub(super) fn order(nodes: &[Node]) -> Vec<usize> {
    let mut producers = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for output in node.outputs.iter().filter(|name| !name.is_empty()) {
            producers.entry(*output).or_insert(index);
        }
    }
    let mut seen = vec![false; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    // Nodes that are begun, each with those that it still waits for.
    let mut begun: Vec<(usize, Vec<usize>)> = Vec::new();
    let wanted = |index: usize| {
        let mut wanted = Vec::new();
        names(&nodes[index], &mut |name| wanted.extend(producers.get(name).copied()));
        wanted.reverse();
        wanted
    };
    for first in 0..nodes.len() {
        if !std::mem::replace(&mut seen[first], true) {
            begun.push((first, wanted(first)));
        }
        while let Some((index, waits)) = begun.last_mut() {
            match waits.pop() {
                Some(next) if std::mem::replace(&mut seen[next], true) => {}
                Some(next) => begun.push((next, wanted(next))),
                None => {
                    order.push(*index);
                    begun.pop();
                }
            }
        }
    }
    order
}

/// Calls `each` with every name that a node may use: its inputs, and whatever its graphs name.
fn names<'a>(node: &Node<'a>, each: &mut dyn FnMut(&'a str)) {
    node.inputs.iter().for_each(|name| each(name));
    for attribute in &node.attributes {
        match &attribute.value {
            AttributeValue::Graph(graph) => names_within(graph, each),
            AttributeValue::Graphs(graphs) => graphs.iter().for_each(|graph| names_within(graph, each)),
            _ => {}
        }
    }
}

fn names_within<'a>(graph: &Graph<'a>, each: &mut dyn FnMut(&'a str)) {
    graph.nodes.iter().for_each(|node| names(node, each));
    graph.outputs.iter().for_each(|output| each(output.name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::onnx::{Attribute, ValueInfo};

    fn node<'a>(inputs: &[&'a str], outputs: &[&'a str]) -> Node<'a> {
        Node { inputs: inputs.to_vec(), outputs: outputs.to_vec(), ..Node::default() }
    }

    #[test]
    fn nodes_come_after_what_they_use() {
        let sorted = [node(&["x"], &["a"]), node(&["a", ""], &["b", ""]), node(&["a", "b"], &["c"])];
        assert_eq!(order(&sorted), [0, 1, 2]);
        let late = [node(&["b"], &["c"]), node(&["a"], &["b"]), node(&["c"], &["d"]), node(&["x"], &["a"])];
        assert_eq!(order(&late), [3, 1, 0, 2]);
    }

    #[test]
    fn what_a_graph_within_uses_comes_first() {
        let inner = Graph {
            nodes: vec![node(&["a"], &["inner"])],
            outputs: vec![ValueInfo { name: "b", ty: None }],
            ..Graph::default()
        };
        let mut outer = node(&["x"], &["y"]);
        outer.attributes.push(Attribute {
            name: "body",
            value: AttributeValue::Graph(Box::new(inner)),
            ref_attr_name: "",
        });
        assert_eq!(order(&[outer, node(&["x"], &["b"]), node(&["x"], &["a"])]), [2, 1, 0]);
    }

    #[test]
    fn a_cycle_ends() {
        let cycle = [node(&["b"], &["a"]), node(&["a"], &["b"]), node(&["c"], &["c"])];
        assert_eq!(order(&cycle).len(), 3);
    }
}
