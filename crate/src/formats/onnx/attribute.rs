//! Attributes: `AttributeProto`, one of fourteen kinds of value under a name.

use super::model::Graph;
use super::tensor::{SparseTensor, Tensor};
use super::value::ValueType;
use super::wire::{Wire, fault, push};
use crate::error::{Result, fail};

/// An attribute of a node, or the default of one of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute<'a> {
    /// The name.
    pub name: &'a str,
    /// In the body of a function: the attribute of the function whose value this takes. Empty otherwise.
    pub ref_attr_name: &'a str,
    /// The value.
    pub value: AttributeValue<'a>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum AttributeValue<'a> {
    /// No value: the attribute refers to one of the function, or the file says nothing.
    None,
    Float(f32),
    Int(i64),
    /// A string, in UTF-8 if the file keeps to its format.
    Str(&'a [u8]),
    Tensor(Box<Tensor<'a>>),
    Graph(Box<Graph<'a>>),
    SparseTensor(Box<SparseTensor<'a>>),
    Type(Box<ValueType<'a>>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Strs(Vec<&'a [u8]>),
    Tensors(Vec<Tensor<'a>>),
    Graphs(Vec<Graph<'a>>),
    SparseTensors(Vec<SparseTensor<'a>>),
    Types(Vec<ValueType<'a>>),
}

impl AttributeValue<'_> {
    /// What this is, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Float(_) => "a float",
            Self::Int(_) => "an int",
            Self::Str(_) => "a string",
            Self::Tensor(_) => "a tensor",
            Self::Graph(_) => "a graph",
            Self::SparseTensor(_) => "a sparse tensor",
            Self::Type(_) => "a type",
            Self::Floats(_) => "floats",
            Self::Ints(_) => "ints",
            Self::Strs(_) => "strings",
            Self::Tensors(_) => "tensors",
            Self::Graphs(_) => "graphs",
            Self::SparseTensors(_) => "sparse tensors",
            Self::Types(_) => "types",
        }
    }
}

/// All values that an attribute has a field for. Its type says which of them is meant.
#[derive(Default)]
struct Fields<'a> {
    f: Option<f32>,
    i: Option<i64>,
    s: Option<&'a [u8]>,
    t: Option<Tensor<'a>>,
    g: Option<Graph<'a>>,
    sparse: Option<SparseTensor<'a>>,
    ty: Option<ValueType<'a>>,
    floats: Vec<f32>,
    ints: Vec<i64>,
    strings: Vec<&'a [u8]>,
    tensors: Vec<Tensor<'a>>,
    graphs: Vec<Graph<'a>>,
    sparse_tensors: Vec<SparseTensor<'a>>,
    types: Vec<ValueType<'a>>,
}

impl<'a> Attribute<'a> {
    pub(super) fn read(mut wire: Wire<'a>) -> Result<Self> {
        let (mut name, mut ref_attr_name, mut kind, mut fields) = ("", "", 0, Fields::default());
        while let Some(field) = wire.field()? {
            match field.number {
                1 => name = field.str()?,
                2 => fields.f = Some(field.scalar()?),
                3 => fields.i = Some(field.scalar()?),
                4 => fields.s = Some(field.bytes()?),
                5 => field.once(&mut fields.t, Tensor::read(field.message("TensorProto")?)?)?,
                6 => field.once(&mut fields.g, Graph::read(field.message("GraphProto")?)?)?,
                7 => field.scalars(&mut fields.floats)?,
                8 => field.scalars(&mut fields.ints)?,
                9 => push(&mut fields.strings, field.bytes()?)?,
                10 => push(&mut fields.tensors, Tensor::read(field.message("TensorProto")?)?)?,
                11 => push(&mut fields.graphs, Graph::read(field.message("GraphProto")?)?)?,
                14 => fields.ty = ValueType::read(field.message("TypeProto")?)?,
                15 => {
                    if let Some(ty) = ValueType::read(field.message("TypeProto")?)? {
                        push(&mut fields.types, ty)?;
                    }
                }
                20 => kind = field.scalar()?,
                21 => ref_attr_name = field.str()?,
                22 => field
                    .once(&mut fields.sparse, SparseTensor::read(field.message("SparseTensorProto")?)?)?,
                23 => {
                    push(
                        &mut fields.sparse_tensors,
                        SparseTensor::read(field.message("SparseTensorProto")?)?,
                    )?;
                }
                _ => {}
            }
        }
        if name.is_empty() {
            return Err(fault("an attribute has no name".into()));
        }
        let value = if ref_attr_name.is_empty() { fields.value(name, kind)? } else { AttributeValue::None };
        Ok(Self { name, ref_attr_name, value })
    }
}

impl<'a> Fields<'a> {
    /// The number of the kind that is there, for files of a time when attributes had no type.
    fn kind(&self) -> i32 {
        let there = [
            self.f.is_some(),
            self.i.is_some(),
            self.s.is_some(),
            self.t.is_some(),
            self.g.is_some(),
            !self.floats.is_empty(),
            !self.ints.is_empty(),
            !self.strings.is_empty(),
            !self.tensors.is_empty(),
            !self.graphs.is_empty(),
            self.sparse.is_some(),
            !self.sparse_tensors.is_empty(),
            self.ty.is_some(),
            !self.types.is_empty(),
        ];
        there.iter().position(|&there| there).map_or(0, |index| index as i32 + 1)
    }

    /// The value of a kind. Writers leave out zeros and empty strings, but a message that is missing is a fault.
    fn value(self, name: &str, kind: i32) -> Result<AttributeValue<'a>> {
        use AttributeValue as V;
        let missing =
            |what: &str| fault(format!("the attribute '{name}' says that it is {what} and has none"));
        Ok(match if kind == 0 { self.kind() } else { kind } {
            0 => V::None,
            1 => V::Float(self.f.unwrap_or(0.0)),
            2 => V::Int(self.i.unwrap_or(0)),
            3 => V::Str(self.s.unwrap_or_default()),
            4 => V::Tensor(Box::new(self.t.ok_or_else(|| missing("a tensor"))?)),
            5 => V::Graph(Box::new(self.g.ok_or_else(|| missing("a graph"))?)),
            6 => V::Floats(self.floats),
            7 => V::Ints(self.ints),
            8 => V::Strs(self.strings),
            9 => V::Tensors(self.tensors),
            10 => V::Graphs(self.graphs),
            11 => V::SparseTensor(Box::new(self.sparse.ok_or_else(|| missing("a sparse tensor"))?)),
            12 => V::SparseTensors(self.sparse_tensors),
            13 => V::Type(Box::new(self.ty.ok_or_else(|| missing("a type"))?)),
            14 => V::Types(self.types),
            _ => {
                return fail!(
                    UnsupportedFormat,
                    "the attribute '{name}' is of the unknown kind {kind}: export again"
                );
            }
        })
    }
}
