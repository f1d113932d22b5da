//! The back ends. Each holds a graph's weights and states and runs plans.

pub mod cpu;
pub mod gpu;
mod held;

pub use held::{Held, Resident};

use crate::error::Result;
use crate::graph::{Graph, NodeId, ValueId};
use crate::ops::Types;
use crate::plan::{Plan, PlanOptions};
use crate::tensor::{Chunk, Tensor};
use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

/// What an input is given for one run.
#[derive(Clone, Debug)]
pub enum Feed {
    /// These elements. Those on a device only a back end of that device takes.
    Tensor(Held),
    /// What the run before computed for this output of the graph, wherever it lies. Its size must be the
    /// input's.
    Previous(ValueId),
}

/// Outputs on their way. A back end that computes at once has them ready.
pub type Pending = Pin<Box<dyn Future<Output = Result<Vec<Tensor>>>>>;

/// The same, where some may stay on the device.
pub type PendingHeld = Pin<Box<dyn Future<Output = Result<Vec<Held>>>>>;

/// Bytes that runs have moved between this program and a device, weights apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Written to the device.
    pub written: u64,
    /// Read back from it.
    pub read: u64,
}

/// One launch of a plan, for profiles.
#[derive(Clone, Debug)]
pub struct Profiled {
    /// The node.
    pub node: String,
    /// What runs: the operator on the CPU, the shader variant on the GPU.
    pub kernel: String,
    /// Where it runs: `cpu` or `webgpu`.
    pub device: &'static str,
    /// Why not on the GPU, where the run was to use it.
    pub reason: Option<Arc<str>>,
    /// Milliseconds of the last run that was timed.
    pub ms: Option<f64>,
}

/// Weights, states and buffers of one graph on one device.
pub trait Backend {
    /// What plans for this back end may do.
    fn plan_options(&self) -> PlanOptions;

    /// Why it cannot run a node, where it cannot.
    fn refuses(&self, _graph: &Graph, _node: NodeId, _types: &Types) -> Result<Option<String>> {
        Ok(None)
    }

    /// Takes bytes of a weight, `offset` bytes into the part of it whose rows begin at `first_row`. Bytes of
    /// a part come in order, in chunks of any size.
    fn write_weight(&mut self, id: ValueId, first_row: usize, offset: usize, chunk: &Chunk) -> Result<()>;

    /// Whether it has all of a constant in a form of its own, so that the graph need not keep the elements.
    fn has_repacked(&self, _id: ValueId) -> bool {
        false
    }

    /// Makes what a plan needs before its first run.
    fn prepare(&mut self, _graph: &Graph, _plan: &Plan) -> Result<()> {
        Ok(())
    }

    /// Starts a run. `feeds` has every input that the plan uses. Gives the plan's outputs, in its order.
    fn submit(&mut self, graph: &Graph, plan: &Plan, feeds: HashMap<ValueId, Feed>) -> Result<Pending>;

    /// The same, of which the outputs that are these values stay on the device, where that is not here.
    fn submit_keeping(
        &mut self,
        graph: &Graph,
        plan: &Plan,
        feeds: HashMap<ValueId, Feed>,
        _keep: &HashSet<ValueId>,
    ) -> Result<PendingHeld> {
        let pending = self.submit(graph, plan, feeds)?;
        Ok(Box::pin(async move { Ok(pending.await?.into_iter().map(Held::Here).collect()) }))
    }

    /// Whether it takes what lies on its device.
    fn is_device(&self) -> bool {
        false
    }

    /// Forgets what was made for a plan.
    fn forget(&mut self, _plan: &Plan) {}

    /// How many runs may be under way at once.
    fn pipeline_depth(&self) -> usize {
        1
    }

    /// The most rows that a product of one row with a quantised weight takes along at little cost, while the sums of each
    /// row stay the same to the bit.
    fn draft_len(&self) -> usize {
        0
    }

    /// Whether runs measure each launch from now on.
    fn time_launches(&mut self, _on: bool) {}

    /// What a run of the plan launches.
    fn profile(&self, graph: &Graph, plan: &Plan) -> Vec<Profiled>;

    /// Bytes that weights, states and buffers take.
    fn memory_bytes(&self) -> usize;
}
