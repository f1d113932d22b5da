//! Attributes of nodes, and how an importer asks for them.

use super::model::{Graph, Node};
use super::tensor::Tensor;
use super::wire::Message;
use crate::error::{Error, ErrorKind, Result};

/// A named value that is part of an operator.
#[derive(Clone, Debug, Default)]
pub struct Attribute<'a> {
    /// Its name.
    pub name: &'a str,
    /// In a function: the function's attribute that gives the value.
    pub reference: &'a str,
    float: f32,
    int: i64,
    text: &'a [u8],
    tensor: Option<Tensor<'a>>,
    graph: Option<Graph<'a>>,
    floats: Vec<f32>,
    ints: Vec<i64>,
    texts: Vec<&'a [u8]>,
}

impl<'a> Attribute<'a> {
    pub(super) fn parse(message: Message<'a>) -> Result<Self> {
        let mut attribute = Self::default();
        message.each(|field, value| {
            match field {
                1 => attribute.name = value.text()?,
                2 => attribute.float = value.float()?,
                3 => attribute.int = value.int()?,
                4 => attribute.text = value.message()?.bytes(),
                5 => attribute.tensor = Some(Tensor::parse(value.message()?)?),
                6 => attribute.graph = Some(Graph::parse(value.message()?)?),
                7 => value.floats(&mut attribute.floats)?,
                8 => value.ints(&mut attribute.ints)?,
                9 => attribute.texts.push(value.message()?.bytes()),
                21 => attribute.reference = value.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(attribute)
    }

    /// The graph, of an attribute that has one.
    pub fn graph(&self) -> Option<&Graph<'a>> {
        self.graph.as_ref()
    }
}

/// Attributes by name. What is not there is `None`.
impl<'a> Node<'a> {
    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// An integer.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|attribute| attribute.int)
    }

    /// An integer that says yes or no; no where it is left out.
    pub fn flag(&self, name: &str) -> bool {
        self.int(name).is_some_and(|value| value != 0)
    }

    /// A float.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name).map(|attribute| attribute.float)
    }

    /// Text. Fails when it is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>> {
        let text = self.attribute(name).map(|attribute| std::str::from_utf8(attribute.text));
        text.transpose().map_err(|_| {
            Error::new(ErrorKind::Format, format!("the attribute {name} is not UTF-8")).at(self.name)
        })
    }

    /// Integers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| &attribute.ints[..])
    }

    /// Floats.
    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|attribute| &attribute.floats[..])
    }

    /// A tensor.
    pub fn tensor(&self, name: &str) -> Option<&Tensor<'a>> {
        self.attribute(name).and_then(|attribute| attribute.tensor.as_ref())
    }
}
