//! The graph and the operations that build and rewrite it.

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::rope_table::RopeTable;
use crate::ops::hint::{Hint, Int};
use crate::ops::{Known, Op};
use crate::tensor::Tensor;
use crate::types::{Dim, TensorType};
use std::sync::Arc;

/// The index of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// The index of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// The tensors of the file that make up a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightSource {
    /// Names of tensors of the file, stacked along the first dimension.
    pub parts: Vec<Arc<str>>,
    /// What is computed from them at load; `None` for the tensors as they are.
    pub derivation: Option<Derivation>,
}

/// How a weight is computed from one f32 tensor of the file, once, when that has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Derivation {
    /// Angles, from the factors of their frequencies.
    RopeTable(RopeTable),
}

impl Derivation {
    /// The weight of the tensor's values.
    pub fn compute(&self, values: &[f32]) -> Result<Tensor> {
        match self {
            Self::RopeTable(table) => table.compute(Some(values)),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The caller gives it at each run.
    Input,
    /// The file has it.
    Weight(WeightSource),
    /// It is known.
    Const(Arc<Tensor>),
    /// It lives between runs and starts as zeros.
    State,
    /// A node computes it: the node and the position among its outputs.
    Node(NodeId, usize),
}

/// A value: where it comes from and what it is.
#[derive(Clone, Debug)]
pub struct Value {
    /// A name for people.
    pub name: Arc<str>,
    /// The type, where it is known before sizes are: a plan knows every type.
    pub ty: Option<TensorType>,
    /// Whether the type is only a [hint](crate::ops::hint): true of every plan, but with less in it.
    pub is_hint: bool,
    /// Of a few integers, what is known of each.
    pub ints: Option<Vec<Int>>,
    /// The origin.
    pub source: Source,
}

impl Value {
    /// The elements of a constant, where the graph [still](Graph::release_constants) has them.
    pub fn elements(&self) -> Option<&Arc<Tensor>> {
        let Source::Const(tensor) = &self.source else { return None };
        let is_whole = |ty: &TensorType| *ty == tensor.ty();
        self.ty.as_ref().is_none_or(is_whole).then_some(tensor)
    }

    /// The type, of a value that must have one: a weight or a state.
    pub fn known_ty(&self) -> Result<&TensorType> {
        self.ty.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidGraph, "the type depends on sizes that are not known yet")
                .at(&*self.name)
        })
    }
}

/// An operator applied to values.
#[derive(Clone, Debug)]
pub struct Node {
    /// A name for people: `layer.3.attention`.
    pub name: Arc<str>,
    /// The operator with its attributes.
    pub op: Op,
    /// The inputs; `None` where an optional one is absent.
    pub inputs: Vec<Option<ValueId>>,
    /// The outputs.
    pub outputs: Vec<ValueId>,
}

impl Node {
    /// An input, where the node has it: a file may give fewer than its operator wants.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }
}

