//! What runs read of a plan, found once and laid out in the order in which they read it. Between two steps a run may take
//! megabytes of weights through the caches, so whatever a step looks up comes from memory: it is little, and lies together.

use super::Place;
use crate::error::Result;
use crate::graph::{Graph, NodeId};
use crate::kernels::threads::Threads;
use crate::ops::Types;
use crate::plan::{Place as Planned, Plan, Step};
use crate::types::{DType, TensorType};
use std::ops::Range;

/// Runs of which two are timed where nobody wants each: in a browser the clock is a call, and a small plan has many steps.
const RUNS: usize = 16;

/// Multiplications, or the like, of a plan that are worth waking threads for: some tens of microseconds.
const WORTH: u64 = 1 << 21;

/// The table of a plan.
pub struct Table {
    /// Where its loops run: threads cost a small plan more than they bring.
    pub threads: Threads,
    /// The steps, in order.
    pub steps: Vec<Row>,
    operands: Vec<Operand>,
    dims: Vec<usize>,
    /// Runs so far.
    runs: usize,
    /// Milliseconds that each step of the last run that was timed took.
    pub ms: Vec<f64>,
}

/// A step, and which operands are its inputs and its outputs.
pub struct Row {
    pub node: NodeId,
    pub inputs: Range<usize>,
    pub outputs: Range<usize>,
}

/// An input or output of a step.
#[derive(Clone, Copy)]
pub struct Operand {
    pub place: Place,
    pub dtype: DType,
    pub bytes: usize,
    /// Where its dimensions are among all.
    pub dims: (usize, usize),
}

impl Table {
    /// The table of a plan whose loops may run on `threads`. `find` says where a back end has what the plan places.
    pub fn of(
        graph: &Graph,
        plan: &Plan,
        threads: Threads,
        find: impl Fn(Planned) -> Result<Place>,
    ) -> Result<Self> {
        let work = |step: &Step| {
            let (inputs, outputs) = (&step.input_types[..], &step.output_types[..]);
            graph.node(step.node).op.def().work(&Types { inputs, outputs, values: &[] })
        };
        let work = plan.steps.iter().map(work).fold(0, u64::saturating_add);
        let threads = if work < WORTH && !cfg!(test) { Threads::single() } else { threads };
        let n_steps = plan.steps.len();
        let (steps, operands, dims) = (Vec::with_capacity(n_steps), Vec::new(), Vec::new());
        let mut table = Self { threads, steps, operands, dims, runs: 0, ms: vec![0.0; n_steps] };
        for step in &plan.steps {
            table.push(graph, step, &find).map_err(|e| e.at(&*graph.node(step.node).name))?;
        }
        Ok(table)
    }

    fn push(&mut self, graph: &Graph, step: &Step, find: impl Fn(Planned) -> Result<Place>) -> Result<()> {
        let updated = graph.node(step.node).op.def().updates_state();
        let first = self.operands.len();
        for (i, (place, ty)) in step.inputs.iter().zip(&step.input_types).enumerate() {
            let there = place.zip(ty.as_ref()).filter(|_| updated.iter().all(|&(input, _)| input != i));
            let operand = match there {
                Some((place, ty)) => self.operand(find(place)?, ty)?,
                None => Operand { place: Place::Absent, dtype: DType::F32, bytes: 0, dims: (0, 0) },
            };
            self.operands.push(operand);
        }
        let between = self.operands.len();
        for (place, ty) in step.outputs.iter().zip(&step.output_types) {
            let operand = self.operand(find(*place)?, ty)?;
            self.operands.push(operand);
        }
        self.steps.push(Row {
            node: step.node,
            inputs: first..between,
            outputs: between..self.operands.len(),
        });
        Ok(())
    }

    fn operand(&mut self, place: Place, ty: &TensorType) -> Result<Operand> {
        let start = self.dims.len();
        self.dims.extend(ty.known_shape()?);
        Ok(Operand { place, dtype: ty.dtype, bytes: ty.n_bytes()?, dims: (start, self.dims.len()) })
    }

    /// Some operands, each with its shape.
    pub fn operands(&self, range: &Range<usize>) -> impl Iterator<Item = (&Operand, &[usize])> {
        self.operands[range.clone()]
            .iter()
            .map(|operand| (operand, &self.dims[operand.dims.0..operand.dims.1]))
    }

    /// Counts a run, and says whether it is timed though nobody asked for it: the second as well, since the first is a cold one.
    pub fn begin(&mut self) -> bool {
        self.runs += 1;
        (self.runs - 1) % RUNS <= 1
    }
}
