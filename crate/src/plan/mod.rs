//! A plan: one graph with every dimension bound to a number, for some of its outputs. It says which nodes
//! run in which order, and which buffer each value lives in; buffers are reused when their value is dead.
//! Both back ends run the same plan. Where elements decide a shape (`NonZero`), a plan ends, and the next begins
//! with them known.

mod lifetimes;
mod memory;
mod resolve;

use crate::error::{Result, ensure};
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::tensor::Tensor;
use crate::types::{Bindings, TensorType};
use resolve::{Resolved, resolve};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a value's data lies during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A buffer of the plan's own.
    Slot(usize),
    /// What the caller fed, by value.
    Fed(ValueId),
    /// A weight or constant, by value.
    Fixed(ValueId),
    /// A state, by value.
    State(ValueId),
    /// What planning has computed, by value.
    Known(ValueId),
}

/// One node with the places of its inputs and outputs.
#[derive(Clone, Debug)]
pub struct Step {
    /// The node.
    pub node: NodeId,
    /// One place per input; `None` where an optional input is absent, and where its data already is in the
    /// output's buffer.
    pub inputs: Vec<Option<Place>>,
    /// The types of the inputs with known dimensions, also of those worked on in place.
    pub input_types: Vec<Option<TensorType>>,
    /// One place per output.
    pub outputs: Vec<Place>,
    /// The types of the outputs with known dimensions.
    pub output_types: Vec<TensorType>,
}

/// Which plan, among all that were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanId(u64);

/// An output of a plan.
#[derive(Clone, Debug)]
pub struct PlanOutput {
    /// The graph's name for it.
    pub name: String,
    /// The value.
    pub value: ValueId,
    /// Where it is after a run.
    pub place: Place,
    /// Its type, with known dimensions.
    pub ty: TensorType,
}

/// The order and the memory of one run.
#[derive(Debug)]
pub struct Plan {
    /// By which a back end keeps what it makes for the plan.
    pub id: PlanId,
    /// What to run, in order.
    pub steps: Vec<Step>,
    /// Bytes of each slot.
    pub slots: Vec<usize>,
    /// The outputs, in the order that they were asked for; of a plan that has something pending, that and
    /// what else the rest of the run needs.
    pub outputs: Vec<PlanOutput>,
    /// What planning has computed and the run uses.
    pub known: HashMap<ValueId, Arc<Tensor>>,
    /// Values whose elements decide what follows: with them known, another plan goes on where this one stops.
    pub pending: Vec<ValueId>,
}

/// What a back end allows a plan to do.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions {
    /// Whether a node may write its output over an input that dies there.
    pub in_place: bool,
}

/// What a plan starts from.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The sizes of symbols in the types of inputs and states.
    pub sizes: &'a Bindings,
    /// The types of values that are fed: of inputs, and of what an earlier plan of the same run computed.
    pub fed: &'a HashMap<ValueId, TensorType>,
    /// Values whose elements are known, besides the constants.
    pub known: &'a HashMap<ValueId, Arc<Tensor>>,
}

impl Plan {
    /// Plans the run of `graph` that computes `outputs`, where sizes alone decide all types.
    pub fn of_sizes(
        graph: &Graph,
        outputs: &[(String, ValueId)],
        sizes: &Bindings,
        options: PlanOptions,
    ) -> Result<Self> {
        let given = Given { sizes, fed: &HashMap::new(), known: &HashMap::new() };
        let plan = Self::new(graph, outputs, &given, options)?;
        ensure!(plan.pending.is_empty(), Internal, "a value must be known before the graph can be planned");
        Ok(plan)
    }

    /// Plans the run of `graph` that computes `outputs`, or the part of it that comes before elements must be
    /// known: see [`Plan::pending`].
    pub fn new(
        graph: &Graph,
        outputs: &[(String, ValueId)],
        given: &Given,
        options: PlanOptions,
    ) -> Result<Self> {
        let final_outputs: Vec<ValueId> = outputs.iter().map(|(_, id)| *id).collect();
        let Resolved { order, types, known, pending, wanted } = resolve(graph, &final_outputs, given)?;
        let states = lifetimes::states(graph, &order);
        let views = lifetimes::Views::new(graph, &order, &states);
        let last_use = lifetimes::last_use(graph, &order, &wanted, &views);
        let memory = memory::assign(graph, &order, &types, &last_use, &states, &views, options);
        let place = |id: ValueId| {
            let id = views.root(id);
            if known.contains_key(&id) {
                return Place::Known(id);
            }
            if given.fed.contains_key(&id) {
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
        let moving = order.iter().filter(|id| !views.is_view(graph.node(**id)));
        let steps: Vec<Step> = moving
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
        let name = |value: ValueId| match outputs.iter().find(|(_, id)| *id == value) {
            Some((name, _)) => name.clone(),
            None => graph.value(value).name.to_string(),
        };
        let outputs = if pending.is_empty() {
            outputs.to_vec()
        } else {
            wanted.iter().map(|&id| (name(id), id)).collect()
        };
        let outputs = (outputs.into_iter())
            .map(|(name, value)| PlanOutput { name, value, place: place(value), ty: types[&value].clone() })
            .collect();
        let used = |id: &ValueId| steps.iter().any(|step| step.inputs.contains(&Some(Place::Known(*id))));
        let outputs: Vec<PlanOutput> = outputs;
        let out = |id: &ValueId| outputs.iter().any(|output| output.place == Place::Known(*id));
        let known = known.into_iter().filter(|(id, _)| used(id) || out(id)).collect();
        static MADE: AtomicU64 = AtomicU64::new(0);
        let id = PlanId(MADE.fetch_add(1, Ordering::Relaxed));
        Ok(Self { id, steps, slots: memory.slots, outputs, known, pending })
    }

    /// The values that a run must be fed, some of them more than once.
    pub fn fed(&self) -> impl Iterator<Item = ValueId> {
        let inputs = self.steps.iter().flat_map(|step| step.inputs.iter().flatten().copied());
        let places = inputs.chain(self.outputs.iter().map(|output| output.place));
        places.filter_map(|place| if let Place::Fed(id) = place { Some(id) } else { None })
    }

    /// Bytes of all slots together.
    pub fn slot_bytes(&self) -> usize {
        self.slots.iter().sum()
    }
}
