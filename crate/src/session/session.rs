//! A graph with its weights in place, and plans made as sizes are met. Where one back end cannot do all, another
//! stands beside it, and a run goes from one to the other.

use super::iterate::Pause;
use super::plans::{PlanKey, Plans};
use crate::backend::{Backend, Feed, Held, Pending, Profiled};
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::graph::{Graph, ValueId};
use crate::ops::Types;
use crate::plan::{self, Crossing, Direct, PlanId, Segment, Side, Sides, Stage};
use crate::tensor::{Chunk, Tensor};
use crate::types::{Bindings, Dim, Shape, TensorType};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a named input is given for one run.
#[derive(Clone, Debug)]
pub enum Given<'a> {
    /// These elements.
    Tensor(Tensor),
    /// What the run before computed for the output of that name, which has this shape.
    Previous(&'a str, Vec<usize>),
}

/// A graph, its weights and states, and its plans.
pub struct Session {
    graph: Graph,
    backend: Box<dyn Backend>,
    /// What does the nodes that the other has no kernel for, and what going there costs.
    host: Option<(Box<dyn Backend>, Crossing)>,
    /// Whether the host does everything now.
    host_only: bool,
    plans: Plans,
    /// The first plans of the stages of the last run.
    last: Vec<PlanId>,
    /// What runs the graph's bodies, in their order.
    pub(super) bodies: Vec<Session>,
    /// What a long run asks now and then, and when it has last.
    pub(super) pause: Option<(Pause, f64)>,
}

/// A run on its way.
struct Run {
    key: PlanKey,
    /// The elements of what the key has the types of.
    fed: HashMap<ValueId, Held>,
    /// Outputs that stay where they are computed.
    keep: HashSet<ValueId>,
}

impl Run {
    fn new(outputs: &[&str]) -> Self {
        Self { key: PlanKey::of(outputs, Bindings::new()), fed: HashMap::new(), keep: HashSet::new() }
    }

    /// Takes what a stage computed. What is pending, or is no bytes, is known to the next.
    fn learn(&mut self, id: ValueId, held: Held, is_pending: bool) {
        match held {
            Held::Here(tensor) if is_pending || !tensor.dtype().has_bytes() => {
                self.key.known.insert(id, Arc::new(tensor));
            }
            held => {
                self.key.fed.insert(id, held.ty());
                self.fed.insert(id, held);
            }
        }
    }
}

impl Session {
    /// A session of a graph whose weights are in the back end.
    pub fn new(graph: Graph, backend: Box<dyn Backend>) -> Self {
        Self {
            graph,
            backend,
            host: None,
            host_only: false,
            plans: Plans::default(),
            last: Vec::new(),
            bodies: Vec::new(),
            pause: None,
        }
    }

    /// A session of a graph without states, on a back end that may lack kernels and one that lacks none.
    pub fn on_two(
        graph: Graph,
        device: Box<dyn Backend>,
        host: Box<dyn Backend>,
        crossing: Crossing,
    ) -> Self {
        let mut session = Self::new(graph, device);
        session.host = Some((host, crossing));
        session
    }

    /// Takes the sessions of the graph's bodies, in their order.
    pub fn with_bodies(mut self, bodies: Vec<Self>) -> Self {
        self.bodies = bodies;
        self
    }

    /// Of a session on two back ends: whether runs are the host's alone from now on.
    pub fn use_host_only(&mut self, host_only: bool) {
        self.host_only = host_only && self.host.is_some();
        self.bodies.iter_mut().for_each(|body| body.use_host_only(host_only));
    }

    /// Whether runs measure each launch from now on, where that is not for nothing.
    pub fn time_launches(&mut self, on: bool) {
        self.backend.time_launches(on);
        self.host.iter_mut().for_each(|(host, _)| host.time_launches(on));
        self.bodies.iter_mut().for_each(|body| body.time_launches(on));
    }

    /// Frees the device: runs are the host's for ever.
    pub fn free_device(&mut self) {
        if let Some((host, _)) = self.host.take() {
            self.backend = host;
            self.host_only = false;
            self.plans.keep_host_only();
        }
        self.bodies.iter_mut().for_each(Self::free_device);
    }

    /// Runs the graph on `feeds` and gives the outputs named, in that order. Fails, naming the input, when
    /// one is unknown, missing, or of a wrong type or shape.
    pub async fn run(&mut self, feeds: Vec<(&str, Tensor)>, outputs: &[&str]) -> Result<Vec<Tensor>> {
        let feeds = feeds.into_iter().map(|(name, tensor)| (name, tensor.into())).collect();
        read_all(self.run_keeping(feeds, outputs, &[]).await?).await
    }

