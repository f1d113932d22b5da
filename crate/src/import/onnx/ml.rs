//! The domain ai.onnx.ml: what scikit-learn and its kin export. Trees and support vectors are in [`trees`](super::trees).

use super::network::product;
use super::{Use, unsupported};
use crate::error::{Result, ensure};
use crate::graph::ValueId;
use crate::ops::Op;
use crate::ops::arg_reduce::ArgReduce;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::concat::Concat;
use crate::ops::reduce::{Reduce, ReduceAxes, ReduceFunction};
use crate::ops::relabel::{Labels, Relabel};
use crate::ops::reshape::Reshape;
use crate::ops::select::Select;
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::take::Take;
use crate::ops::unary::{Unary, UnaryFunction};
use crate::tensor::Tensor;
use crate::types::DType;
use std::sync::Arc;

/// Input `index` as f32.
pub(super) fn floats(of: &mut Use, index: usize) -> Result<ValueId> {
    let x = of.input(index)?;
    Ok(of.step(&format!("x{index}"), Cast::to(DType::F32), &[Some(x)]))
}

/// Numbers of an attribute as a constant; nothing where it is left out.
pub(super) fn constants(of: &mut Use, name: &str) -> Result<Option<ValueId>> {
    let Some(values) = of.node.floats(name)?.map(<[f32]>::to_vec) else { return Ok(None) };
    Ok(Some(of.constant(name, Tensor::new(&[values.len()], &values)?)))
}

pub(super) fn scaler(of: &mut Use) -> Result<Vec<ValueId>> {
    let mut x = floats(of, 0)?;
    if let Some(offset) = constants(of, "offset")? {
        x = of.binary("shifted", BinaryFunction::Sub, x, offset);
    }
    match constants(of, "scale")? {
        Some(scale) => of.outputs(Binary { function: BinaryFunction::Mul }, &[Some(x), Some(scale)]),
        None => Ok(vec![x]),
    }
}

/// Rows divided by their norm, but by nothing that is nearly zero.
pub(super) fn normalizer(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = floats(of, 0)?;
    let (of_x, function) = match of.node.string("norm")?.unwrap_or("MAX") {
        "L1" => (x, ReduceFunction::L1),
        "L2" => (x, ReduceFunction::L2),
        "MAX" => (of.unary("size", UnaryFunction::Abs, x), ReduceFunction::Max),
        other => return unsupported(format!("the norm {other}")),
    };
    let axes = of.list("axes", &[-1])?;
    let op = Reduce { function, axes: ReduceAxes::Given { none_is_none: false }, keep: true };
    let norm = of.step("norm", op, &[Some(of_x), Some(axes)]);
    let least = of.constant("least", Tensor::new(&[], &[1e-30f32])?);
    let norm = of.binary("divisor", BinaryFunction::Max, norm, least);
    of.outputs(Binary { function: BinaryFunction::Div }, &[Some(x), Some(norm)])
}

pub(super) fn binarizer(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = of.input(0)?;
    let threshold = of.node.float("threshold")?.unwrap_or(0.0);
    let threshold = of.number("threshold", threshold, x)?;
    let above = of.binary("above", BinaryFunction::Greater, x, threshold);
    of.outputs(Cast::like(), &[Some(above), Some(x)])
}

pub(super) fn imputer(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = of.input(0)?;
    let (values, replaced) = match of.node.ints("imputed_value_int64s")? {
        Some(values) if !values.is_empty() => {
            let values = values.to_vec();
            let replaced = of.node.int("replaced_value_int64")?.unwrap_or(0);
            (of.list("values", &values)?, Some(of.constant("replaced", Tensor::new(&[], &[replaced])?)))
        }
        _ => {
            let Some(values) = constants(of, "imputed_value_floats")? else {
                return unsupported("an imputer without values");
            };
            let replaced = of.node.float("replaced_value_float")?.unwrap_or(0.0);
            let replaced = if replaced.is_nan() {
                None
            } else {
                Some(of.constant("replaced", Tensor::new(&[], &[replaced])?))
            };
            (of.step("like", Cast::like(), &[Some(values), Some(x)]), replaced)
        }
    };
    let missing = match replaced {
        None => of.unary("missing", UnaryFunction::IsNan, x),
        Some(replaced) => {
            let replaced = of.step("replaced_like", Cast::like(), &[Some(replaced), Some(x)]);
            of.binary("missing", BinaryFunction::Equal, x, replaced)
        }
    };
    of.outputs(Select, &[Some(missing), Some(values), Some(x)])
}

