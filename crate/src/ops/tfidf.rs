//! How often short runs of words occur in rows of words, perhaps with gaps between them, perhaps weighted. ONNX
//! TfIdfVectorizer.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::{Tensor, TensorViewMut};
use crate::types::{DType, TensorType};
use std::collections::HashMap;
use std::sync::Arc;

/// `x [n] or [rows, n] → y [columns] or [rows, columns]` f32, of integers or texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Tfidf {
    /// What is counted.
    pub grams: Arc<Grams>,
    /// What a run may have.
    pub lengths: std::ops::RangeInclusive<usize>,
    /// Words that may lie between two of a run, at most.
    pub skips: usize,
    /// Whether a column says how often, and not only whether.
    pub counts: bool,
    /// The weight of each column; 1 where there are none.
    pub weights: Vec<f32>,
    /// How many columns there are.
    pub columns: usize,
}

/// Runs of words, each with its column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grams {
    /// The numbers that stand for words that are texts.
    pub words: HashMap<Arc<str>, i64>,
    /// The columns.
    pub columns: HashMap<Vec<i64>, usize>,
}

/// Stands for a word that is in no run: no text has this number.
const STRANGE: i64 = -1;

impl Tfidf {
    /// Adds what a row has to its columns.
    fn add(&self, row: &[i64], y: &mut [f32]) {
        let mut run = Vec::new();
        for step in 1..=self.skips + 1 {
            for start in 0..row.len() {
                run.clear();
                let words = row[start..].iter().step_by(step).take(*self.lengths.end());
                for &word in words {
                    run.push(word);
                    // A single word has no gaps.
                    if self.lengths.contains(&run.len())
                        && (run.len() > 1 || step == 1)
                        && let Some(&column) = self.grams.columns.get(&run)
                    {
                        y[column] += 1.0;
                    }
                }
            }
            // Longer steps leave the row at once.
            if step >= row.len() {
                break;
            }
        }
    }

    fn compute(&self, shape: &[usize], words: &[i64], y: &mut [f32]) {
        let length = shape.last().copied().unwrap_or(0);
        y.fill(0.0);
        if length == 0 || self.columns == 0 {
            return;
        }
        for (row, y) in words.chunks_exact(length).zip(y.chunks_exact_mut(self.columns)) {
            self.add(row, y);
            if !self.counts {
                y.iter_mut().for_each(|y| *y = y.min(1.0));
            }
            y.iter_mut().zip(&self.weights).for_each(|(y, weight)| *y *= weight);
        }
    }
}

impl OpDef for Tfidf {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        ensure!(!x.dtype.is_float(), ShapeMismatch, "{x}, where integers or texts are wanted");
        let mut shape = x.shape.clone();
        ensure!(matches!(shape.0.len(), 1 | 2), ShapeMismatch, "{x}, where [n] or [rows, n] is wanted");
        if let Some(last) = shape.0.last_mut() {
            *last = self.columns.into();
        }
        Ok(vec![TensorType::new(DType::F32, shape)])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        self.compute(x.shape, &x.to_ints()?, outputs[0].data()?);
        Ok(())
    }

    fn eval_values(&self, inputs: &[Option<&Tensor>]) -> Result<Option<Vec<Tensor>>> {
        let x = super::values::required(inputs, 0)?;
        let word = |text: &Arc<str>| self.grams.words.get(text).copied().unwrap_or(STRANGE);
        let words: Vec<i64> = x.texts()?.iter().map(word).collect();
        let shape = self.infer(&Known::types(&[Some(&x.ty())]))?[0].known_shape()?;
        let mut y = Tensor::zeros(DType::F32, &shape)?;
        self.compute(x.shape(), &words, y.data_mut()?);
        Ok(Some(vec![y]))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn op(lengths: std::ops::RangeInclusive<usize>, skips: usize, counts: bool, weights: &[f32]) -> Tfidf {
        let columns = [(vec![2], 0), (vec![3], 1), (vec![2, 3], 2), (vec![3, 2], 4), (vec![2, 3, 2], 3)];
        let grams = Grams { words: HashMap::new(), columns: columns.into_iter().collect() };
        Tfidf { grams: Arc::new(grams), lengths, skips, counts, weights: weights.to_vec(), columns: 5 }
    }

    pub fn cases() -> Vec<Case> {
        let rows = || vec![Given::fed(&[2, 5], &[2i64, 3, 2, 9, 2, 3, 3, 3, 2, 2])];
        let case = |name: &str, op: Tfidf, want: [f64; 10]| {
            Case::new(name, op, rows(), Tolerance::of(0.0), move |_| vec![Array::new(&[2, 5], want.to_vec())])
        };
        vec![
            case("counts", op(1..=3, 0, true, &[]), [3., 1., 1., 1., 1., 2., 3., 0., 0., 1.]),
            case("with gaps", op(2..=2, 1, true, &[]), [0., 0., 1., 0., 1., 0., 0., 0., 0., 3.]),
            case(
                "weighted, whether at all",
                op(1..=1, 0, false, &[0.5, 2.0, 1.0, 1.0, 1.0]),
                [0.5, 2., 0., 0., 0., 0.5, 2., 0., 0., 0.],
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_count_as_their_numbers_do() {
        let words = [("a", 2), ("b", 3)].map(|(text, n)| (Arc::from(text), n));
        let grams = Grams {
            words: words.into_iter().collect(),
            columns: HashMap::from([(vec![2], 0), (vec![2, 3], 1)]),
        };
        let op = Tfidf {
            grams: Arc::new(grams),
            lengths: 1..=2,
            skips: 1,
            counts: true,
            weights: Vec::new(),
            columns: 2,
        };
        let of = |shape: &[usize], texts: &[&str]| {
            let x = Tensor::of_texts(shape, texts.iter().map(|text| Arc::from(*text)).collect()).unwrap();
            super::super::Op::from(op.clone()).eval_now(&[Some(&x)]).map(|mut y| y.remove(0))
        };
        let y = of(&[2, 3], &["a", "c", "b", "a", "a", "b"]).unwrap();
        assert_eq!((y.shape(), y.data::<f32>().unwrap()), (&[2, 2][..], &[1.0, 1.0, 2.0, 2.0][..]));
        assert_eq!(of(&[0], &[]).unwrap().data::<f32>().unwrap(), [0.0, 0.0]);
        assert!(of(&[1, 1, 1], &["a"]).is_err());
    }
}
