//! Elements, or slices, without those that are equal to another. ONNX Unique.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, fail};
use crate::tensor::{Tensor, TensorViewMut, Wide};
use crate::types::TensorType;
use std::cmp::Ordering;

/// `x → (y, where each is first i64 [n], which each of x is i64 [..], how often each is i64 [n])`, of which the last three
/// may be left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Unique {
    /// The dimension whose slices are told apart; of all elements, as a list, where it is left out.
    pub axis: Option<i64>,
    /// Whether they are in order, not as they come.
    pub sorted: bool,
    /// How many outputs the node has: 1 to 4.
    pub outputs: usize,
}

/// The elements of each slice, to be compared.
enum Slices {
    Floats(Vec<Vec<f64>>),
    Ints(Vec<Vec<i128>>),
}

impl Slices {
    fn new(x: Wide, n: usize, of: impl Fn(usize) -> usize) -> Self {
        fn cut<T>(values: Vec<T>, n: usize, of: impl Fn(usize) -> usize) -> Vec<Vec<T>> {
            let mut slices: Vec<Vec<T>> = (0..n).map(|_| Vec::new()).collect();
            values.into_iter().enumerate().for_each(|(i, x)| slices[of(i)].push(x));
            slices
        }
        match x {
            Wide::Floats(values) => Self::Floats(cut(values, n, of)),
            Wide::Ints(values) => Self::Ints(cut(values, n, of)),
        }
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            Self::Ints(slices) => slices[a].cmp(&slices[b]),
            Self::Floats(slices) => {
                let pairs = slices[a].iter().zip(&slices[b]);
                // Zeros are equal whatever their sign.
                pairs
                    .map(|(a, b)| if a == b { Ordering::Equal } else { a.total_cmp(b) })
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            }
        }
    }
}

impl OpDef for Unique {
    fn infer(&self, _inputs: &Known) -> Result<Vec<TensorType>> {
        fail!(Internal, "the elements decide how many differ")
    }

    fn needs_values(&self) -> &'static [usize] {
        &[0]
    }

    fn outputs_of_types(&self, inputs: &Known) -> Result<Option<Vec<Tensor>>> {
        let Some(x) = inputs.value(0)? else { return fail!(InvalidGraph, "input 0 is missing") };
        let axis = self.axis.map(|axis| super::axis_of(axis, x.shape.len())).transpose()?;
        let (n, inner) = match axis {
            Some(axis) => (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>()),
            None => (x.len(), 1),
        };
        let slices = Slices::new(x.widen()?, n, |i| i / inner % n);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| slices.compare(a, b).then(a.cmp(&b)));
        // Groups of equal slices, each by its first.
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for i in order {
            match groups.last_mut() {
                Some(group) if slices.compare(group[0], i).is_eq() => group.push(i),
                _ => groups.push(vec![i]),
            }
        }
        if !self.sorted {
            groups.sort_by_key(|group| group[0]);
        }
        let mut shape = match axis {
            Some(_) => x.shape.to_vec(),
            None => vec![n],
        };
        shape[axis.unwrap_or(0)] = groups.len();
        let mut y = Tensor::zeros(x.dtype, &shape)?;
        let size = x.dtype.block_bytes() * inner;
        let to = y.view_mut();
        for (i, slot) in to.bytes.chunks_exact_mut(size.max(1)).enumerate() {
            let from = i / groups.len() * n + groups[i % groups.len()][0];
            slot.copy_from_slice(&x.bytes[from * size..][..size]);
        }
        let mut which = vec![0i64; n];
        groups.iter().enumerate().for_each(|(i, group)| group.iter().for_each(|&at| which[at] = i as i64));
        let list = |values: Vec<i64>| Tensor::new(&[values.len()], &values);
        let all = [
            y,
            list(groups.iter().map(|group| group[0] as i64).collect())?,
            list(which)?,
            list(groups.iter().map(|group| group.len() as i64).collect())?,
        ];
        Ok(Some(all.into_iter().take(self.outputs).collect()))
    }

    fn eval_cpu(&self, _cx: &CpuContext, _inputs: &[Input], _outputs: &mut [TensorViewMut]) -> Result<()> {
        fail!(Internal, "what differs is known before a run")
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |sorted: bool, want: [&'static [f64]; 4]| {
            let inputs = vec![Given::known(&[5], &[2.0f32, 1.0, 1.0, 3.0, 2.0])];
            Case::new(
                format!("sorted {sorted}"),
                Unique { axis: None, sorted, outputs: 4 },
                inputs,
                Tolerance::of(0.0),
                move |_| want.iter().map(|values| Array::new(&[values.len()], values.to_vec())).collect(),
            )
        };
        vec![
            case(true, [&[1.0, 2.0, 3.0], &[1.0, 0.0, 3.0], &[1.0, 0.0, 0.0, 2.0, 1.0], &[2.0, 2.0, 1.0]]),
            case(false, [&[2.0, 1.0, 3.0], &[0.0, 1.0, 3.0], &[0.0, 1.0, 1.0, 2.0, 0.0], &[2.0, 2.0, 1.0]]),
        ]
    }
}
