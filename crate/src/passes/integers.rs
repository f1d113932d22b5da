//! Numbers that levels of 8 bits stand for meet as integers: a product or convolution of two dequantised values, of which one is
//! constant, is one of the levels, and does itself what follows it, up to the levels of the result. What only moves or
//! compares elements does so with levels.

use super::fuse_conv::is_activation;
use super::matching::{constant, each, either, rank, sole, unary_of};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::conv::Conv;
use crate::ops::dequantize::Dequantize;
use crate::ops::integer_conv::IntegerConv;
use crate::ops::integer_product::IntegerProduct;
use crate::ops::pool::{Pool, PoolFunction};
use crate::ops::product::Product;
use crate::ops::quantize::Quantize;
use crate::ops::transpose::Transpose;
use crate::ops::unary::UnaryFunction;
use crate::tensor::Tensor;
use crate::types::DType;

/// Rewrites every node that it can, and computes the constants that stay numbers.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let made = each(graph, |graph, node| match &node.op {
        Op::Product(Product { transposed: [false, transposed], scale: 1.0 }) => {
            of_matrices(graph, node, *transposed)
        }
        Op::Conv(conv) if conv.transposed.is_none() && conv.activation.is_none() => {
            of_images(graph, node, conv)
        }
        Op::Binary(Binary { function: BinaryFunction::Mul }) => scaled(graph, node),
        Op::Binary(Binary { function: BinaryFunction::Add }) => biased(graph, node),
        Op::Unary(_) => activated(graph, node),
        Op::Quantize(Quantize::Given { block: None, precision: None, dtype, .. }) => {
            match requantised(graph, node, *dtype)? {
                None => moved(graph, node),
                found => Ok(found),
            }
        }
        _ => Ok(None),
    })?;
    let folds = graph.nodes().any(|(id, node)| is_weight(graph, node) && !graph.is_dead(id));
    Ok(made + if folds { super::fold_constants::run(graph)? } else { 0 })
}

/// Whether a node computes the numbers of a constant of 8-bit levels of at least two dimensions: what is multiplied with it
/// may want the levels.
pub(super) fn is_weight(graph: &Graph, node: &Node) -> bool {
    let levels = matches!(node.op, Op::Dequantize(_)).then(|| constant(graph, node.input(0)?)).flatten();
    levels.is_some_and(|levels| is_byte(levels.dtype()) && levels.shape().len() > 1)
}

fn is_byte(dtype: DType) -> bool {
    matches!(dtype, DType::U8 | DType::I8)
}

fn dtype(graph: &Graph, value: ValueId) -> Option<DType> {
    Some(graph.value(value).ty.as_ref()?.dtype)
}

/// How many elements a value of at most one dimension has.
fn len(graph: &Graph, value: ValueId) -> Option<usize> {
    match &graph.value(value).ty.as_ref()?.shape.0[..] {
        [] => Some(1),
        [n] => n.known(),
        _ => None,
    }
}

/// Levels of 8 bits, and what numbers they stand for.
#[derive(Clone, Copy)]
struct Levels {
    x: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    axis: i64,
}

/// The levels of a value, where it is dequantised from such to f32.
fn levels(graph: &Graph, value: ValueId) -> Option<Levels> {
    let (_, node) = graph.producer(value)?;
    let Op::Dequantize(Dequantize { axis, block: None, dtype: None | Some(DType::F32) }) = node.op else {
        return None;
    };
    let found = Levels { x: node.input(0)?, scale: node.input(1)?, zero: node.input(2), axis };
    let is_byte = [Some(found.x), found.zero].into_iter().flatten().find_map(|id| dtype(graph, id));
    (is_byte.is_some_and(self::is_byte) && dtype(graph, found.scale)? == DType::F32).then_some(found)
}

/// The same, where all have one scale.
fn levels_of_one(graph: &Graph, value: ValueId) -> Option<Levels> {
    levels(graph, value).filter(|found| len(graph, found.scale) == Some(1))
}

/// The levels of a constant that has one scale, or one each along `axis`.
fn weight(graph: &Graph, value: ValueId, axis: usize) -> Option<(Levels, Tensor)> {
    let found = levels(graph, value)?;
    let tensor = constant(graph, found.x)?;
    let axes = tensor.shape().len() as i64;
    let own = if found.axis < 0 { found.axis + axes } else { found.axis };
    let n = len(graph, found.scale)?;
    (n == 1 || own == axis as i64 && n == tensor.shape()[axis]).then(|| (found, tensor.clone()))
}

/// The product of two scales.
fn times(graph: &mut Graph, name: &str, a: ValueId, b: ValueId) -> Result<ValueId> {
    let op = Op::from(Binary { function: BinaryFunction::Mul });
    if let (Some(x), Some(y)) = (constant(graph, a), constant(graph, b)) {
        let product = op.eval_now(&[Some(x), Some(y)])?.swap_remove(0);
        return Ok(graph.constant(&format!("{name}.scale"), product));
    }
    graph.emit1(&format!("{name}.scale"), op, &[Some(a), Some(b)])
}

