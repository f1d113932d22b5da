//! What a plan finds out before it lays out memory: every type under the sizes at hand, what can be computed
//! already, and where it must stop because the elements of a value decide what follows.

use super::Given;
use crate::error::{Error, Result, ensure, fail};
use crate::graph::{Graph, Node, NodeId, Source, ValueId, Visit};
use crate::ops::choose::Choose;
use crate::ops::{Known, Op};
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
    /// Values that are another one, which was chosen.
    pub chosen: HashMap<ValueId, ValueId>,
    /// Values whose elements must be known before the rest can be planned.
    pub pending: Vec<ValueId>,
    /// Nodes whose body must run before the rest can be planned.
    pub calls: Vec<NodeId>,
    /// What this plan computes for its caller: the outputs, or what the rest needs.
    pub wanted: Vec<ValueId>,
}

impl Resolved {
    /// Whether there is no rest.
    pub fn is_whole(&self) -> bool {
        self.pending.is_empty() && self.calls.is_empty()
    }
}

/// Resolves the part of `graph` that `outputs` need, as far as `given` allows.
pub(super) fn resolve(graph: &Graph, outputs: &[ValueId], given: &Given) -> Result<Resolved> {
    let mut found = Resolver {
        graph,
        given,
        types: HashMap::new(),
        known: given.known.clone(),
        chosen: HashMap::new(),
        later: HashSet::new(),
        pending: Vec::new(),
        calls: Vec::new(),
    };
    graph.walk(outputs, &mut found)?;
    for &id in outputs {
        if !found.later.contains(&id) {
            found.ty(id)?;
        }
    }
    let whole = found.pending.is_empty() && found.calls.is_empty();
    let wanted = if whole { outputs.to_vec() } else { found.carried(outputs) };
    let mut order = graph.walk(&wanted, &mut Computed(&found))?;
    order.retain(|id| graph.node(*id).outputs.iter().all(|id| !found.later.contains(id)));
    let Resolver { types, known, chosen, pending, calls, .. } = found;
    Ok(Resolved { order, types, known, chosen, pending, calls, wanted })
}

struct Resolver<'a> {
    graph: &'a Graph,
    given: &'a Given<'a>,
    types: HashMap<ValueId, TensorType>,
    known: HashMap<ValueId, Arc<Tensor>>,
    chosen: HashMap<ValueId, ValueId>,
    /// Values that wait for elements to be known, or for a body.
    later: HashSet<ValueId>,
    pending: Vec<ValueId>,
    calls: Vec<NodeId>,
}

impl Visit for Resolver<'_> {
    fn has(&self, value: ValueId) -> bool {
        self.given.known.contains_key(&value) || self.given.fed.contains_key(&value)
    }

    /// Of the values to choose from only the one that is chosen.
    fn needs(&self, node: &Node, name: &mut dyn FnMut(ValueId)) {
        let Op::Choose(_) = node.op else { return node.inputs.iter().flatten().copied().for_each(name) };
        let taken = node.inputs.first().copied().flatten().and_then(|id| self.value(id));
        let taken = taken.and_then(|condition| Choose::taken(condition.view()).ok());
        let taken = taken.and_then(|index| node.inputs.get(index).copied().flatten());
        node.inputs.first().copied().flatten().into_iter().chain(taken).for_each(name);
    }

    fn visit(&mut self, id: NodeId, node: &Node) -> Result<()> {
        match node.op {
            Op::Choose(_) => self.choose(node),
            _ => self.infer(id, node),
        }
    }
}

/// What must run, of what is resolved.
struct Computed<'r, 'a>(&'r Resolver<'a>);

impl Visit for Computed<'_, '_> {
    fn has(&self, value: ValueId) -> bool {
        self.0.known.contains_key(&value) || self.0.has(value)
    }

    fn needs(&self, node: &Node, name: &mut dyn FnMut(ValueId)) {
        match node.outputs.first().and_then(|id| self.0.chosen.get(id)) {
            Some(chosen) => name(*chosen),
            None => node.inputs.iter().flatten().copied().for_each(name),
        }
    }
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