    /// The same, where feeds may lie on the device, and the outputs named in `keep` stay on it if they are computed
    /// there.
    pub async fn run_keeping(
        &mut self,
        feeds: Vec<(&str, Held)>,
        outputs: &[&str],
        keep: &[&str],
    ) -> Result<Vec<Held>> {
        let mut run = Run::new(outputs);
        run.keep = keep.iter().map(|name| self.output(name)).collect::<Result<_>>()?;
        self.forget_last();
        for (name, held) in feeds {
            let id = self.input(name)?;
            self.give(&mut run, id, held)?;
        }
        self.complete(run).await
    }

    /// Runs the graph on values for its inputs, in their order, and gives all outputs, in theirs.
    pub(super) async fn run_all(&mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let names: Vec<&str> = self.graph.outputs().iter().map(|(name, _)| &**name).collect();
        let mut run = Run::new(&names);
        self.last.clear();
        for (i, tensor) in inputs.into_iter().enumerate() {
            self.give(&mut run, self.graph.inputs()[i], tensor.into())?;
        }
        read_all(self.complete(run).await?).await
    }

    async fn complete(&mut self, mut run: Run) -> Result<Vec<Held>> {
        loop {
            run.key.host_only = self.host_only;
            let index = self.stage(&run.key)?;
            let mut computed = self.run_stage(index, &run).await?;
            let stage = &self.plans[index];
            let from_device: Vec<ValueId> = computed.keys().copied().collect();
            for (id, direct) in &stage.direct {
                let held = match direct {
                    Direct::Known(tensor) => Tensor::clone(tensor).into(),
                    Direct::Fed(from, shape) => self.fed(&run.fed, *from)?.clone().reshaped(shape)?,
                };
                computed.insert(*id, held);
            }
            let values: Vec<ValueId> = stage.outputs.iter().map(|(_, id)| *id).collect();
            if stage.is_last() {
                return take_all(&values, computed);
            }
            let (pending, calls) = (stage.pending.clone(), stage.calls.clone());
            for id in calls {
                let node = self.graph.node(id).clone();
                let name = node.name.clone();
                let mut taken = Vec::with_capacity(node.inputs.len());
                for id in &node.inputs {
                    taken.push(match id.and_then(|id| computed.get(&id)) {
                        Some(held) => Some(held.clone().read().await?),
                        None => None,
                    });
                }
                let outputs = self.iterate(&node, taken).await.map_err(|e| e.at(&*name))?;
                if outputs.len() < node.outputs.len() {
                    let (given, wanted) = (outputs.len(), node.outputs.len());
                    let message = format!("its body gives {given} of the {wanted} outputs that the node has");
                    return Err(Error::new(ErrorKind::InvalidGraph, message).at(&*name));
                }
                let learnt = node.outputs.into_iter().zip(outputs);
                learnt.for_each(|(id, tensor)| run.learn(id, tensor.into(), false));
            }
            for id in values {
                let is_pending = pending.contains(&id);
                match computed.remove(&id) {
                    Some(held) if is_pending => run.learn(id, held.read().await?.into(), true),
                    Some(held) if from_device.contains(&id) => run.learn(id, held, false),
                    _ => {}
                }
            }
        }
    }

