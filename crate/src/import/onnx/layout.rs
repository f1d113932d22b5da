//! Operators that move elements, or only name them anew.

use super::{Use, external, unsupported};
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::cast::Cast;
use crate::ops::concat::Concat;
use crate::ops::expand::Expand;
use crate::ops::fill::Fill;
use crate::ops::pad::{Pad, PadMode};
use crate::ops::random::{Draw, Random};
use crate::ops::range::Range;
use crate::ops::reshape::Reshape;
use crate::ops::shape::Shape;
use crate::ops::slice::Slice;
use crate::ops::split::Split;
use crate::ops::take::Take;
use crate::ops::transpose::Transpose;
use crate::tensor::Tensor;
use crate::types::DType;

pub(super) fn constant(of: &mut Use) -> Result<Vec<ValueId>> {
    let node = of.node;
    let tensor = if let Some(tensor) = of.tensor("value")? {
        tensor
    } else if let Some(value) = node.float("value_float")? {
        Tensor::new(&[], &[value])?
    } else if let Some(value) = node.int("value_int")? {
        Tensor::new(&[], &[value])?
    } else if let Some(values) = node.floats("value_floats")? {
        Tensor::new(&[values.len()], values)?
    } else if let Some(values) = node.ints("value_ints")? {
        Tensor::new(&[values.len()], values)?
    } else if let Some(text) = node.string("value_string")? {
        Tensor::of_texts(&[], vec![text.into()])?
    } else if let Some(texts) = node.strings("value_strings")? {
        Tensor::of_texts(&[texts.len()], texts.into_iter().map(Into::into).collect())?
    } else if let Some(sparse) = node.sparse_tensor("sparse_value")? {
        of.import.elements(sparse.decode(&external)?)?
    } else {
        return unsupported("a constant without a value");
    };
    let name = node.outputs.first().copied().unwrap_or_default();
    Ok(vec![of.import.graph.constant(name, tensor)])
}

pub(super) fn identity(of: &mut Use) -> Result<Vec<ValueId>> {
    Ok(vec![of.input(0)?])
}

/// Nothing drops out of a model that is not being trained: whether it is, an input says since opset 12.
pub(super) fn dropout(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = of.input(0)?;
    let outputs = of.node.outputs.len();
    if of.optional(2).is_some() {
        let seed = of.node.int("seed")?.map(|seed| seed as f32);
        return of.as_is(Random { draw: Draw::Dropout, shape: None, dtype: None, seed, outputs });
    }
    if outputs < 2 {
        return Ok(vec![x]);
    }
    let shape = of.step("shape", Shape::Dimensions { start: 0, end: None }, &[Some(x)]);
    let one = of.constant("one", Tensor::new(&[1], &[1.0f32])?);
    let one = match of.import.opset {
        ..10 => of.step("kept", Cast::like(), &[Some(one), Some(x)]),
        _ => of.step("kept", Cast::to(DType::Bool), &[Some(one)]),
    };
    Ok(vec![x, of.step("mask", Fill, &[Some(shape), Some(one)])])
}

pub(super) fn reshape(of: &mut Use) -> Result<Vec<ValueId>> {
    let (x, shape) = (of.input(0)?, of.ints("shape", 1)?);
    of.outputs(Reshape::To { allow_zero: of.flag("allowzero")? }, &[Some(x), shape])
}

pub(super) fn flatten(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Reshape::Flatten(of.node.int("axis")?.unwrap_or(1)))
}

pub(super) fn squeeze(of: &mut Use) -> Result<Vec<ValueId>> {
    let (x, axes) = (of.input(0)?, of.ints("axes", 1)?);
    of.outputs(Reshape::Squeeze, &[Some(x), axes])
}

pub(super) fn unsqueeze(of: &mut Use) -> Result<Vec<ValueId>> {
    let (x, axes) = (of.input(0)?, of.ints("axes", 1)?);
    of.outputs(Reshape::Unsqueeze, &[Some(x), axes])
}

pub(super) fn shape(of: &mut Use) -> Result<Vec<ValueId>> {
    let start = of.node.int("start")?.unwrap_or(0);
    of.as_is(Shape::Dimensions { start, end: of.node.int("end")? })
}

pub(super) fn size(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Shape::Size)
}

pub(super) fn transpose(of: &mut Use) -> Result<Vec<ValueId>> {
    let order = of.node.ints("perm")?.map(|order| order.iter().map(|&i| i as usize).collect());
    of.as_is(Transpose { order })
}

pub(super) fn expand(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Expand::Broadcast)
}

pub(super) fn tile(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Expand::Tile)
}

pub(super) fn concat(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Concat { axis: of.node.int("axis")?.unwrap_or(1) })
}

pub(super) fn split(of: &mut Use) -> Result<Vec<ValueId>> {
    let (x, sizes) = (of.input(0)?, of.ints("split", 1)?);
    let op = Split { axis: of.node.int("axis")?.unwrap_or(0), parts: of.node.outputs.len() };
    of.outputs(op, &[Some(x), sizes])
}

pub(super) fn slice(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = of.input(0)?;
    let ranges = [of.ints("starts", 1)?, of.ints("ends", 2)?, of.ints("axes", 3)?, of.optional(4)];
    of.outputs(Slice, &[&[Some(x)], &ranges[..]].concat())
}

pub(super) fn take(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Take { axis: of.node.int("axis")?.unwrap_or(0) })
}

pub(super) fn constant_of_shape(of: &mut Use) -> Result<Vec<ValueId>> {
    let value = of.tensor("value")?.map_or_else(|| Tensor::new(&[1], &[0.0f32]), Ok)?;
    let value = of.constant("value", value);
    let shape = of.input(0)?;
    of.outputs(Fill, &[Some(shape), Some(value)])
}

pub(super) fn range(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Range)
}

/// Amounts and value are attributes before opset 11.
pub(super) fn pad(of: &mut Use) -> Result<Vec<ValueId>> {
    let mode = match of.node.string("mode")?.unwrap_or("constant") {
        "constant" => PadMode::Constant,
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        "wrap" => PadMode::Wrap,
        other => return unsupported(format!("padding in the mode {other}")),
    };
    let (x, pads) = (of.input(0)?, of.ints("pads", 1)?);
    let value = match (of.optional(2), of.node.float("value")?) {
        (None, Some(value)) => Some(of.constant("value", Tensor::new(&[], &[value])?)),
        (value, _) => value,
    };
    of.outputs(Pad { mode }, &[Some(x), pads, value, of.optional(3)])
}
