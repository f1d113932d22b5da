//! A graph with its weights in place, and plans made as sizes are met.

use crate::backend::{Backend, Feed, Pending, Profiled};
use crate::error::{Result, ensure, fail};
use crate::graph::{Graph, ValueId};
use crate::plan::{self, Plan, PlanId};
use crate::tensor::{Chunk, Tensor};
use crate::types::{Bindings, Dim, Shape, TensorType};
use std::collections::HashMap;
use std::sync::Arc;

/// Plans kept; the oldest goes when another comes.
const MAX_PLANS: usize = 24;

/// Bytes of known values up to which a plan is worth keeping.
const MAX_KEY_BYTES: usize = 4096;

/// What a named input is given for one run.
#[derive(Clone, Debug)]
pub enum Given<'a> {
    /// These elements.
    Tensor(Tensor),
    /// What the run before computed for the output of that name, which has this shape.
    Previous(&'a str, Vec<usize>),
}

/// What distinguishes plans.
#[derive(Clone, Debug, Default, PartialEq)]
struct PlanKey {
    outputs: Vec<String>,
    sizes: Bindings,
    /// Types of inputs whose type sizes alone do not say, and of what earlier plans of the run computed.
    fed: HashMap<ValueId, TensorType>,
    known: HashMap<ValueId, Arc<Tensor>>,
}

/// A graph, its weights and states, and its plans.
pub struct Session {
    graph: Graph,
    backend: Box<dyn Backend>,
    plans: Vec<(PlanKey, Plan)>,
    /// The plans of the last run, one a stage.
    last: Vec<PlanId>,
}

impl Session {
    /// A session of a graph whose weights are in the back end.
    pub fn new(graph: Graph, backend: Box<dyn Backend>) -> Self {
        Self { graph, backend, plans: Vec::new(), last: Vec::new() }
    }

    /// Runs the graph on `feeds` and gives the outputs named, in that order. Fails, naming the input, when
    /// one is unknown, missing, or of a wrong type or shape.
    pub async fn run(&mut self, feeds: Vec<(&str, Tensor)>, outputs: &[&str]) -> Result<Vec<Tensor>> {
        let mut key = key_of(outputs, Bindings::new());
        let mut fed = HashMap::new();
        self.last.clear();
        for (name, tensor) in feeds {
            fed.insert(self.bind_input(name, &tensor.ty(), &mut key)?, tensor);
        }
        loop {
            let index = self.plan(&key)?;
            self.last.push(self.plans[index].1.id);
            let (_, plan) = &self.plans[index];
            if let Some(missing) = plan.fed().find(|id| !fed.contains_key(id)) {
                let name = &self.graph.value(missing).name;
                return fail!(InvalidInput, "the input '{name}' was not given; {}", self.inputs());
            }
            let pending = plan.pending.clone();
            let ids: Vec<ValueId> = plan.outputs.iter().map(|output| output.value).collect();
            let feeds = fed.iter().map(|(id, tensor)| (*id, Feed::Tensor(tensor.clone()))).collect();
            let computed = self.backend.submit(&self.graph, plan, feeds)?.await?;
            if pending.is_empty() {
                return Ok(computed);
            }
            for (id, tensor) in ids.into_iter().zip(computed) {
                if pending.contains(&id) {
                    key.known.insert(id, Arc::new(tensor));
                } else {
                    key.fed.insert(id, tensor.ty());
                    fed.insert(id, tensor);
                }
            }
        }
    }

    /// Starts a run without waiting for its outputs. Only for graphs whose types sizes alone decide.
    pub fn submit(&mut self, given: Vec<(&str, Given)>, outputs: &[&str]) -> Result<Pending> {
        let mut key = key_of(outputs, Bindings::new());
        let mut feeds = HashMap::new();
        for (name, given) in given {
            let (id, feed) = match given {
                Given::Tensor(tensor) => {
                    (self.bind_input(name, &tensor.ty(), &mut key)?, Feed::Tensor(tensor))
                }
                Given::Previous(output, shape) => {
                    let from = self.output(output)?;
                    let ty = TensorType::new(self.graph.ty(from)?.dtype, Shape::known(&shape));
                    (self.bind_input(name, &ty, &mut key)?, Feed::Previous(from))
                }
            };
            feeds.insert(id, feed);
        }
        let index = self.plan(&key)?;
        let (_, plan) = &self.plans[index];
        ensure!(plan.pending.is_empty(), Internal, "the elements of a value decide how this graph goes on");
        self.backend.submit(&self.graph, plan, feeds)
    }

