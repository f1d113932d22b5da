//! Weights, states and slots of one graph on the GPU, and plans recorded once and replayed. A run is: what is
//! fed gets written, one compute pass, copies of the outputs; all in one submit.

use super::device::GpuDevice;
use super::read_back::ReadBack;
use super::recording::{Launch, Recording};
use super::resident::{GpuTensor, tensor_of};
use super::timer::Timer;
use super::weights::GpuWeight;
use crate::backend::{Backend, Feed, Held, Pending, PendingHeld, Profiled};
use crate::error::{Error, ErrorKind, Result, fail};
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::kernels::dispatch::{Dispatch, Operand};
use crate::ops::{Lowered, Types};
use crate::plan::{Place, Plan, PlanId, PlanOptions, Step};
use crate::tensor::Chunk;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Steps that may be under way before the first is read.
const PIPELINE_DEPTH: usize = 2;

/// Buffers of one graph on one device.
pub struct GpuBackend {
    device: GpuDevice,
    weights: HashMap<ValueId, GpuWeight>,
    constants: HashMap<ValueId, wgpu::Buffer>,
    states: HashMap<ValueId, wgpu::Buffer>,
    fed: HashMap<ValueId, wgpu::Buffer>,
    /// What stays here between the segments of a run.
    kept: HashMap<ValueId, wgpu::Buffer>,
    /// What planning has computed, by plan.
    known: HashMap<(PlanId, ValueId), wgpu::Buffer>,
    slots: Vec<wgpu::Buffer>,
    /// Room for what the launches of one node leave to each other.
    scratch: Vec<wgpu::Buffer>,
    recordings: HashMap<PlanId, Recording>,
    /// The outputs of the last run, with their sizes.
    last: HashMap<ValueId, (wgpu::Buffer, usize)>,
    /// Whether runs are timed, and milliseconds by launch of the last timed run of each plan.
    timing: bool,
    times: Rc<RefCell<HashMap<PlanId, Vec<f64>>>>,
}

impl GpuBackend {
    /// Allocates the weights and states of `graph`. Constants come once a plan needs them.
    pub fn new(graph: &Graph, device: GpuDevice) -> Result<Self> {
        let mut backend = Self {
            device,
            weights: HashMap::new(),
            constants: HashMap::new(),
            states: HashMap::new(),
            fed: HashMap::new(),
            kept: HashMap::new(),
            known: HashMap::new(),
            slots: Vec::new(),
            scratch: Vec::new(),
            recordings: HashMap::new(),
            last: HashMap::new(),
            timing: false,
            times: Rc::default(),
        };
        for (id, value) in graph.values() {
            if graph.consumers(id).is_empty() {
                continue;
            }
            backend.allocate(id, value).map_err(|e| e.at(&*value.name))?;
        }
        backend.device.check()?;
        Ok(backend)
    }

    fn allocate(&mut self, id: ValueId, value: &crate::graph::Value) -> Result<()> {
        let device = &self.device;
        match &value.source {
            Source::Weight(_) => {
                let ty = value.known_ty()?;
                let weight = GpuWeight::new(device, &value.name, ty.dtype, &ty.known_shape()?)?;
                self.weights.insert(id, weight);
            }
            Source::State => {
                self.states.insert(id, device.buffer(&value.name, value.known_ty()?.n_bytes()?));
            }
            Source::Const(_) | Source::Input | Source::Node(..) => {}
        }
        Ok(())
    }

    /// Why this device cannot run a plan, where it cannot: the first node without a kernel.
    pub fn obstacle(device: &GpuDevice, graph: &Graph, plan: &Plan) -> Result<Option<String>> {
        for step in &plan.steps {
            if let Lowered::NotOnGpu { why } = lower(device, graph, plan, step)? {
                let node = graph.node(step.node);
                return Ok(Some(format!("'{}' ({}): {why}", node.name, node.op.name())));
            }
        }
        Ok(None)
    }

