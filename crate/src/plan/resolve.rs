//! What a plan finds out before it lays out memory: every type under the sizes at hand, what can be computed
//! already, and where it must stop because the elements of a value decide what follows.

use super::Given;
use crate::error::{Error, Result, ensure};
use crate::graph::{Graph, Node, NodeId, Source, ValueId};
use crate::ops::Known;
use crate::tensor::Tensor;
use crate::types::{Shape, TensorType};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Bytes that a result computed while planning may have: a larger one is better computed in a run.
const MAX_KNOWN_BYTES: usize = 1 << 20;

/// The outcome.
pub(super) struct Resolved {
    /// The nodes to run, in order.
    pub order: Vec<NodeId>,
    /// The types of all values that the nodes use or compute.
    pub types: HashMap<ValueId, TensorType>,
    /// Values whose elements are known.
    pub known: HashMap<ValueId, Arc<Tensor>>,
    /// Values whose elements must be known before the rest can be planned.
    pub pending: Vec<ValueId>,
    /// What this plan computes for its caller: the outputs, or what the rest needs.
    pub wanted: Vec<ValueId>,
}

/// Resolves the part of `graph` that `outputs` need, as far as `given` allows.
pub(super) fn resolve(graph: &Graph, outputs: &[ValueId], given: &Given) -> Result<Resolved> {
    let has = |id: ValueId| given.known.contains_key(&id) || given.fed.contains_key(&id);
    let order = graph.order_after(outputs, has)?;
    let mut found =
        Resolver { graph, given, types: HashMap::new(), known: given.known.clone(), later: HashSet::new() };
    let mut pending = Vec::new();
    for &id in &order {
        let node = graph.node(id);
        found.visit(node, &mut pending).map_err(|e| e.at(&*node.name))?;
    }
    for &id in outputs {
        if !found.later.contains(&id) {
            found.ty(id)?;
        }
    }
    let wanted = if pending.is_empty() { outputs.to_vec() } else { found.carried(&order, outputs, &pending) };
    let Resolver { types, known, later, .. } = found;
    let mut order = graph.order_after(&wanted, |id| known.contains_key(&id) || has(id))?;
    order.retain(|id| graph.node(*id).outputs.iter().all(|id| !later.contains(id)));
    Ok(Resolved { order, types, known, pending, wanted })
}

struct Resolver<'a> {
    graph: &'a Graph,
    given: &'a Given<'a>,
    types: HashMap<ValueId, TensorType>,
    known: HashMap<ValueId, Arc<Tensor>>,
    /// Values that wait for elements to be known.
    later: HashSet<ValueId>,
}

impl Resolver<'_> {
    /// The type of a value that is given, or has been visited.
    fn ty(&mut self, id: ValueId) -> Result<TensorType> {
        if let Some(ty) = self.types.get(&id) {
            return Ok(ty.clone());
        }
        let value = self.graph.value(id);
        let ty = if let Some(tensor) = self.known.get(&id) {
            tensor.ty()
        } else if let Some(ty) = self.given.fed.get(&id) {
            ty.clone()
        } else {
            let ty = self.graph.ty(id)?;
            let shape = ty.shape.bind(self.given.sizes).map_err(|e| e.at(&*value.name))?;
            TensorType::new(ty.dtype, Shape::known(&shape))
        };
        self.types.insert(id, ty.clone());
        Ok(ty)
    }

    /// The elements of a value, where they are known.
    fn value(&self, id: ValueId) -> Option<Arc<Tensor>> {
        match &self.graph.value(id).source {
            Source::Const(_) => self.graph.value(id).elements().cloned(),
            _ => self.known.get(&id).cloned(),
        }
    }

    /// Finds the types of a node's outputs, or their elements, or what they wait for.
    fn visit(&mut self, node: &Node, pending: &mut Vec<ValueId>) -> Result<()> {
        let def = node.op.def();
        let inputs = || node.inputs.iter().flatten().copied();
        let mut waits = inputs().any(|id| self.later.contains(&id));
        for &index in def.needs_values() {
            let Some(&Some(id)) = node.inputs.get(index) else { continue };
            if self.value(id).is_none() {
                waits = true;
                if !self.later.contains(&id) && !pending.contains(&id) {
                    pending.push(id);
                }
            }
        }
        if waits {
            for id in inputs() {
                if !self.later.contains(&id) {
                    self.ty(id)?;
                }
            }
            self.later.extend(&node.outputs);
            return Ok(());
        }
        let types = node.inputs.iter().map(|id| id.map(|id| self.ty(id)).transpose());
        let types = types.collect::<Result<Vec<_>>>()?;
        let values: Vec<_> = node.inputs.iter().map(|id| id.and_then(|id| self.value(id))).collect();
        let (type_refs, value_refs): (Vec<_>, Vec<_>) =
            types.iter().zip(&values).map(|(ty, value)| (ty.as_ref(), value.as_deref())).unzip();
        let inputs_known = Known::with_values(&type_refs, &value_refs);
        let explain = |e: Error| {
            let shown: Vec<_> =
                types.iter().map(|ty| ty.as_ref().map_or("absent".into(), TensorType::to_string)).collect();
            Error::new(
                e.kind(),
                format!("{} (operator {}, inputs {})", e.message(), node.op.name(), shown.join(", ")),
            )
        };
        if let Some(outputs) = def.outputs_of_types(&inputs_known).map_err(explain)? {
            self.learn(node, outputs);
            return Ok(());
        }
        let outputs = def.infer(&inputs_known).map_err(explain)?;
        ensure!(
            outputs.len() == node.outputs.len(),
            InvalidGraph,
            "{} gives {} outputs, and the node has {}",
            node.op.name(),
            outputs.len(),
            node.outputs.len()
        );
        let all_known = !values.is_empty()
            && types.iter().zip(&values).all(|(ty, value)| ty.is_none() || value.is_some());
        let plain = def.updates_state().is_empty() && !def.varies();
        let small = outputs
            .iter()
            .try_fold(true, |small, ty| Ok::<_, Error>(small && ty.n_bytes()? <= MAX_KNOWN_BYTES))?;
        if all_known && plain && small {
            let outputs = node.op.eval_now(&value_refs).map_err(explain)?;
            self.learn(node, outputs);
            return Ok(());
        }
        self.types.extend(node.outputs.iter().copied().zip(outputs));
        Ok(())
    }

    fn learn(&mut self, node: &Node, outputs: Vec<Tensor>) {
        for (&id, tensor) in node.outputs.iter().zip(outputs) {
            self.types.insert(id, tensor.ty());
            self.known.insert(id, Arc::new(tensor));
        }
    }

    /// What nodes that wait will need of what is computed now.
    fn carried(&self, order: &[NodeId], outputs: &[ValueId], pending: &[ValueId]) -> Vec<ValueId> {
        let mut carried = pending.to_vec();
        let waiting = order
            .iter()
            .map(|id| self.graph.node(*id))
            .filter(|node| node.outputs.iter().any(|id| self.later.contains(id)));
        for id in waiting.flat_map(|node| node.inputs.iter().flatten()).chain(outputs).copied() {
            let computed = matches!(self.graph.value(id).source, Source::Node(..));
            let given = self.given.fed.contains_key(&id) || self.given.known.contains_key(&id);
            if computed && !given && !self.later.contains(&id) && !carried.contains(&id) {
                carried.push(id);
            }
        }
        carried
    }
}
