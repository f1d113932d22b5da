//! Numbers drawn at random. ONNX RandomUniform, RandomNormal and their Like kin, Bernoulli, Multinomial and Dropout in
//! training. With a seed they are the same at every run; without, they differ from run to run. The generator is xoshiro256++
//! of Blackman and Vigna 2018.

use super::{CpuContext, Input, Known, OpDef, optional};
use crate::error::{Result, ensure, fail};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};
use std::sync::atomic::{AtomicU64, Ordering};

/// `x? → y`; of a dropout `(x, ratio f32 []?, training bool []?) → (y, kept bool)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Random {
    /// From what.
    pub draw: Draw,
    /// The shape, where no input says it.
    pub shape: Option<Vec<usize>>,
    /// The dtype; that of the input where it is left out.
    pub dtype: Option<DType>,
    /// Where the sequence begins.
    pub seed: Option<f32>,
    /// How many outputs the node has: 1, or 2 of a dropout.
    pub outputs: usize,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// Numbers between two.
    Uniform {
        /// The least.
        low: f32,
        /// None is as great.
        high: f32,
    },
    /// Numbers of the normal distribution.
    Normal {
        /// The mean.
        mean: f32,
        /// The deviation.
        scale: f32,
    },
    /// Ones, each as likely as its input says.
    Bernoulli,
    /// Classes, `[b, n]` of the logarithms of their likelihoods `[b, classes]`.
    Classes {
        /// How many of each row.
        n: usize,
    },
    /// The input with zeros for a share of it, where it is being trained.
    Dropout,
}

impl OpDef for Random {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let shape = match (self.draw, &self.shape) {
            (Draw::Classes { n }, _) => match *inputs.shape(0)? {
                [b, classes] if classes > 0 => Shape::known(&[b, n]),
                _ => return fail!(ShapeMismatch, "{} has no classes", inputs.ty(0)?),
            },
            (_, Some(shape)) => Shape::known(shape),
            _ => inputs.ty(0)?.shape.clone(),
        };
        let dtype = match self.dtype {
            Some(dtype) => dtype,
            None => inputs.dtype(0)?,
        };
        ensure!(!matches!(dtype, DType::Block(_)), UnsupportedOp, "numbers of {dtype} drawn at random");
        let kept = TensorType::new(DType::Bool, shape.clone());
        Ok([TensorType { dtype, shape }, kept].into_iter().take(self.outputs).collect())
    }

    fn varies(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let seed = self.seed.map(|seed| u64::from(seed.to_bits()));
        let mut random = Generator::new(seed.unwrap_or_else(|| !RUNS.fetch_add(1, Ordering::Relaxed)));
        let x = optional(inputs, 0)?;
        let n = outputs[0].len();
        let values: Vec<f64> = match (self.draw, x) {
            (Draw::Uniform { low, high }, _) => {
                let (low, range) = (f64::from(low), f64::from(high) - f64::from(low));
                (0..n).map(|_| low + range * random.next()).collect()
            }
            (Draw::Normal { mean, scale }, _) => {
                (0..n).map(|_| f64::from(mean) + f64::from(scale) * random.normal()).collect()
            }
            (Draw::Bernoulli, Some(x)) => {
                x.to_floats()?.into_iter().map(|share| f64::from(u8::from(random.next() < share))).collect()
            }
            (Draw::Classes { n }, Some(x)) => {
                let rows = x.to_floats()?;
                let rows = rows.chunks_exact(x.shape[1]);
                rows.flat_map(|row| (0..n).map(|_| random.class(row)).collect::<Vec<_>>()).collect()
            }
            (Draw::Dropout, Some(x)) => {
                let number = |index: usize| {
                    Ok::<_, crate::error::Error>(
                        optional(inputs, index)?
                            .map(|x| x.to_floats())
                            .transpose()?
                            .and_then(|x| x.first().copied()),
                    )
                };
                let training = number(2)?.is_some_and(|training| training != 0.0);
                let ratio = if training { number(1)?.unwrap_or(0.5) } else { 0.0 };
                let kept: Vec<bool> = (0..n).map(|_| random.next() >= ratio).collect();
                if let Some(output) = outputs.get_mut(1) {
                    output.narrow(Wide::Ints(kept.iter().map(|kept| i128::from(*kept)).collect()))?;
                }
                let factor = 1.0 / (1.0 - ratio);
                x.to_floats()?
                    .into_iter()
                    .zip(kept)
                    .map(|(x, kept)| if kept { x * factor } else { 0.0 })
                    .collect()
            }
            (_, None) => return fail!(InvalidGraph, "input 0 is missing"),
        };
        outputs[0].narrow(Wide::Floats(values))
    }
}