    /// Makes slots and inputs as large as a plan needs. Recordings of the old buffers are dropped.
    fn make_room(&mut self, graph: &Graph, plan: &Plan) -> Result<()> {
        let mut grown = false;
        for (i, &bytes) in plan.slots.iter().enumerate() {
            if self.slots.get(i).is_some_and(|slot| slot.size() >= bytes as u64) {
                continue;
            }
            let buffer = self.device.buffer("slot", bytes);
            match self.slots.get_mut(i) {
                Some(slot) => (*slot, grown) = (buffer, true),
                None => self.slots.push(buffer),
            }
        }
        let inputs = plan.steps.iter().flat_map(|step| step.inputs.iter().zip(&step.input_types));
        let inputs = inputs.filter_map(|(place, ty)| Some(((*place)?, ty.as_ref()?)));
        let made = plan.steps.iter().flat_map(|step| step.outputs.iter().copied().zip(&step.output_types));
        let read = plan.outputs.iter().map(|output| (output.place, &output.ty));
        for (place, ty) in inputs.chain(made).chain(read) {
            let (buffers, id) = match place {
                Place::Fed(id) => (&mut self.fed, id),
                Place::Kept(id) => (&mut self.kept, id),
                _ => continue,
            };
            let bytes = ty.n_bytes()?;
            if buffers.get(&id).is_none_or(|buffer| buffer.size() < bytes as u64) {
                let buffer = self.device.buffer(&graph.value(id).name, bytes);
                grown |= buffers.insert(id, buffer).is_some();
            }
        }
        if grown {
            self.recordings.clear();
        }
        Ok(())
    }

