//! The domain com.microsoft: what ONNX Runtime's tools make of models. Quantised ones are in
//! [`quantized`](super::quantized).

use super::attention::count;
use super::vision::convolution;
use super::{Use, network, unsupported};
use crate::error::{Result, ensure};
use crate::graph::ValueId;
use crate::ops::attend::{Attend, Scores};
use crate::ops::binary::BinaryFunction;
use crate::ops::cast::Cast;
use crate::ops::layer_norm::LayerNorm;
use crate::ops::matmul::MatMul;
use crate::ops::product::Product;
use crate::ops::reduce::{Reduce, ReduceAxes, ReduceFunction};
use crate::ops::reshape::Reshape;
use crate::ops::rotary::Rotary;
use crate::ops::select::Select;
use crate::ops::shape::Shape;
use crate::ops::slice::Slice;
use crate::ops::split::Split;
use crate::ops::take::Take;
use crate::ops::transpose::Transpose;
use crate::ops::unary::{Unary, UnaryFunction};
use crate::tensor::Tensor;
use crate::types::DType;

/// Gelu and its kin, of a sum with a bias where there is one.
pub(super) fn gelu(of: &mut Use) -> Result<Vec<ValueId>> {
    let mut x = of.input(0)?;
    if let Some(bias) = of.optional(1) {
        x = of.binary("biased", BinaryFunction::Add, x, bias);
    }
    let function = match of.node.op_type {
        "FastGelu" => UnaryFunction::Gelu { tanh: true },
        "QuickGelu" => UnaryFunction::Swish { alpha: of.node.float("alpha")?.unwrap_or(1.702) },
        _ => UnaryFunction::Gelu { tanh: false },
    };
    of.outputs(Unary { function }, &[Some(x)])
}

pub(super) fn fused_matmul(of: &mut Use) -> Result<Vec<ValueId>> {
    for (side, flag) in ["transBatchA", "transBatchB"].into_iter().enumerate() {
        if of.flag(flag)? {
            let x = of.input(side)?;
            let ty = of.import.graph.value(x).ty.as_ref();
            let Some(rank) = ty.map(|ty| ty.shape.rank()).filter(|rank| *rank > 1) else {
                return unsupported("a product of batches that are transposed, and not known to be there");
            };
            // The first dimension goes behind those of the batch.
            let order = (1..rank - 1).chain([0, rank - 1]).collect();
            let turned = of.step(flag, Transpose { order: Some(order) }, &[Some(x)]);
            of.inputs[side] = Some(turned);
        }
    }
    let transposed = [of.flag("transA")?, of.flag("transB")?];
    let scale = of.node.float("alpha")?.unwrap_or(1.0);
    of.as_is(Product { transposed, scale })
}

/// The function that comes last.
fn activation(of: &Use) -> Result<Option<UnaryFunction>> {
    let params = of.node.floats("activation_params")?.unwrap_or_default();
    let (a, b) = (params.first().copied(), params.get(1).copied());
    Ok(Some(match of.node.string("activation")?.unwrap_or_default() {
        "" => return Ok(None),
        "Relu" => UnaryFunction::Relu,
        "Tanh" => UnaryFunction::Tanh,
        "Sigmoid" => UnaryFunction::Sigmoid,
        "LeakyRelu" => {
            UnaryFunction::LeakyRelu { alpha: a.or(of.node.float("activation_alpha")?).unwrap_or(0.01) }
        }
        "Clip" => UnaryFunction::Clip { min: a.unwrap_or(f32::MIN), max: b.unwrap_or(f32::MAX) },
        "HardSigmoid" => UnaryFunction::HardSigmoid { alpha: a.unwrap_or(0.2), beta: b.unwrap_or(0.5) },
        other => return unsupported(format!("the activation {other}")),
    }))
}

pub(super) fn fused_conv(of: &mut Use) -> Result<Vec<ValueId>> {
    let mut op = convolution(of)?;
    op.activation = activation(of)?;
    of.as_is(op)
}

pub(super) fn fused_gemm(of: &mut Use) -> Result<Vec<ValueId>> {
    let y = network::gemm(of)?;
    match (activation(of)?, &y[..]) {
        (Some(function), &[y]) => of.outputs(Unary { function }, &[Some(y)]),
        _ => Ok(y),
    }
}

/// Fails where an output is wanted that only training needs.
fn refuse_outputs(of: &Use, which: &[usize]) -> Result<()> {
    let wanted = which.iter().any(|i| of.node.outputs.get(*i).is_some_and(|name| !name.is_empty()));
    if wanted { unsupported("statistics of a norm") } else { Ok(()) }
}

