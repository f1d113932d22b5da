//! The graph of an ONNX file. Its nodes become operators of the catalogue, one function a spelling; their types wait for
//! a plan, since ONNX computes shapes with tensors.

mod attention;
mod composed;
mod control;
mod elementwise;
mod functions;
mod halves;
mod indexing;
mod layout;
mod microsoft;
mod ml;
mod network;
mod order;
mod quantized;
mod quantized_gemm;
mod recurrent;
mod scope;
mod signal;
mod spelling;
mod trees;
mod vision;

use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::formats::onnx::{DimInfo, ElementType, Function, Model, Node, ValueInfo, ValueType};
use crate::graph::{Graph, Source, ValueId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::unary::{Unary, UnaryFunction};
use crate::tensor::Tensor;
use crate::types::{DType, Dim, Shape, TensorType};
use scope::Frame;
use std::sync::Arc;

/// Nodes that a graph may have: a file of a few functions that call each other would else fill all memory.
const MAX_NODES: usize = 1 << 20;

/// Builds the graph of a file. Fails, naming every one, when operators are not supported.
pub fn build<'m>(model: &'m Model<'m>) -> Result<Graph> {
    let mut import = Import {
        graph: Graph::new(),
        frame: Frame::default(),
        outer: Vec::new(),
        functions: &model.functions,
        calls: 0,
        n_nodes: 0,
        opset: opset(model),
        widens: halves::can_widen(model),
        missing: Vec::new(),
    };
    for input in &model.graph.inputs {
        if model.graph.initializers.iter().all(|tensor| tensor.name != input.name) {
            let ty = type_of(input).map_err(|e| e.at(input.name))?;
            let id = import.graph.input(input.name, ty);
            let id = import.given(input.name, id);
            import.bind(input.name, id);
        }
    }
    let outputs = import.contents(&model.graph);
    import.refuse_missing()?;
    for (output, id) in model.graph.outputs.iter().zip(outputs?) {
        let id = import.wanted(output, id);
        import.graph.output(output.name, id);
    }
    Ok(import.graph)
}

/// The version of the default domain's operators.
fn opset(model: &Model) -> i64 {
    model.opsets.iter().find(|(domain, _)| domain.is_empty()).map_or(1, |(_, version)| *version)
}

/// Elements that lie in another file.
fn external(location: &str, _offset: u64, _length: Option<u64>) -> Result<Vec<u8>> {
    fail!(UnsupportedFormat, "the elements are in the file '{location}': save the model with its data inside")
}

/// The dtype of an element type. Fails, naming it, when operators do not take it yet.
fn dtype_of(element: Option<ElementType>) -> Result<DType> {
    match element.and_then(|element| element.dtype()) {
        Some(dtype) => Ok(dtype),
        None => {
            let name = element.map_or("nothing".to_string(), |element| element.to_string());
            fail!(UnsupportedFormat, "elements of {name} are not supported")
        }
    }
}

/// The type of an input: sizes that the file leaves open are symbols of this input's own, since exporters give
/// one name to dimensions that differ.
fn type_of(input: &ValueInfo) -> Result<Option<TensorType>> {
    let (elem, shape) = match &input.ty {
        Some(ValueType::Tensor { elem, shape }) => (elem, shape),
        Some(ValueType::Sequence(_)) => {
            let length = Dim::symbol(&format!("{}.length", input.name));
            return Ok(Some(TensorType::new(DType::List, Shape(vec![length]))));
        }
        // It may be there or not.
        Some(ValueType::Optional(_)) => return Ok(None),
        _ => return fail!(UnsupportedFormat, "an input that is a map or a sparse tensor is not supported"),
    };
    let dtype = dtype_of(*elem)?;
    let symbol = |i: usize| Dim::symbol(&format!("{}.{i}", input.name));
    let dims = |shape: &Vec<DimInfo>| {
        let dim = |(i, dim): (usize, &DimInfo)| match dim {
            DimInfo::Known(n) => Dim::Known(*n),
            _ => symbol(i),
        };
        shape.iter().enumerate().map(dim).collect()
    };
    Ok(shape.as_ref().map(|shape| TensorType::new(dtype, Shape(dims(shape)))))
}

/// A graph on its way.
pub(super) struct Import<'a> {
    graph: Graph,
    frame: Frame<'a>,
    /// The graphs around the one that is on its way, whose body that is.
    outer: Vec<(Graph, Frame<'a>)>,
    /// Operators that the file defines.
    functions: &'a [Function<'a>],
    /// How deep in them the import is.
    calls: usize,
    /// Nodes so far, those of functions counted wherever they are called.
    n_nodes: usize,
    opset: i64,
    /// Whether floats of 16 bits become f32.
    widens: bool,
    /// Operators that are not supported, each with its first node.
    missing: Vec<(String, String)>,
}