    fn record(&mut self, graph: &Graph, plan: &Plan) -> Result<Recording> {
        let mut lowered: Vec<(&Step, Dispatch)> = Vec::new();
        for step in &plan.steps {
            match lower(&self.device, graph, plan, step)? {
                Lowered::Dispatches(dispatches) => {
                    lowered.extend(dispatches.into_iter().map(|dispatch| (step, dispatch)));
                }
                Lowered::NotOnGpu { why } => {
                    let node = graph.node(step.node);
                    return Err(Error::new(
                        ErrorKind::UnsupportedOp,
                        format!(
                            "the GPU has no kernel for {}: {why}. Load with device \"cpu\"",
                            node.op.name()
                        ),
                    )
                    .at(&*node.name));
                }
            }
        }
        let mut fixed: Vec<ValueId> = plan.outputs.iter().filter_map(|output| output.place.fixed()).collect();
        for (step, dispatch) in &lowered {
            let read = dispatch
                .bindings
                .iter()
                .filter_map(|(_, operand)| step.inputs.get(operand.input()?)?.as_ref());
            fixed.extend(read.filter_map(Place::fixed));
        }
        fixed.into_iter().for_each(|id| self.upload(graph, id));
        for (_, operand) in lowered.iter().flat_map(|(_, dispatch)| &dispatch.bindings) {
            self.reserve(*operand);
        }
        let tables: Vec<Option<(u32, wgpu::Buffer)>> = (lowered.iter_mut())
            .map(|(_, dispatch)| {
                let (binding, bytes) = dispatch.table.take()?;
                let buffer = self.device.buffer("table", bytes.len());
                self.device.write(&buffer, 0, &padded(&bytes));
                Some((binding, buffer))
            })
            .collect();
        let mut launches = Vec::with_capacity(lowered.len());
        for ((step, dispatch), table) in lowered.into_iter().zip(&tables) {
            let name = &graph.node(step.node).name;
            let buffers = dispatch.bindings.iter().map(|&(binding, operand)| {
                let buffer = self.buffer(plan, step, operand).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Internal,
                        format!("{} has no buffer for {operand:?}", dispatch.shader),
                    )
                });
                Ok((binding, buffer.map_err(|e| e.at(&**name))?))
            });
            let buffers = buffers.chain(table.iter().map(|(binding, buffer)| Ok((*binding, buffer))));
            launches.push(Launch {
                shader: dispatch.shader,
                buffers: buffers.collect::<Result<_>>()?,
                params: dispatch.params,
                groups: dispatch.groups,
            });
        }
        Recording::new(&self.device, &launches)
    }

    /// Makes scratch as large as an operand wants it. What is recorded keeps the buffer that it has.
    fn reserve(&mut self, operand: Operand) {
        let Operand::Scratch(number, bytes) = operand else { return };
        for i in 0..=number {
            let wanted = if i == number { bytes } else { 0 };
            match self.scratch.get_mut(i) {
                Some(buffer) if buffer.size() >= wanted as u64 => {}
                Some(buffer) => *buffer = self.device.buffer("scratch", wanted),
                None => self.scratch.push(self.device.buffer("scratch", wanted)),
            }
        }
    }

    /// Brings a constant here, if it is not.
    fn upload(&mut self, graph: &Graph, id: ValueId) {
        let value = graph.value(id);
        if let Source::Const(tensor) = &value.source {
            let device = &self.device;
            self.constants.entry(id).or_insert_with(|| {
                let buffer = device.buffer(&value.name, tensor.bytes().len());
                device.write(&buffer, 0, &padded(tensor.bytes()));
                buffer
            });
        }
    }

    /// The buffer that a step's operand means.
    fn buffer(&self, plan: &Plan, step: &Step, operand: Operand) -> Option<&wgpu::Buffer> {
        let place = match (operand, operand.input()) {
            (_, Some(index)) => (*step.inputs.get(index)?)?,
            (Operand::Output(index), None) => *step.outputs.get(index)?,
            (Operand::Scratch(number, _), None) => return self.scratch.get(number),
            _ => return None,
        };
        self.at(plan, place, operand)
    }

    fn at(&self, plan: &Plan, place: Place, operand: Operand) -> Option<&wgpu::Buffer> {
        match place {
            Place::Slot(slot) => self.slots.get(slot),
            Place::Fed(id) => self.fed.get(&id),
            Place::Kept(id) => self.kept.get(&id),
            Place::State(id) => self.states.get(&id),
            Place::Known(id) => self.known.get(&(plan.id, id)),
            Place::Fixed(id) => match self.weights.get(&id) {
                Some(weight) => weight.buffer(operand),
                None => self.constants.get(&id),
            },
        }
    }

    /// Writes what a run is fed.
    fn feed(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        graph: &Graph,
        feeds: &HashMap<ValueId, Feed>,
    ) -> Result<()> {
        for (id, buffer) in &self.fed {
            let name = &graph.value(*id).name;
            match feeds.get(id) {
                Some(Feed::Tensor(Held::Here(tensor))) => {
                    let bytes = padded(tensor.bytes());
                    self.device.count(bytes.len(), 0);
                    self.device.write(buffer, 0, &bytes);
                }
                Some(Feed::Tensor(Held::There(resident))) => {
                    let on_gpu = resident.as_any().downcast_ref::<GpuTensor>();
                    let Some(tensor) = on_gpu.filter(|tensor| tensor.is_on(&self.device)) else {
                        return fail!(Internal, "what '{name}' is fed lies on another device");
                    };
                    let (from, bytes) = tensor.buffer();
                    encoder.copy_buffer_to_buffer(from, 0, buffer, 0, bytes as u64);
                }
                Some(Feed::Previous(output)) => match self.last.get(output) {
                    Some((from, bytes)) => encoder.copy_buffer_to_buffer(from, 0, buffer, 0, *bytes as u64),
                    None => return fail!(Internal, "the run before did not compute what '{name}' is fed"),
                },
                // Another plan's input.
                None => {}
            }
        }
        Ok(())
    }
}

impl Backend for GpuBackend {
    fn plan_options(&self) -> PlanOptions {
        // WebGPU forbids one buffer to be read and written by one launch.
        PlanOptions { in_place: false }
    }

