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
use crate::ops::concat::Concat;
use crate::ops::fill::Fill;
use crate::ops::layer_norm::LayerNorm;
use crate::ops::matmul::MatMul;
use crate::ops::product::Product;
use crate::ops::range::Range;
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

/// The same, of tables and factors of 8-bit levels.
pub(super) fn embed_levels(of: &mut Use) -> Result<Vec<ValueId>> {
    let mut inputs = of.inputs.clone();
    for i in 0..5 {
        if of.optional(2 + i).is_some() {
            inputs[2 + i] =
                Some(super::quantized::dequantised(of, &format!("table{i}"), 2 + i, 8 + i, 13 + i)?);
        }
    }
    inputs.truncate(8);
    of.inputs = inputs;
    embed(of)
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

/// Parts of a dimension of `x [b, s, ..]`, each as `[b, s, elements]`.
fn unpacked(of: &mut Use, part: &str, x: ValueId, axis: i64, sizes: &[i64]) -> Result<Vec<ValueId>> {
    let names: Vec<String> = (0..sizes.len()).map(|i| format!("{}.{part}{i}", of.name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let given = of.list(&format!("{part}.sizes"), sizes)?;
    let op = Split { axis, parts: sizes.len() };
    let parts = of.import.graph.defer(of.name, op, &[Some(x), Some(given)], &names);
    let flat = of.list(&format!("{part}.flat"), &[0, 0, -1])?;
    let shaped = parts.into_iter().enumerate().map(|(i, x)| {
        of.step(&format!("{part}.{i}"), Reshape::To { allow_zero: false }, &[Some(x), Some(flat)])
    });
    Ok(shaped.collect())
}

pub(super) fn multi_head(of: &mut Use) -> Result<Vec<ValueId>> {
    let mut parts = match (of.input(0)?, of.optional(1), of.optional(2)) {
        (q, Some(k), Some(v)) => [q, k, v],
        (q, Some(both), None) => {
            let kv = unpacked(of, "kv", both, 3, &[1, 1])?;
            [q, kv[0], kv[1]]
        }
        (all, ..) => {
            let qkv = unpacked(of, "qkv", all, 3, &[1, 1, 1])?;
            [qkv[0], qkv[1], qkv[2]]
        }
    };
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

/// Refuses what [`grouped`] does not compute, by its name.
fn refuse_of_grouped(of: &Use) -> Result<()> {
    for (input, name) in [(12, "k_scale"), (13, "v_scale"), (14, "q_norm_weight"), (15, "k_norm_weight")] {
        if of.optional(input).is_some() {
            return unsupported(format!("its input {name}"));
        }
    }
    for name in ["k_quant_type", "v_quant_type"] {
        let kind = of.node.string(name)?.unwrap_or("NONE");
        if kind != "NONE" {
            return unsupported(format!("{name} {kind}"));
        }
    }
    if of.flag("sliding_window_cache")? {
        return unsupported("a sliding_window_cache");
    }
    Ok(())
}

/// Sequences that go on where their pasts end, each at a place of its own.
pub(super) fn grouped(of: &mut Use) -> Result<Vec<ValueId>> {
    refuse_of_grouped(of)?;
    let (heads, kv_heads) = (count(of, "num_heads", 0)?, count(of, "kv_num_heads", 0)?);
    let (mut q, mut k, v) = match (of.input(0)?, of.optional(1), of.optional(2)) {
        (q, Some(k), Some(v)) => (q, k, v),
        (all, ..) => {
            let all_heads = heads.saturating_add(kv_heads.saturating_mul(2)) as i64;
            let shape = of.list("heads", &[0, 0, all_heads, -1])?;
            let all = of.step("by_head", Reshape::To { allow_zero: false }, &[Some(all), Some(shape)]);
            let parts = unpacked(of, "qkv", all, 2, &[heads as i64, kv_heads as i64, kv_heads as i64])?;
            (parts[0], parts[1], parts[2])
        }
    };
    // The last place of each sequence is given; the first of what is new is as many before it, and none of a prompt's
    // padding.
    let one = of.list("one", &[1])?;
    let last = of.input(5)?;
    let last = of.step("last", Cast::to(DType::I64), &[Some(last)]);
    let flat = of.list("flat", &[-1])?;
    let last = of.step("lasts", Reshape::To { allow_zero: false }, &[Some(last), Some(flat)]);
    let total = of.binary("total", BinaryFunction::Add, last, one);
    let new = of.step("new", Shape::Dimensions { start: 1, end: Some(2) }, &[Some(q)]);
    let first = of.binary("first", BinaryFunction::Sub, total, new);
    let none = of.list("none", &[0])?;
    let first = of.binary("starts", BinaryFunction::Max, first, none);
    if of.flag("do_rotary")? {
        let positions = match of.optional(9) {
            Some(positions) => positions,
            None => {
                let number = |of: &mut Use, part: &str, value: i64| {
                    Ok::<_, crate::error::Error>(of.constant(part, Tensor::new(&[], &[value])?))
                };
                let (zero, step) = (number(of, "range.start", 0)?, number(of, "range.step", 1)?);
                let scalar = of.list("scalar", &[])?;
                let end = of.step("range.end", Reshape::To { allow_zero: false }, &[Some(new), Some(scalar)]);
                let places = of.step("range", Range, &[Some(zero), Some(end), Some(step)]);
                let firsts = of.step("firsts", Reshape::Unsqueeze, &[Some(first), Some(one)]);
                of.binary("positions", BinaryFunction::Add, firsts, places)
            }
        };
        let tables = (of.optional(7), of.optional(8));
        let turned = |of: &mut Use, part: &str, x: ValueId, heads: usize| {
            let op = Rotary { interleaved: of.flag("rotary_interleaved")?, turning: 0, heads };
            Ok::<_, crate::error::Error>(of.step(part, op, &[Some(x), tables.0, tables.1, Some(positions)]))
        };
        q = turned(of, "q", q, heads)?;
        k = turned(of, "k", k, kv_heads)?;
    }
    // A smooth softmax is that of sinks of 0.
    let sinks = match of.optional(11) {
        None if of.node.int("smooth_softmax")? == Some(1) => {
            let shape = of.list("sinks.shape", &[heads as i64])?;
            let zero = of.constant("sinks.zero", Tensor::new(&[1], &[0.0f32])?);
            Some(of.step("sinks", Fill, &[Some(shape), Some(zero)]))
        }
        given => given,
    };
    let causal = of.node.int("causal")? != Some(0);
    let mut op = attend(of, (heads, kv_heads), causal, of.node.outputs.len())?;
    op.window.0 =
        of.node.int("local_window_size")?.and_then(|n| usize::try_from(n).ok()).map(|n| n.max(1) - 1);
    let past = (of.optional(3), of.optional(4));
    let added = of.optional(10);
    of.outputs(op, &[Some(q), Some(k), Some(v), added, past.0, past.1, None, Some(first), sinks])
}

/// Queries, keys and values are one product.
pub(super) fn attention(of: &mut Use) -> Result<Vec<ValueId>> {
    let (x, w) = (of.input(0)?, of.input(1)?);
    let all = match network::weight(of, 1, false)? {
        Some(weight) => of.step("product", MatMul::default(), &[Some(x), Some(weight)]),
        None => of.step("product", Product::default(), &[Some(x), Some(w)]),
    };
    let inputs = [2, 3, 4, 5].map(|i| of.optional(i));
    attended(of, all, inputs)
}

/// Attention of queries, keys and values in one tensor, given a bias for that, a mask, the past, and what is added to
/// scores. A mask of one dimension is how long each sequence is.
pub(super) fn attended(of: &mut Use, mut all: ValueId, inputs: [Option<ValueId>; 4]) -> Result<Vec<ValueId>> {
    let [bias, given, past, added] = inputs;
    if of.flag("do_rotary")? {
        return unsupported("an attention that turns its queries and keys");
    }
    if let Some(bias) = bias {
        all = of.binary("biased", BinaryFunction::Add, all, bias);
    }
    let [q, k, v] = match of.node.ints("qkv_hidden_sizes")?.map(<[i64]>::to_vec) {
        Some(sizes) if sizes.len() == 3 => {
            let parts = unpacked(of, "parts", all, 2, &sizes)?;
            [parts[0], parts[1], parts[2]]
        }
        _ => thirds(of, "parts", all),
    };
    let (mask, lengths) = mask(of, given, added)?;
    if lengths.is_some() && past.is_some() {
        return unsupported("lengths of sequences that have a past");
    }
    let heads = count(of, "num_heads", 0)?;
    let outputs = if of.node.outputs.len() > 1 { 3 } else { 1 };
    let op = attend(of, (heads, heads), of.flag("unidirectional")?, outputs)?;
    let (mut past_k, mut past_v) = (None, None);
    let axis = of.list("axis", &[0])?;
    if let Some(past) = past {
        let names = ["k", "v"].map(|name| format!("{}.past.{name}", of.name));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let split = Split { axis: 0, parts: 2 };
        let parts = of.import.graph.defer(of.name, split, &[Some(past), None], &names);
        let squeezed = |of: &mut Use, part: &str, x: ValueId| {
            Some(of.step(part, Reshape::Squeeze, &[Some(x), Some(axis)]))
        };
        (past_k, past_v) = (squeezed(of, "past.keys", parts[0]), squeezed(of, "past.values", parts[1]));
    }
    let names: Vec<String> =
        ["attention", "keys", "values"].iter().map(|n| format!("{}.{n}", of.name)).collect();
    let names: Vec<&str> = names.iter().take(outputs).map(String::as_str).collect();
    let inputs = [Some(q), Some(k), Some(v), mask, past_k, past_v, lengths];
    let mut found = of.import.graph.defer(of.name, op, &inputs, &names);
    if outputs > 1 {
        let stacked = [found[1], found[2]]
            .map(|x| Some(of.step("present.part", Reshape::Unsqueeze, &[Some(x), Some(axis)])));
        found = vec![found[0], of.step("present", Concat { axis: 0 }, &stacked)];
    }
    Ok(found)
}
