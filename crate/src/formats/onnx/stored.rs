//! Values stored on their own, as test data are: `SequenceProto`, `MapProto` and `OptionalProto` of
//! `onnx-data.proto`.

use super::tensor::{ReadExternal, SparseTensor, Tensor};
use super::wire::{Field, Wire, fault, push};
use crate::error::{Result, fail};
use crate::tensor;
use std::sync::Arc;

/// A value of any type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Stored<'a> {
    Tensor(Tensor<'a>),
    SparseTensor(Box<SparseTensor<'a>>),
    Sequence(Sequence<'a>),
    Map(Box<Map<'a>>),
    Optional(Optional<'a>),
}

/// A list of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sequence<'a> {
    /// The name, which may be empty.
    pub name: &'a str,
    /// The values, all of one type.
    pub values: Vec<Stored<'a>>,
}

/// A value or none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Optional<'a> {
    /// The name, which may be empty.
    pub name: &'a str,
    /// The value.
    pub value: Option<Box<Stored<'a>>>,
}

/// Values by key.
#[derive(Clone, Debug, PartialEq)]
pub struct Map<'a> {
    /// The name, which may be empty.
    pub name: &'a str,
    /// The keys.
    pub keys: MapKeys<'a>,
    /// The values, in the order of the keys.
    pub values: Sequence<'a>,
}

/// The keys of a map.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum MapKeys<'a> {
    Ints(Vec<i64>),
    Strings(Vec<&'a [u8]>),
}

impl<'a> Stored<'a> {
    /// The value of a field of `SequenceProto` or `OptionalProto`, which number them alike; none for other fields.
    fn read(field: &Field<'a>) -> Result<Option<Self>> {
        Ok(Some(match field.number {
            3 => Self::Tensor(Tensor::read(field.message("TensorProto")?)?),
            4 => Self::SparseTensor(Box::new(SparseTensor::read(field.message("SparseTensorProto")?)?)),
            5 => Self::Sequence(Sequence::read(field.message("SequenceProto")?)?),
            6 => Self::Map(Box::new(Map::read(field.message("MapProto")?)?)),
            7 => Self::Optional(Optional::read(field.message("OptionalProto")?)?),
            _ => return Ok(None),
        }))
    }
}

impl Stored<'_> {
    /// The value with its elements; `external` is asked for those of another file. A sequence is a list, and an optional
    /// value is itself, or absent.
    ///
    /// # Errors
    /// `UnsupportedFormat` for maps and sparse tensors, and as [`Tensor::decode`] fails.
    pub fn decode(&self, external: ReadExternal) -> Result<tensor::Tensor> {
        match self {
            Self::Tensor(tensor) => tensor.decode(external),
            Self::Sequence(sequence) => sequence.decode(external),
            Self::Optional(optional) => optional.decode(external),
            Self::SparseTensor(_) | Self::Map(_) => {
                fail!(UnsupportedFormat, "a map or a sparse tensor is no value that a network takes")
            }
        }
    }
}

impl Sequence<'_> {
    /// The list. Fails as [`Stored::decode`] does.
    pub fn decode(&self, external: ReadExternal) -> Result<tensor::Tensor> {
        let items = self.values.iter().map(|value| value.decode(external).map(Arc::new));
        Ok(tensor::Tensor::list(items.collect::<Result<_>>()?))
    }
}

impl Optional<'_> {
    /// The value, or the absent one. Fails as [`Stored::decode`] does.
    pub fn decode(&self, external: ReadExternal) -> Result<tensor::Tensor> {
        match &self.value {
            Some(value) => value.decode(external),
            None => Ok(tensor::Tensor::clone(&tensor::Tensor::absent())),
        }
    }
}

impl<'a> Sequence<'a> {
    pub(super) fn read(mut wire: Wire<'a>) -> Result<Self> {
        let mut sequence = Self::default();
        while let Some(field) = wire.field()? {
            if field.number == 1 {
                sequence.name = field.str()?;
            } else if let Some(value) = Stored::read(&field)? {
                push(&mut sequence.values, value)?;
            }
        }
        Ok(sequence)
    }
}

impl<'a> Optional<'a> {
    pub(super) fn read(mut wire: Wire<'a>) -> Result<Self> {
        let mut optional = Self::default();
        while let Some(field) = wire.field()? {
            if field.number == 1 {
                optional.name = field.str()?;
            } else if let Some(value) = Stored::read(&field)? {
                field.once(&mut optional.value, Box::new(value))?;
            }
        }
        Ok(optional)
    }
}

impl<'a> Map<'a> {
    fn read(mut wire: Wire<'a>) -> Result<Self> {
        let (mut name, mut ints, mut strings, mut values) = ("", Vec::new(), Vec::new(), None);
        while let Some(field) = wire.field()? {
            match field.number {
                1 => name = field.str()?,
                3 => field.scalars(&mut ints)?,
                4 => push(&mut strings, field.bytes()?)?,
                5 => field.once(&mut values, Sequence::read(field.message("SequenceProto")?)?)?,
                _ => {}
            }
        }
        let keys = if strings.is_empty() { MapKeys::Ints(ints) } else { MapKeys::Strings(strings) };
        let n_keys = match &keys {
            MapKeys::Ints(keys) => keys.len(),
            MapKeys::Strings(keys) => keys.len(),
        };
        let values = values.unwrap_or_default();
        if n_keys != values.values.len() {
            return Err(fault(format!("a map has {n_keys} keys and {} values", values.values.len())));
        }
        Ok(Self { name, keys, values })
    }
}