/// The norm of a sum, which is an output too.
pub(super) fn skip_norm(of: &mut Use) -> Result<Vec<ValueId>> {
    refuse_outputs(of, &[1, 2])?;
    let centre = of.node.op_type == "SkipLayerNormalization";
    let (x, skip, scale) = (of.input(0)?, of.input(1)?, of.input(2)?);
    let (beta, bias) = if centre { (of.optional(3), of.optional(4)) } else { (None, of.optional(3)) };
    let mut sum = of.binary("sum", BinaryFunction::Add, x, skip);
    if let Some(bias) = bias {
        sum = of.binary("biased", BinaryFunction::Add, sum, bias);
    }
    let epsilon = of.node.float("epsilon")?.unwrap_or(1e-5);
    let op = LayerNorm { axis: -1, centre, epsilon, outputs: 1 };
    let y = of.step("norm", op, &[Some(sum), Some(scale), beta]);
    Ok(vec![y, sum, sum, sum])
}

/// Words, places and segments, summed and normalised.
pub(super) fn embed(of: &mut Use) -> Result<Vec<ValueId>> {
    let (ids, words, places) = (of.input(0)?, of.input(2)?, of.input(3)?);
    let mut sum = of.step("words", Take { axis: 0 }, &[Some(words), Some(ids)]);
    let places = match of.optional(8) {
        Some(positions) => of.step("places", Take { axis: 0 }, &[Some(places), Some(positions)]),
        None => {
            let length = of.step("length", Shape::Dimensions { start: 1, end: Some(2) }, &[Some(ids)]);
            let (start, axis) = (of.list("start", &[0])?, of.list("axis", &[0])?);
            of.step("places", Slice, &[Some(places), Some(start), Some(length), Some(axis), None])
        }
    };
    sum = of.binary("placed", BinaryFunction::Add, sum, places);
    if let (Some(segments), Some(table)) = (of.optional(1), of.optional(4)) {
        let segments = of.step("segments", Take { axis: 0 }, &[Some(table), Some(segments)]);
        sum = of.binary("sum", BinaryFunction::Add, sum, segments);
    }
    let epsilon = of.node.float("epsilon")?.unwrap_or(1e-12);
    let op = LayerNorm { axis: -1, centre: true, epsilon, outputs: 1 };
    let y = of.step("norm", op, &[Some(sum), of.optional(5), of.optional(6)]);
    let mut outputs = vec![y];
    if of.node.outputs.len() > 1 {
        let Some(mask) = of.optional(7) else { return unsupported("lengths of sequences without a mask") };
        let axes = of.list("axes", &[1])?;
        let mask = of.step("mask", Cast::to(DType::I32), &[Some(mask)]);
        let op = Reduce {
            function: ReduceFunction::Sum,
            axes: ReduceAxes::Given { none_is_none: false },
            keep: false,
        };
        outputs.extend([of.step("lengths", op, &[Some(mask), Some(axes)]), sum]);
    }
    Ok(outputs)
}

pub(super) fn rotary(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = Rotary {
        interleaved: of.flag("interleaved")?,
        turning: count(of, "rotary_embedding_dim", 0)?,
        heads: count(of, "num_heads", 0)?,
    };
    let inputs = [of.optional(0), of.optional(2), of.optional(3), of.optional(1)];
    of.outputs(op, &inputs)
}

/// What is common to the kinds of attention here: heads last, scores not given.
fn attend(of: &Use, heads: (usize, usize), causal: bool, outputs: usize) -> Result<Attend> {
    ensure!(outputs <= 3, UnsupportedOp, "an attention that gives its scores");
    Ok(Attend {
        heads: Some(heads),
        scale: of.node.float("scale")?.filter(|scale| *scale != 0.0),
        causal,
        softcap: of.node.float("softcap")?.unwrap_or(0.0),
        window: (None, None),
        scores: Scores::Products,
        outputs,
    })
}

/// A mask as one of scores, with what is added to them, and lengths of the sequences: `given` is one of keys `[b, t]`, one
/// of scores `[b, s, t]`, or the lengths `[b]`.
fn mask(
    of: &mut Use,
    given: Option<ValueId>,
    added: Option<ValueId>,
) -> Result<(Option<ValueId>, Option<ValueId>)> {
    let rank = given.and_then(|id| of.import.graph.value(id).ty.as_ref().map(|ty| ty.shape.rank()));
    match rank {
        Some(1) => Ok((added, given)),
        Some(2) | None => Ok((hiding(of, given, added, &[1, 2])?, None)),
        Some(3) => Ok((hiding(of, given, added, &[1])?, None)),
        Some(rank) => unsupported(format!("a mask of {rank} dimensions")),
    }
}