/// A stream of numbers.
struct Generator([u64; 4]);

impl Generator {
    fn new(seed: u64) -> Self {
        let mut state = seed;
        Self([0; 4].map(|_: u64| {
            // SplitMix64, as the generator's authors advise.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        let s = &mut self.0;
        let bits = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// By Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.next()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.next()).cos()
    }

    /// The place of one of the likelihoods whose logarithms these are.
    fn class(&mut self, row: &[f64]) -> f64 {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut rest = self.next() * row.iter().map(|x| (x - largest).exp()).sum::<f64>();
        let found = row.iter().position(|x| {
            rest -= (x - largest).exp();
            rest < 0.0
        });
        found.unwrap_or(row.len() - 1) as f64
    }
}

/// Cases: what is drawn cannot be told, so these draw from what leaves no choice.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |draw: Draw, x: Given, want: &'static [f64]| {
            let op = Random { draw, shape: None, dtype: Some(DType::F32), seed: None, outputs: 1 };
            Case::new(format!("{draw:?}"), op, vec![x], Tolerance::of(1e-6), move |_| {
                vec![Array::new(&[1, want.len()], want.to_vec())]
            })
        };
        let row = |values: &[f32]| Given::fed(&[1, values.len()], values);
        vec![
            case(Draw::Bernoulli, row(&[0.0, 1.0, 1.0, 0.0]), &[0.0, 1.0, 1.0, 0.0]),
            case(Draw::Classes { n: 2 }, row(&[-1e9, 0.0, -1e9]), &[1.0, 1.0]),
            case(Draw::Uniform { low: 3.0, high: 3.0 }, row(&[0.0, 0.0]), &[3.0, 3.0]),
            case(Draw::Normal { mean: 2.0, scale: 0.0 }, row(&[0.0, 0.0]), &[2.0, 2.0]),
            case(Draw::Dropout, row(&[4.0, 5.0]), &[4.0, 5.0]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::tensor::Tensor;

    fn drawn(draw: Draw, seed: Option<f32>, x: &Tensor) -> Vec<f64> {
        let op = Op::from(Random { draw, shape: None, dtype: Some(DType::F64), seed, outputs: 1 });
        op.eval_now(&[Some(x)]).unwrap()[0].view().to_floats().unwrap()
    }

    #[test]
    fn seeds_repeat_and_what_has_none_differs() {
        let x = Tensor::zeros(DType::F32, &[100]).unwrap();
        let uniform = Draw::Uniform { low: 0.0, high: 1.0 };
        assert_eq!(drawn(uniform, Some(3.0), &x), drawn(uniform, Some(3.0), &x));
        assert_ne!(drawn(uniform, Some(3.0), &x), drawn(uniform, Some(4.0), &x));
        assert_ne!(drawn(uniform, None, &x), drawn(uniform, None, &x));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let x = Tensor::new(&[1, 20_000], &[0.25f32; 20_000]).unwrap();
        let moments = |draw| {
            let values = drawn(draw, Some(1.0), &x);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64)
        };
        let near = |(a, b): (f64, f64), mean: f64, variance: f64| {
            (a - mean).abs() < 0.05 && (b - variance).abs() < 0.05
        };
        assert!(near(moments(Draw::Uniform { low: -1.0, high: 2.0 }), 0.5, 0.75));
        assert!(near(moments(Draw::Normal { mean: 1.0, scale: 0.5 }), 1.0, 0.25));
        assert!(near(moments(Draw::Bernoulli), 0.25, 0.1875));
        let classes = Tensor::new(&[1, 3], &[0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()]).unwrap();
        let classes = drawn(Draw::Classes { n: 20_000 }, Some(1.0), &classes);
        let share = |class: f64| classes.iter().filter(|x| **x == class).count() as f64 / 20_000.0;
        assert!((share(0.0) - 0.5).abs() < 0.02 && (share(2.0) - 0.2).abs() < 0.02);
    }
}
