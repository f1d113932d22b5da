//! The best boxes that do not overlap much. ONNX NonMaxSuppression.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure, fail};
use crate::tensor::{Tensor, TensorViewMut};
use crate::types::TensorType;

/// `(boxes [b, n, 4], scores [b, classes, n], most i64 ?, overlap f32 ?, lowest f32 ?) → i64 [found, 3]`: batch, class and
/// box of each, the best of a class first. A box is two corners, y before x; at most `most` of a class are found (none
/// where it is left out), none that shares more than `overlap` of both boxes' area with a better one (0 where left out),
/// and none with a score of `lowest` or less.
#[derive(Clone, Debug, PartialEq)]
pub struct NonMaxSuppression {
    /// Whether a box is its centre and its width and height instead, x before y.
    pub by_centre: bool,
}

impl NonMaxSuppression {
    /// A box as its least and greatest coordinates.
    fn corners(&self, b: &[f32]) -> [f32; 4] {
        if self.by_centre {
            return [b[1] - b[3] / 2.0, b[0] - b[2] / 2.0, b[1] + b[3] / 2.0, b[0] + b[2] / 2.0];
        }
        [b[0].min(b[2]), b[1].min(b[3]), b[0].max(b[2]), b[1].max(b[3])]
    }

    fn found(&self, inputs: &Known) -> Result<Vec<i64>> {
        let (Some(boxes), Some(scores)) = (inputs.value(0)?, inputs.value(1)?) else {
            return fail!(InvalidGraph, "boxes and scores are wanted");
        };
        let &[batch, n, 4] = boxes.shape else {
            return fail!(ShapeMismatch, "boxes {} are not [b, n, 4]", inputs.ty(0)?);
        };
        let fits = matches!(*scores.shape, [b, _, m] if (b, m) == (batch, n));
        ensure!(fits, ShapeMismatch, "scores {} of boxes {}", inputs.ty(1)?, inputs.ty(0)?);
        let floats = |view: &crate::tensor::TensorView| -> Result<Vec<f32>> {
            Ok(view.to_floats()?.into_iter().map(|x| x as f32).collect())
        };
        let (boxes, scores, classes) = (floats(&boxes)?, floats(&scores)?, scores.shape[1]);
        let number = |index: usize| -> Result<Option<f32>> {
            Ok(inputs.value(index)?.map(|view| floats(&view)).transpose()?.and_then(|x| x.first().copied()))
        };
        let most = inputs.ints(2)?.and_then(|x| x.first().copied()).unwrap_or(0).max(0) as usize;
        let (overlap, lowest) = (number(3)?.unwrap_or(0.0), number(4)?);
        let boxes: Vec<_> = boxes.chunks_exact(4).map(|b| self.corners(b)).collect();
        let mut found = Vec::new();
        for (row, scores) in scores.chunks_exact(n.max(1)).enumerate() {
            let boxes = &boxes[row / classes * n..][..n];
            let mut order: Vec<usize> =
                (0..scores.len()).filter(|&i| lowest.is_none_or(|low| scores[i] > low)).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let mut kept: Vec<usize> = Vec::new();
            for i in order {
                if kept.len() == most {
                    break;
                }
                if kept.iter().all(|&better| share(&boxes[better], &boxes[i]) <= overlap) {
                    kept.push(i);
                    found.extend([row / classes, row % classes, i].map(|x| x as i64));
                }
            }
        }
        Ok(found)
    }
}

/// What two boxes have in common, as a share of what they cover together.
fn share(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |i: usize| (a[i + 2].min(b[i + 2]) - a[i].max(b[i])).max(0.0);
    let area = |b: &[f32; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    let common = side(0) * side(1);
    if common <= 0.0 || area(a) <= 0.0 || area(b) <= 0.0 {
        0.0
    } else {
        common / (area(a) + area(b) - common)
    }
}

impl OpDef for NonMaxSuppression {
    fn infer(&self, _inputs: &Known) -> Result<Vec<TensorType>> {
        fail!(Internal, "the boxes decide how many are found")
    }

    fn needs_values(&self) -> &'static [usize] {
        &[0, 1, 2, 3, 4]
    }

    fn outputs_of_types(&self, inputs: &Known) -> Result<Option<Vec<Tensor>>> {
        let found = self.found(inputs)?;
        Ok(Some(vec![Tensor::new(&[found.len() / 3, 3], &found)?]))
    }

    fn eval_cpu(&self, _cx: &CpuContext, _inputs: &[Input], _outputs: &mut [TensorViewMut]) -> Result<()> {
        fail!(Internal, "what is found is known before a run")
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        // Of four boxes the second hides the first, the third lies apart, and the last has too low a score.
        let boxes = [0.0f32, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 0.0, 10.0, 1.0, 11.0, 0.0, 20.0, 1.0, 21.0];
        let inputs = vec![
            Given::known(&[1, 4, 4], &boxes),
            Given::known(&[1, 1, 4], &[0.8f32, 0.9, 0.5, 0.1]),
            Given::known(&[1], &[3i64]),
            Given::known(&[1], &[0.5f32]),
            Given::known(&[1], &[0.2f32]),
        ];
        let want = vec![0.0, 0.0, 1.0, 0.0, 0.0, 2.0];
        vec![Case::new("4 boxes", NonMaxSuppression { by_centre: false }, inputs, Tolerance::of(0.0), |_| {
            vec![Array::new(&[2, 3], want.clone())]
        })]
    }
}
