//! Operators on integers of few bits.

use super::vision::{convolution, pooling};
use super::{Use, unsupported};
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::concat::Concat;
use crate::ops::dequantize::Dequantize;
use crate::ops::integer_product::IntegerProduct;
use crate::ops::product::Product;
use crate::ops::quantize::Quantize;
use crate::ops::reshape::Reshape;
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::unary::{Unary, UnaryFunction};
use crate::types::DType;

/// The dtype that an attribute names, where it does.
fn named(of: &Use, attribute: &str) -> Result<Option<DType>> {
    match of.node.int(attribute)? {
        None | Some(0) => Ok(None),
        _ => of.dtype(attribute).map(Some),
    }
}

fn block_size(of: &Use) -> Result<Option<usize>> {
    Ok(of.node.int("block_size")?.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0))
}

pub(super) fn dequantize(of: &mut Use) -> Result<Vec<ValueId>> {
    let axis = of.node.int("axis")?.unwrap_or(1);
    let (dtype, block) = (named(of, "output_dtype")?, block_size(of)?);
    of.as_is(Dequantize { axis, block, dtype })
}

pub(super) fn quantize(of: &mut Use) -> Result<Vec<ValueId>> {
    let axis = of.node.int("axis")?.unwrap_or(1);
    let (dtype, precision) = (named(of, "output_dtype")?.unwrap_or(DType::U8), named(of, "precision")?);
    let saturate = of.node.int("saturate")?.unwrap_or(1) != 0;
    let block = block_size(of)?;
    of.as_is(Quantize::Given { axis, block, dtype, precision, saturate })
}

pub(super) fn quantize_dynamic(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Quantize::Dynamic)
}

/// Numbers that integers stand for, as f32: inputs `at`, `at + 1` and `at + 2` are integers, scale and zero.
pub(super) fn numbers(of: &mut Use, name: &str, at: usize, axis: i64) -> Result<ValueId> {
    let (x, scale) = (of.input(at)?, of.input(at + 1)?);
    let scale = of.step(&format!("{name}_scale"), Cast::to(DType::F32), &[Some(scale)]);
    Ok(of.step(name, Dequantize::along(axis), &[Some(x), Some(scale), of.optional(at + 2)]))
}

/// Numbers as integers: inputs `at` and `at + 1` are scale and zero.
pub(super) fn integers(of: &mut Use, y: ValueId, at: usize, axis: i64) -> Result<Vec<ValueId>> {
    let (scale, zero) = (of.input(at)?, of.optional(at + 1));
    let scale = of.step("y_scale", Cast::to(DType::F32), &[Some(scale)]);
    of.outputs(Quantize::along(axis, DType::U8), &[Some(y), Some(scale), zero])
}

/// Integers stand for numbers, whose product is integers again. Scales are by row of `a`, by column of `b`.
pub(super) fn qlinear_matmul(of: &mut Use) -> Result<Vec<ValueId>> {
    let (a, b) = (numbers(of, "a", 0, -2)?, numbers(of, "b", 3, -1)?);
    let y = of.step("product", Product::default(), &[Some(a), Some(b)]);
    integers(of, y, 6, -2)
}

/// The bias is integers, by the scales of both inputs.
pub(super) fn qlinear_conv(of: &mut Use) -> Result<Vec<ValueId>> {
    let (x, w) = (numbers(of, "x", 0, 1)?, numbers(of, "w", 3, 0)?);
    let bias = match of.optional(8) {
        Some(bias) => {
            let (x_scale, w_scale) = (of.input(1)?, of.input(4)?);
            let bias = of.step("bias_levels", Cast::to(DType::F32), &[Some(bias)]);
            let scale = of.binary("bias_scale", BinaryFunction::Mul, w_scale, x_scale);
            Some(of.binary("bias", BinaryFunction::Mul, bias, scale))
        }
        None => None,
    };
    let op = convolution(of)?;
    let y = of.step("sums", op, &[Some(x), Some(w), bias]);
    integers(of, y, 6, 1)
}

/// The sums of a convolution of what two integer tensors stand for, but for scales, in i32.
pub(super) fn conv_integer(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = shifted(of, "x", 0, 2)?;
    let zero = of.optional(3);
    if let Some(zero) = zero {
        // A zero by filter has the dimensions of the weight.
        let aligned = of.step("w_zero_aligned", Reshape::Align { axis: 0 }, &[Some(zero), of.optional(1)]);
        of.inputs[3] = Some(aligned);
    }
    let w = shifted(of, "w", 1, 3)?;
    let op = convolution(of)?;
    of.outputs(op, &[Some(x), Some(w)])
}

