//! The CPU back end: weights repacked as their operators want them, states and slots as plain buffers, and
//! plans run step by step. While a step runs, the buffers it writes are taken out of their tables, so that
//! what it reads and what it writes are different memory by construction.

use super::{Backend, Feed, Held, Pending, Profiled};
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::kernels::clock;
use crate::kernels::conv::Filters;
use crate::kernels::conv::integer::IntegerFilters;
use crate::kernels::gemm::integer::IntegerMatrix;
use crate::kernels::gemm::{PackedMatrix, Packer, QUANTIZED_TILE};
use crate::kernels::threads::Threads;
use crate::ops::{CpuContext, Input, Packing, Types, integer_product};
use crate::plan::{Place, Plan, PlanId, PlanOptions, PlanOutput, Step};
use crate::tensor::{Buffer, Chunk, Tensor, TensorView, TensorViewMut};
use crate::types::{DType, TensorType};
use std::collections::{HashMap, HashSet};

/// A weight in its place.
enum Weight {
    Packed { matrix: PackedMatrix, packer: Packer },
    Filters(Filters),
    Integers(IntegerMatrix),
    IntegerFilters(IntegerFilters),
    Plain(Tensor),
}

impl Weight {
    /// Takes bytes: see [`Backend::write_weight`].
    fn write(&mut self, first_row: usize, offset: usize, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Packed { matrix, packer } => {
                if offset == 0 {
                    packer.start(first_row);
                }
                packer.push(matrix, bytes)
            }
            Self::Filters(_) | Self::Integers(_) | Self::IntegerFilters(_) => {
                fail!(Internal, "filters and integers are packed from a constant")
            }
            Self::Plain(tensor) => {
                let row_bytes = tensor.bytes().len() / tensor.shape().first().copied().unwrap_or(1).max(1);
                let start = first_row * row_bytes + offset;
                match tensor.view_mut().bytes.get_mut(start..start + bytes.len()) {
                    Some(place) => place.copy_from_slice(bytes),
                    None => return fail!(Format, "a tensor has more bytes than its shape"),
                }
                Ok(())
            }
        }
    }
}

/// Weights, states and buffers of one graph on the CPU.
pub struct CpuBackend {
    weights: HashMap<ValueId, Weight>,
    states: HashMap<ValueId, Buffer>,
    slots: Vec<Buffer>,
    threads: Threads,
    exact: bool,
    /// Whether each run is timed.
    timed: bool,
    known: HashMap<PlanId, Known>,
    /// The plans whose constants are repacked, where that waits for plans.
    prepared: Option<HashSet<PlanId>>,
}

/// What is found out about a plan once, for all its runs.
struct Known {
    steps: Vec<Shapes>,
    /// Runs so far.
    runs: usize,
    /// Milliseconds that each step of the last run that was timed took.
    ms: Vec<f64>,
}

/// Runs of which two are timed where nobody wants each: in a browser the clock is a call, and a small plan has many steps.
const RUNS: usize = 16;

/// Multiplications, or the like, of a plan that are worth waking threads for: some tens of microseconds.
const WORTH: u64 = 1 << 21;

/// The shapes of a step, and where its loops run: threads cost a small plan more than they bring.
struct Shapes {
    threads: Threads,
    inputs: Vec<Vec<usize>>,
    outputs: Vec<Vec<usize>>,
    /// Bytes of each output.
    bytes: Vec<usize>,
}

