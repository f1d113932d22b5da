//! What rewrites do to a graph: put one value in the place of another, and drop what nothing needs any more. Who uses a
//! value is kept as nodes come and go, so that a pass costs what it changes.

use super::{Graph, Node, NodeId, Source, ValueId};
use crate::error::{Result, ensure};
use crate::tensor::Tensor;
use crate::types::{DType, TensorType};
use std::sync::Arc;

impl Graph {
    /// The nodes that use a value, each as often as it does.
    pub fn consumers(&self, value: ValueId) -> &[NodeId] {
        &self.users[value.0 as usize]
    }

    /// Whether a value is an output of the graph.
    pub fn is_output(&self, value: ValueId) -> bool {
        self.outputs.iter().any(|(_, id)| *id == value)
    }

    /// Whether one node uses a value, once, and no output is it.
    pub fn used_once(&self, value: ValueId) -> bool {
        self.consumers(value).len() == 1 && !self.is_output(value)
    }

    /// Whether nothing needs a node since a rewrite took its place.
    pub fn is_dead(&self, node: NodeId) -> bool {
        self.dead[node.0 as usize]
    }

    /// Whether `new` can take the place of `old`: their types are the same, or can be as far as they are known.
    pub fn fits(&self, old: ValueId, new: ValueId) -> bool {
        let (from, to) = (self.value(old), self.value(new));
        match (&from.ty, &to.ty) {
            (None, _) => true,
            (Some(_), None) => from.is_hint,
            (Some(from_ty), Some(to_ty)) if from.is_hint || to.is_hint => agree(from_ty, to_ty),
            (Some(from_ty), Some(to_ty)) => from_ty == to_ty,
        }
    }

    /// Makes every consumer of `old`, and every output that is `old`, use `new`, which must have the same type. The
    /// node of `old` is dead then, if it has no other output that is used, and so are those that only it used.
    pub fn replace(&mut self, old: ValueId, new: ValueId) -> Result<()> {
        let (from, to) = (self.value(old), self.value(new));
        ensure!(
            self.fits(old, new),
            InvalidGraph,
            "a rewrite would replace '{}' of type {} by '{}' of type {}",
            from.name,
            self.type_name(old),
            to.name,
            self.type_name(new)
        );
        if old == new {
            return Ok(());
        }
        if to.is_hint && from.ty.is_some() {
            // Both are right; of what is open, the one that is there already has the names that others have.
            let (ty, ints) = (from.ty.clone(), from.ints.clone());
            let value = &mut self.values[new.0 as usize];
            (value.ty, value.ints) = (ty, ints);
            self.users[new.0 as usize].iter().for_each(|user| self.stale[user.0 as usize] = true);
        }
        let users = std::mem::take(&mut self.users[old.0 as usize]);
        for &user in &users {
            self.stale[user.0 as usize] = true;
            for input in self.nodes[user.0 as usize].inputs.iter_mut().flatten() {
                if *input == old {
                    *input = new;
                }
            }
        }
        self.users[new.0 as usize].extend(users);
        for (_, output) in &mut self.outputs {
            if *output == old {
                *output = new;
            }
        }
        self.bury(old);
        Ok(())
    }

    /// Marks the node of a value dead when none of its outputs is used, and the nodes that only it used.
    fn bury(&mut self, value: ValueId) {
        let mut unused = vec![value];
        while let Some(value) = unused.pop() {
            let Source::Node(id, _) = self.value(value).source else { continue };
            let index = id.0 as usize;
            let needed = |id: &ValueId| !self.users[id.0 as usize].is_empty() || self.is_output(*id);
            if self.dead[index] || self.nodes[index].outputs.iter().any(needed) {
                continue;
            }
            self.dead[index] = true;
            for input in self.nodes[index].inputs.clone().into_iter().flatten() {
                let users = &mut self.users[input.0 as usize];
                if let Some(at) = users.iter().position(|user| *user == id) {
                    users.swap_remove(at);
                }
                if users.is_empty() {
                    unused.push(input);
                }
            }
        }
    }

    /// Infers what is known of a node's outputs anew where that of its inputs has changed.
    pub fn renew_hints(&mut self, node: NodeId) {
        if !std::mem::take(&mut self.stale[node.0 as usize]) {
            return;
        }
        let Node { op, inputs, outputs, .. } = self.node(node).clone();
        if outputs.iter().all(|id| self.value(*id).is_hint) {
            let hints = self.hints_of(&op, &inputs);
            outputs.into_iter().zip(hints).for_each(|(id, hint)| self.set_hint(id, hint));
        }
    }

    /// Frees the elements of constants that something else `has`: [`Value::elements`](super::Value::elements) knows.
    pub fn release_constants(&mut self, has: impl Fn(ValueId) -> bool) -> Result<()> {
        let nothing = Arc::new(Tensor::zeros(DType::U8, &[0])?);
        for (id, value) in (0..).map(ValueId).zip(&mut self.values) {
            if let Source::Const(tensor) = &mut value.source
                && has(id)
            {
                *tensor = nothing.clone();
            }
        }
        Ok(())
    }

    /// Drops nodes that no output needs, puts the others in order, and frees constants that nothing uses. Values
    /// keep their indices.
    pub fn drop_dead_nodes(&mut self) -> Result<()> {
        let live = self.topological_order(&self.outputs.iter().map(|(_, id)| *id).collect::<Vec<_>>())?;
        let mut renumbered = vec![None; self.nodes.len()];
        let mut old: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        let stale = std::mem::take(&mut self.stale);
        self.users.iter_mut().for_each(Vec::clear);
        for id in live {
            let Some(node) = old[id.0 as usize].take() else { continue };
            let new = NodeId(self.nodes.len() as u32);
            renumbered[id.0 as usize] = Some(new);
            node.inputs.iter().flatten().for_each(|input| self.users[input.0 as usize].push(new));
            self.nodes.push(node);
            self.stale.push(stale[id.0 as usize]);
        }
        self.dead = vec![false; self.nodes.len()];
        let nothing = Arc::new(Tensor::zeros(DType::U8, &[0])?);
        let mut shown = vec![false; self.values.len()];
        self.outputs.iter().for_each(|(_, id)| shown[id.0 as usize] = true);
        for (value, (users, shown)) in self.values.iter_mut().zip(self.users.iter().zip(shown)) {
            match &mut value.source {
                // A value of a dropped node has no user; it keeps a node index that nothing reads.
                Source::Node(id, _) => {
                    *id = renumbered.get(id.0 as usize).copied().flatten().unwrap_or(NodeId(u32::MAX));
                }
                Source::Const(tensor) if users.is_empty() && !shown => *tensor = nothing.clone(),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether two types can be those of one value: where both have a number, it is the same.
pub(super) fn agree(a: &TensorType, b: &TensorType) -> bool {
    let dims = a.shape.0.iter().zip(&b.shape.0);
    let same = |(a, b): (&crate::types::Dim, &crate::types::Dim)| match (a.known(), b.known()) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    a.dtype == b.dtype && a.shape.rank() == b.shape.rank() && dims.into_iter().all(same)
}