    fn refuses(&self, graph: &Graph, node: NodeId, types: &Types) -> Result<Option<String>> {
        let node = graph.node(node);
        for ty in types.inputs.iter().flatten().chain(types.outputs) {
            let bytes = ty.n_bytes()? as u64;
            if bytes > self.device.caps().max_binding_bytes {
                return Ok(Some(format!("{ty} is larger than the GPU's bindings")));
            }
            if bytes == 0 {
                return Ok(Some("there is nothing to compute".to_string()));
            }
        }
        match node.op.def().lower_gpu(&self.device.caps(), types) {
            Ok(Lowered::NotOnGpu { why }) => Ok(Some(why)),
            Ok(Lowered::Dispatches(_)) => Ok(None),
            // It would take more workgroups than there may be.
            Err(error) if error.kind() == ErrorKind::UnsupportedOp => Ok(Some(error.message().to_string())),
            Err(error) => Err(error),
        }
    }

    fn write_weight(&mut self, id: ValueId, first_row: usize, offset: usize, chunk: &Chunk) -> Result<()> {
        match self.weights.get_mut(&id) {
            Some(weight) => weight.push(&self.device, first_row, offset, chunk),
            None => Ok(()),
        }
    }

    fn prepare(&mut self, graph: &Graph, plan: &Plan) -> Result<()> {
        self.make_room(graph, plan)?;
        for (&id, tensor) in &plan.known {
            let device = &self.device;
            self.known.entry((plan.id, id)).or_insert_with(|| {
                let buffer = device.buffer(&graph.value(id).name, tensor.bytes().len());
                device.write(&buffer, 0, &padded(tensor.bytes()));
                buffer
            });
        }
        if !self.recordings.contains_key(&plan.id) {
            let recording = self.record(graph, plan)?;
            self.recordings.insert(plan.id, recording);
        }
        Ok(())
    }

    fn submit(&mut self, graph: &Graph, plan: &Plan, feeds: HashMap<ValueId, Feed>) -> Result<Pending> {
        let pending = self.submit_keeping(graph, plan, feeds, &HashSet::new())?;
        Ok(Box::pin(async move {
            let here = |held| match held {
                Held::Here(tensor) => Ok(tensor),
                Held::There(_) => fail!(Internal, "an output has stayed on the device"),
            };
            pending.await?.into_iter().map(here).collect()
        }))
    }

    fn submit_keeping(
        &mut self,
        graph: &Graph,
        plan: &Plan,
        feeds: HashMap<ValueId, Feed>,
        keep: &HashSet<ValueId>,
    ) -> Result<PendingHeld> {
        self.device.check()?;
        self.prepare(graph, plan)?;
        let device = self.device.clone();
        let mut encoder = device.device.create_command_encoder(&Default::default());
        self.feed(&mut encoder, graph, &feeds)?;
        let recording = &self.recordings[&plan.id];
        let timer = self.timing.then(|| Timer::new(&device, recording.len()));
        match timer.as_ref().filter(|timer| timer.separates()) {
            Some(timer) => recording.encode_timed(&mut encoder, timer),
            None => recording.encode(&mut encoder),
        }
        let mut parts = Vec::new();
        // What is held already, and the types of what comes back.
        let mut outputs = Vec::with_capacity(plan.outputs.len());
        self.last.clear();
        for output in &plan.outputs {
            let Some(buffer) = self.at(plan, output.place, Operand::Input(0)).cloned() else {
                return fail!(Internal, "the output '{}' has no buffer", output.name);
            };
            let bytes = output.ty.n_bytes()?.next_multiple_of(4);
            self.last.insert(output.value, (buffer.clone(), bytes));
            if keep.contains(&output.value) {
                let kept = GpuTensor::copied(&device, &mut encoder, &buffer, &output.ty)?;
                outputs.push(Ok(Held::There(Rc::new(kept))));
            } else {
                outputs.push(Err(output.ty.clone()));
                parts.push((buffer, bytes));
            }
        }
        let stamps = timer.as_ref().and_then(|timer| timer.resolve(&mut encoder));
        parts.extend(stamps);
        if parts.is_empty() {
            device.queue.submit([encoder.finish()]);
            return Ok(Box::pin(std::future::ready(Ok(outputs.into_iter().flatten().collect()))));
        }
        let parts: Vec<(&wgpu::Buffer, usize)> = parts.iter().map(|(buffer, n)| (buffer, *n)).collect();
        let read = ReadBack::encode(&device, &mut encoder, &parts);
        device.queue.submit([encoder.finish()]);
        read.request();
        let (times, id) = (Rc::clone(&self.times), plan.id);
        Ok(Box::pin(async move {
            let bytes = read.take(&device).await?;
            let mut rest = &bytes[..];
            let outputs = outputs.into_iter().map(|output| match output {
                Ok(held) => Ok(held),
                Err(ty) => tensor_of(&ty, &mut rest).map(Held::Here),
            });
            let outputs = outputs.collect();
            if let Some(timer) = timer {
                times.borrow_mut().insert(id, timer.times(rest, device.queue.get_timestamp_period()));
            }
            outputs
        }))
    }

