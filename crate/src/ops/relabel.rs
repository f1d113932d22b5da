//! Numbers or texts put in place of others, as a list says. ONNX (ai.onnx.ml) LabelEncoder and CategoryMapper.

use super::values::required;
use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure, fail};
use crate::tensor::{Tensor, TensorView, TensorViewMut, Wide};
use crate::types::{DType, TensorType};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// `x → y` of the same shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Relabel {
    /// The lists, of which the first serves whose keys are texts where `x` is texts, and numbers where it is numbers.
    pub lists: Arc<Vec<Labels>>,
}

/// What becomes of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    /// `[n]`. Of one that is there twice, the first counts.
    pub keys: Tensor,
    /// `[n + 1]`: what becomes of each, and at the end what becomes of anything else.
    pub values: Tensor,
}

/// Numbers that are equal have one key, also those that are none.
fn key(x: f64) -> u64 {
    if x == 0.0 {
        0
    } else if x.is_nan() {
        f64::NAN.to_bits()
    } else {
        x.to_bits()
    }
}

/// Where each item is among the keys; behind all where it is not.
fn places<K: Hash + Eq>(
    keys: impl DoubleEndedIterator<Item = (usize, K)>,
    items: &[K],
    n: usize,
) -> Vec<usize> {
    let places: HashMap<K, usize> = keys.rev().map(|(place, key)| (key, place)).collect();
    items.iter().map(|item| places.get(item).copied().unwrap_or(n)).collect()
}

impl Labels {
    fn check(&self) -> Result<()> {
        let (keys, values) = (self.keys.shape(), self.values.shape());
        let fits = keys.len() == 1 && values == [keys[0] + 1];
        ensure!(fits, InvalidGraph, "{keys:?} keys and {values:?} values, one of which is for all others");
        Ok(())
    }

    fn find_numbers(&self, x: TensorView) -> Result<Vec<usize>> {
        let n = self.keys.len();
        if let (Wide::Ints(keys), Wide::Ints(items)) = (self.keys.view().widen()?, x.widen()?) {
            return Ok(places(keys.into_iter().enumerate(), &items, n));
        }
        let keys: Vec<u64> = self.keys.view().to_floats()?.into_iter().map(key).collect();
        let items: Vec<u64> = x.to_floats()?.into_iter().map(key).collect();
        Ok(places(keys.into_iter().enumerate(), &items, n))
    }

    fn find(&self, x: &Tensor) -> Result<Vec<usize>> {
        match self.keys.dtype() {
            DType::Text => Ok(places(
                self.keys.texts()?.iter().enumerate(),
                &x.texts()?.iter().collect::<Vec<_>>(),
                self.keys.len(),
            )),
            _ => self.find_numbers(x.view()),
        }
    }
}

impl Relabel {
    fn list(&self, dtype: DType) -> Result<&Labels> {
        let fits = |list: &&Labels| (list.keys.dtype() == DType::Text) == (dtype == DType::Text);
        match self.lists.iter().find(fits) {
            Some(list) => list.check().map(|()| list),
            None => fail!(ShapeMismatch, "labels of {dtype} came, and the list has others"),
        }
    }
}

impl OpDef for Relabel {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        Ok(vec![TensorType::new(self.list(x.dtype)?.values.dtype(), x.shape.clone())])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let list = self.list(x.dtype)?;
        let (size, from) = (list.values.dtype().block_bytes(), list.values.bytes());
        let places = list.find_numbers(x)?;
        for (y, place) in outputs[0].bytes.chunks_exact_mut(size).zip(places) {
            y.copy_from_slice(&from[place * size..][..size]);
        }
        Ok(())
    }

    fn eval_values(&self, inputs: &[Option<&Tensor>]) -> Result<Option<Vec<Tensor>>> {
        let x = required(inputs, 0)?;
        let list = self.list(x.dtype())?;
        let places = list.find(x)?;
        if list.values.dtype() == DType::Text {
            let texts = list.values.texts()?;
            let y = places.iter().map(|place| texts[*place].clone()).collect();
            return Ok(Some(vec![Tensor::of_texts(x.shape(), y)?]));
        }
        let mut y = Tensor::zeros(list.values.dtype(), x.shape())?;
        let (size, from) = (list.values.dtype().block_bytes(), list.values.bytes());
        for (y, place) in y.view_mut().bytes.chunks_exact_mut(size).zip(places) {
            y.copy_from_slice(&from[place * size..][..size]);
        }
        Ok(Some(vec![y]))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let keys = Tensor::new(&[3], &[1.0f32, -3.0, 1.0]).expect("keys");
        let values = Tensor::new(&[4], &[0.5f32, 2.0, 9.0, -1.0]).expect("values");
        let op = Relabel { lists: Arc::new(vec![Labels { keys, values }]) };
        vec![Case::new(
            "integers to floats",
            op,
            vec![Given::fed(&[4], &[1i64, 2, -3, 1])],
            Tolerance::of(0.0),
            |_| vec![Array::new(&[4], vec![0.5, -1.0, 2.0, 0.5])],
        )]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;

    fn texts(all: &[&str]) -> Tensor {
        Tensor::of_texts(&[all.len()], all.iter().map(|text| Arc::from(*text)).collect()).unwrap()
    }

    #[test]
    fn texts_and_numbers_stand_for_each_other() {
        let big = (1i64 << 53) + 1;
        let there =
            Labels { keys: texts(&["a", "b"]), values: Tensor::new(&[3], &[big, big - 1, -1]).unwrap() };
        let back =
            Labels { keys: Tensor::new(&[2], &[big, big - 1]).unwrap(), values: texts(&["a", "b", "?"]) };
        let op = Op::from(Relabel { lists: Arc::new(vec![there, back]) });
        let x = texts(&["b", "c", "a"]);
        let y = op.eval_now(&[Some(&x)]).unwrap().remove(0);
        assert_eq!(y.data::<i64>().unwrap(), [big - 1, -1, big]);
        assert!(op.eval_now(&[Some(&y)]).unwrap()[0] == texts(&["b", "?", "a"]));
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let values = Tensor::new(&[2], &[1i64, 2]).unwrap();
        let short = Labels { keys: texts(&["a", "b"]), values };
        let op = Op::from(Relabel { lists: Arc::new(vec![short]) });
        assert!(op.eval_now(&[Some(&texts(&["a"]))]).is_err());
        assert!(op.eval_now(&[Some(&Tensor::new(&[1], &[1i64]).unwrap())]).is_err());
    }
}
