//! The graph and the operations that build and rewrite it.

use crate::error::{Error, ErrorKind, Result, ensure};
use crate::kernels::rope_table::RopeTable;
use crate::ops::{Known, Op};
use crate::tensor::Tensor;
use crate::types::TensorType;
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
    /// The origin.
    pub source: Source,
}

impl Value {
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

/// A graph: values, nodes, and which values are inputs and outputs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(super) values: Vec<Value>,
    pub(super) nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<(Arc<str>, ValueId)>,
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
        let ty = ty.into();
        self.values.push(Value { name: name.into(), ty, source });
        ValueId(self.values.len() as u32 - 1)
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
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec(), outputs: outputs.clone() });
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
    /// these names.
    pub fn defer(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: &[&str],
    ) -> Vec<ValueId> {
        let node = NodeId(self.nodes.len() as u32);
        let numbered = outputs.iter().enumerate();
        let outputs: Vec<_> =
            numbered.map(|(i, output)| self.add_value(output, None, Source::Node(node, i))).collect();
        let inputs = inputs.to_vec();
        self.nodes.push(Node { name: name.into(), op: op.into(), inputs, outputs: outputs.clone() });
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

    /// Declares an output.
    pub fn output(&mut self, name: &str, value: ValueId) {
        self.outputs.push((name.into(), value));
    }

    /// Makes every consumer of `old`, and every output that is `old`, use `new`, which must have the same type.
    pub fn replace(&mut self, old: ValueId, new: ValueId) -> Result<()> {
        let (from, to) = (&self.value(old).ty, &self.value(new).ty);
        ensure!(
            from == to || from.is_none(),
            InvalidGraph,
            "a rewrite would replace '{}' of type {} by '{}' of type {}",
            self.value(old).name,
            self.type_name(old),
            self.value(new).name,
            self.type_name(new)
        );
        let swap = |id: &mut ValueId| {
            if *id == old {
                *id = new;
            }
        };
        self.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().flatten()).for_each(swap);
        self.outputs.iter_mut().for_each(|(_, id)| swap(id));
        Ok(())
    }

    /// The nodes that use a value, each as often as it does.
    pub fn consumers(&self, value: ValueId) -> Vec<NodeId> {
        let uses = |node: &Node| node.inputs.iter().filter(|id| **id == Some(value)).count();
        self.nodes().flat_map(|(id, node)| std::iter::repeat_n(id, uses(node))).collect()
    }

    /// The node that computes a value, with its index.
    pub fn producer(&self, value: ValueId) -> Option<(NodeId, &Node)> {
        match self.value(value).source {
            Source::Node(id, _) => Some((id, self.node(id))),
            _ => None,
        }
    }

    /// Drops nodes that no output needs. Values keep their indices.
    pub fn drop_dead_nodes(&mut self) -> Result<()> {
        let live = self.topological_order(&self.outputs.iter().map(|(_, id)| *id).collect::<Vec<_>>())?;
        let mut renumbered = vec![None; self.nodes.len()];
        let mut nodes = Vec::with_capacity(live.len());
        for id in live {
            renumbered[id.0 as usize] = Some(NodeId(nodes.len() as u32));
            nodes.push(self.node(id).clone());
        }
        self.nodes = nodes;
        for value in &mut self.values {
            if let Source::Node(id, _) = &mut value.source {
                // A value of a dropped node has no user; it keeps a node index that nothing reads.
                *id = renumbered.get(id.0 as usize).copied().flatten().unwrap_or(NodeId(u32::MAX));
            }
        }
        Ok(())
    }
}
