//! The CPU back end: weights repacked as their operators want them, states and slots as plain buffers, and
//! plans run step by step. While a step runs, the buffers it writes are taken out of their list, so that
//! what it reads and what it writes are different memory by construction.

mod table;
mod weights;

use super::{Backend, Feed, Held, Pending, Profiled};
use crate::error::{Error, ErrorKind, Result, fail};
use crate::graph::{Graph, Source, ValueId};
use crate::kernels::clock;
use crate::kernels::gemm::QUANTIZED_TILE;
use crate::kernels::threads::Threads;
use crate::ops::{CpuContext, Input};
use crate::plan::{Place as Planned, Plan, PlanId, PlanOptions, PlanOutput, Step};
use crate::tensor::{Buffer, Chunk, Tensor, TensorView, TensorViewMut};
use std::collections::{HashMap, HashSet};
use table::{Operand, Row, Table};
use weights::{Weight, Weights};

/// Where the data of an operand are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Nowhere, or in the output's buffer already.
    Absent,
    /// In a buffer: a state, or a slot of the plan.
    Buffer(usize),
    /// In a weight.
    Weight(usize),
    /// In the graph: a constant that nobody wants repacked.
    Constant(ValueId),
    /// In the plan, which has computed it.
    Known(ValueId),
    /// In what the caller feeds.
    Fed(ValueId),
}

/// Weights, states and buffers of one graph on the CPU.
pub struct CpuBackend {
    weights: Weights,
    /// The states, then the slots that plans share.
    buffers: Vec<Buffer>,
    states: HashMap<ValueId, usize>,
    threads: Threads,
    exact: bool,
    /// Whether each run is timed.
    timed: bool,
    tables: HashMap<PlanId, Table>,
    /// The plans whose constants are repacked, where that waits for plans.
    prepared: Option<HashSet<PlanId>>,
}

/// A run: of which plan, and with what.
#[derive(Clone, Copy)]
struct Run<'a> {
    graph: &'a Graph,
    plan: &'a Plan,
    table: &'a Table,
    feeds: &'a HashMap<ValueId, Tensor>,
}

/// Lists that every step fills anew.
#[derive(Default)]
struct Lists {
    inputs: Vec<Input<'static>>,
    outputs: Vec<TensorViewMut<'static>>,
    taken: Vec<Buffer>,
}

/// The memory of a list, for one that borrows other things.
fn emptied<A, B>(mut list: Vec<A>) -> Vec<B> {
    list.clear();
    // Of the same size, they share the allocation.
    list.into_iter().map(|_| unreachable!("it is empty")).collect()
}

impl CpuBackend {
    /// Allocates the weights and states of `graph`. `exact` keeps activations f32.
    pub fn new(graph: &Graph, exact: bool) -> Result<Self> {
        Self::with_weights(graph, exact, true)
    }

    /// For the part of a graph that another back end cannot do: constants are repacked once a plan needs them.
    pub fn beside_another(graph: &Graph) -> Result<Self> {
        Self::with_weights(graph, false, false)
    }

    /// The same, on other threads than all there are.
    #[cfg(test)]
    pub fn on(self, threads: Threads) -> Self {
        Self { threads, ..self }
    }

    fn with_weights(graph: &Graph, exact: bool, at_once: bool) -> Result<Self> {
        let mut weights = Weights::default();
        let (mut buffers, mut states) = (Vec::new(), HashMap::new());
        for (id, value) in graph.values() {
            let users = graph.consumers(id);
            if users.is_empty() {
                continue;
            }
            match &value.source {
                Source::Weight(_) => weights.allocate(graph, id, users)?,
                Source::Const(_) if at_once => weights.pack(graph, id, users)?,
                Source::State => {
                    states.insert(id, buffers.len());
                    buffers.push(Buffer::zeros(value.known_ty()?.n_bytes()?)?);
                }
                _ => {}
            }
        }
        let prepared = (!at_once).then(HashSet::new);
        Ok(Self {
            weights,
            buffers,
            states,
            threads: Threads::shared(),
            exact,
            timed: false,
            tables: HashMap::new(),
            prepared,
        })
    }