/// A mask with these dimensions put in, with what is added to scores.
fn hiding(
    of: &mut Use,
    keys: Option<ValueId>,
    added: Option<ValueId>,
    axes: &[i64],
) -> Result<Option<ValueId>> {
    let Some(keys) = keys else { return Ok(added) };
    let axes = of.list("mask.axes", axes)?;
    let keys = of.step("mask.bool", Cast::to(DType::Bool), &[Some(keys)]);
    let keys = of.step("mask", Reshape::Unsqueeze, &[Some(keys), Some(axes)]);
    let Some(added) = added else { return Ok(Some(keys)) };
    let hidden = of.number("hidden", f32::NEG_INFINITY, added)?;
    Ok(Some(of.step("mask.added", Select, &[Some(keys), Some(added), Some(hidden)])))
}

/// Three equal parts of the last dimension.
fn thirds(of: &mut Use, part: &str, x: ValueId) -> [ValueId; 3] {
    let names = ["q", "k", "v"].map(|name| format!("{}.{part}.{name}", of.name));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let parts = of.import.graph.defer(of.name, Split { axis: -1, parts: 3 }, &[Some(x), None], &names);
    [parts[0], parts[1], parts[2]]
}

pub(super) fn multi_head(of: &mut Use) -> Result<Vec<ValueId>> {
    let (Some(k), Some(v)) = (of.optional(1), of.optional(2)) else {
        return unsupported("queries, keys and values in one tensor");
    };
    let mut parts = [of.input(0)?, k, v];
    if let Some(bias) = of.optional(3) {
        let bias = thirds(of, "bias", bias);
        for (i, part) in parts.iter_mut().enumerate() {
            *part = of.binary(["q", "k", "v"][i], BinaryFunction::Add, *part, bias[i]);
        }
    }
    let masks = (of.optional(4), of.optional(5));
    let (mask, lengths) = mask(of, masks.0, masks.1)?;
    let heads = count(of, "num_heads", 0)?;
    let op = attend(of, (heads, heads), of.flag("unidirectional")?, of.node.outputs.len())?;
    let [q, k, v] = parts.map(Some);
    let past = (of.optional(6), of.optional(7));
    of.outputs(op, &[q, k, v, mask, past.0, past.1, lengths])
}

/// A sequence that goes on where its past ends; several at once must be of one length.
pub(super) fn grouped(of: &mut Use) -> Result<Vec<ValueId>> {
    let (Some(mut k), Some(v)) = (of.optional(1), of.optional(2)) else {
        return unsupported("queries, keys and values in one tensor");
    };
    let mut q = of.input(0)?;
    let (heads, kv_heads) = (count(of, "num_heads", 0)?, count(of, "kv_num_heads", 0)?);
    if of.flag("do_rotary")? {
        // The first place is the length of the whole, less that of what is new.
        let one = of.list("one", &[1])?;
        let total = of.input(5)?;
        let total = of.step("last", Cast::to(DType::I64), &[Some(total)]);
        let total = of.binary("total", BinaryFunction::Add, total, one);
        let new = of.step("new", Shape::Dimensions { start: 1, end: Some(2) }, &[Some(q)]);
        let first = of.binary("first", BinaryFunction::Sub, total, new);
        let tables = (of.optional(7), of.optional(8));
        let turned = |of: &mut Use, part: &str, x: ValueId, heads: usize| {
            let op = Rotary { interleaved: of.flag("rotary_interleaved")?, turning: 0, heads };
            Ok::<_, crate::error::Error>(of.step(part, op, &[Some(x), tables.0, tables.1, Some(first)]))
        };
        q = turned(of, "q", q, heads)?;
        k = turned(of, "k", k, kv_heads)?;
    }
    let mut op = attend(of, (heads, kv_heads), true, of.node.outputs.len())?;
    op.window.0 =
        of.node.int("local_window_size")?.and_then(|n| usize::try_from(n).ok()).map(|n| n.max(1) - 1);
    let past = (of.optional(3), of.optional(4));
    let added = of.optional(10);
    of.outputs(op, &[Some(q), Some(k), Some(v), added, past.0, past.1])
}

