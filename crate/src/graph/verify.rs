//! The invariants of a graph, checked after every pass.

use super::Graph;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Known;

impl Graph {
    /// Fails unless every node's inputs exist and its outputs have the types that its operator infers.
    /// Types that only a plan knows are left out.
    pub fn verify(&self) -> Result<()> {
        let outputs: Vec<_> = self.outputs().iter().map(|(_, id)| *id).collect();
        for id in self.topological_order(&outputs)? {
            let node = self.node(id);
            let fault = |message: String| Error::new(ErrorKind::InvalidGraph, message).at(&*node.name);
            if let Some(missing) = node.inputs.iter().flatten().find(|v| v.0 as usize >= self.values.len()) {
                return Err(fault(format!("the node uses value {}, which does not exist", missing.0)));
            }
            let mut values = node.inputs.iter().flatten().chain(&node.outputs).map(|id| self.value(*id));
            if values.any(|value| value.ty.is_none() || value.is_hint) {
                continue;
            }
            let types: Vec<_> =
                node.inputs.iter().map(|id| id.and_then(|id| self.value(id).ty.as_ref())).collect();
            let inferred = node
                .op
                .def()
                .infer(&Known::types(&types))
                .map_err(|e| self.explain(e, &node.name, &node.op, &node.inputs))?;
            let stored: Vec<_> = node.outputs.iter().filter_map(|id| self.value(*id).ty.as_ref()).collect();
            if !inferred.iter().eq(stored.iter().copied()) {
                return Err(fault(format!(
                    "{} gives {inferred:?}, and the graph has {stored:?}",
                    node.op.name()
                )));
            }
        }
        Ok(())
    }
}