/// A graph: values, nodes, and which values are inputs and outputs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(super) values: Vec<Value>,
    pub(super) nodes: Vec<Node>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<(Arc<str>, ValueId)>,
    /// For each value the nodes that use it, each as often as it does.
    pub(super) users: Vec<Vec<NodeId>>,
    /// For each node whether nothing needs what it computes since a rewrite.
    pub(super) dead: Vec<bool>,
    /// For each node whether more is known of its inputs than when the hints of its outputs were inferred.
    pub(super) stale: Vec<bool>,
    /// Symbols made for sizes that nothing names.
    n_symbols: usize,
    /// Whether types wait for a plan.
    is_open: bool,
    bodies: Vec<Graph>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of that index.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// The node of that index.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// All nodes, also those that no output needs.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        (0..).map(ValueId).zip(&self.values)
    }

    /// The inputs, in the order they were declared.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// The outputs by name, in the order they were declared.
    pub fn outputs(&self) -> &[(Arc<str>, ValueId)] {
        &self.outputs
    }

    /// The type of a value that has one before sizes are known.
    pub fn ty(&self, id: ValueId) -> Result<&TensorType> {
        self.value(id).known_ty()
    }

    fn add_value(&mut self, name: &str, ty: impl Into<Option<TensorType>>, source: Source) -> ValueId {
        let value = Value { name: name.into(), ty: ty.into(), is_hint: false, ints: None, source };
        self.values.push(value);
        self.users.push(Vec::new());
        ValueId(self.values.len() as u32 - 1)
    }

    fn add_node(&mut self, name: &str, op: Op, inputs: &[Option<ValueId>], outputs: &[ValueId]) {
        let id = NodeId(self.nodes.len() as u32);
        inputs.iter().flatten().for_each(|input| self.users[input.0 as usize].push(id));
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec(), outputs: outputs.to_vec() });
        self.dead.push(false);
        self.stale.push(false);
    }

    /// Declares an input that each run is given.
    pub fn input(&mut self, name: &str, ty: impl Into<Option<TensorType>>) -> ValueId {
        let id = self.add_value(name, ty, Source::Input);
        self.inputs.push(id);
        id
    }

    /// Declares a weight: the file's tensor of that name.
    pub fn weight(&mut self, name: &str, ty: TensorType) -> ValueId {
        self.stacked_weight(name, ty, vec![name.into()])
    }

    /// Declares a weight made of several tensors of the file, stacked along the first dimension.
    pub fn stacked_weight(&mut self, name: &str, ty: TensorType, parts: Vec<Arc<str>>) -> ValueId {
        self.add_value(name, ty, Source::Weight(WeightSource { parts, derivation: None }))
    }

    /// Declares a weight that is computed from the file's tensor of that name, which is f32.
    pub fn derived_weight(
        &mut self,
        name: &str,
        ty: TensorType,
        tensor: &str,
        derivation: Derivation,
    ) -> ValueId {
        let source = WeightSource { parts: vec![tensor.into()], derivation: Some(derivation) };
        self.add_value(name, ty, Source::Weight(source))
    }

    /// Adds a constant.
    pub fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.shared_constant(name, Arc::new(tensor))
    }

    /// Adds a constant that others have too.
    pub fn shared_constant(&mut self, name: &str, tensor: Arc<Tensor>) -> ValueId {
        self.add_value(name, tensor.ty(), Source::Const(tensor))
    }

    /// Declares a state: zeros before the first run, kept from run to run.
    pub fn state(&mut self, name: &str, ty: TensorType) -> ValueId {
        self.add_value(name, ty, Source::State)
    }

    /// Applies an operator. Returns its outputs, whose types are inferred.
    pub fn apply(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
    ) -> Result<Vec<ValueId>> {
        let op = op.into();
        let types =
            inputs.iter().map(|id| id.map(|id| self.ty(id)).transpose()).collect::<Result<Vec<_>>>()?;
        let outputs =
            op.def().infer(&Known::types(&types)).map_err(|e| self.explain(e, name, &op, inputs))?;
        let node = NodeId(self.nodes.len() as u32);
        let outputs: Vec<ValueId> = outputs
            .into_iter()
            .enumerate()
            .map(|(i, ty)| {
                let value_name = if i == 0 { name.to_string() } else { format!("{name}.{i}") };
                self.add_value(&value_name, ty, Source::Node(node, i))
            })
            .collect();
        self.add_node(name, op, inputs, &outputs);
        Ok(outputs)
    }

    /// Applies an operator of one output to inputs that are all there.
    pub fn apply1(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.apply(name, op, &inputs)?
            .first()
            .copied()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "the operator has no output").at(name))
    }

    /// What is known of the outputs of an operator before sizes are.
    pub(super) fn hints_of(&mut self, op: &Op, inputs: &[Option<ValueId>]) -> Vec<Hint> {
        let values = &self.values;
        let known: Vec<_> = inputs.iter().map(|id| id.map(|id| &values[id.0 as usize])).collect();
        let hints: Vec<_> = known.iter().map(|value| value.map(hint_of)).collect();
        let constants: Vec<_> = known
            .iter()
            .map(|value| match value.map(|value| &value.source) {
                Some(Source::Const(tensor)) => Some(&**tensor),
                _ => None,
            })
            .collect();
        let n = &mut self.n_symbols;
        op.hint(&hints, &constants, &mut || {
            *n += 1;
            Dim::symbol(&format!("?{n}"))
        })
    }

    /// Notes what is known of a value.
    pub(super) fn set_hint(&mut self, id: ValueId, hint: Hint) {
        let value = &mut self.values[id.0 as usize];
        value.ints = hint.ints;
        if value.is_hint && hint.ty.is_some() {
            value.ty = hint.ty;
        }
        self.users[id.0 as usize].iter().for_each(|user| self.stale[user.0 as usize] = true);
    }

    /// Adds the operator and the input types to an error of inference.
    pub(super) fn explain(&self, error: Error, name: &str, op: &Op, inputs: &[Option<ValueId>]) -> Error {
        let types: Vec<String> =
            inputs.iter().map(|id| id.map_or("absent".into(), |id| self.type_name(id))).collect();
        let message = format!("{} (operator {}, inputs {})", error.message(), op.name(), types.join(", "));
        Error::new(error.kind(), message).at(name)
    }

    /// The type as people read it.
    pub(super) fn type_name(&self, id: ValueId) -> String {
        self.value(id).ty.as_ref().map_or("?".into(), TensorType::to_string)
    }

    /// Applies an operator to inputs whose types need not be known yet; a plan will know them. The outputs have
    /// these names, and hints of their types.
    pub fn defer(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: &[&str],
    ) -> Vec<ValueId> {
        self.is_open = true;
        let op = op.into();
        let node = NodeId(self.nodes.len() as u32);
        let mut hints = self.hints_of(&op, inputs).into_iter();
        let numbered = outputs.iter().enumerate();
        let outputs: Vec<_> = numbered
            .map(|(i, output)| {
                let id = self.add_value(output, None, Source::Node(node, i));
                self.values[id.0 as usize].is_hint = true;
                self.set_hint(id, hints.next().unwrap_or_default());
                id
            })
            .collect();
        self.add_node(name, op, inputs, &outputs);
        outputs
    }

    /// Adds a graph that a node runs, and gives its index.
    pub fn body(&mut self, body: Graph) -> usize {
        self.bodies.push(body);
        self.bodies.len() - 1
    }

    /// The graphs that nodes run.
    pub fn bodies(&mut self) -> &mut Vec<Graph> {
        &mut self.bodies
    }

    /// Applies an operator in place of another, of whose outputs these have the names: with types, or with hints where
    /// the graph has such.
    pub fn emit(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: &[&str],
    ) -> Result<Vec<ValueId>> {
        if self.is_open {
            return Ok(self.defer(name, op, inputs, outputs));
        }
        self.apply(name, op, inputs)
    }

    /// The same, of one output named as the node.
    pub fn emit1(&mut self, name: &str, op: impl Into<Op>, inputs: &[Option<ValueId>]) -> Result<ValueId> {
        let outputs = self.emit(name, op, inputs, &[name])?;
        outputs.first().copied().ok_or_else(|| Error::new(ErrorKind::Internal, "no output").at(name))
    }

    /// Declares an output.
    pub fn output(&mut self, name: &str, value: ValueId) {
        self.outputs.push((name.into(), value));
    }

    /// The node that computes a value, with its index.
    pub fn producer(&self, value: ValueId) -> Option<(NodeId, &Node)> {
        match self.value(value).source {
            Source::Node(id, _) => Some((id, self.node(id))),
            _ => None,
        }
    }
}

/// What is known of a value before sizes are.
fn hint_of(value: &Value) -> Hint {
    let ints = match &value.source {
        Source::Const(tensor) => Int::of(tensor),
        _ => value.ints.clone(),
    };
    Hint { ty: value.ty.clone(), ints }
}
