//! How unlikely the right classes are: `-weight·x` of each, and their mean or sum. ONNX NegativeLogLikelihoodLoss, and the
//! last part of SoftmaxCrossEntropyLoss.

use super::{CpuContext, Input, Known, OpDef, expect_float, optional};
use crate::error::{Result, ensure, fail};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{Shape, TensorType};

/// `(x float [n, c, d…], classes integers [n, d…], weights float [c]?) → loss [n, d…]`, or `[]` of a mean or sum.
#[derive(Clone, Debug, PartialEq)]
pub struct NllLoss {
    /// What becomes of all losses.
    pub reduction: LossReduction,
    /// A class that counts nothing.
    pub ignored: Option<i64>,
}

/// What becomes of all losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossReduction {
    /// They stay as they are.
    None,
    /// Their mean, weighted.
    Mean,
    /// Their sum.
    Sum,
}

impl OpDef for NllLoss {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, classes) = (inputs.shape(0)?, inputs.shape(1)?);
        expect_float(inputs.ty(0)?, "the input")?;
        let fits = x.len() >= 2 && classes[..] == [&x[..1], &x[2..]].concat()[..];
        ensure!(fits, ShapeMismatch, "{} and classes {} do not fit each other", inputs.ty(0)?, inputs.ty(1)?);
        if let Some(weights) = inputs.optional(2) {
            ensure!(
                weights.shape == Shape::known(&x[1..2]),
                ShapeMismatch,
                "weights {weights} of {} classes",
                x[1]
            );
        }
        let shape = if self.reduction == LossReduction::None { &classes[..] } else { &[] };
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(shape))])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let (n, inner) = (x.shape[1], x.shape[2..].iter().product::<usize>());
        let (values, classes) = (x.to_floats()?, inputs[1].tensor()?.to_ints()?);
        let weights = optional(inputs, 2)?.map(|weights| weights.to_floats()).transpose()?;
        let (mut losses, mut total) = (Vec::with_capacity(classes.len()), 0.0);
        for (i, &class) in classes.iter().enumerate() {
            if Some(class) == self.ignored {
                losses.push(0.0);
                continue;
            }
            let Some(class) = usize::try_from(class).ok().filter(|class| *class < n) else {
                return fail!(InvalidInput, "class {class} of {n}");
            };
            let weight = weights.as_ref().map_or(1.0, |weights| weights[class]);
            total += weight;
            losses.push(-weight * values[(i / inner * n + class) * inner + i % inner]);
        }
        let sum = || losses.iter().sum::<f64>();
        let losses = match self.reduction {
            LossReduction::None => losses,
            LossReduction::Sum => vec![sum()],
            LossReduction::Mean => vec![sum() / total],
        };
        outputs[0].narrow(Wide::Floats(losses))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |reduction: LossReduction| {
            let inputs = vec![
                Given::noise(&[2, 3, 2], 1),
                Given::fed(&[2, 2], &[2i64, 0, 1, 1]),
                Given::fed(&[3], &[0.5f32, 2.0, 1.0]),
            ];
            let op = NllLoss { reduction, ignored: Some(0) };
            Case::new(format!("{reduction:?}"), op, inputs, Tolerance::of(1e-6), move |x| {
                let x = x[0].as_ref().expect("an input");
                let each = [-x.at(&[0, 2, 0]), 0.0, -2.0 * x.at(&[1, 1, 0]), -2.0 * x.at(&[1, 1, 1])];
                let sum: f64 = each.iter().sum();
                vec![match reduction {
                    LossReduction::None => Array::new(&[2, 2], each.to_vec()),
                    LossReduction::Sum => Array::new(&[], vec![sum]),
                    LossReduction::Mean => Array::new(&[], vec![sum / 5.0]),
                }]
            })
        };
        vec![case(LossReduction::None), case(LossReduction::Mean), case(LossReduction::Sum)]
    }
}