fn of_matrices(graph: &mut Graph, node: &Node, transposed: bool) -> Result<Option<ValueId>> {
    let found = || {
        let (a, b) = (node.input(0)?, node.input(1)?);
        let turned = |node: &&Node| match &node.op {
            Op::Transpose(Transpose { order }) => order.as_ref().is_none_or(|order| order[..] == [1, 0]),
            _ => false,
        };
        let transpose = graph.producer(b).map(|(_, node)| node).filter(turned);
        let is_transposed = transpose.is_some() != transposed;
        let a = levels_of_one(graph, a).filter(|a| rank(graph, a.x).is_some_and(|rank| rank > 0))?;
        let b = transpose.map_or(Some(b), |node| node.input(0))?;
        let (b, mut matrix) = weight(graph, b, if is_transposed { 0 } else { 1 })?;
        if matrix.shape().len() != 2 || matrix.bytes().is_empty() {
            return None;
        }
        if is_transposed {
            let op = Op::from(Transpose { order: None });
            matrix = op.eval_now(&[Some(&matrix)]).ok()?.swap_remove(0);
        }
        Some((a, b, matrix))
    };
    let Some((a, b, matrix)) = found() else { return Ok(None) };
    let matrix = graph.constant(&format!("{}.levels", node.name), matrix);
    let scale = times(graph, &node.name, a.scale, b.scale)?;
    let inputs = [Some(a.x), Some(matrix), a.zero, b.zero, Some(scale)];
    graph.emit1(&node.name, IntegerProduct::default(), &inputs).map(Some)
}

fn of_images(graph: &mut Graph, node: &Node, conv: &Conv) -> Result<Option<ValueId>> {
    let found = || {
        let (x, w) = (levels_of_one(graph, node.input(0)?)?, weight(graph, node.input(1)?, 0)?);
        let bias = node.input(2);
        let fits = node.input(3).is_none() && !w.1.bytes().is_empty();
        (fits && bias.is_none_or(|bias| dtype(graph, bias) == Some(DType::F32))).then_some((x, w.0, bias))
    };
    let Some((x, w, bias)) = found() else { return Ok(None) };
    let scale = times(graph, &node.name, x.scale, w.scale)?;
    let op = IntegerConv { sliding: conv.sliding.clone(), groups: conv.groups, activation: None };
    graph.emit1(&node.name, op, &[Some(x.x), Some(w.x), x.zero, w.zero, Some(scale), bias]).map(Some)
}

/// What computes a value for one user from sums of products of integers: how many columns or filters it has, and whether those
/// are filters.
fn sums(graph: &Graph, value: ValueId) -> Option<(&Node, usize, bool)> {
    let node = sole(graph, value)?;
    let (axis, is_image) = match node.op {
        Op::IntegerProduct(_) => (1, false),
        Op::IntegerConv(_) => (0, true),
        _ => return None,
    };
    let n = graph.value(node.input(1)?).ty.as_ref()?.shape.0.get(axis)?.known()?;
    Some((node, n, is_image))
}

fn activation_of(op: &Op) -> Option<UnaryFunction> {
    match op {
        Op::IntegerProduct(op) => op.activation,
        Op::IntegerConv(op) => op.activation,
        _ => None,
    }
}

/// The same operator with more inputs.
fn emit(graph: &mut Graph, name: &str, op: Op, mut inputs: Vec<Option<ValueId>>) -> Result<Option<ValueId>> {
    while inputs.last() == Some(&None) {
        inputs.pop();
    }
    graph.emit1(name, op, &inputs).map(Some)
}

fn filled(node: &Node) -> Vec<Option<ValueId>> {
    (0..8).map(|i| node.input(i)).collect()
}

/// Sums as f32, times one scale or one each.
fn scaled(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = either(node, BinaryFunction::Mul).find_map(|(x, scale)| {
        let cast = sole(graph, x)?;
        let Op::Cast(Cast { to: Some(DType::F32), .. }) = cast.op else { return None };
        let (sums, n, is_image) = sums(graph, cast.input(0)?)?;
        let fits = sums.input(4).is_none() && dtype(graph, scale)? == DType::F32;
        let one = len(graph, scale) == Some(1);
        let each = is_image.then(|| of_channels(graph, scale, n)).flatten();
        let many = one || !is_image && len(graph, scale) == Some(n);
        (fits && (many || each.is_some())).then(|| (sums.clone(), scale, each.filter(|_| !one)))
    });
    let Some((sums, mut scale, each)) = found else { return Ok(None) };
    if let Some(each) = each {
        scale = graph.constant(&format!("{}.scale", node.name), each);
    }
    let mut inputs = filled(&sums);
    inputs[4] = Some(scale);
    emit(graph, &node.name, sums.op, inputs)
}

/// A constant `[.., n, 1…]` of one number a channel, as `[n]`; of one number, that for all.
fn of_channels(graph: &Graph, value: ValueId, n: usize) -> Option<Tensor> {
    let tensor = constant(graph, value)?;
    let mut shape = tensor.shape();
    while let [1, rest @ ..] = shape {
        shape = rest;
    }
    let own = shape.first().copied().unwrap_or(1);
    let fits = tensor.shape().len() > 2 && shape.iter().skip(1).all(|n| *n == 1) && own == tensor.len();
    (fits && own == n).then(|| tensor.clone().reshaped(&[n]).ok()).flatten()
}