/// Queries, keys and values are one product. A mask of one dimension is how long each sequence is.
pub(super) fn attention(of: &mut Use) -> Result<Vec<ValueId>> {
    if of.optional(4).is_some() || of.node.ints("qkv_hidden_sizes")?.is_some() {
        return unsupported("an attention with a past, or with values of another size");
    }
    let (x, w) = (of.input(0)?, of.input(1)?);
    let mut all = match network::weight(of, 1, false)? {
        Some(weight) => of.step("product", MatMul::default(), &[Some(x), Some(weight)]),
        None => of.step("product", Product::default(), &[Some(x), Some(w)]),
    };
    if let Some(bias) = of.optional(2) {
        all = of.binary("biased", BinaryFunction::Add, all, bias);
    }
    let [q, k, v] = thirds(of, "parts", all);
    let (given, added) = (of.optional(3), of.optional(5));
    let (mask, lengths) = mask(of, given, added)?;
    let heads = count(of, "num_heads", 0)?;
    let op = attend(of, (heads, heads), of.flag("unidirectional")?, 1)?;
    Ok(vec![of.step("attention", op, &[Some(q), Some(k), Some(v), mask, None, None, lengths])])
}

/// A product with a constant matrix of 4 or 8 bits, in blocks that have a scale and a zero each.
pub(super) fn matmul_bits(of: &mut Use) -> Result<Vec<ValueId>> {
    let (k, n) = (count(of, "K", 0)?, count(of, "N", 0)?);
    let (bits, block) = (count(of, "bits", 4)?, count(of, "block_size", 0)?);
    let (Some(levels), Some(scales)) = (of.known(1), of.known(2)) else {
        return unsupported("a matrix of few bits that is not constant");
    };
    if of.optional(4).is_some() || !matches!(bits, 4 | 8) || of.optional(3).is_some() != of.known(3).is_some()
    {
        return unsupported(format!("a matrix of {bits} bits, of columns in an order of their own"));
    }
    let per_byte = 8 / bits;
    let blocks = k.div_ceil(block.max(1));
    let (row, zero_row) = (blocks * block.div_ceil(per_byte), blocks.div_ceil(per_byte));
    let (scales, bytes) = (scales.view().to_floats()?, levels.bytes());
    let zeros = of.known(3);
    let zero_floats =
        zeros.as_ref().filter(|z| z.dtype().is_float()).map(|z| z.view().to_floats()).transpose()?;
    let zero_bytes = zeros.as_ref().filter(|z| !z.dtype().is_float()).map(|z| z.bytes());
    let fits = block > 0
        && Some(bytes.len()) == n.checked_mul(row)
        && Some(scales.len()) == n.checked_mul(blocks)
        && zero_bytes.is_none_or(|z| z.len() == n * zero_row)
        && zero_floats.as_ref().is_none_or(|z| z.len() == n * blocks);
    ensure!(fits, InvalidGraph, "{n} rows of {k} elements in blocks of {block} do not fit their scales");
    let level = |bytes: &[u8], i: usize| match per_byte {
        1 => f64::from(bytes[i]),
        _ => f64::from(bytes[i / 2] >> (4 * (i % 2)) & 15),
    };
    let mut weight = Tensor::zeros(DType::F32, &[n, k])?;
    for (r, values) in weight.data_mut::<f32>()?.chunks_exact_mut(k.max(1)).enumerate() {
        let bytes = &bytes[r * row..][..row];
        for (i, value) in values.iter_mut().enumerate() {
            let (at, scale) = (i / block, scales[r * blocks + i / block]);
            let zero = match (&zero_bytes, &zero_floats) {
                (Some(zeros), _) => level(&zeros[r * zero_row..][..zero_row], at),
                (_, Some(zeros)) => zeros[r * blocks + at],
                _ => f64::from(1u32 << (bits - 1)),
            };
            *value = ((level(bytes, i) - zero) * scale) as f32;
        }
    }
    let weight = of.constant("weight", weight);
    let x = of.input(0)?;
    let wide = |of: &mut Use, part: &str, x: ValueId| of.step(part, Cast::to(DType::F32), &[Some(x)]);
    let bias = of.optional(5).map(|bias| wide(of, "bias", bias));
    let y = wide(of, "x", x);
    let y = of.step("product", MatMul::default(), &[Some(y), Some(weight), bias]);
    of.outputs(Cast::like(), &[Some(y), Some(x)])
}
