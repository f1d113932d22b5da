//! A plan: one graph with every dimension bound to a number, for some of its outputs. It says which nodes
//! run in which order, and which buffer each value lives in; buffers are reused when their value is dead.
//! Both back ends run the same plan.

mod lifetimes;
mod memory;

use crate::error::Result;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::types::{Bindings, TensorType};
use std::collections::HashMap;
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
    /// The outputs, in the order that they were asked for.
    pub outputs: Vec<PlanOutput>,
}

/// What a back end allows a plan to do.
#[derive(Clone, Copy, Debug)]
pub struct PlanOptions {
    /// Whether a node may write its output over an input that dies there.
    pub in_place: bool,
}

impl Plan {
    /// Plans the run of `graph` that computes `outputs`, under `bindings`.
    pub fn new(
        graph: &Graph,
        outputs: &[(String, ValueId)],
        bindings: &Bindings,
        options: PlanOptions,
    ) -> Result<Self> {
        let wanted: Vec<ValueId> = outputs.iter().map(|(_, id)| *id).collect();
        let order = graph.topological_order(&wanted)?;
        let bind = |id: ValueId| -> Result<TensorType> {
            let ty = &graph.value(id).ty;
            let shape = ty.shape.bind(bindings).map_err(|e| e.at(&*graph.value(id).name))?;
            Ok(TensorType::new(ty.dtype, crate::types::Shape::known(&shape)))
        };
        let mut types: HashMap<ValueId, TensorType> = HashMap::new();
        for &node in &order {
            let node = graph.node(node);
            for &id in node.inputs.iter().flatten().chain(&node.outputs) {
                if let std::collections::hash_map::Entry::Vacant(entry) = types.entry(id) {
                    entry.insert(bind(id)?);
                }
            }
        }
        for &id in &wanted {
            types.insert(id, bind(id)?);
        }
        let states = lifetimes::states(graph, &order);
        let last_use = lifetimes::last_use(graph, &order, &wanted);
        let memory = memory::assign(graph, &order, &types, &last_use, &states, options);
        let place = |id: ValueId| match graph.value(id).source {
            Source::Input => Place::Fed(id),
            Source::Weight(_) | Source::Const(_) => Place::Fixed(id),
            Source::State => Place::State(id),
            Source::Node(..) => match states.get(&id) {
                Some(state) => Place::State(*state),
                None => Place::Slot(memory.slot_of[&id]),
            },
        };
        let steps = order
            .iter()
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
        let outputs = (outputs.iter())
            .map(|&(ref name, value)| PlanOutput {
                name: name.clone(),
                value,
                place: place(value),
                ty: types[&value].clone(),
            })
            .collect();
        static MADE: AtomicU64 = AtomicU64::new(0);
        let id = PlanId(MADE.fetch_add(1, Ordering::Relaxed));
        Ok(Self { id, steps, slots: memory.slots, outputs })
    }

    /// Bytes of all slots together.
    pub fn slot_bytes(&self) -> usize {
        self.slots.iter().sum()
    }
}