pub(super) fn feature_extractor(of: &mut Use) -> Result<Vec<ValueId>> {
    let (x, places) = (of.input(0)?, of.input(1)?);
    let list = of.list("list", &[-1])?;
    let places = of.step("places", Reshape::To { allow_zero: false }, &[Some(places), Some(list)]);
    of.outputs(Take { axis: -1 }, &[Some(x), Some(places)])
}

pub(super) fn feature_vectorizer(of: &mut Use) -> Result<Vec<ValueId>> {
    let parts = (0..of.inputs.len()).map(|i| floats(of, i).map(Some)).collect::<Result<Vec<_>>>()?;
    of.outputs(Concat { axis: -1 }, &parts)
}

/// A category has a column of its own.
pub(super) fn one_hot_encoder(of: &mut Use) -> Result<Vec<ValueId>> {
    let mut x = of.input(0)?;
    let ints = of.node.ints("cats_int64s")?.filter(|c| !c.is_empty()).map(<[i64]>::to_vec);
    let categories = match (ints, texts(of, "cats_strings")?) {
        (Some(ints), _) => {
            x = of.step("integers", Cast::to(DType::I64), &[Some(x)]);
            of.list("categories", &ints)?
        }
        (None, Some(texts)) => of.constant("categories", texts),
        _ => return unsupported("an encoder without categories"),
    };
    let last = of.list("last", &[-1])?;
    let x = of.step("column", Reshape::Unsqueeze, &[Some(x), Some(last)]);
    let is = of.binary("is", BinaryFunction::Equal, x, categories);
    of.outputs(Cast::to(DType::F32), &[Some(is)])
}

/// Texts of an attribute; nothing where it is left out.
fn texts(of: &Use, name: &str) -> Result<Option<Tensor>> {
    let texts = of.node.strings(name)?.filter(|texts| !texts.is_empty());
    texts
        .map(|texts| Tensor::of_texts(&[texts.len()], texts.into_iter().map(Into::into).collect()))
        .transpose()
}

/// A list of labels, whose values end with what becomes of any other: a tensor, or else the domain's default.
fn labels(keys: Tensor, values: Tensor, other: Option<Tensor>) -> Result<Labels> {
    let (keys, values) = (flat(keys)?, flat(values)?);
    ensure!(keys.len() == values.len(), InvalidGraph, "{} keys and {} values", keys.len(), values.len());
    let other = match (other, values.dtype()) {
        (Some(other), _) => flat(other)?,
        (None, DType::Text) => Tensor::of_texts(&[1], vec!["_Unused".into()])?,
        (None, dtype) if dtype.is_float() => Tensor::new(&[1], &[-0.0f32])?,
        (None, _) => Tensor::new(&[1], &[-1i64])?,
    };
    ensure!(other.len() == 1, InvalidGraph, "{} values for what is in no list", other.len());
    let other = Op::from(Cast::to(values.dtype())).eval_now(&[Some(&other)])?.remove(0);
    let values = Op::from(Concat { axis: 0 }).eval_now(&[Some(&values), Some(&other)])?.remove(0);
    Ok(Labels { keys, values })
}

fn flat(tensor: Tensor) -> Result<Tensor> {
    let len = tensor.len();
    tensor.reshaped(&[len])
}

/// Labels for labels. Lists are attributes, or tensors since version 4 of the domain; in version 1 texts have numbers.
pub(super) fn label_encoder(of: &mut Use) -> Result<Vec<ValueId>> {
    let list = |of: &Use, stem: &str| -> Result<Option<Tensor>> {
        if let Some(ints) = of.node.ints(&format!("{stem}_int64s"))? {
            return Tensor::new(&[ints.len()], ints).map(Some);
        }
        if let Some(floats) = of.node.floats(&format!("{stem}_floats"))? {
            return Tensor::new(&[floats.len()], floats).map(Some);
        }
        match texts(of, &format!("{stem}_strings"))? {
            Some(texts) => Ok(Some(texts)),
            None => of.tensor(&format!("{stem}_tensor")),
        }
    };
    if let Some(classes) = texts(of, "classes_strings")? {
        let numbers: Vec<i64> = (0..classes.len() as i64).collect();
        return both_ways(of, classes, Tensor::new(&[numbers.len()], &numbers)?);
    }
    let (Some(keys), Some(values)) = (list(of, "keys")?, list(of, "values")?) else {
        return unsupported("labels without keys or values");
    };
    let other = match (of.tensor("default_tensor")?, values.dtype()) {
        (Some(tensor), _) => Some(tensor),
        (None, DType::Text) => default_text(of)?,
        (None, DType::I64) => default_number(of)?,
        _ => of.node.float("default_float")?.map(|x| Tensor::new(&[1], &[x])).transpose()?,
    };
    of.as_is(Relabel { lists: Arc::new(vec![labels(keys, values, other)?]) })
}

