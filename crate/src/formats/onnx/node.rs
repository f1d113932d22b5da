//! Nodes: `NodeProto`, an operator or local function applied to values, and the attributes by name and kind.

use super::attribute::{Attribute, AttributeValue};
use super::model::{Graph, normalised};
use super::tensor::{SparseTensor, Tensor};
use super::wire::{Wire, fault, push};
use crate::error::{Error, ErrorKind, Result};

/// A node of a graph or function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node<'a> {
    /// The name, which may be empty.
    pub name: &'a str,
    /// The name of the operator or function.
    pub op_type: &'a str,
    /// Whose operator it is; empty for ONNX's own.
    pub domain: &'a str,
    /// Which function of that name it is.
    pub overload: &'a str,
    /// Names of values; an empty one stands for an optional input that is not given.
    pub inputs: Vec<&'a str>,
    /// Names of values; an empty one stands for an output that nobody uses.
    pub outputs: Vec<&'a str>,
    /// The attributes.
    pub attributes: Vec<Attribute<'a>>,
}

impl<'a> Node<'a> {
    pub(super) fn read(mut wire: Wire<'a>) -> Result<Self> {
        let mut node = Self::default();
        while let Some(field) = wire.field()? {
            match field.number {
                1 => push(&mut node.inputs, field.str()?)?,
                2 => push(&mut node.outputs, field.str()?)?,
                3 => node.name = field.str()?,
                4 => node.op_type = field.str()?,
                5 => {
                    let attribute =
                        Attribute::read(field.message("AttributeProto")?).map_err(|e| e.at(node.label()))?;
                    push(&mut node.attributes, attribute)?;
                }
                7 => node.domain = normalised(field.str()?),
                8 => node.overload = field.str()?,
                _ => {}
            }
        }
        if node.op_type.is_empty() {
            return Err(fault("a node has no operator".into()).at(node.label()));
        }
        Ok(node)
    }

    /// What to call the node in a message: its name, or else its first output, or else its operator.
    pub fn label(&self) -> &'a str {
        let output = self.outputs.iter().find(|output| !output.is_empty());
        match (self.name, output) {
            ("", Some(output)) => output,
            ("", None) => self.op_type,
            (name, _) => name,
        }
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// What `pick` takes of the attribute of that name. Fails when it takes nothing.
    fn value<'n, T>(
        &'n self,
        name: &str,
        wanted: &str,
        pick: impl FnOnce(&'n AttributeValue<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(attribute) = self.attribute(name) else { return Ok(None) };
        let wrong = || {
            let (op_type, found) = (self.op_type, attribute.value.kind());
            let message = format!("the attribute '{name}' of {op_type} is {found}, and must be {wanted}");
            Error::new(ErrorKind::InvalidGraph, message).at(self.label())
        };
        pick(&attribute.value).ok_or_else(wrong).map(Some)
    }

    /// An int attribute; none if it is not there. Fails, as all of these do, when it is of another kind.
    pub fn int(&self, name: &str) -> Result<Option<i64>> {
        self.value(name, "an int", |value| match value {
            AttributeValue::Int(int) => Some(*int),
            _ => None,
        })
    }

    /// A list of ints.
    pub fn ints(&self, name: &str) -> Result<Option<&[i64]>> {
        self.value(name, "ints", |value| match value {
            AttributeValue::Ints(ints) => Some(&ints[..]),
            _ => None,
        })
    }

    /// A float.
    pub fn float(&self, name: &str) -> Result<Option<f32>> {
        self.value(name, "a float", |value| match value {
            AttributeValue::Float(float) => Some(*float),
            _ => None,
        })
    }

    /// A list of floats.
    pub fn floats(&self, name: &str) -> Result<Option<&[f32]>> {
        self.value(name, "floats", |value| match value {
            AttributeValue::Floats(floats) => Some(&floats[..]),
            _ => None,
        })
    }

    /// A string. Fails also when it is not UTF-8.
    pub fn string(&self, name: &str) -> Result<Option<&'a str>> {
        self.value(name, "a string in UTF-8", |value| match value {
            AttributeValue::Str(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        })
    }

    /// A list of strings. Fails also when one is not UTF-8.
    pub fn strings(&self, name: &str) -> Result<Option<Vec<&'a str>>> {
        self.value(name, "strings in UTF-8", |value| match value {
            AttributeValue::Strs(list) => list.iter().map(|bytes| std::str::from_utf8(bytes).ok()).collect(),
            _ => None,
        })
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Result<Option<&Tensor<'a>>> {
        self.value(name, "a tensor", |value| match value {
            AttributeValue::Tensor(tensor) => Some(&**tensor),
            _ => None,
        })
    }

    /// A sparse tensor.
    pub fn sparse_tensor(&self, name: &str) -> Result<Option<&SparseTensor<'a>>> {
        self.value(name, "a sparse tensor", |value| match value {
            AttributeValue::SparseTensor(tensor) => Some(&**tensor),
            _ => None,
        })
    }

    /// A graph.
    pub fn graph(&self, name: &str) -> Result<Option<&Graph<'a>>> {
        self.value(name, "a graph", |value| match value {
            AttributeValue::Graph(graph) => Some(&**graph),
            _ => None,
        })
    }
}
