//! Nodes that no output needs go.

use crate::error::Result;
use crate::graph::Graph;

/// Drops them all.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let before = graph.nodes().count();
    graph.drop_dead_nodes()?;
    Ok(before - graph.nodes().count())
}
