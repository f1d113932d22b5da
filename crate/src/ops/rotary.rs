//! Pairs of elements turned by the angle of their position. ONNX RotaryEmbedding; Su et al. 2021, arXiv:2104.09864.
//! ([`rope_cache`](super::rope_cache) is the one of language models, which also writes their cache.)

use super::{CpuContext, Input, Known, OpDef, optional};
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// `(x [b, s, h·d] or [b, h, s, d], cosines [.., r / 2], sines like them, positions integers [b, s] or one, the first)
/// → y` like `x`. With positions, the tables are `[n, r / 2]`; without, `[b, s, r / 2]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// Whether pairs are neighbours; else they are half of `r` apart.
    pub interleaved: bool,
    /// How many elements of a head turn; all, of 0.
    pub turning: usize,
    /// How many heads the last dimension of a `[b, s, h·d]` has; of 0, as many as fit the tables.
    pub heads: usize,
}

/// Rows of heads: for each its sequence and its place there, elements of a head, and elements that turn.
struct Heads {
    batch: usize,
    heads: usize,
    length: usize,
    head: usize,
    turning: usize,
    heads_first: bool,
}

impl Rotary {
    fn heads(&self, x: &[usize], table: &[usize]) -> Result<Heads> {
        let half = table.last().copied().unwrap_or(0);
        let (batch, heads, length, head, heads_first) = match *x {
            [b, h, s, d] => (b, h, s, d, true),
            [b, s, n] if self.heads > 0 && n.is_multiple_of(self.heads) => {
                (b, self.heads, s, n / self.heads, false)
            }
            [b, s, n] if self.heads == 0 && half > 0 && n.is_multiple_of(2 * half) => {
                (b, n / (2 * half), s, 2 * half, false)
            }
            _ => return fail!(ShapeMismatch, "{x:?} in {} heads has no pairs to turn", self.heads),
        };
        let turning = if self.turning == 0 { head } else { self.turning };
        ensure!(
            turning == 2 * half && turning <= head,
            ShapeMismatch,
            "{turning} of {head} elements turn, by tables of {half} angles"
        );
        Ok(Heads { batch, heads, length, head, turning, heads_first })
    }
}

impl OpDef for Rotary {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (cosines, sines) = (inputs.shape(1)?, inputs.shape(2)?);
        let own = self.heads(&inputs.shape(0)?, &cosines)?;
        let rows: usize = cosines.iter().rev().skip(1).product();
        let fits = match inputs.optional(3) {
            Some(positions) => {
                let n: usize = positions.known_shape()?.iter().product();
                n == 1 || n == own.batch * own.length
            }
            None => rows == own.batch * own.length,
        };
        ensure!(fits && cosines == sines, ShapeMismatch, "tables {} for {}", inputs.ty(1)?, inputs.ty(0)?);
        Ok(vec![inputs.ty(0)?.clone()])
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, table) = (inputs[0].tensor()?, inputs[1].tensor()?);
        let own = self.heads(x.shape, table.shape)?;
        let (cosines, sines) = (table.data::<f32>()?, inputs[2].tensor()?.data::<f32>()?);
        let positions = optional(inputs, 3)?.map(|positions| positions.to_ints()).transpose()?;
        let half = own.turning / 2;
        let (x, y) = (x.data::<f32>()?, outputs[0].data::<f32>()?);
        for (row, (x, y)) in
            x.chunks_exact(own.head.max(1)).zip(y.chunks_exact_mut(own.head.max(1))).enumerate()
        {
            let (batch, place) = match own.heads_first {
                true => (row / own.length / own.heads, row % own.length),
                false => (row / own.heads / own.length, row / own.heads % own.length),
            };
            let at = batch * own.length + place;
            let position = match positions.as_deref() {
                Some(&[first]) => usize::try_from(first).ok().and_then(|first| first.checked_add(place)),
                Some(positions) => usize::try_from(positions[at]).ok(),
                None => Some(at),
            };
            let angles = position.and_then(|p| p.checked_mul(half)).filter(|at| at + half <= cosines.len());
            let beyond = || {
                Error::new(
                    ErrorKind::InvalidInput,
                    format!("position {position:?} is beyond the tables of angles"),
                )
            };
            let angles = angles.ok_or_else(beyond)?;
            y.copy_from_slice(x);
            for i in 0..half {
                let (a, b) = if self.interleaved { (2 * i, 2 * i + 1) } else { (i, i + half) };
                let (cos, sin) = (cosines[angles + i], sines[angles + i]);
                y[a] = cos * x[a] - sin * x[b];
                y[b] = sin * x[a] + cos * x[b];
            }
        }
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let case = |interleaved: bool, turning: usize| {
            let half = if turning == 0 { 4 } else { turning / 2 };
            let tables = [Given::noise(&[9, half], 2), Given::noise(&[9, half], 3)];
            let [cosines, sines] = tables;
            let inputs = vec![
                Given::noise(&[2, 3, 5, 8], 1),
                cosines,
                sines,
                Given::fed(&[2, 5], &[0i64, 1, 2, 3, 4, 8, 7, 6, 5, 0]),
            ];
            let op = Rotary { interleaved, turning, heads: 0 };
            Case::new(
                format!("{turning} turn, neighbours {interleaved}"),
                op,
                inputs,
                Tolerance::of(1e-6),
                move |x| {
                    let [Some(x), Some(cos), Some(sin), Some(positions)] = x else { panic!("four inputs") };
                    let of = |at: Vec<usize>| {
                        let position = positions.at(&[at[0], at[2]]) as usize;
                        let other = |i: usize| x.at(&[at[0], at[1], at[2], i]);
                        let i = at[3];
                        match (interleaved, i < 2 * half) {
                            (_, false) => x.at(&at),
                            (true, _) if i.is_multiple_of(2) => {
                                cos.at(&[position, i / 2]) * x.at(&at)
                                    - sin.at(&[position, i / 2]) * other(i + 1)
                            }
                            (true, _) => {
                                sin.at(&[position, i / 2]) * other(i - 1)
                                    + cos.at(&[position, i / 2]) * x.at(&at)
                            }
                            (false, _) if i < half => {
                                cos.at(&[position, i]) * x.at(&at) - sin.at(&[position, i]) * other(i + half)
                            }
                            (false, _) => {
                                sin.at(&[position, i - half]) * other(i - half)
                                    + cos.at(&[position, i - half]) * x.at(&at)
                            }
                        }
                    };
                    vec![Array::new(&x.shape, indices(&x.shape).map(of).collect())]
                },
            )
        };
        vec![case(false, 0), case(true, 0), case(false, 4)]
    }
}