impl Known {
    fn of(graph: &Graph, plan: &Plan, threads: Threads) -> Result<Self> {
        let work = |step: &Step| {
            let (inputs, outputs) = (&step.input_types[..], &step.output_types[..]);
            graph.node(step.node).op.def().work(&Types { inputs, outputs, values: &[] })
        };
        let work = plan.steps.iter().map(work).fold(0, u64::saturating_add);
        let threads = if work < WORTH && !cfg!(test) { Threads::single() } else { threads };
        let shapes = |step: &Step| {
            let inputs = step.input_types.iter();
            Ok(Shapes {
                threads,
                inputs: inputs
                    .map(|ty| ty.as_ref().map_or(Ok(Vec::new()), TensorType::known_shape))
                    .collect::<Result<_>>()?,
                outputs: step.output_types.iter().map(TensorType::known_shape).collect::<Result<_>>()?,
                bytes: step.output_types.iter().map(TensorType::n_bytes).collect::<Result<_>>()?,
            })
        };
        let steps = plan.steps.iter().map(shapes).collect::<Result<_>>()?;
        Ok(Self { steps, runs: 0, ms: vec![0.0; plan.steps.len()] })
    }
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
        let mut weights = HashMap::new();
        let mut states = HashMap::new();
        for (id, value) in graph.values() {
            let users = graph.consumers(id);
            if users.is_empty() {
                continue;
            }
            match &value.source {
                Source::Weight(_) => {
                    let weight = new_weight(graph, id, users).map_err(|e| e.at(&*value.name))?;
                    weights.insert(id, weight);
                }
                Source::Const(tensor) if at_once => {
                    if let Some(weight) = packed(graph, id, users, tensor).map_err(|e| e.at(&*value.name))? {
                        weights.insert(id, weight);
                    }
                }
                Source::State => {
                    states.insert(id, Buffer::zeros(value.known_ty()?.n_bytes()?)?);
                }
                _ => {}
            }
        }
        let prepared = (!at_once).then(HashSet::new);
        Ok(Self {
            weights,
            states,
            slots: Vec::new(),
            threads: Threads::shared(),
            exact,
            timed: false,
            known: HashMap::new(),
            prepared,
        })
    }

    /// Runs a plan to its end.
    fn run(&mut self, graph: &Graph, plan: &Plan, feeds: &HashMap<ValueId, Tensor>) -> Result<Vec<Tensor>> {
        self.slots.resize_with(self.slots.len().max(plan.slots.len()), Buffer::default);
        for (slot, &bytes) in self.slots.iter_mut().zip(&plan.slots) {
            if slot.n_bytes() < bytes {
                *slot = Buffer::default();
                *slot = Buffer::zeros(bytes)?;
            }
        }
        let mut known = match self.known.remove(&plan.id) {
            Some(known) => known,
            None => Known::of(graph, plan, self.threads)?,
        };
        // The first run is a cold one: the second is timed as well.
        let timed = self.timed || known.runs % RUNS <= 1;
        known.runs += 1;
        let mut before = clock::now();
        for ((step, shapes), ms) in plan.steps.iter().zip(&known.steps).zip(&mut known.ms) {
            self.run_step(graph, plan, step, shapes, feeds)
                .map_err(|e| e.at(&*graph.node(step.node).name))?;
            if timed {
                let after = clock::now();
                *ms = after - before;
                before = after;
            }
        }
        self.known.insert(plan.id, known);
        (plan.outputs.iter())
            .map(|PlanOutput { name, place, ty, .. }| {
                let shape = ty.known_shape()?;
                let view = self.view(graph, plan, feeds, *place, ty.dtype, &shape);
                Tensor::copied(view.map_err(|e| e.at(name.as_str()))?.tensor()?)
            })
            .collect()
    }

    fn run_step(
        &mut self,
        graph: &Graph,
        plan: &Plan,
        step: &Step,
        shapes: &Shapes,
        feeds: &HashMap<ValueId, Tensor>,
    ) -> Result<()> {
        let mut taken: Vec<Buffer> = Vec::with_capacity(step.outputs.len());
        for &place in &step.outputs {
            taken.push(std::mem::take(self.buffer_mut(place)?));
        }
        let outcome = self.eval(graph, plan, step, shapes, feeds, &mut taken);
        for (&place, buffer) in step.outputs.iter().zip(taken) {
            *self.buffer_mut(place)? = buffer;
        }
        outcome
    }

    fn eval(
        &self,
        graph: &Graph,
        plan: &Plan,
        step: &Step,
        shapes: &Shapes,
        feeds: &HashMap<ValueId, Tensor>,
        taken: &mut [Buffer],
    ) -> Result<()> {
        let def = graph.node(step.node).op.def();
        let updated = def.updates_state();
        let mut inputs = Vec::with_capacity(step.inputs.len());
        for (i, place) in step.inputs.iter().enumerate() {
            inputs.push(match (place, &step.input_types[i]) {
                (Some(place), Some(ty)) if updated.iter().all(|&(input, _)| input != i) => {
                    self.view(graph, plan, feeds, *place, ty.dtype, &shapes.inputs[i])?
                }
                _ => Input::Absent,
            });
        }
        let mut outputs = Vec::with_capacity(taken.len());
        for (i, (buffer, ty)) in taken.iter_mut().zip(&step.output_types).enumerate() {
            let (bytes, all) = (shapes.bytes[i], buffer.bytes_mut());
            ensure!(all.len() >= bytes, Internal, "a buffer of {} bytes is too small for {ty}", all.len());
            outputs.push(TensorViewMut {
                dtype: ty.dtype,
                shape: &shapes.outputs[i],
                bytes: &mut all[..bytes],
            });
        }
        let cx = CpuContext { threads: shapes.threads, exact: self.exact };
        graph.node(step.node).op.eval(&cx, &inputs, &mut outputs)
    }

    fn buffer_mut(&mut self, place: Place) -> Result<&mut Buffer> {
        let found = match place {
            Place::Slot(slot) => self.slots.get_mut(slot),
            Place::State(id) => self.states.get_mut(&id),
            Place::Fed(_) | Place::Fixed(_) | Place::Known(_) | Place::Kept(_) => None,
        };
        found.ok_or_else(|| Error::new(ErrorKind::Internal, format!("{place:?} cannot be written")))
    }

    fn view<'a>(
        &'a self,
        graph: &'a Graph,
        plan: &'a Plan,
        feeds: &'a HashMap<ValueId, Tensor>,
        place: Place,
        dtype: DType,
        shape: &'a [usize],
    ) -> Result<Input<'a>> {
        let missing = || Error::new(ErrorKind::InvalidInput, "nothing was fed for this input");
        let bytes: &[u8] = match place {
            Place::Slot(slot) => self.slots[slot].bytes(),
            Place::State(id) => self.states[&id].bytes(),
            Place::Known(id) => plan.known[&id].bytes(),
            Place::Kept(_) => return fail!(Internal, "a value of the GPU was not read back"),
            Place::Fed(id) => {
                feeds.get(&id).ok_or_else(missing).map_err(|e| e.at(&*graph.value(id).name))?.bytes()
            }
            Place::Fixed(id) => match (&graph.value(id).source, self.weights.get(&id)) {
                (_, Some(Weight::Packed { matrix, .. })) => return Ok(Input::Packed(matrix)),
                (_, Some(Weight::Filters(filters))) => return Ok(Input::Filters(filters)),
                (_, Some(Weight::Integers(matrix))) => return Ok(Input::Integers(matrix)),
                (_, Some(Weight::IntegerFilters(filters))) => return Ok(Input::IntegerFilters(filters)),
                (_, Some(Weight::Plain(tensor))) => tensor.bytes(),
                (Source::Const(tensor), None) => tensor.bytes(),
                (_, None) => return fail!(Internal, "a weight was not allocated"),
            },
        };
        let len: usize = shape.iter().product();
        match dtype.bytes_for(len).and_then(|n| bytes.get(..n)) {
            Some(bytes) => Ok(Input::Tensor(TensorView { dtype, shape, bytes })),
            None => fail!(Internal, "a buffer of {} bytes is too small for {dtype} {shape:?}", bytes.len()),
        }
    }
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
        match self.weights.get_mut(&id) {
            Some(weight) => weight.write(first_row, offset, &chunk.read()),
            None => Ok(()),
        }
    }

    fn has_repacked(&self, id: ValueId) -> bool {
        self.prepared.is_none() && self.weights.contains_key(&id)
    }

    fn prepare(&mut self, graph: &Graph, plan: &Plan) -> Result<()> {
        let Some(prepared) = &mut self.prepared else { return Ok(()) };
        if !prepared.insert(plan.id) {
            return Ok(());
        }
        for &place in plan.steps.iter().flat_map(|step| step.inputs.iter().flatten()) {
            let Place::Fixed(id) = place else { continue };
            if let (Source::Const(tensor), false) = (&graph.value(id).source, self.weights.contains_key(&id))
            {
                let weight = packed(graph, id, graph.consumers(id), tensor);
                self.weights
                    .extend(weight.map_err(|e| e.at(&*graph.value(id).name))?.map(|weight| (id, weight)));
            }
        }
        Ok(())
    }

    fn forget(&mut self, plan: &Plan) {
        self.prepared.iter_mut().for_each(|prepared| _ = prepared.remove(&plan.id));
        self.known.remove(&plan.id);
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
        let known = self.known.get(&plan.id);
        let profiled = |(i, step): (usize, &Step)| {
            let node = graph.node(step.node);
            let reason = plan.reasons.get(&step.node).cloned();
            let (node, kernel) = (node.name.to_string(), node.op.name().to_string());
            Profiled { node, kernel, device: "cpu", reason, ms: known.map(|known| known.ms[i]) }
        };
        plan.steps.iter().enumerate().map(profiled).collect()
    }

    fn time_launches(&mut self, on: bool) {
        self.timed = on;
    }

    fn memory_bytes(&self) -> usize {
        let weights = self.weights.values().map(|w| match w {
            Weight::Packed { matrix, .. } => matrix.memory_bytes(),
            Weight::Filters(filters) => filters.memory_bytes(),
            Weight::Integers(matrix) => matrix.memory_bytes(),
            Weight::IntegerFilters(filters) => filters.memory_bytes(),
            Weight::Plain(tensor) => tensor.bytes().len(),
        });
        let buffers = self.states.values().chain(&self.slots).map(Buffer::n_bytes);
        weights.sum::<usize>() + buffers.sum::<usize>()
    }
}

