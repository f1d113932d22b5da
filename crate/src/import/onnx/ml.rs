//! The domain ai.onnx.ml: what scikit-learn and its kin export. Trees and support vectors are in [`trees`](super::trees).

use super::network::product;
use super::{Use, unsupported};
use crate::error::{Result, ensure};
use crate::graph::ValueId;
use crate::ops::arg_reduce::ArgReduce;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::concat::Concat;
use crate::ops::reduce::{Reduce, ReduceAxes, ReduceFunction};
use crate::ops::relabel::Relabel;
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
    let x = of.input(0)?;
    let Some(categories) = of.node.ints("cats_int64s")?.filter(|c| !c.is_empty()).map(<[i64]>::to_vec) else {
        return unsupported("categories that are text");
    };
    let categories = of.list("categories", &categories)?;
    let last = of.list("last", &[-1])?;
    let x = of.step("integers", Cast::to(DType::I64), &[Some(x)]);
    let x = of.step("column", Reshape::Unsqueeze, &[Some(x), Some(last)]);
    let is = of.binary("is", BinaryFunction::Equal, x, categories);
    of.outputs(Cast::to(DType::F32), &[Some(is)])
}

/// Numbers for numbers. Lists are attributes, or tensors since version 4 of the domain.
pub(super) fn label_encoder(of: &mut Use) -> Result<Vec<ValueId>> {
    let numbers = |of: &Use, stem: &str| -> Result<Option<(Vec<f64>, DType)>> {
        if let Some(ints) = of.node.ints(&format!("{stem}_int64s"))? {
            return Ok(Some((ints.iter().map(|x| *x as f64).collect(), DType::I64)));
        }
        if let Some(floats) = of.node.floats(&format!("{stem}_floats"))? {
            return Ok(Some((floats.iter().map(|x| f64::from(*x)).collect(), DType::F32)));
        }
        let tensor = of.tensor(&format!("{stem}_tensor"))?;
        tensor.map(|tensor| Ok((tensor.view().to_floats()?, tensor.dtype()))).transpose()
    };
    let (Some((keys, _)), Some((values, dtype))) = (numbers(of, "keys")?, numbers(of, "values")?) else {
        return unsupported("labels that are text");
    };
    ensure!(keys.len() == values.len(), InvalidGraph, "{} keys and {} values", keys.len(), values.len());
    let other = match of.tensor("default_tensor")? {
        Some(tensor) => tensor.view().to_floats()?.first().copied(),
        None if dtype == DType::I64 => of.node.int("default_int64")?.map(|x| x as f64).or(Some(-1.0)),
        None => of.node.float("default_float")?.map(f64::from).or(Some(-0.0)),
    };
    let labels = Arc::new(keys.into_iter().zip(values).collect());
    of.as_is(Relabel { labels, other: other.unwrap_or_default(), dtype })
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

/// What scores become in the end.
pub(super) fn transformed(of: &mut Use, scores: ValueId) -> Result<ValueId> {
    match of.node.string("post_transform")?.unwrap_or("NONE") {
        "NONE" => Ok(scores),
        "LOGISTIC" => Ok(of.step("logistic", Unary { function: UnaryFunction::Sigmoid }, &[Some(scores)])),
        "SOFTMAX" => {
            let op = Softmax { function: SoftmaxFunction::Softmax, axis: -1, flatten: false };
            Ok(of.step("softmax", op, &[Some(scores)]))
        }
        other => unsupported(format!("scores that become {other}")),
    }
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
    if of.node.strings("classlabels_strings")?.is_some_and(|labels| !labels.is_empty()) {
        return unsupported("labels that are text");
    }
    Ok(place)
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