    /// Makes a value that is chosen the one that is taken.
    fn choose(&mut self, node: &Node) -> Result<()> {
        let [Some(condition), _, _] = node.inputs[..] else {
            return fail!(InvalidGraph, "a choice lacks an input");
        };
        let Some(value) = self.value(condition) else {
            if !self.later.contains(&condition) {
                self.ty(condition)?;
            }
            self.wait_for(condition);
            self.later.extend(&node.outputs);
            return Ok(());
        };
        let Some(taken) = node.inputs[Choose::taken(value.view())?] else {
            return fail!(InvalidGraph, "the branch that is taken does not give this output");
        };
        for &output in &node.outputs {
            if self.later.contains(&taken) {
                self.later.insert(output);
                continue;
            }
            let ty = self.ty(taken)?;
            self.types.insert(output, ty);
            self.chosen.insert(output, taken);
            if let Some(value) = self.value(taken) {
                self.known.insert(output, value);
            }
        }
        Ok(())
    }

    fn wait_for(&mut self, id: ValueId) {
        if !self.later.contains(&id) && !self.pending.contains(&id) {
            self.pending.push(id);
        }
    }

    /// Finds the types of a node's outputs, or their elements, or what they wait for.
    fn infer(&mut self, id: NodeId, node: &Node) -> Result<()> {
        let def = node.op.def();
        let inputs = || node.inputs.iter().flatten().copied();
        let mut waits = inputs().any(|id| self.later.contains(&id));
        let mut no_bytes = false;
        for id in inputs() {
            no_bytes |= !self.later.contains(&id) && !self.ty(id)?.dtype.has_bytes();
        }
        if def.body().is_some() {
            if !waits {
                self.calls.push(id);
            }
            self.later.extend(&node.outputs);
            return Ok(());
        }
        let all = def.needs_all_values() || no_bytes;
        for (index, id) in node.inputs.iter().enumerate().filter_map(|(i, id)| Some((i, (*id)?))) {
            if (all || def.needs_values().contains(&index)) && self.value(id).is_none() {
                waits = true;
                self.wait_for(id);
            }
        }
        if waits {
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
        if def.needs_all_values() {
            let outputs = node.op.eval_now(&value_refs).map_err(explain)?;
            return self.learn(node, outputs);
        }
        if let Some(outputs) = def.outputs_of_types(&inputs_known).map_err(explain)? {
            return self.learn(node, outputs);
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
        no_bytes |= outputs.iter().any(|ty| !ty.dtype.has_bytes());
        let all_known = !values.is_empty()
            && types.iter().zip(&values).all(|(ty, value)| ty.is_none() || value.is_some());
        if no_bytes && !all_known {
            inputs()
                .filter(|id| self.value(*id).is_none())
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|id| self.wait_for(id));
            self.later.extend(&node.outputs);
            return Ok(());
        }
        let plain = def.updates_state().is_empty() && !def.varies();
        let small = outputs
            .iter()
            .try_fold(true, |small, ty| Ok::<_, Error>(small && ty.n_bytes()? <= MAX_KNOWN_BYTES))?;
        if all_known && plain && (small || no_bytes) {
            let outputs = node.op.eval_now(&value_refs).map_err(explain)?;
            return self.learn(node, outputs);
        }
        self.types.extend(node.outputs.iter().copied().zip(outputs));
        Ok(())
    }

    fn learn(&mut self, node: &Node, outputs: Vec<Tensor>) -> Result<()> {
        ensure!(
            outputs.len() >= node.outputs.len(),
            InvalidGraph,
            "{} gives {} outputs, and the node has {}",
            node.op.name(),
            outputs.len(),
            node.outputs.len()
        );
        for (&id, tensor) in node.outputs.iter().zip(outputs) {
            self.types.insert(id, tensor.ty());
            self.known.insert(id, Arc::new(tensor));
        }
        Ok(())
    }

    /// What the rest will need of what is computed now: what is pending, what bodies take, and what nodes use that wait,
    /// or that are not visited before a choice is made. What is known will be again.
    fn carried(&self, outputs: &[ValueId]) -> Vec<ValueId> {
        let taken = self.calls.iter().flat_map(|id| self.graph.node(*id).inputs.iter().flatten());
        let mut carried: Vec<ValueId> = self.pending.iter().chain(taken).copied().collect();
        let mut seen: HashSet<ValueId> = carried.iter().copied().collect();
        let mut ahead = outputs.to_vec();
        let mut opened = HashSet::new();
        while let Some(id) = ahead.pop() {
            let Source::Node(producer, _) = self.graph.value(id).source else { continue };
            if self.known.contains_key(&id) || self.has(id) {
                continue;
            }
            if self.types.contains_key(&id) {
                if seen.insert(id) {
                    carried.push(id);
                }
            } else if opened.insert(producer) {
                ahead.extend(self.graph.node(producer).inputs.iter().flatten());
            }
        }
        carried.dedup();
        carried
    }
}