    /// Runs a plan to its end.
    fn run(&mut self, graph: &Graph, plan: &Plan, feeds: &HashMap<ValueId, Tensor>) -> Result<Vec<Tensor>> {
        let n_buffers = self.states.len() + plan.slots.len();
        self.buffers.resize_with(self.buffers.len().max(n_buffers), Buffer::default);
        for (slot, &bytes) in self.buffers[self.states.len()..].iter_mut().zip(&plan.slots) {
            if slot.n_bytes() < bytes {
                *slot = Buffer::default();
                *slot = Buffer::zeros(bytes)?;
            }
        }
        let mut table = match self.tables.remove(&plan.id) {
            Some(table) => table,
            None => Table::of(graph, plan, self.threads, |place| self.place(graph, place))?,
        };
        let timed = table.begin() || self.timed;
        let mut lists = Lists::default();
        let mut before = clock::now();
        for i in 0..table.steps.len() {
            let (run, step) = (Run { graph, plan, table: &table, feeds }, &table.steps[i]);
            self.run_step(run, step, &mut lists).map_err(|e| e.at(&*graph.node(step.node).name))?;
            if timed {
                let after = clock::now();
                table.ms[i] = after - before;
                before = after;
            }
        }
        let run = Run { graph, plan, table: &table, feeds };
        let outputs = plan
            .outputs
            .iter()
            .map(|output| self.copied(run, output).map_err(|e| e.at(output.name.as_str())));
        let outputs = outputs.collect();
        self.tables.insert(plan.id, table);
        outputs
    }

    fn copied(&self, run: Run, PlanOutput { place, ty, .. }: &PlanOutput) -> Result<Tensor> {
        let (place, shape) = (self.place(run.graph, *place)?, ty.known_shape()?);
        let operand = Operand { place, dtype: ty.dtype, bytes: ty.n_bytes()?, dims: (0, 0) };
        Tensor::copied(self.input(run, &operand, &shape)?.tensor()?)
    }

    fn run_step(&mut self, run: Run, step: &Row, lists: &mut Lists) -> Result<()> {
        for (operand, _) in run.table.operands(&step.outputs) {
            lists.taken.push(std::mem::take(self.written(operand)?));
        }
        let outcome = self.eval(run, step, lists);
        for ((operand, _), buffer) in run.table.operands(&step.outputs).zip(lists.taken.drain(..)) {
            *self.written(operand)? = buffer;
        }
        outcome
    }

    fn eval(&self, run: Run, step: &Row, lists: &mut Lists) -> Result<()> {
        let mut inputs = emptied(std::mem::take(&mut lists.inputs));
        for (operand, shape) in run.table.operands(&step.inputs) {
            inputs.push(self.input(run, operand, shape)?);
        }
        let mut outputs = emptied(std::mem::take(&mut lists.outputs));
        for ((operand, shape), buffer) in run.table.operands(&step.outputs).zip(&mut lists.taken) {
            let n_bytes = buffer.n_bytes();
            let Some(bytes) = buffer.bytes_mut().get_mut(..operand.bytes) else {
                return too_small(n_bytes, operand, shape);
            };
            outputs.push(TensorViewMut { dtype: operand.dtype, shape, bytes });
        }
        let cx = CpuContext { threads: run.table.threads, exact: self.exact };
        let outcome = run.graph.node(step.node).op.eval(&cx, &inputs, &mut outputs);
        (lists.inputs, lists.outputs) = (emptied(inputs), emptied(outputs));
        outcome
    }

    /// Where it has what a plan places.
    fn place(&self, graph: &Graph, place: Planned) -> Result<Place> {
        Ok(match place {
            Planned::Slot(slot) => Place::Buffer(self.states.len() + slot),
            Planned::State(id) => match self.states.get(&id) {
                Some(&state) => Place::Buffer(state),
                None => return fail!(Internal, "a state was not allocated"),
            },
            Planned::Fed(id) => Place::Fed(id),
            Planned::Known(id) => Place::Known(id),
            Planned::Kept(_) => return fail!(Internal, "a value of the GPU was not read back"),
            Planned::Fixed(id) => match (self.weights.place(id), &graph.value(id).source) {
                (Some(weight), _) => Place::Weight(weight),
                (None, Source::Const(_)) => Place::Constant(id),
                (None, _) => return fail!(Internal, "a weight was not allocated"),
            },
        })
    }

    /// The buffer of an output.
    fn written(&mut self, operand: &Operand) -> Result<&mut Buffer> {
        match operand.place {
            Place::Buffer(buffer) => Ok(&mut self.buffers[buffer]),
            other => fail!(Internal, "{other:?} cannot be written"),
        }
    }

