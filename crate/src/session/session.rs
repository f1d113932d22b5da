//! A graph with its weights in place, and plans made as sizes are met.

use crate::backend::cpu::CpuBackend;
use crate::error::{Result, ensure, fail};
use crate::graph::{Graph, ValueId};
use crate::plan::{Plan, PlanOptions};
use crate::tensor::Tensor;
use crate::types::{Bindings, Dim};
use std::collections::HashMap;

/// Plans kept; the oldest goes when another comes.
const MAX_PLANS: usize = 16;

/// A graph, its weights and states, and its plans.
pub struct Session {
    graph: Graph,
    backend: CpuBackend,
    plans: Vec<(Vec<String>, Bindings, Plan)>,
}

impl Session {
    /// A session of a graph whose weights are in the back end.
    pub fn new(graph: Graph, backend: CpuBackend) -> Self {
        Self { graph, backend, plans: Vec::new() }
    }

    /// Runs the graph on `feeds` and returns the outputs named, in that order. Fails, naming the input, when
    /// one is unknown, missing, or of a wrong type or shape.
    pub fn run(&mut self, feeds: Vec<(&str, Tensor)>, outputs: &[&str]) -> Result<Vec<Tensor>> {
        let mut bindings = Bindings::new();
        let mut by_value = HashMap::new();
        for (name, tensor) in feeds {
            let id = self.bind_input(name, &tensor, &mut bindings)?;
            by_value.insert(id, tensor);
        }
        let plan = self.plan(outputs, bindings)?;
        let (_, _, plan) = &self.plans[plan];
        self.backend.run(&self.graph, plan, &by_value)
    }

    /// Checks a feed against the input of that name, and binds the symbols of its shape.
    fn bind_input(&self, name: &str, tensor: &Tensor, bindings: &mut Bindings) -> Result<ValueId> {
        let found = self.graph.inputs().iter().find(|id| &*self.graph.value(**id).name == name);
        let Some(&id) = found else {
            let names: Vec<_> = self.graph.inputs().iter().map(|id| &*self.graph.value(*id).name).collect();
            return fail!(InvalidInput, "there is no input '{name}'; the inputs are {}", names.join(", "));
        };
        let ty = &self.graph.value(id).ty;
        let mut fits = ty.dtype == tensor.dtype() && ty.shape.rank() == tensor.shape().len();
        for (dim, &size) in ty.shape.0.iter().zip(tensor.shape()) {
            fits &= match dim {
                Dim::Symbol(symbol) => *bindings.entry(symbol.clone()).or_insert(size) == size,
                other => other.known() == Some(size),
            };
        }
        ensure!(fits, ShapeMismatch, "the input '{name}' wants {ty} and was given {tensor:?}");
        Ok(id)
    }

    /// The index of the plan for these outputs and sizes, made when it is new.
    fn plan(&mut self, outputs: &[&str], bindings: Bindings) -> Result<usize> {
        let same =
            |(names, bound, _): &(Vec<String>, Bindings, Plan)| *names == outputs && *bound == bindings;
        if let Some(index) = self.plans.iter().position(same) {
            return Ok(index);
        }
        let mut wanted = Vec::new();
        for &name in outputs {
            match self.graph.outputs().iter().find(|(n, _)| &**n == name) {
                Some((_, id)) => wanted.push((name.to_string(), *id)),
                None => return fail!(InvalidInput, "there is no output '{name}'"),
            }
        }
        let plan = Plan::new(&self.graph, &wanted, &bindings, PlanOptions { in_place: true })?;
        if self.plans.len() == MAX_PLANS {
            self.plans.remove(0);
        }
        self.plans.push((outputs.iter().map(ToString::to_string).collect(), bindings, plan));
        Ok(self.plans.len() - 1)
    }

    /// The graph that runs.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Bytes of weights, states and buffers.
    pub fn memory_bytes(&self) -> usize {
        self.backend.memory_bytes()
    }
}
