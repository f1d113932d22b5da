//! A graph as text, one node a line: for messages, tests and people.

use super::Graph;
use std::fmt;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (_, node) in self.nodes() {
            let names = |ids: &mut dyn Iterator<Item = Option<super::ValueId>>| {
                ids.map(|id| id.map_or("-".into(), |id| self.value(id).name.to_string()))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let inputs = names(&mut node.inputs.iter().copied());
            let types: Vec<_> = node.outputs.iter().map(|id| self.type_name(*id)).collect();
            writeln!(f, "{} = {}({inputs}): {}", node.name, node.op.name(), types.join(", "))?;
        }
        Ok(())
    }
}