    fn input<'a>(&'a self, run: Run<'a>, operand: &Operand, shape: &'a [usize]) -> Result<Input<'a>> {
        let bytes = match operand.place {
            Place::Absent => return Ok(Input::Absent),
            Place::Buffer(buffer) => self.buffers[buffer].bytes(),
            Place::Weight(weight) => match self.weights.at(weight) {
                Weight::Packed { matrix, .. } => return Ok(Input::Packed(matrix)),
                Weight::Filters(filters) => return Ok(Input::Filters(filters)),
                Weight::Integers(matrix) => return Ok(Input::Integers(matrix)),
                Weight::IntegerFilters(filters) => return Ok(Input::IntegerFilters(filters)),
                Weight::Plain(tensor) => tensor.bytes(),
            },
            Place::Constant(id) => match &run.graph.value(id).source {
                Source::Const(tensor) => tensor.bytes(),
                _ => return fail!(Internal, "a constant is none any more"),
            },
            Place::Known(id) => run.plan.known[&id].bytes(),
            Place::Fed(id) => match run.feeds.get(&id) {
                Some(tensor) => tensor.bytes(),
                None => {
                    let missing = Error::new(ErrorKind::InvalidInput, "nothing was fed for this input");
                    return Err(missing.at(&*run.graph.value(id).name));
                }
            },
        };
        match bytes.get(..operand.bytes) {
            Some(bytes) => Ok(Input::Tensor(TensorView { dtype: operand.dtype, shape, bytes })),
            None => too_small(bytes.len(), operand, shape),
        }
    }
}

fn too_small<T>(n_bytes: usize, operand: &Operand, shape: &[usize]) -> Result<T> {
    fail!(Internal, "a buffer of {n_bytes} bytes is too small for {} {shape:?}", operand.dtype)
}

impl Backend for CpuBackend {
    fn plan_options(&self) -> PlanOptions {
        PlanOptions { in_place: true }
    }

    fn draft_len(&self) -> usize {
        // Activations that stay f32 meet one row and several in another order.
        if self.exact { 0 } else { QUANTIZED_TILE - 1 }
    }

    fn write_weight(&mut self, id: ValueId, first_row: usize, offset: usize, chunk: &Chunk) -> Result<()> {
        match self.weights.place(id) {
            Some(weight) => self.weights.at_mut(weight).write(first_row, offset, &chunk.read()),
            None => Ok(()),
        }
    }

    fn has_repacked(&self, id: ValueId) -> bool {
        self.prepared.is_none() && self.weights.place(id).is_some()
    }

    fn prepare(&mut self, graph: &Graph, plan: &Plan) -> Result<()> {
        let Some(prepared) = &mut self.prepared else { return Ok(()) };
        if !prepared.insert(plan.id) {
            return Ok(());
        }
        for &place in plan.steps.iter().flat_map(|step| step.inputs.iter().flatten()) {
            if let Planned::Fixed(id) = place {
                self.weights.pack(graph, id, graph.consumers(id))?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, plan: &Plan) {
        self.prepared.iter_mut().for_each(|prepared| _ = prepared.remove(&plan.id));
        self.tables.remove(&plan.id);
    }

    fn submit(&mut self, graph: &Graph, plan: &Plan, feeds: HashMap<ValueId, Feed>) -> Result<Pending> {
        let tensors = feeds.into_iter().map(|(id, feed)| match feed {
            Feed::Tensor(Held::Here(tensor)) => Ok((id, tensor)),
            Feed::Tensor(Held::There(_)) => fail!(Internal, "a run on the CPU is fed what lies on a device"),
            Feed::Previous(_) => fail!(Internal, "a run on the CPU is over before the next one begins"),
        });
        self.prepare(graph, plan)?;
        let outputs = self.run(graph, plan, &tensors.collect::<Result<_>>()?);
        Ok(Box::pin(std::future::ready(outputs)))
    }

    fn profile(&self, graph: &Graph, plan: &Plan) -> Vec<Profiled> {
        let table = self.tables.get(&plan.id);
        let profiled = |(i, step): (usize, &Step)| {
            let node = graph.node(step.node);
            let reason = plan.reasons.get(&step.node).cloned();
            let (node, kernel) = (node.name.to_string(), node.op.name().to_string());
            Profiled { node, kernel, device: "cpu", reason, ms: table.map(|table| table.ms[i]) }
        };
        plan.steps.iter().enumerate().map(profiled).collect()
    }

    fn time_launches(&mut self, on: bool) {
        self.timed = on;
    }

    fn memory_bytes(&self) -> usize {
        self.weights.memory_bytes() + self.buffers.iter().map(Buffer::n_bytes).sum::<usize>()
    }
}
