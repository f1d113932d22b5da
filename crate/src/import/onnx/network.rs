//! Products, normalisations and the other parts of neural networks.

use super::Use;
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::arg_reduce::ArgReduce;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::layer_norm::LayerNorm;
use crate::ops::matmul::MatMul;
use crate::ops::product::Product;
use crate::ops::reduce::{Reduce, ReduceAxes, ReduceFunction};
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::transpose::Transpose;
use crate::types::DType;

/// A product with a constant matrix has it repacked; any other is computed as it comes.
pub(super) fn matmul(of: &mut Use) -> Result<Vec<ValueId>> {
    let (a, b) = (of.input(0)?, of.input(1)?);
    match weight(of, 1, false)? {
        Some(weight) => of.outputs(MatMul::default(), &[Some(a), Some(weight)]),
        None => of.outputs(Product::default(), &[Some(a), Some(b)]),
    }
}

/// The product with a constant f32 matrix `[n, k]`.
pub(super) fn product(of: &mut Use, part: &str, x: ValueId, weight: ValueId) -> ValueId {
    of.step(part, MatMul::default(), &[Some(x), Some(weight)])
}

/// A constant f32 matrix as `[n, k]`, where input `index` is one.
pub(super) fn weight(of: &mut Use, index: usize, is_transposed: bool) -> Result<Option<ValueId>> {
    let Some(tensor) = of.known(index) else { return Ok(None) };
    if tensor.dtype() != DType::F32 || tensor.shape().len() != 2 || tensor.bytes().is_empty() {
        return Ok(None);
    }
    let weight = if is_transposed {
        (*tensor).clone()
    } else {
        let transpose = crate::ops::Op::from(Transpose { order: None });
        transpose.eval_now(&[Some(&tensor)])?.swap_remove(0)
    };
    Ok(Some(of.constant("weight", weight)))
}

/// `alpha·A·B + beta·C`, with A and B perhaps transposed.
pub(super) fn gemm(of: &mut Use) -> Result<Vec<ValueId>> {
    let (mut a, mut b) = (of.input(0)?, of.input(1)?);
    let (alpha, beta) = (of.node.float("alpha")?.unwrap_or(1.0), of.node.float("beta")?.unwrap_or(1.0));
    let transposed = || Transpose { order: Some(vec![1, 0]) };
    if of.flag("transA")? {
        a = of.step("a", transposed(), &[Some(a)]);
    }
    let mut y = match weight(of, 1, of.flag("transB")?)? {
        Some(weight) => of.step("product", MatMul::default(), &[Some(a), Some(weight)]),
        None => {
            if of.flag("transB")? {
                b = of.step("b", transposed(), &[Some(b)]);
            }
            of.step("product", Product::default(), &[Some(a), Some(b)])
        }
    };
    y = scaled(of, "alpha", y, alpha)?;
    if let Some(c) = of.optional(2) {
        let c = scaled(of, "beta", c, beta)?;
        y = of.step("sum", Binary { function: BinaryFunction::Add }, &[Some(y), Some(c)]);
    }
    Ok(vec![y])
}

fn scaled(of: &mut Use, name: &str, x: ValueId, factor: f32) -> Result<ValueId> {
    if factor == 1.0 {
        return Ok(x);
    }
    let factor = of.number(name, factor, x)?;
    Ok(of.step(&format!("times_{name}"), Binary { function: BinaryFunction::Mul }, &[Some(x), Some(factor)]))
}

pub(super) fn softmax(of: &mut Use) -> Result<Vec<ValueId>> {
    let function = match of.node.op_type {
        "Hardmax" => SoftmaxFunction::Hard,
        "LogSoftmax" => SoftmaxFunction::Log,
        _ => SoftmaxFunction::Softmax,
    };
    let flatten = of.import.opset < 13;
    let axis = of.node.int("axis")?.unwrap_or(if flatten { 1 } else { -1 });
    of.as_is(Softmax { function, axis, flatten })
}

pub(super) fn layer_norm(of: &mut Use) -> Result<Vec<ValueId>> {
    let epsilon = of.node.float("epsilon")?.unwrap_or(1e-5);
    let axis = of.node.int("axis")?.unwrap_or(-1);
    let centre = of.node.op_type == "LayerNormalization";
    of.as_is(LayerNorm { axis, centre, epsilon, outputs: of.node.outputs.len() })
}

pub(super) fn reduce(of: &mut Use) -> Result<Vec<ValueId>> {
    let function = match of.node.op_type {
        "ReduceL1" => ReduceFunction::L1,
        "ReduceL2" => ReduceFunction::L2,
        "ReduceLogSum" => ReduceFunction::LogSum,
        "ReduceLogSumExp" => ReduceFunction::LogSumExp,
        "ReduceMax" => ReduceFunction::Max,
        "ReduceMean" => ReduceFunction::Mean,
        "ReduceMin" => ReduceFunction::Min,
        "ReduceProd" => ReduceFunction::Prod,
        "ReduceSumSquare" => ReduceFunction::SumSquare,
        _ => ReduceFunction::Sum,
    };
    let (x, axes) = (of.input(0)?, of.ints("axes", 1)?);
    let none_is_none = of.flag("noop_with_empty_axes")?;
    let keep = of.node.int("keepdims")?.unwrap_or(1) != 0;
    of.outputs(Reduce { function, axes: ReduceAxes::Given { none_is_none }, keep }, &[Some(x), axes])
}

pub(super) fn arg_reduce(of: &mut Use) -> Result<Vec<ValueId>> {
    let node = of.node;
    of.as_is(ArgReduce {
        axis: node.int("axis")?.unwrap_or(0),
        keep: node.int("keepdims")?.unwrap_or(1) != 0,
        largest: node.op_type == "ArgMax",
        last: of.flag("select_last_index")?,
    })
}
