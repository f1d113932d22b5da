//! A graph with its weights in place, and plans made as sizes are met.

use crate::backend::{Backend, Feed, Pending, Profiled};
use crate::error::{Result, ensure, fail};
use crate::graph::{Graph, ValueId};
use crate::plan::Plan;
use crate::tensor::{Chunk, Tensor};
use crate::types::{Bindings, Dim};
use std::collections::HashMap;

/// Plans kept; the oldest goes when another comes.
const MAX_PLANS: usize = 24;

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
    plans: Vec<(Vec<String>, Bindings, Plan)>,
}

impl Session {
    /// A session of a graph whose weights are in the back end.
    pub fn new(graph: Graph, backend: Box<dyn Backend>) -> Self {
        Self { graph, backend, plans: Vec::new() }
    }

    /// Runs the graph on `feeds` and gives the outputs named, in that order. Fails, naming the input, when
    /// one is unknown, missing, or of a wrong type or shape.
    pub async fn run(&mut self, feeds: Vec<(&str, Tensor)>, outputs: &[&str]) -> Result<Vec<Tensor>> {
        let given = feeds.into_iter().map(|(name, tensor)| (name, Given::Tensor(tensor))).collect();
        self.submit(given, outputs)?.await
    }

    /// Like [`run`](Self::run), without waiting for the outputs.
    pub fn submit(&mut self, given: Vec<(&str, Given)>, outputs: &[&str]) -> Result<Pending> {
        let mut bindings = Bindings::new();
        let mut feeds = HashMap::new();
        for (name, given) in given {
            let (id, feed) = match given {
                Given::Tensor(tensor) => {
                    let id = self.bind_input(name, tensor.dtype(), tensor.shape(), &mut bindings)?;
                    (id, Feed::Tensor(tensor))
                }
                Given::Previous(output, shape) => {
                    let from = self.output(output)?;
                    let dtype = self.graph.ty(from)?.dtype;
                    (self.bind_input(name, dtype, &shape, &mut bindings)?, Feed::Previous(from))
                }
            };
            feeds.insert(id, feed);
        }
        let plan = self.plan(outputs, bindings)?;
        let (_, _, plan) = &self.plans[plan];
        self.backend.submit(&self.graph, plan, feeds)
    }

    /// Makes the plan for these outputs and sizes, and what the back end needs for it, before its first run.
    pub fn prepare(&mut self, outputs: &[&str], bindings: Bindings) -> Result<()> {
        let plan = self.plan(outputs, bindings)?;
        self.backend.prepare(&self.graph, &self.plans[plan].2)
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
        let plan = self.plan(outputs, bindings)?;
        Ok(self.backend.profile(&self.graph, &self.plans[plan].2))
    }

    /// Checks a feed against the input of that name, and binds the symbols of its shape.
    fn bind_input(
        &self,
        name: &str,
        dtype: crate::types::DType,
        shape: &[usize],
        bindings: &mut Bindings,
    ) -> Result<ValueId> {
        let found = self.graph.inputs().iter().find(|id| &*self.graph.value(**id).name == name);
        let Some(&id) = found else {
            let names: Vec<_> = self.graph.inputs().iter().map(|id| &*self.graph.value(*id).name).collect();
            return fail!(InvalidInput, "there is no input '{name}'; the inputs are {}", names.join(", "));
        };
        let ty = self.graph.ty(id)?;
        let mut fits = ty.dtype == dtype && ty.shape.rank() == shape.len();
        for (dim, &size) in ty.shape.0.iter().zip(shape) {
            fits &= match dim {
                Dim::Symbol(symbol) => *bindings.entry(symbol.clone()).or_insert(size) == size,
                other => other.known() == Some(size),
            };
        }
        ensure!(fits, ShapeMismatch, "the input '{name}' wants {ty} and was given {dtype}{shape:?}");
        Ok(id)
    }

    fn output(&self, name: &str) -> Result<ValueId> {
        match self.graph.outputs().iter().find(|(n, _)| &**n == name) {
            Some((_, id)) => Ok(*id),
            None => fail!(InvalidInput, "there is no output '{name}'"),
        }
    }

    /// The index of the plan for these outputs and sizes, made when it is new.
    fn plan(&mut self, outputs: &[&str], bindings: Bindings) -> Result<usize> {
        let same =
            |(names, bound, _): &(Vec<String>, Bindings, Plan)| *names == outputs && *bound == bindings;
        if let Some(index) = self.plans.iter().position(same) {
            return Ok(index);
        }
        let wanted = outputs.iter().map(|name| Ok((name.to_string(), self.output(name)?)));
        let wanted = wanted.collect::<Result<Vec<_>>>()?;
        let plan = Plan::of_sizes(&self.graph, &wanted, &bindings, self.backend.plan_options())?;
        if self.plans.len() == MAX_PLANS {
            let (_, _, oldest) = self.plans.remove(0);
            self.backend.forget(&oldest);
        }
        self.plans.push((outputs.iter().map(ToString::to_string).collect(), bindings, plan));
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