fn new_weight(graph: &Graph, id: ValueId, users: &[NodeId]) -> Result<Weight> {
    let ty = graph.ty(id)?;
    let shape = ty.known_shape()?;
    if let (Some(Packing::Matrix), &[n, k]) = (packing(graph, id, users, &shape), &shape[..]) {
        let matrix = PackedMatrix::new(ty.dtype, n, k)?;
        return Ok(Weight::Packed { packer: Packer::new(ty.dtype, k), matrix });
    }
    Ok(Weight::Plain(Tensor::zeros(ty.dtype, &shape)?))
}

/// A constant as its users want it; none where they take it as it is.
fn packed(graph: &Graph, id: ValueId, users: &[NodeId], tensor: &Tensor) -> Result<Option<Weight>> {
    match packing(graph, id, users, tensor.shape()) {
        Some(Packing::Matrix) if tensor.dtype().is_float() => {
            let packer = Packer::new(tensor.dtype(), 0);
            Ok(Some(Weight::Packed { matrix: PackedMatrix::of(tensor.view())?, packer }))
        }
        Some(packing @ (Packing::Filters { .. } | Packing::Tiles)) if tensor.dtype() == DType::F32 => {
            Ok(Some(Weight::Filters(packing.filters(tensor.view())?)))
        }
        Some(Packing::Integers) if matches!(tensor.dtype(), DType::U8 | DType::I8) => {
            Ok(Some(Weight::Integers(integer_product::pack(tensor.view())?)))
        }
        Some(Packing::IntegerFilters { groups }) if matches!(tensor.dtype(), DType::U8 | DType::I8) => {
            let signed = tensor.dtype() == DType::I8;
            let filters = IntegerFilters::new(tensor.bytes(), signed, tensor.shape(), groups)?;
            Ok(Some(Weight::IntegerFilters(filters)))
        }
        _ => Ok(None),
    }
}

/// How all users of a weight want it, where they agree.
fn packing(graph: &Graph, id: ValueId, users: &[NodeId], shape: &[usize]) -> Option<Packing> {
    let mut wanted = users.iter().flat_map(|&node| {
        let node = graph.node(node);
        let uses = (0..node.inputs.len()).filter(|&i| node.inputs[i] == Some(id));
        uses.map(|i| node.op.def().packs(i, shape))
    });
    let first = wanted.next()??;
    wanted.all(|other| other == Some(first)).then_some(first)
}