/// Numbers plus a constant for each column or filter.
fn biased(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = either(node, BinaryFunction::Add).find_map(|(x, bias)| {
        let (sums, n, is_image) = sums(graph, x)?;
        let free = sums.input(4).is_some() && sums.input(5).is_none() && sums.input(6).is_none();
        let tensor = constant(graph, bias).filter(|tensor| tensor.dtype() == DType::F32)?;
        let bias = match is_image {
            true => of_channels(graph, bias, n)?,
            false => {
                let one_row = tensor.shape().last() == Some(&n) && tensor.len() == n;
                let fits = one_row && tensor.shape().len() <= rank(graph, x)?;
                fits.then(|| tensor.clone().reshaped(&[n]).ok()).flatten()?
            }
        };
        (free && activation_of(&sums.op).is_none()).then(|| (sums.clone(), bias))
    });
    let Some((sums, bias)) = found else { return Ok(None) };
    let bias = graph.constant(&format!("{}.bias", node.name), bias);
    let mut inputs = filled(&sums);
    inputs[5] = Some(bias);
    emit(graph, &node.name, sums.op, inputs)
}

fn activated(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = unary_of(node).filter(|(function, _)| is_activation(*function)).and_then(|(function, x)| {
        let (sums, ..) = sums(graph, x)?;
        let free = sums.input(4).is_some() && sums.input(6).is_none() && activation_of(&sums.op).is_none();
        free.then(|| (function, sums.clone()))
    });
    let Some((function, sums)) = found else { return Ok(None) };
    let op: Op = match sums.op {
        Op::IntegerConv(op) => IntegerConv { activation: Some(function), ..op }.into(),
        _ => IntegerProduct { activation: Some(function) }.into(),
    };
    emit(graph, &node.name, op, sums.inputs)
}

/// The levels of numbers that are sums of products of integers.
fn requantised(graph: &mut Graph, node: &Node, dtype: DType) -> Result<Option<ValueId>> {
    let found = node.input(0).zip(node.input(1)).and_then(|(x, scale)| {
        let (sums, ..) = sums(graph, x)?;
        let is_one = |id: ValueId| len(graph, id) == Some(1);
        let zero = node.input(2);
        let fits = is_one(scale)
            && self::dtype(graph, scale)? == DType::F32
            && zero.map_or(Some(dtype), |zero| self::dtype(graph, zero)).is_some_and(is_byte)
            && zero.is_none_or(is_one);
        let free = sums.input(4).is_some() && sums.input(6).is_none();
        (fits && free).then(|| (sums.clone(), scale, zero))
    });
    let Some((sums, scale, zero)) = found else { return Ok(None) };
    let zero = match zero {
        Some(zero) => zero,
        None => graph.constant(&format!("{}.zero", node.name), Tensor::zeros(dtype, &[])?),
    };
    let mut inputs = filled(&sums);
    (inputs[6], inputs[7]) = (Some(scale), Some(zero));
    emit(graph, &node.name, sums.op, inputs)
}

/// What is done to numbers between levels of the same scale and zero, where it only moves or compares them.
fn moved(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let (Some(x), Some(scale)) = (node.input(0), node.input(1)) else { return Ok(None) };
    match graph.producer(x) {
        Some((_, inner)) if !matches!(inner.op, Op::Dequantize(_)) => {
            of_levels(graph, x, scale, node.input(2), 0)
        }
        _ => Ok(None),
    }
}

/// How many operators that move elements may follow each other.
const DEEP: usize = 8;

fn of_levels(
    graph: &mut Graph,
    x: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    depth: usize,
) -> Result<Option<ValueId>> {
    if let Some(found) = levels_of_one(graph, x) {
        let equal = |a: Option<ValueId>, b: Option<ValueId>| match (a, b) {
            (Some(a), Some(b)) => {
                let both = constant(graph, a).zip(constant(graph, b));
                both.is_some_and(|(a, b)| a.dtype() == b.dtype() && a.bytes() == b.bytes())
            }
            (a, b) => a == b,
        };
        let same = equal(Some(found.scale), Some(scale)) && equal(found.zero, zero) && zero.is_some();
        return Ok(same.then_some(found.x));
    }
    let Some(node) = sole(graph, x).filter(|_| depth < DEEP).cloned() else { return Ok(None) };
    let moves = match &node.op {
        Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) => 1,
        Op::Pool(Pool { function: PoolFunction::Max { .. }, outputs: 1, .. }) => 1,
        Op::Concat(_) => node.inputs.len(),
        _ => return Ok(None),
    };
    let mut inputs = node.inputs.clone();
    for input in inputs.iter_mut().take(moves) {
        let Some(x) = *input else { return Ok(None) };
        let Some(found) = of_levels(graph, x, scale, zero, depth + 1)? else { return Ok(None) };
        *input = Some(found);
    }
    graph.emit1(&node.name, node.op, &inputs).map(Some)
}