fn default_text(of: &Use) -> Result<Option<Tensor>> {
    let text = of.node.string("default_string")?;
    text.map(|text| Tensor::of_texts(&[1], vec![text.into()])).transpose()
}

fn default_number(of: &Use) -> Result<Option<Tensor>> {
    of.node.int("default_int64")?.map(|x| Tensor::new(&[1], &[x])).transpose()
}

/// Texts become numbers, and numbers texts.
fn both_ways(of: &mut Use, texts: Tensor, numbers: Tensor) -> Result<Vec<ValueId>> {
    let there = labels(texts.clone(), numbers.clone(), default_number(of)?)?;
    let back = labels(numbers, texts, default_text(of)?)?;
    of.as_is(Relabel { lists: Arc::new(vec![there, back]) })
}

pub(super) fn category_mapper(of: &mut Use) -> Result<Vec<ValueId>> {
    let numbers = of.node.ints("cats_int64s")?.unwrap_or_default().to_vec();
    let Some(texts) = texts(of, "cats_strings")? else { return unsupported("a mapper without texts") };
    both_ways(of, texts, Tensor::new(&[numbers.len()], &numbers)?)
}

/// `x·weightᵀ + bias`, with weights `[sums, features]`.
pub(super) fn linear(
    of: &mut Use,
    x: ValueId,
    weights: &[f32],
    bias: &[f32],
    sums: usize,
) -> Result<ValueId> {
    let fits = sums > 0 && !weights.is_empty() && weights.len().is_multiple_of(sums);
    ensure!(fits, InvalidGraph, "{} coefficients of {sums} sums", weights.len());
    let weights = of.constant("coefficients", Tensor::new(&[sums, weights.len() / sums], weights)?);
    let mut y = product(of, "sums", x, weights);
    if !bias.is_empty() {
        let bias = of.constant("intercepts", Tensor::new(&[bias.len()], bias)?);
        y = of.binary("biased", BinaryFunction::Add, y, bias);
    }
    Ok(y)
}

/// What scores become in the end, as an attribute says.
pub(super) fn transformed(of: &mut Use, scores: ValueId) -> Result<ValueId> {
    let transform = of.node.string("post_transform")?.unwrap_or("NONE");
    transformed_by(of, scores, transform)
}

/// What scores become by the transform of that name.
pub(super) fn transformed_by(of: &mut Use, scores: ValueId, transform: &str) -> Result<ValueId> {
    match transform {
        "NONE" => Ok(scores),
        "LOGISTIC" => Ok(of.step("logistic", Unary { function: UnaryFunction::Sigmoid }, &[Some(scores)])),
        "SOFTMAX" => {
            let op = Softmax { function: SoftmaxFunction::Softmax, axis: -1, flatten: false };
            Ok(of.step("softmax", op, &[Some(scores)]))
        }
        "SOFTMAX_ZERO" => softmax_zero(of, scores),
        "PROBIT" => probit(of, scores),
        other => unsupported(format!("scores that become {other}")),
    }
}

/// A number of f32 as a constant.
fn number(of: &mut Use, name: &str, value: f32) -> Result<ValueId> {
    Ok(of.constant(name, Tensor::new(&[], &[value])?))
}

/// A softmax over what is not zero; zeros stay.
fn softmax_zero(of: &mut Use, scores: ValueId) -> Result<ValueId> {
    let axes = of.list("axes", &[-1])?;
    let reduced = |function| Reduce { function, axes: ReduceAxes::Given { none_is_none: false }, keep: true };
    let most = of.step("most", reduced(ReduceFunction::Max), &[Some(scores), Some(axes)]);
    let below = of.binary("below", BinaryFunction::Sub, scores, most);
    let powers = of.unary("powers", UnaryFunction::Exp, below);
    let (size, least) = (of.unary("size", UnaryFunction::Abs, scores), number(of, "least", 1e-7)?);
    let is_there = of.binary("is_there", BinaryFunction::Greater, size, least);
    let zero = number(of, "zero", 0.0)?;
    let powers = of.step("those", Select, &[Some(is_there), Some(powers), Some(zero)]);
    let sum = of.step("sum", reduced(ReduceFunction::Sum), &[Some(powers), Some(axes)]);
    Ok(of.binary("shares", BinaryFunction::Div, powers, sum))
}