impl<'a> Import<'a> {
    fn node(&mut self, index: usize, node: &Node<'a>) -> Result<()> {
        let name =
            if node.name.is_empty() { format!("{}.{index}", node.op_type) } else { node.name.to_string() };
        self.n_nodes += 1;
        ensure!(
            !node.outputs.is_empty(),
            InvalidGraph,
            "the node '{name}' ({}) has no outputs",
            node.op_type
        );
        ensure!(self.n_nodes <= MAX_NODES, InvalidGraph, "the model has more than {MAX_NODES} nodes");
        if let Some(function) = self.function_of(node) {
            let inputs = node.inputs.iter().map(|input| self.lookup(input)).collect::<Result<Vec<_>>>();
            let outputs = inputs.and_then(|inputs| self.call(function, node, &inputs));
            for (output, id) in node.outputs.iter().zip(outputs.map_err(|e| e.at(&*name))?) {
                self.bind(output, id);
            }
            return Ok(());
        }
        let Some(spelling) = spelling::find(node.domain, node.op_type) else {
            let op = match node.domain {
                "" => format!("{} of opset {}", node.op_type, self.opset),
                domain => format!("{domain}.{}", node.op_type),
            };
            if self.missing.iter().all(|(known, _)| *known != op) {
                self.missing.push((op, name));
            }
            // What uses its outputs is looked at all the same, so that one error names all.
            for output in &node.outputs {
                let id = self.graph.input(output, None);
                self.bind(output, id);
            }
            return Ok(());
        };
        let explain = |e: Error| Error::new(e.kind(), format!("{} (operator {})", e.message(), node.op_type));
        let inputs = node.inputs.iter().map(|input| self.lookup(input)).collect::<Result<Vec<_>>>();
        let inputs = inputs.map_err(|e| explain(e).at(&*name))?;
        let mut use_ = Use { import: self, node, name: &name, inputs };
        let outputs = spelling(&mut use_).map_err(|e| explain(e).at(&*name))?;
        for (output, id) in node.outputs.iter().zip(outputs) {
            self.bind(output, id);
        }
        Ok(())
    }

    fn refuse_missing(&self) -> Result<()> {
        let missing: Vec<_> = self.missing.iter().map(|(op, node)| format!("{op} (node '{node}')")).collect();
        ensure!(
            missing.is_empty(),
            UnsupportedOp,
            "the model uses operators that are not supported: {}",
            missing.join(", ")
        );
        Ok(())
    }
}

/// One node with what a spelling needs to make operators of it.
pub(super) struct Use<'i, 'a> {
    import: &'i mut Import<'a>,
    node: &'i Node<'a>,
    name: &'i str,
    inputs: Vec<Option<ValueId>>,
}

impl Use<'_, '_> {
    /// An input that must be there.
    fn input(&self, index: usize) -> Result<ValueId> {
        match self.optional(index) {
            Some(id) => Ok(id),
            None => fail!(InvalidGraph, "input {index} is missing"),
        }
    }

    fn optional(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// The elements of an input that is a constant.
    fn known(&self, index: usize) -> Option<Arc<Tensor>> {
        match &self.import.graph.value(self.optional(index)?).source {
            Source::Const(tensor) => Some(tensor.clone()),
            _ => None,
        }
    }

    /// Applies an operator whose outputs are the node's.
    fn outputs(&mut self, op: impl Into<Op>, inputs: &[Option<ValueId>]) -> Result<Vec<ValueId>> {
        Ok(self.import.graph.defer(self.name, op, inputs, &self.node.outputs))
    }

    /// Applies an operator of one output to the node's inputs as they are.
    fn as_is(&mut self, op: impl Into<Op>) -> Result<Vec<ValueId>> {
        let inputs = self.inputs.clone();
        self.outputs(op, &inputs)
    }

    /// Applies an operator of one output on the way to the node's.
    fn step(&mut self, part: &str, op: impl Into<Op>, inputs: &[Option<ValueId>]) -> ValueId {
        let name = format!("{}.{part}", self.name);
        self.import.graph.defer(&name, op, inputs, &[&name])[0]
    }

    fn unary(&mut self, part: &str, function: UnaryFunction, x: ValueId) -> ValueId {
        self.step(part, Unary { function }, &[Some(x)])
    }

    fn binary(&mut self, part: &str, function: BinaryFunction, a: ValueId, b: ValueId) -> ValueId {
        self.step(part, Binary { function }, &[Some(a), Some(b)])
    }

    /// A number of the dtype that `like` has.
    fn number(&mut self, part: &str, value: f32, like: ValueId) -> Result<ValueId> {
        let number = self.constant(&format!("{part}.f32"), Tensor::new(&[], &[value])?);
        match &self.import.graph.value(like).ty {
            Some(ty) if ty.dtype == DType::F32 => Ok(number),
            _ => Ok(self.step(part, Cast::like(), &[Some(number), Some(like)])),
        }
    }

    /// A list of integers as a constant.
    fn list(&mut self, part: &str, values: &[i64]) -> Result<ValueId> {
        Ok(self.constant(part, Tensor::new(&[values.len()], values)?))
    }

    fn constant(&mut self, part: &str, tensor: Tensor) -> ValueId {
        let name = format!("{}.{part}", self.name);
        self.import.graph.constant(&name, tensor)
    }

    /// Integers that older opsets have as an attribute and newer ones as an input.
    fn ints(&mut self, attribute: &str, input: usize) -> Result<Option<ValueId>> {
        if let Some(id) = self.optional(input) {
            return Ok(Some(id));
        }
        let Some(ints) = self.node.ints(attribute)?.map(<[i64]>::to_vec) else { return Ok(None) };
        Ok(Some(self.constant(attribute, Tensor::new(&[ints.len()], &ints)?)))
    }

    /// A tensor attribute's elements.
    fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        let tensor = self.node.tensor(name)?.map(|tensor| tensor.decode(&external)).transpose()?;
        tensor.map(|tensor| self.import.elements(tensor)).transpose()
    }

    /// An integer attribute that says yes or no; no where it is left out.
    fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.node.int(name)?.is_some_and(|value| value != 0))
    }

    /// The dtype that an attribute names by its number.
    fn dtype(&self, name: &str) -> Result<DType> {
        let number = self.node.int(name)?.and_then(|number| i32::try_from(number).ok()).unwrap_or(0);
        Ok(self.import.dtype(dtype_of(ElementType::from_number(number)?)?))
    }
}

fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::UnsupportedOp, what))
}
