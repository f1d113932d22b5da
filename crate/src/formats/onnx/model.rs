//! Models, graphs, nodes and the types of their values, as the file has them. Specified in
//! <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

use super::attribute::Attribute;
use super::tensor::Tensor;
use super::wire::{Message, Value};
use crate::error::{Result, ensure};

/// A file.
#[derive(Clone, Debug, Default)]
pub struct Model<'a> {
    /// The version of the format.
    pub ir_version: i64,
    /// The version of each domain's operators. The default domain is "".
    pub opsets: Vec<(&'a str, i64)>,
    /// The program that wrote the file.
    pub producer: &'a str,
    /// The main graph.
    pub graph: Graph<'a>,
    /// Functions that nodes may name as their operator.
    pub functions: Vec<Function<'a>>,
}

/// A graph: of the model, or in an attribute of a node.
#[derive(Clone, Debug, Default)]
pub struct Graph<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its nodes, each after those whose outputs it uses.
    pub nodes: Vec<Node<'a>>,
    /// Its weights and constants.
    pub initializers: Vec<Tensor<'a>>,
    /// Its inputs; an initialiser of the same name is a default.
    pub inputs: Vec<ValueInfo<'a>>,
    /// Its outputs.
    pub outputs: Vec<ValueInfo<'a>>,
}

/// An operator applied to values.
#[derive(Clone, Debug, Default)]
pub struct Node<'a> {
    /// Its name, perhaps empty.
    pub name: &'a str,
    /// The operator.
    pub op_type: &'a str,
    /// The operator's domain; the default one is "".
    pub domain: &'a str,
    /// Names of values; empty where an optional one is absent.
    pub inputs: Vec<&'a str>,
    /// Names of values; empty where one is not wanted.
    pub outputs: Vec<&'a str>,
    /// The attributes.
    pub attributes: Vec<Attribute<'a>>,
}

/// An operator made of others.
#[derive(Clone, Debug, Default)]
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its domain.
    pub domain: &'a str,
    /// Names of its inputs.
    pub inputs: Vec<&'a str>,
    /// Names of its outputs.
    pub outputs: Vec<&'a str>,
    /// Attributes that have a default.
    pub defaults: Vec<Attribute<'a>>,
    /// Its nodes.
    pub nodes: Vec<Node<'a>>,
    /// The operators' versions.
    pub opsets: Vec<(&'a str, i64)>,
}

/// A name with a type.
#[derive(Clone, Debug, Default)]
pub struct ValueInfo<'a> {
    /// The name.
    pub name: &'a str,
    /// The type, where it is a tensor's.
    pub tensor: Option<TensorInfo<'a>>,
}

/// What the file says of a tensor's type.
#[derive(Clone, Debug, Default)]
pub struct TensorInfo<'a> {
    /// The number of its element type in `TensorProto.DataType`.
    pub data_type: i64,
    /// The dimensions, where their number is known.
    pub shape: Option<Vec<DimInfo<'a>>>,
}

/// What the file says of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DimInfo<'a> {
    /// A number.
    Known(usize),
    /// A name.
    Named(&'a str),
    /// Nothing.
    Unknown,
}

/// Reads a file. Nothing of it is copied but numbers.
pub fn parse(bytes: &[u8]) -> Result<Model<'_>> {
    let mut model = Model::default();
    let mut graphs = 0;
    Message::new(bytes).each(|field, value| {
        match field {
            1 => model.ir_version = value.int()?,
            2 => model.producer = value.text()?,
            7 => {
                model.graph = Graph::parse(value.message()?)?;
                graphs += 1;
            }
            8 => model.opsets.push(opset(value)?),
            25 => model.functions.push(Function::parse(value.message()?)?),
            _ => {}
        }
        Ok(())
    })?;
    ensure!(graphs == 1, Format, "this is no ONNX model: it has {graphs} graphs and should have one");
    Ok(model)
}

/// The default domain has two names.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

fn opset<'a>(value: Value<'a>) -> Result<(&'a str, i64)> {
    let mut opset = ("", 0);
    value.message()?.each(|field, value| {
        match field {
            1 => opset.0 = domain(value.text()?),
            2 => opset.1 = value.int()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(opset)
}

impl<'a> Graph<'a> {
    pub(super) fn parse(message: Message<'a>) -> Result<Self> {
        let mut graph = Self::default();
        message.each(|field, value| {
            match field {
                1 => graph.nodes.push(Node::parse(value.message()?)?),
                2 => graph.name = value.text()?,
                5 => graph.initializers.push(Tensor::parse(value.message()?)?),
                11 => graph.inputs.push(ValueInfo::parse(value.message()?)?),
                12 => graph.outputs.push(ValueInfo::parse(value.message()?)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(graph)
    }
}

impl<'a> Node<'a> {
    fn parse(message: Message<'a>) -> Result<Self> {
        let mut node = Self::default();
        message.each(|field, value| {
            match field {
                1 => node.inputs.push(value.text()?),
                2 => node.outputs.push(value.text()?),
                3 => node.name = value.text()?,
                4 => node.op_type = value.text()?,
                5 => node.attributes.push(Attribute::parse(value.message()?)?),
                7 => node.domain = domain(value.text()?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(node)
    }
}

impl<'a> Function<'a> {
    fn parse(message: Message<'a>) -> Result<Self> {
        let mut function = Self::default();
        message.each(|field, value| {
            match field {
                1 => function.name = value.text()?,
                4 => function.inputs.push(value.text()?),
                5 => function.outputs.push(value.text()?),
                7 => function.nodes.push(Node::parse(value.message()?)?),
                9 => function.opsets.push(opset(value)?),
                10 => function.domain = domain(value.text()?),
                11 => function.defaults.push(Attribute::parse(value.message()?)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(function)
    }
}

impl<'a> ValueInfo<'a> {
    fn parse(message: Message<'a>) -> Result<Self> {
        let mut info = Self::default();
        message.each(|field, value| {
            match field {
                1 => info.name = value.text()?,
                2 => value.message()?.each(|field, value| {
                    if field == 1 {
                        info.tensor = Some(TensorInfo::parse(value.message()?)?);
                    }
                    Ok(())
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(info)
    }
}

impl<'a> TensorInfo<'a> {
    fn parse(message: Message<'a>) -> Result<Self> {
        let mut info = Self::default();
        message.each(|field, value| {
            match field {
                1 => info.data_type = value.int()?,
                2 => {
                    let mut shape = Vec::new();
                    value.message()?.each(|field, value| {
                        if field == 1 {
                            shape.push(DimInfo::parse(value.message()?)?);
                        }
                        Ok(())
                    })?;
                    info.shape = Some(shape);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(info)
    }
}

impl<'a> DimInfo<'a> {
    fn parse(message: Message<'a>) -> Result<Self> {
        let mut dim = Self::Unknown;
        message.each(|field, value| {
            match field {
                1 => dim = usize::try_from(value.int()?).map_or(Self::Unknown, Self::Known),
                2 => {
                    dim = value
                        .text()
                        .map(|name| if name.is_empty() { Self::Unknown } else { Self::Named(name) })?
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(dim)
    }
}