    /// Makes the plan for these outputs and sizes, and what the back end needs for it, before its first run.
    pub fn prepare(&mut self, outputs: &[&str], bindings: Bindings) -> Result<()> {
        let plan = self.plan(&key_of(outputs, bindings))?;
        self.backend.prepare(&self.graph, &self.plans[plan].1)
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
        let plan = self.plan(&key_of(outputs, bindings))?;
        Ok(self.backend.profile(&self.graph, &self.plans[plan].1))
    }

    /// What the run before launched, stage by stage. Plans that fitted that run only are gone.
    pub fn last_profile(&self) -> Vec<Profiled> {
        let plans = self.plans.iter().filter(|(_, plan)| self.last.contains(&plan.id));
        plans.flat_map(|(_, plan)| self.backend.profile(&self.graph, plan)).collect()
    }

    /// Checks a feed against the input of that name, and binds the symbols of its shape.
    fn bind_input(&self, name: &str, given: &TensorType, key: &mut PlanKey) -> Result<ValueId> {
        let found = self.graph.inputs().iter().find(|id| &*self.graph.value(**id).name == name);
        let Some(&id) = found else {
            return fail!(InvalidInput, "there is no input '{name}'; {}", self.inputs());
        };
        let Some(ty) = &self.graph.value(id).ty else {
            key.fed.insert(id, given.clone());
            return Ok(id);
        };
        let mut fits = ty.dtype == given.dtype && ty.shape.rank() == given.shape.rank();
        for (dim, size) in ty.shape.0.iter().zip(given.known_shape()?) {
            fits &= match dim {
                Dim::Symbol(symbol) => *key.sizes.entry(symbol.clone()).or_insert(size) == size,
                other => other.known() == Some(size),
            };
        }
        ensure!(fits, ShapeMismatch, "the input '{name}' wants {ty} and was given {given}");
        Ok(id)
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

    /// The index of the plan of that key, made when it is new.
    fn plan(&mut self, key: &PlanKey) -> Result<usize> {
        if let Some(index) = self.plans.iter().position(|(found, _)| found == key) {
            return Ok(index);
        }
        let wanted = key.outputs.iter().map(|name| Ok((name.clone(), self.output(name)?)));
        let wanted = wanted.collect::<Result<Vec<_>>>()?;
        let given = plan::Given { sizes: &key.sizes, fed: &key.fed, known: &key.known };
        let plan = Plan::new(&self.graph, &wanted, &given, self.backend.plan_options())?;
        // Plans that hold large values go first: they fit one run only.
        let large = |(key, _): &(PlanKey, Plan)| {
            key.known.values().map(|tensor| tensor.bytes().len()).sum::<usize>() > MAX_KEY_BYTES
        };
        let first = self.plans.iter().position(large).or((self.plans.len() == MAX_PLANS).then_some(0));
        if let Some(index) = first {
            let (_, plan) = self.plans.remove(index);
            self.backend.forget(&plan);
        }
        self.plans.push((key.clone(), plan));
        Ok(self.plans.len() - 1)
    }

    /// The graph that runs.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// How many runs may be under way at once.
    pub fn pipeline_depth(&self) -> usize {
        self.backend.pipeline_depth()
    }

    /// Bytes of weights, states and buffers.
    pub fn memory_bytes(&self) -> usize {
        self.backend.memory_bytes()
    }
}

fn key_of(outputs: &[&str], sizes: Bindings) -> PlanKey {
    PlanKey { outputs: outputs.iter().map(ToString::to_string).collect(), sizes, ..Default::default() }
}
