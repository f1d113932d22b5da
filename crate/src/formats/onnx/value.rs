//! What the file says of a value's type: `ValueInfoProto` and `TypeProto`. All of it may be missing.

use super::element::ElementType;
use super::wire::{Wire, push};
use crate::error::Result;

/// A value's name and type.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueInfo<'a> {
    /// The name.
    pub name: &'a str,
    /// The type, where it is known.
    pub ty: Option<ValueType<'a>>,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueType<'a> {
    /// A tensor.
    Tensor {
        /// The element type, where it is known.
        elem: Option<ElementType>,
        /// The shape, outermost dimension first, where at least the rank is known.
        shape: Option<Vec<DimInfo<'a>>>,
    },
    /// A tensor that is mostly zero.
    SparseTensor {
        /// The element type, where it is known.
        elem: Option<ElementType>,
        /// The shape, outermost dimension first, where at least the rank is known.
        shape: Option<Vec<DimInfo<'a>>>,
    },
    /// A list of values of one type.
    Sequence(Box<ValueType<'a>>),
    /// A value or none.
    Optional(Box<ValueType<'a>>),
    /// Values by key.
    Map {
        /// The type of the keys: string, or one of the integers.
        key: ElementType,
        /// The type of the values.
        value: Box<ValueType<'a>>,
    },
    /// A type that only a custom operator knows.
    Opaque {
        /// Who defines it.
        domain: &'a str,
        /// Its name.
        name: &'a str,
    },
}

/// What is known of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DimInfo<'a> {
    /// Its size.
    Known(usize),
    /// A name that other dimensions of the same size share.
    Named(&'a str),
    /// Nothing.
    Unknown,
}

impl<'a> ValueInfo<'a> {
    pub(super) fn read(mut wire: Wire<'a>) -> Result<Self> {
        let mut info = Self { name: "", ty: None };
        while let Some(field) = wire.field()? {
            match field.number {
                1 => info.name = field.str()?,
                2 => info.ty = ValueType::read(field.message("TypeProto")?).map_err(|e| e.at(info.name))?,
                _ => {}
            }
        }
        Ok(info)
    }
}

impl<'a> ValueType<'a> {
    /// A type; none when it or a part of it is not stated.
    pub(super) fn read(mut wire: Wire<'a>) -> Result<Option<Self>> {
        let mut ty = None;
        while let Some(field) = wire.field()? {
            ty = match field.number {
                1 => {
                    let (elem, shape) = tensor(field.message("TypeProto.Tensor")?)?;
                    Some(Self::Tensor { elem, shape })
                }
                8 => {
                    let (elem, shape) = tensor(field.message("TypeProto.SparseTensor")?)?;
                    Some(Self::SparseTensor { elem, shape })
                }
                4 => element(field.message("TypeProto.Sequence")?)?.map(Self::Sequence),
                9 => element(field.message("TypeProto.Optional")?)?.map(Self::Optional),
                5 => map(field.message("TypeProto.Map")?)?,
                7 => Some(opaque(field.message("TypeProto.Opaque")?)?),
                _ => ty,
            };
        }
        Ok(ty)
    }
}

type Shape<'a> = Option<Vec<DimInfo<'a>>>;

fn tensor<'a>(mut wire: Wire<'a>) -> Result<(Option<ElementType>, Shape<'a>)> {
    let (mut elem, mut shape) = (None, None);
    while let Some(field) = wire.field()? {
        match field.number {
            1 => elem = ElementType::from_number(field.scalar()?)?,
            2 => {
                let mut dims = Vec::new();
                let mut wire = field.message("TensorShapeProto")?;
                while let Some(field) = wire.field()? {
                    if field.number == 1 {
                        push(&mut dims, dim(field.message("TensorShapeProto.Dimension")?)?)?;
                    }
                }
                field.once(&mut shape, dims)?;
            }
            _ => {}
        }
    }
    Ok((elem, shape))
}

/// A dimension. For one that they do not know some exporters write -1, and others "?", which is no name: it may stand
/// for different sizes.
fn dim<'a>(mut wire: Wire<'a>) -> Result<DimInfo<'a>> {
    let mut dim = DimInfo::Unknown;
    while let Some(field) = wire.field()? {
        match field.number {
            1 => dim = usize::try_from(field.scalar::<i64>()?).map_or(DimInfo::Unknown, DimInfo::Known),
            2 => match field.str()? {
                "" | "?" => dim = DimInfo::Unknown,
                name => dim = DimInfo::Named(name),
            },
            _ => {}
        }
    }
    Ok(dim)
}

/// The type of the elements of a sequence or of an optional value.
fn element<'a>(mut wire: Wire<'a>) -> Result<Option<Box<ValueType<'a>>>> {
    let mut ty = None;
    while let Some(field) = wire.field()? {
        if field.number == 1 {
            ty = ValueType::read(field.message("TypeProto")?)?;
        }
    }
    Ok(ty.map(Box::new))
}

fn map<'a>(mut wire: Wire<'a>) -> Result<Option<ValueType<'a>>> {
    let (mut key, mut value) = (None, None);
    while let Some(field) = wire.field()? {
        match field.number {
            1 => key = ElementType::from_number(field.scalar()?)?,
            2 => value = ValueType::read(field.message("TypeProto")?)?.map(Box::new),
            _ => {}
        }
    }
    Ok(key.zip(value).map(|(key, value)| ValueType::Map { key, value }))
}

fn opaque<'a>(mut wire: Wire<'a>) -> Result<ValueType<'a>> {
    let (mut domain, mut name) = ("", "");
    while let Some(field) = wire.field()? {
        match field.number {
            1 => domain = field.str()?,
            2 => name = field.str()?,
            _ => {}
        }
    }
    Ok(ValueType::Opaque { domain, name })
}
