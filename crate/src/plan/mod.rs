//! A plan: one graph with every dimension bound to a number, for some of its outputs. It says which nodes
//! run in which order, and which buffer each value lives in; buffers are reused when their value is dead.
//! Both back ends run the same plan. Where elements decide a shape (`NonZero`), a plan ends, and the next begins
//! with them known. Where one back end cannot do all, a run is cut into segments, each with a plan of its own.

mod layout;
mod lifetimes;
mod memory;
mod resolve;
mod schedule;
mod split;

pub use layout::Direct;
pub use split::{Crossing, Segment, Side, Sides, Stage};

use crate::error::{Result, ensure};
use crate::graph::{Graph, NodeId, ValueId};
use crate::tensor::Tensor;
use crate::types::{Bindings, TensorType};
use layout::{Run, Shared};
use std::collections::HashMap;
use std::sync::Arc;

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
    /// A value that stays on the device from one segment of a run to another, by value.
    Kept(ValueId),
}

impl Place {
    /// The weight or constant, where it is one.
    pub fn fixed(&self) -> Option<ValueId> {
        if let Self::Fixed(id) = self { Some(*id) } else { None }
    }
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
    /// Why nodes are not on the device that others of the run are on.
    pub reasons: HashMap<NodeId, Arc<str>>,
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
        let run = Run::new(graph, outputs, given)?;
        Ok(run.plan(&run.order, &run.outputs, &Shared::default(), options))
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