    fn fed<'f>(&self, fed: &'f HashMap<ValueId, Held>, id: ValueId) -> Result<&'f Held> {
        match fed.get(&id) {
            Some(held) => Ok(held),
            None => {
                let name = &self.graph.value(id).name;
                fail!(InvalidInput, "the input '{name}' was not given; {}", self.inputs())
            }
        }
    }

    /// Runs the segments of a stage, one after the other. What crosses is in `fed` only as long as the stage runs.
    async fn run_stage(&mut self, index: usize, run: &Run) -> Result<HashMap<ValueId, Held>> {
        let stage = &self.plans[index];
        self.last.push(stage.segments[0].plan.id);
        let mut computed: HashMap<ValueId, Held> = HashMap::new();
        for Segment { side, plan } in &stage.segments {
            if plan.steps.is_empty() && plan.outputs.is_empty() {
                continue;
            }
            let is_device = match (side, &self.host) {
                (Side::Host, Some((host, _))) => host.is_device(),
                _ => self.backend.is_device(),
            };
            let mut feeds = HashMap::new();
            for id in plan.fed() {
                if feeds.contains_key(&id) {
                    continue;
                }
                let held = match computed.get(&id) {
                    Some(held) => held,
                    None => self.fed(&run.fed, id)?,
                };
                let held = match held {
                    Held::There(_) if !is_device => Held::Here(held.clone().read().await?),
                    held => held.clone(),
                };
                feeds.insert(id, Feed::Tensor(held));
            }
            let backend = match (side, &mut self.host) {
                (Side::Host, Some((host, _))) => host,
                _ => &mut self.backend,
            };
            let outputs = backend.submit_keeping(&self.graph, plan, feeds, &run.keep)?.await?;
            computed.extend(plan.outputs.iter().map(|output| output.value).zip(outputs));
        }
        Ok(computed)
    }

    /// Starts a run without waiting for its outputs. Only for graphs whose types sizes alone decide.
    pub fn submit(&mut self, given: Vec<(&str, Given)>, outputs: &[&str]) -> Result<Pending> {
        let mut key = PlanKey::of(outputs, Bindings::new());
        let mut feeds = HashMap::new();
        for (name, given) in given {
            let (id, feed) = match given {
                Given::Tensor(tensor) => {
                    let id = self.input(name)?;
                    self.bind(id, &tensor.ty(), &mut key)?;
                    (id, Feed::Tensor(tensor.into()))
                }
                Given::Previous(output, shape) => {
                    let from = self.output(output)?;
                    let ty = TensorType::new(self.graph.ty(from)?.dtype, Shape::known(&shape));
                    let id = self.input(name)?;
                    self.bind(id, &ty, &mut key)?;
                    (id, Feed::Previous(from))
                }
            };
            feeds.insert(id, feed);
        }
        let index = self.stage(&key)?;
        let stage = &self.plans[index];
        let [Segment { side: Side::Device, plan }] = &stage.segments[..] else {
            return fail!(Internal, "a run on two back ends waits for its parts");
        };
        ensure!(plan.pending.is_empty(), Internal, "the elements of a value decide how this graph goes on");
        self.backend.submit(&self.graph, plan, feeds)
    }

    /// Makes the plan for these outputs and sizes, and what the back end needs for it, before its first run.
    pub fn prepare(&mut self, outputs: &[&str], bindings: Bindings) -> Result<()> {
        let index = self.stage(&PlanKey::of(outputs, bindings))?;
        for Segment { side, plan } in &self.plans[index].segments {
            match (side, &mut self.host) {
                (Side::Host, Some((host, _))) => host.prepare(&self.graph, plan)?,
                _ => self.backend.prepare(&self.graph, plan)?,
            }
        }
        Ok(())
    }

    /// Takes bytes of a weight: see [`Backend::write_weight`].
    pub(super) fn write_weight(
        &mut self,
        id: ValueId,
        first_row: usize,
        offset: usize,
        chunk: &Chunk,
    ) -> Result<()> {
        self.backend.write_weight(id, first_row, offset, chunk)
    }

    /// What a run for these outputs and sizes launches.
    pub fn profile(&mut self, outputs: &[&str], bindings: Bindings) -> Result<Vec<Profiled>> {
        let index = self.stage(&PlanKey::of(outputs, bindings))?;
        Ok(self.profile_of(&self.plans[index]))
    }

    /// What the run before launched, stage by stage. Plans that fitted that run only are gone.
    pub fn last_profile(&self) -> Vec<Profiled> {
        let ran = |stage: &Stage| self.last.contains(&stage.segments[0].plan.id);
        let own = self.plans.iter().filter(|stage| ran(stage)).flat_map(|stage| self.profile_of(stage));
        own.chain(self.bodies.iter().flat_map(Self::last_profile)).collect()
    }

    fn forget_last(&mut self) {
        self.last.clear();
        self.bodies.iter_mut().for_each(Self::forget_last);
    }

    fn profile_of(&self, stage: &Stage) -> Vec<Profiled> {
        let of = |Segment { side, plan }: &Segment| match (side, &self.host) {
            (Side::Host, Some((host, _))) => host.profile(&self.graph, plan),
            _ => self.backend.profile(&self.graph, plan),
        };
        stage.segments.iter().flat_map(of).collect()
    }

    /// The input of that name.
    fn input(&self, name: &str) -> Result<ValueId> {
        let found = self.graph.inputs().iter().find(|id| &*self.graph.value(**id).name == name);
        let Some(&id) = found else {
            return fail!(InvalidInput, "there is no input '{name}'; {}", self.inputs());
        };
        Ok(id)
    }

    /// Checks a type against an input's, and binds the symbols of its shape.
    fn bind(&self, id: ValueId, given: &TensorType, key: &mut PlanKey) -> Result<()> {
        let value = self.graph.value(id);
        let Some(ty) = &value.ty else {
            key.fed.insert(id, given.clone());
            return Ok(());
        };
        let mut fits = ty.dtype == given.dtype && ty.shape.rank() == given.shape.rank();
        for (dim, size) in ty.shape.0.iter().zip(given.known_shape()?) {
            fits &= match dim {
                Dim::Symbol(symbol) => *key.sizes.entry(symbol.clone()).or_insert(size) == size,
                other => other.known() == Some(size),
            };
        }
        ensure!(fits, ShapeMismatch, "the input '{}' wants {ty} and was given {given}", value.name);
        Ok(())
    }

    /// Gives an input its value. One that is no bytes is known from the start.
    fn give(&self, run: &mut Run, id: ValueId, held: Held) -> Result<()> {
        self.bind(id, &held.ty(), &mut run.key)?;
        match held {
            Held::Here(tensor) if !tensor.dtype().has_bytes() => {
                run.key.known.insert(id, Arc::new(tensor));
            }
            held => {
                run.fed.insert(id, held);
            }
        }
        Ok(())
    }

    fn inputs(&self) -> String {
        let names: Vec<_> = self.graph.inputs().iter().map(|id| &*self.graph.value(*id).name).collect();
        format!("the inputs are {}", names.join(", "))
    }

    fn output(&self, name: &str) -> Result<ValueId> {
        match self.graph.outputs().iter().find(|(n, _)| &**n == name) {
            Some((_, id)) => Ok(*id),
            None => {
                let names: Vec<_> = self.graph.outputs().iter().map(|(name, _)| &**name).collect();
                fail!(InvalidInput, "there is no output '{name}'; the outputs are {}", names.join(", "))
            }
        }
    }

    /// The index of the stage of that key, planned when it is new.
    fn stage(&mut self, key: &PlanKey) -> Result<usize> {
        if let Some(index) = self.plans.find(key) {
            return Ok(index);
        }
        let wanted = key.outputs.iter().map(|name| Ok((name.clone(), self.output(name)?)));
        let wanted = wanted.collect::<Result<Vec<_>>>()?;
        let given = plan::Given { sizes: &key.sizes, fed: &key.fed, known: &key.known };
        let options = self.backend.plan_options();
        let stage = match &self.host {
            None => Stage::whole(&self.graph, &wanted, &given, Side::Device, options)?,
            Some((host, _)) if key.host_only => {
                Stage::whole(&self.graph, &wanted, &given, Side::Host, host.plan_options())?
            }
            Some((host, crossing)) => {
                let refuses = |id, types: &Types| self.backend.refuses(&self.graph, id, types);
                let (host, crossing) = (host.plan_options(), *crossing);
                let sides = Sides { device: options, host, refuses: &refuses, crossing };
                Stage::split(&self.graph, &wanted, &given, &sides)?
            }
        };
        if let Some(stage) = self.plans.make_room() {
            for Segment { side, plan } in &stage.segments {
                match (side, &mut self.host) {
                    (Side::Host, Some((host, _))) => host.forget(plan),
                    _ => self.backend.forget(plan),
                }
            }
        }
        Ok(self.plans.add(key.clone(), stage))
    }

    /// The graph that runs.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How many runs may be under way at once.
    pub fn pipeline_depth(&self) -> usize {
        self.backend.pipeline_depth()
    }

    /// The most rows that a product of one row with a quantised weight takes along at little cost, while the sums of each
    /// row stay the same to the bit.
    pub fn draft_len(&self) -> usize {
        self.backend.draft_len()
    }

    /// Bytes of weights, states and buffers.
    pub fn memory_bytes(&self) -> usize {
        let host = self.host.as_ref().map_or(0, |(host, _)| host.memory_bytes());
        self.backend.memory_bytes() + host + self.bodies.iter().map(Self::memory_bytes).sum::<usize>()
    }
}

/// The tensors of these values, some of which may be asked for twice.
fn take_all(values: &[ValueId], mut computed: HashMap<ValueId, Held>) -> Result<Vec<Held>> {
    let mut out = Vec::with_capacity(values.len());
    for (i, id) in values.iter().enumerate() {
        let again = values[i + 1..].contains(id);
        match if again { computed.get(id).cloned() } else { computed.remove(id) } {
            Some(held) => out.push(held),
            None => return fail!(Internal, "an output was not computed"),
        }
    }
    Ok(out)
}

/// Brings all elements here.
pub(super) async fn read_all(all: Vec<Held>) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::with_capacity(all.len());
    for held in all {
        tensors.push(held.read().await?);
    }
    Ok(tensors)
}