    fn is_device(&self) -> bool {
        true
    }

    fn time_launches(&mut self, on: bool) {
        self.timing = on;
    }

    fn forget(&mut self, plan: &Plan) {
        self.recordings.remove(&plan.id);
        self.times.borrow_mut().remove(&plan.id);
        self.known.retain(|(id, _), _| *id != plan.id);
    }

    fn pipeline_depth(&self) -> usize {
        PIPELINE_DEPTH
    }

    fn profile(&self, graph: &Graph, plan: &Plan) -> Vec<Profiled> {
        let launches = plan.steps.iter().flat_map(|step| {
            let dispatches = match lower(&self.device, graph, plan, step) {
                Ok(Lowered::Dispatches(dispatches)) => dispatches,
                _ => Vec::new(),
            };
            dispatches.into_iter().map(|dispatch| (graph.node(step.node).name.to_string(), dispatch.shader))
        });
        let times = self.times.borrow();
        let ms = |launch: usize| times.get(&plan.id).and_then(|times| times.get(launch)).copied();
        let profiled = |(i, (node, shader)): (usize, (String, &str))| Profiled {
            node,
            kernel: shader.to_string(),
            device: "webgpu",
            reason: None,
            ms: ms(i),
        };
        launches.enumerate().map(profiled).collect()
    }

    fn memory_bytes(&self) -> usize {
        let buffers = (self.constants.values())
            .chain(self.states.values())
            .chain(self.fed.values())
            .chain(self.kept.values())
            .chain(self.known.values());
        let buffers = buffers.chain(&self.slots).chain(&self.scratch).map(|buffer| buffer.size() as usize);
        self.weights.values().map(GpuWeight::bytes).chain(buffers).sum()
    }
}

impl Drop for GpuBackend {
    /// Frees the memory now: in a browser, a buffer would else wait for the garbage collector.
    fn drop(&mut self) {
        self.weights.values().for_each(GpuWeight::destroy);
        let buffers = (self.constants.values())
            .chain(self.states.values())
            .chain(self.fed.values())
            .chain(self.kept.values())
            .chain(self.known.values());
        buffers.chain(&self.slots).chain(&self.scratch).for_each(wgpu::Buffer::destroy);
    }
}

fn lower(device: &GpuDevice, graph: &Graph, plan: &Plan, step: &Step) -> Result<Lowered> {
    let node = graph.node(step.node);
    let values = node.inputs.iter().map(|id| match &graph.value((*id)?).source {
        Source::Const(tensor) => Some(&**tensor),
        _ => plan.known.get(&(*id)?).map(|tensor| &**tensor),
    });
    let values: Vec<_> = values.collect();
    let types = Types { inputs: &step.input_types, outputs: &step.output_types, values: &values };
    node.op.lower(&device.caps(), &types).map_err(|e| e.at(&*node.name))
}

/// Bytes with zeros up to whole words, as writes want them.
fn padded(bytes: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if bytes.len().is_multiple_of(4) {
        return bytes.into();
    }
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.into()
}
