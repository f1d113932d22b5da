//! The model, its graph and its local functions: `ModelProto`, `GraphProto`, `FunctionProto`.

use super::attribute::{Attribute, AttributeValue};
use super::node::Node;
use super::tensor::{SparseTensor, Tensor, entry};
use super::value::ValueInfo;
use super::wire::{Wire, fault, push};
use crate::error::Result;

/// A file.
#[derive(Clone, Debug, PartialEq)]
pub struct Model<'a> {
    /// The version of the format.
    pub ir_version: i64,
    /// The version of each set of operators that the graph uses, by domain; ONNX's own domain is empty.
    pub opsets: Vec<(&'a str, i64)>,
    /// The program that wrote the file.
    pub producer: &'a str,
    /// The graph.
    pub graph: Graph<'a>,
    /// Operators that the file defines by others.
    pub functions: Vec<Function<'a>>,
    /// What else the producer noted, by key.
    pub metadata: Vec<(&'a str, &'a str)>,
}

/// A graph, or one within a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph<'a> {
    /// The name.
    pub name: &'a str,
    /// The nodes, each after those whose outputs it uses if the file keeps to its format.
    pub nodes: Vec<Node<'a>>,
    /// Constants, which are defaults where an input has the same name.
    pub initializers: Vec<Tensor<'a>>,
    /// Constants that are mostly zero.
    pub sparse_initializers: Vec<SparseTensor<'a>>,
    /// The inputs; in old files the initialisers too.
    pub inputs: Vec<ValueInfo<'a>>,
    /// The outputs.
    pub outputs: Vec<ValueInfo<'a>>,
    /// Types of other values.
    pub value_info: Vec<ValueInfo<'a>>,
}

/// An operator that the file defines by others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function<'a> {
    /// Whose function it is; empty for ONNX's own.
    pub domain: &'a str,
    /// The name, which nodes have as their operator.
    pub name: &'a str,
    /// Which function of that name it is.
    pub overload: &'a str,
    /// Names of the inputs.
    pub inputs: Vec<&'a str>,
    /// Names of the outputs.
    pub outputs: Vec<&'a str>,
    /// Names of the attributes that have no default.
    pub attributes: Vec<&'a str>,
    /// The attributes that have a default, with it.
    pub attribute_defaults: Vec<Attribute<'a>>,
    /// The body.
    pub nodes: Vec<Node<'a>>,
    /// The version of each set of operators that the body uses, by domain.
    pub opsets: Vec<(&'a str, i64)>,
}

