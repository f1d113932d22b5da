//! One plan, or one segment's, from what is resolved: the place of every value.

use super::lifetimes::{self, Views};
use super::resolve::{Resolved, resolve};
use super::{Given, Place, Plan, PlanId, PlanOptions, PlanOutput, Step, memory};
use crate::error::Result;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::tensor::Tensor;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A run that is resolved, and not laid out.
pub(super) struct Run<'a> {
    pub graph: &'a Graph,
    pub given: &'a Given<'a>,
    pub resolved: Resolved,
    /// The nodes that move bytes, in order.
    pub order: Vec<NodeId>,
    pub states: HashMap<ValueId, ValueId>,
    pub views: Views,
    /// What it computes for its caller, by name.
    pub outputs: Vec<(String, ValueId)>,
    /// Those of the outputs that a back end computes.
    pub computed: Vec<(String, ValueId)>,
    /// The others.
    pub direct: HashMap<ValueId, Direct>,
}

/// A value that no back end computes.
#[derive(Clone, Debug)]
pub enum Direct {
    /// It is known.
    Known(Arc<Tensor>),
    /// It is one that was fed, in this shape.
    Fed(ValueId, Vec<usize>),
}

/// Which of its values a plan shares with others of the same run.
#[derive(Default)]
pub(super) struct Shared {
    /// Those that others compute, and that are fed.
    pub fed: HashSet<ValueId>,
    /// Those that stay on the device between the plans.
    pub kept: HashSet<ValueId>,
}

impl<'a> Run<'a> {
    /// Resolves the part of `graph` that `outputs` need, as far as `given` allows.
    pub fn new(graph: &'a Graph, outputs: &[(String, ValueId)], given: &'a Given<'a>) -> Result<Self> {
        let final_outputs: Vec<ValueId> = outputs.iter().map(|(_, id)| *id).collect();
        let resolved = resolve(graph, &final_outputs, given)?;
        let states = lifetimes::states(graph, &resolved.order);
        let views = Views::new(graph, &resolved.order, &states, &resolved.chosen);
        let moves = |id: &NodeId| !views.is_view(graph.node(*id));
        let order = resolved.order.iter().copied().filter(moves).collect();
        let name = |value: ValueId| match outputs.iter().find(|(_, id)| *id == value) {
            Some((name, _)) => name.clone(),
            None => graph.value(value).name.to_string(),
        };
        let outputs: Vec<_> = match resolved.is_whole() {
            true => outputs.to_vec(),
            false => resolved.wanted.iter().map(|&id| (name(id), id)).collect(),
        };
        let mut direct = HashMap::new();
        for &(_, id) in &outputs {
            let root = views.root(id);
            let found = match (resolved.known.get(&id), &graph.value(root).source) {
                (Some(tensor), _) => Direct::Known(tensor.clone()),
                (None, Source::Input) => Direct::Fed(root, resolved.types[&id].known_shape()?),
                (None, _) if given.fed.contains_key(&root) => {
                    Direct::Fed(root, resolved.types[&id].known_shape()?)
                }
                (None, Source::Const(tensor)) if root == id => Direct::Known(tensor.clone()),
                _ => continue,
            };
            direct.insert(id, found);
        }
        let computed = outputs.iter().filter(|(_, id)| !direct.contains_key(id)).cloned().collect();
        Ok(Self { graph, given, resolved, order, states, views, outputs, computed, direct })
    }

    /// Lays out the nodes of `order`, for `outputs`.
    pub fn plan(
        &self,
        order: &[NodeId],
        outputs: &[(String, ValueId)],
        shared: &Shared,
        options: PlanOptions,
    ) -> Plan {
        let Self { graph, given, states, views, .. } = self;
        let Resolved { types, known, pending, .. } = &self.resolved;
        let wanted: Vec<ValueId> = outputs.iter().map(|(_, id)| *id).collect();
        let last_use = lifetimes::last_use(graph, order, &wanted, views);
        // What has a buffer of its own needs no slot.
        let elsewhere = |id: ValueId| states.contains_key(&id) || shared.kept.contains(&id);
        let memory = memory::assign(graph, order, types, &last_use, &elsewhere, views, options);
        let place = |id: ValueId| {
            let id = views.root(id);
            if known.contains_key(&id) {
                return Place::Known(id);
            }
            if shared.kept.contains(&id) {
                return Place::Kept(id);
            }
            if given.fed.contains_key(&id) || shared.fed.contains(&id) {
                return Place::Fed(id);
            }
            match graph.value(id).source {
                Source::Input => Place::Fed(id),
                Source::Weight(_) | Source::Const(_) => Place::Fixed(id),
                Source::State => Place::State(id),
                Source::Node(..) => match states.get(&id) {
                    Some(state) => Place::State(*state),
                    None => Place::Slot(memory.slot_of[&id]),
                },
            }
        };
        let steps: Vec<Step> = (order.iter())
            .map(|&id| {
                let node = graph.node(id);
                let reused = memory.in_place.get(&id);
                Step {
                    node: id,
                    inputs: (node.inputs.iter().enumerate())
                        .map(|(i, input)| input.filter(|_| reused != Some(&i)).map(place))
                        .collect(),
                    input_types: node.inputs.iter().map(|v| v.map(|v| types[&v].clone())).collect(),
                    outputs: node.outputs.iter().map(|&v| place(v)).collect(),
                    output_types: node.outputs.iter().map(|v| types[v].clone()).collect(),
                }
            })
            .collect();
        let output = |(name, value): &(String, ValueId)| PlanOutput {
            name: name.clone(),
            value: *value,
            place: place(*value),
            ty: types[value].clone(),
        };
        let outputs: Vec<PlanOutput> = outputs.iter().map(output).collect();
        let used = |id: &ValueId| steps.iter().any(|step| step.inputs.contains(&Some(Place::Known(*id))));
        let out = |id: &ValueId| outputs.iter().any(|output| output.place == Place::Known(*id));
        let known = known.iter().filter(|(id, _)| used(id) || out(id));
        let known = known.map(|(id, tensor)| (*id, tensor.clone())).collect();
        static MADE: AtomicU64 = AtomicU64::new(0);
        let id = PlanId(MADE.fetch_add(1, Ordering::Relaxed));
        let (slots, pending) = (memory.slots, pending.clone());
        Plan { id, steps, slots, outputs, known, pending, reasons: HashMap::new() }
    }
}