/// Integers less their zero, as i32.
fn shifted(of: &mut Use, name: &str, at: usize, zero: usize) -> Result<ValueId> {
    let x = of.input(at)?;
    let x = of.step(name, Cast::to(DType::I32), &[Some(x)]);
    let Some(zero) = of.optional(zero) else { return Ok(x) };
    let zero = of.step(&format!("{name}_zero"), Cast::to(DType::I32), &[Some(zero)]);
    Ok(of.binary(&format!("{name}_shifted"), BinaryFunction::Sub, x, zero))
}

/// The product of what two integer matrices stand for, but for scales: `(a - zero) · (b - zero)` in i32.
pub(super) fn matmul_integer(of: &mut Use) -> Result<Vec<ValueId>> {
    let is_one = |of: &Use, i: usize| {
        of.optional(i).is_none() || of.known(i).is_some_and(|zero| zero.shape().len() < 2)
    };
    if of.known(1).is_some_and(|b| b.shape().len() == 2) && is_one(of, 3) {
        return of.as_is(IntegerProduct);
    }
    let (a, b) = (shifted(of, "a", 0, 2)?, shifted(of, "b", 1, 3)?);
    of.outputs(Product::default(), &[Some(a), Some(b)])
}

/// Numbers times a constant matrix of integers with scales by column, or one, and a bias.
fn float_product(of: &mut Use, a: ValueId, b: usize, inputs: [usize; 3]) -> Result<Vec<ValueId>> {
    let [scale, zero, bias] = inputs;
    let (weight, scale) = (of.input(b)?, of.input(scale)?);
    let b = of.step("b", Dequantize::along(-1), &[Some(weight), Some(scale), of.optional(zero)]);
    let mut y = of.step("product", Product::default(), &[Some(a), Some(b)]);
    if let Some(bias) = of.optional(bias) {
        y = of.binary("biased", BinaryFunction::Add, y, bias);
    }
    Ok(vec![y])
}

/// The left side is rounded to 8 bits as [`quantize_dynamic`] does.
pub(super) fn dynamic_matmul(of: &mut Use) -> Result<Vec<ValueId>> {
    let a = of.input(0)?;
    let names = ["levels", "scale", "zero"].map(|part| format!("{}.a_{part}", of.name));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let parts = of.import.graph.defer(of.name, Quantize::Dynamic, &[Some(a)], &names);
    let parts: Vec<_> = parts.into_iter().map(Some).collect();
    let a = of.step("a", Dequantize::along(0), &parts);
    float_product(of, a, 1, [2, 3, 4])
}

pub(super) fn integer_to_float(of: &mut Use) -> Result<Vec<ValueId>> {
    let (a, scale) = (of.input(0)?, of.input(2)?);
    let a = of.step("a", Dequantize::along(-2), &[Some(a), Some(scale), of.optional(4)]);
    float_product(of, a, 1, [3, 5, 6])
}

/// An operator on what integers stand for, whose result is integers again.
pub(super) fn qlinear(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = numbers(of, "a", 0, 1)?;
    let (op, at): (Op, usize) = match of.node.op_type {
        "QLinearAdd" => (Binary { function: BinaryFunction::Add }.into(), 6),
        "QLinearMul" => (Binary { function: BinaryFunction::Mul }.into(), 6),
        "QLinearSigmoid" => (Unary { function: UnaryFunction::Sigmoid }.into(), 3),
        "QLinearLeakyRelu" => {
            let alpha = of.node.float("alpha")?.unwrap_or(0.01);
            (Unary { function: UnaryFunction::LeakyRelu { alpha } }.into(), 3)
        }
        "QLinearSoftmax" => {
            let flatten = of.node.int("opset")?.unwrap_or(13) < 13;
            let axis = of.node.int("axis")?.unwrap_or(-1);
            (Softmax { function: SoftmaxFunction::Softmax, axis, flatten }.into(), 3)
        }
        _ if of.flag("channels_last")? => return unsupported("images whose channels are last"),
        _ => (pooling(of)?.into(), 3),
    };
    let y = match at {
        6 => {
            let b = numbers(of, "b", 3, 1)?;
            of.step("y", op, &[Some(x), Some(b)])
        }
        _ => of.step("y", op, &[Some(x)]),
    };
    integers(of, y, at, 1)
}

/// Scale and zero of the result come first, then each part with its own.
pub(super) fn qlinear_concat(of: &mut Use) -> Result<Vec<ValueId>> {
    let parts = (2..of.inputs.len()).step_by(3);
    let parts =
        parts.map(|at| numbers(of, &format!("part{at}"), at, 1).map(Some)).collect::<Result<Vec<_>>>()?;
    let axis = of.node.int("axis")?.unwrap_or(1);
    let y = of.step("y", Concat { axis }, &parts);
    integers(of, y, 0, 1)
}