/// A domain, whose own ONNX spells in two ways.
pub(super) fn normalised(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

impl<'a> Model<'a> {
    pub(super) fn read(mut wire: Wire<'a>) -> Result<Self> {
        let (mut ir_version, mut producer, mut graph) = (0, "", None);
        let (mut opsets, mut functions, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(field) = wire.field()? {
            match field.number {
                1 => ir_version = field.scalar()?,
                2 => producer = field.str()?,
                7 => field.once(&mut graph, Graph::read(field.message("GraphProto")?)?)?,
                8 => push(&mut opsets, opset(field.message("OperatorSetIdProto")?)?)?,
                14 => push(&mut metadata, entry(field.message("StringStringEntryProto")?)?)?,
                25 => push(&mut functions, Function::read(field.message("FunctionProto")?)?)?,
                _ => {}
            }
        }
        let no_graph = || fault("it has no graph: check that the source gives the file itself".into());
        Ok(Self { ir_version, opsets, producer, graph: graph.ok_or_else(no_graph)?, functions, metadata })
    }
}

impl<'a> Model<'a> {
    /// Shows every tensor of the file: constants of graphs and attributes of nodes, in functions too. Fails as `visit` does.
    pub fn visit_tensors(&self, visit: &mut dyn FnMut(&Tensor<'a>) -> Result<()>) -> Result<()> {
        self.graph.visit_tensors(visit)?;
        for function in &self.functions {
            visit_attributes(&function.attribute_defaults, visit)?;
            function.nodes.iter().try_for_each(|node| visit_attributes(&node.attributes, visit))?;
        }
        Ok(())
    }
}

fn visit_attributes<'a>(
    attributes: &[Attribute<'a>],
    visit: &mut dyn FnMut(&Tensor<'a>) -> Result<()>,
) -> Result<()> {
    for attribute in attributes {
        match &attribute.value {
            AttributeValue::Tensor(tensor) => visit(tensor)?,
            AttributeValue::Tensors(tensors) => tensors.iter().try_for_each(&mut *visit)?,
            AttributeValue::SparseTensor(sparse) => sparse.parts().into_iter().try_for_each(&mut *visit)?,
            AttributeValue::SparseTensors(list) => {
                list.iter().flat_map(SparseTensor::parts).try_for_each(&mut *visit)?;
            }
            AttributeValue::Graph(graph) => graph.visit_tensors(visit)?,
            AttributeValue::Graphs(graphs) => {
                graphs.iter().try_for_each(|graph| graph.visit_tensors(visit))?
            }
            _ => {}
        }
    }
    Ok(())
}

impl<'a> Graph<'a> {
    fn visit_tensors(&self, visit: &mut dyn FnMut(&Tensor<'a>) -> Result<()>) -> Result<()> {
        self.initializers.iter().try_for_each(&mut *visit)?;
        self.sparse_initializers.iter().flat_map(SparseTensor::parts).try_for_each(&mut *visit)?;
        self.nodes.iter().try_for_each(|node| visit_attributes(&node.attributes, visit))
    }

    pub(super) fn read(mut wire: Wire<'a>) -> Result<Self> {
        let mut graph = Self::default();
        while let Some(field) = wire.field()? {
            match field.number {
                1 => push(&mut graph.nodes, Node::read(field.message("NodeProto")?)?)?,
                2 => graph.name = field.str()?,
                5 => push(&mut graph.initializers, Tensor::read(field.message("TensorProto")?)?)?,
                11 => push(&mut graph.inputs, ValueInfo::read(field.message("ValueInfoProto")?)?)?,
                12 => push(&mut graph.outputs, ValueInfo::read(field.message("ValueInfoProto")?)?)?,
                13 => push(&mut graph.value_info, ValueInfo::read(field.message("ValueInfoProto")?)?)?,
                15 => {
                    let tensor = SparseTensor::read(field.message("SparseTensorProto")?)?;
                    push(&mut graph.sparse_initializers, tensor)?;
                }
                _ => {}
            }
        }
        Ok(graph)
    }
}

impl<'a> Function<'a> {
    fn read(mut wire: Wire<'a>) -> Result<Self> {
        let mut function = Self::default();
        while let Some(field) = wire.field()? {
            match field.number {
                1 => function.name = field.str()?,
                4 => push(&mut function.inputs, field.str()?)?,
                5 => push(&mut function.outputs, field.str()?)?,
                6 => push(&mut function.attributes, field.str()?)?,
                7 => push(&mut function.nodes, Node::read(field.message("NodeProto")?)?)?,
                9 => push(&mut function.opsets, opset(field.message("OperatorSetIdProto")?)?)?,
                10 => function.domain = normalised(field.str()?),
                11 => {
                    let default = Attribute::read(field.message("AttributeProto")?);
                    push(&mut function.attribute_defaults, default.map_err(|e| e.at(function.name))?)?;
                }
                13 => function.overload = field.str()?,
                _ => {}
            }
        }
        Ok(function)
    }
}

fn opset<'a>(mut wire: Wire<'a>) -> Result<(&'a str, i64)> {
    let (mut domain, mut version) = ("", 0);
    while let Some(field) = wire.field()? {
        match field.number {
            1 => domain = normalised(field.str()?),
            2 => version = field.scalar()?,
            _ => {}
        }
    }
    Ok((domain, version))
}