/// `√2·erf⁻¹(2x − 1)`, with the inverse in the approximation by Winitzki (2008) that ONNX's reference has.
fn probit(of: &mut Use, scores: ValueId) -> Result<ValueId> {
    use BinaryFunction::{Add, Mul, Sub};
    let [one, two, half] = [("one", 1.0), ("two", 2.0), ("half", 0.5)].map(|(name, x)| number(of, name, x));
    let (one, two, half) = (one?, two?, half?);
    let (first, second) =
        (number(of, "first", 2.0 / (std::f32::consts::PI * 0.147))?, number(of, "second", 1.0 / 0.147)?);
    let twice = of.binary("twice", Mul, scores, two);
    let x = of.binary("centred", Sub, twice, one);
    let (rest, more) = (of.binary("rest", Sub, one, x), of.binary("more", Add, one, x));
    let product = of.binary("product", Mul, rest, more);
    let log = of.unary("log", UnaryFunction::Ln, product);
    let halved = of.binary("halved", Mul, log, half);
    let v = of.binary("v", Add, halved, first);
    let (square, scaled) = (of.binary("square", Mul, v, v), of.binary("scaled", Mul, log, second));
    let under = of.binary("under", Sub, square, scaled);
    let root = of.unary("root", UnaryFunction::Sqrt, under);
    let inner = of.binary("inner", Sub, root, v);
    let size = of.unary("size", UnaryFunction::Sqrt, inner);
    let root_two = number(of, "root_two", std::f32::consts::SQRT_2)?;
    let (side, long) = (of.unary("side", UnaryFunction::Sign, x), of.binary("long", Mul, size, root_two));
    Ok(of.binary("probit", Mul, side, long))
}

/// The scores of two classes, of the second one's.
pub(super) fn both(of: &mut Use, score: ValueId, other_is_rest: bool) -> Result<ValueId> {
    let other = if other_is_rest {
        let one = of.constant("one", Tensor::new(&[], &[1.0f32])?);
        of.binary("rest", BinaryFunction::Sub, one, score)
    } else {
        of.unary("negative", UnaryFunction::Neg, score)
    };
    Ok(of.step("both", Concat { axis: -1 }, &[Some(other), Some(score)]))
}

/// How many classes the node names.
pub(super) fn n_classes(of: &Use) -> Result<usize> {
    let ints = ["classlabels_ints", "classlabels_int64s"].map(|name| of.node.ints(name));
    let mut n = of.node.strings("classlabels_strings")?.map_or(0, |labels| labels.len());
    for labels in ints {
        n = n.max(labels?.map_or(0, <[i64]>::len));
    }
    Ok(n)
}

/// The label of the class with the highest score.
pub(super) fn best(of: &mut Use, scores: ValueId) -> Result<ValueId> {
    let place =
        of.step("best", ArgReduce { axis: -1, keep: false, largest: true, last: false }, &[Some(scores)]);
    for name in ["classlabels_ints", "classlabels_int64s"] {
        if let Some(labels) = of.node.ints(name)?.filter(|labels| !labels.is_empty()).map(<[i64]>::to_vec) {
            let labels = of.list("labels", &labels)?;
            return Ok(of.step("label", Take { axis: 0 }, &[Some(labels), Some(place)]));
        }
    }
    match texts(of, "classlabels_strings")? {
        Some(labels) => {
            let labels = of.constant("labels", labels);
            Ok(of.step("label", Take { axis: 0 }, &[Some(labels), Some(place)]))
        }
        None => Ok(place),
    }
}

pub(super) fn linear_regressor(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = floats(of, 0)?;
    let weights = of.node.floats("coefficients")?.unwrap_or_default().to_vec();
    let bias = of.node.floats("intercepts")?.unwrap_or_default().to_vec();
    let targets = super::attention::count(of, "targets", 1)?;
    let y = linear(of, x, &weights, &bias, targets)?;
    Ok(vec![transformed(of, y)?])
}

pub(super) fn linear_classifier(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = floats(of, 0)?;
    let weights = of.node.floats("coefficients")?.unwrap_or_default().to_vec();
    let bias = of.node.floats("intercepts")?.unwrap_or_default().to_vec();
    let classes = n_classes(of)?;
    let sums = if bias.is_empty() { classes } else { bias.len() };
    let mut scores = linear(of, x, &weights, &bias, sums)?;
    if sums == 1 && classes == 2 {
        scores = both(of, scores, false)?;
    } else if sums == 1 {
        return unsupported("a classifier of one class");
    }
    let label = best(of, scores)?;
    Ok(vec![label, transformed(of, scores)?])
}

/// The scores as they are: a row for each row, a column for each class, instead of maps by label.
pub(super) fn zip_map(of: &mut Use) -> Result<Vec<ValueId>> {
    Ok(vec![of.input(0)?])
}
