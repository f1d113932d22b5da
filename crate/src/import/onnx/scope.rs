//! Which value a name means. The graph of an If is part of the one around it and sees its names; that of a loop is one of
//! its own, which takes what it uses from outside as inputs, and constants as they are.

use super::functions::Around;
use super::order::order;
use super::{Import, external};
use crate::error::{Result, ensure, fail};
use crate::formats::onnx::Graph as Subgraph;
use crate::graph::{Graph, Source, ValueId};
use crate::ops::list::List;
use std::collections::HashMap;

/// Graphs within graphs are at most so many.
const MAX_DEPTH: usize = 32;

/// The names of a graph, and those of the graphs around it that are part of the same.
pub(super) struct Frame<'a> {
    scopes: Vec<HashMap<&'a str, ValueId>>,
    /// Values of the graph around it that this one takes as inputs, in their order.
    captured: Vec<ValueId>,
}

impl Default for Frame<'_> {
    fn default() -> Self {
        Self { scopes: vec![HashMap::new()], captured: Vec::new() }
    }
}

impl<'a> Frame<'a> {
    /// From here on no other names are known than these.
    pub(super) fn enter_function(&mut self, given: HashMap<&'a str, ValueId>) -> Around<'a> {
        std::mem::replace(&mut self.scopes, vec![given])
    }

    /// The names around the function are known again.
    pub(super) fn leave_function(&mut self, around: Around<'a>) {
        self.scopes = around;
    }
}

/// The value of a name, in a graph or those around it.
fn find<'a>(
    graph: &mut Graph,
    frame: &mut Frame<'a>,
    outer: &mut [(Graph, Frame<'a>)],
    name: &'a str,
) -> Option<ValueId> {
    if let Some(id) = frame.scopes.iter().rev().find_map(|scope| scope.get(name)) {
        return Some(*id);
    }
    let ((around, its_frame), rest) = outer.split_last_mut()?;
    let id = find(around, its_frame, rest, name)?;
    let own = capture(graph, frame, around, name, id);
    frame.scopes[0].insert(name, own);
    Some(own)
}

/// A value of the graph around as one of this graph.
fn capture(graph: &mut Graph, frame: &mut Frame, around: &Graph, name: &str, id: ValueId) -> ValueId {
    if let Source::Const(tensor) = &around.value(id).source {
        return graph.shared_constant(name, tensor.clone());
    }
    frame.captured.push(id);
    graph.input(name, None)
}

impl<'a> Import<'a> {
    /// The value of a name that an input has; none for the empty one.
    pub(super) fn lookup(&mut self, name: &'a str) -> Result<Option<ValueId>> {
        if name.is_empty() {
            return Ok(None);
        }
        match find(&mut self.graph, &mut self.frame, &mut self.outer, name) {
            Some(id) => Ok(Some(id)),
            None => fail!(InvalidGraph, "no node before it computes '{name}'"),
        }
    }

    /// Gives a value a name.
    pub(super) fn bind(&mut self, name: &'a str, id: ValueId) {
        if let Some(scope) = self.frame.scopes.last_mut() {
            scope.insert(name, id);
        }
    }

    /// Imports constants and nodes. Gives the values of the outputs.
    pub(super) fn contents(&mut self, graph: &Subgraph<'a>) -> Result<Vec<ValueId>> {
        for initializer in &graph.initializers {
            let tensor = self.elements(initializer.decode(&external)?)?;
            let id = self.graph.constant(initializer.name, tensor);
            self.bind(initializer.name, id);
        }
        for sparse in &graph.sparse_initializers {
            let tensor = self.elements(sparse.decode(&external)?)?;
            let id = self.graph.constant(sparse.values.name, tensor);
            self.bind(sparse.values.name, id);
        }
        for index in order(&graph.nodes) {
            self.node(index, &graph.nodes[index])?;
        }
        let output = |name: &'a str| match self.lookup(name)? {
            Some(id) => Ok(id),
            None => fail!(InvalidGraph, "an output has no name"),
        };
        graph.outputs.iter().map(|output| output.name).map(output).collect()
    }

    /// Imports a graph as a part of this one. Gives the values of its outputs.
    pub(super) fn branch(&mut self, graph: &Subgraph<'a>) -> Result<Vec<ValueId>> {
        let depth = self.outer.len() + self.frame.scopes.len();
        ensure!(depth < MAX_DEPTH, InvalidGraph, "graphs are nested {MAX_DEPTH} deep");
        self.frame.scopes.push(HashMap::new());
        let outputs = self.contents(graph);
        self.frame.scopes.pop();
        outputs
    }

    /// Imports a graph that a node runs. Gives its index, and the values that it takes beside its own inputs.
    pub(super) fn body(&mut self, graph: &Subgraph<'a>) -> Result<(usize, Vec<ValueId>)> {
        self.enter()?;
        for input in &graph.inputs {
            let id = self.graph.input(input.name, None);
            self.bind(input.name, id);
        }
        let outputs = self.contents(graph)?;
        self.leave(&outputs)
    }

    /// The body of a loop over sequences: it takes the round, a condition, and the sequences so far; of each of `taken`
    /// the graph gets the value of the round.
    pub(super) fn map_body(
        &mut self,
        graph: &Subgraph<'a>,
        name: &str,
        taken: &[ValueId],
    ) -> Result<(usize, Vec<ValueId>)> {
        self.enter()?;
        let round = self.graph.input("round", None);
        let condition = self.graph.input("condition", None);
        let lists: Vec<_> = graph.outputs.iter().map(|output| self.graph.input(output.name, None)).collect();
        for (input, id) in graph.inputs.iter().zip(taken) {
            let Some((around, _)) = self.outer.last() else {
                return fail!(Internal, "there is nothing around");
            };
            let whole = capture(&mut self.graph, &mut self.frame, around, input.name, *id);
            let own = self.graph.defer(name, List::Each, &[Some(whole), Some(round)], &[input.name])[0];
            self.bind(input.name, own);
        }
        let values = self.contents(graph)?;
        let mut outputs = vec![condition];
        for (list, value) in lists.into_iter().zip(values) {
            let inputs = [Some(list), Some(value)];
            outputs.extend(self.graph.defer(name, List::Insert, &inputs, &[name]));
        }
        self.leave(&outputs)
    }

    fn enter(&mut self) -> Result<()> {
        let depth = self.outer.len() + self.frame.scopes.len();
        ensure!(depth < MAX_DEPTH, InvalidGraph, "graphs are nested {MAX_DEPTH} deep");
        self.outer.push((std::mem::take(&mut self.graph), std::mem::take(&mut self.frame)));
        Ok(())
    }

    fn leave(&mut self, outputs: &[ValueId]) -> Result<(usize, Vec<ValueId>)> {
        for (i, id) in outputs.iter().enumerate() {
            self.graph.output(&i.to_string(), *id);
        }
        let Some((graph, frame)) = self.outer.pop() else {
            return fail!(Internal, "there is nothing around");
        };
        let body = std::mem::replace(&mut self.graph, graph);
        let captured = std::mem::replace(&mut self.frame, frame).captured;
        Ok((self.graph.body(body), captured))
    }
}
