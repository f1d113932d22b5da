//! Sums over support vectors: how like each is to a row, by a kernel, weighted. ONNX (ai.onnx.ml) SVMRegressor and the scores
//! of SVMClassifier; Chang and Lin 2011, LIBSVM.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, TensorType};
use std::sync::Arc;

/// `x [n, features] → y [n, sums]` f32, of a classifier also the votes of the pairs `[n, classes]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Svm {
    /// The machine.
    pub machine: Arc<Machine>,
}

/// Support vectors and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// How alike two rows are.
    pub kernel: Kernel,
    /// Elements of a row.
    pub features: usize,
    /// The vectors, one after the other.
    pub vectors: Vec<f32>,
    /// The sums.
    pub sums: Sums,
    /// What is added to each sum.
    pub rho: Vec<f32>,
}

/// Which sums there are.
#[derive(Clone, Debug, PartialEq)]
pub enum Sums {
    /// Of weights `[sums, vectors]`.
    Plain(Vec<f32>),
    /// Of every pair of classes, which vote.
    Pairs {
        /// Weights `[classes - 1, vectors]`.
        weights: Vec<f32>,
        /// How many vectors each class has.
        counts: Vec<usize>,
        /// The factor and the summand by which the sum of each pair becomes a likelihood, `1 / (1 + exp(a·sum + b))`.
        /// Those of all pairs make likelihoods of the classes, which come in place of the sums.
        likelihoods: Vec<(f32, f32)>,
    },
}

/// How alike two rows are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kernel {
    /// Their product.
    Linear,
    /// `(γ·product + c)^d`.
    Poly {
        /// γ.
        gamma: f32,
        /// c.
        offset: f32,
        /// d.
        degree: f32,
    },
    /// `exp(-γ·distance²)`.
    Rbf {
        /// γ.
        gamma: f32,
    },
    /// `tanh(γ·product + c)`.
    Sigmoid {
        /// γ.
        gamma: f32,
        /// c.
        offset: f32,
    },
}

impl Kernel {
    fn of(self, a: &[f32], b: &[f32]) -> f64 {
        let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let product = || pairs().map(|(a, b)| a * b).sum::<f64>();
        match self {
            Self::Linear => product(),
            Self::Poly { gamma, offset, degree } => {
                (f64::from(gamma) * product() + f64::from(offset)).powf(f64::from(degree))
            }
            Self::Rbf { gamma } => {
                (-f64::from(gamma) * pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>()).exp()
            }
            Self::Sigmoid { gamma, offset } => (f64::from(gamma) * product() + f64::from(offset)).tanh(),
        }
    }
}

impl Machine {
    /// Fails unless the numbers of weights fit those of vectors.
    fn check(&self) -> Result<()> {
        let vectors = self.n_vectors();
        let fits = self.features > 0
            && self.vectors.len() == vectors * self.features
            && match &self.sums {
                Sums::Plain(weights) => {
                    vectors > 0
                        && weights.len().is_multiple_of(vectors)
                        && weights.len() / vectors <= self.rho.len()
                }
                Sums::Pairs { weights, counts, likelihoods } => {
                    let pairs = counts.len() * counts.len().saturating_sub(1) / 2;
                    let all = counts.iter().try_fold(0usize, |all, n| all.checked_add(*n));
                    all == Some(vectors)
                        && counts.len() > 1
                        && Some(weights.len()) == vectors.checked_mul(counts.len() - 1)
                        && self.rho.len() >= pairs
                        && (likelihoods.is_empty() || likelihoods.len() == pairs)
                }
            };
        ensure!(fits, InvalidGraph, "{vectors} support vectors do not fit their weights");
        Ok(())
    }

    fn n_vectors(&self) -> usize {
        self.vectors.len().checked_div(self.features).unwrap_or(0)
    }

    fn n_sums(&self) -> usize {
        match &self.sums {
            Sums::Plain(weights) => weights.len().checked_div(self.n_vectors()).unwrap_or(0),
            Sums::Pairs { counts, likelihoods, .. } if !likelihoods.is_empty() => counts.len(),
            Sums::Pairs { counts, .. } => counts.len() * (counts.len() - 1) / 2,
        }
    }

    /// The sums of a row, and the votes.
    fn sums_of(&self, row: &[f32], y: &mut Vec<f64>, votes: &mut Vec<f64>) {
        let n = self.n_vectors();
        let alike: Vec<f64> =
            self.vectors.chunks_exact(self.features).map(|vector| self.kernel.of(row, vector)).collect();
        let sum = |weights: &[f32], alike: &[f64]| {
            weights.iter().zip(alike).map(|(w, x)| f64::from(*w) * x).sum::<f64>()
        };
        match &self.sums {
            Sums::Plain(weights) => {
                y.extend(
                    weights
                        .chunks_exact(n)
                        .zip(&self.rho)
                        .map(|(weights, rho)| sum(weights, &alike) + f64::from(*rho)),
                );
            }
            Sums::Pairs { weights, counts, likelihoods } => {
                let first = y.len();
                let mut won = vec![0.0; counts.len()];
                let starts: Vec<usize> = (0..counts.len()).map(|i| counts[..i].iter().sum()).collect();
                let part = |row: usize, class: usize| {
                    let (start, count) = (starts[class], counts[class]);
                    sum(&weights[row * n + start..][..count], &alike[start..][..count])
                };
                let mut rho = self.rho.iter();
                for i in 0..counts.len() {
                    for j in i + 1..counts.len() {
                        let score =
                            part(j - 1, i) + part(i, j) + f64::from(rho.next().copied().unwrap_or(0.0));
                        won[if score > 0.0 { i } else { j }] += 1.0;
                        y.push(score);
                    }
                }
                votes.extend(won);
                if !likelihoods.is_empty() {
                    let pairs: Vec<f64> = y.drain(first..).collect();
                    let likely = pairs.iter().zip(likelihoods).map(|(sum, (a, b))| {
                        (1.0 / (1.0 + (sum * f64::from(*a) + f64::from(*b)).exp())).clamp(1e-7, 1.0 - 1e-7)
                    });
                    y.extend(coupled(counts.len(), &likely.collect::<Vec<_>>()));
                }
            }
        }
    }
}

/// Likelihoods of classes that fit those of one class against another best, pair by pair in the order of the sums: the
/// second method of Wu, Lin and Weng 2004, as LIBSVM iterates it.
fn coupled(classes: usize, pairs: &[f64]) -> Vec<f64> {
    let mut against = vec![0.0; classes * classes];
    let mut next = pairs.iter();
    for i in 0..classes {
        for (j, p) in (i + 1..classes).zip(&mut next) {
            (against[i * classes + j], against[j * classes + i]) = (*p, 1.0 - p);
        }
    }
    let mut q = vec![0.0; classes * classes];
    for i in 0..classes {
        for j in (0..classes).filter(|j| *j != i) {
            let (theirs, own) = (against[j * classes + i], against[i * classes + j]);
            q[i * classes + i] += theirs * theirs;
            q[i * classes + j] = -theirs * own;
        }
    }
    let mut p = vec![1.0 / classes as f64; classes];
    for _ in 0..classes.max(100) {
        let product = |p: &[f64], i: usize| (0..classes).map(|j| q[i * classes + j] * p[j]).sum::<f64>();
        let mut qp: Vec<f64> = (0..classes).map(|i| product(&p, i)).collect();
        let mut all: f64 = p.iter().zip(&qp).map(|(p, qp)| p * qp).sum();
        let off = qp.iter().map(|qp| (qp - all).abs()).fold(0.0, f64::max);
        if off < 0.005 / classes as f64 {
            break;
        }
        for i in 0..classes {
            let own = q[i * classes + i];
            let step = (all - qp[i]) / own;
            p[i] += step;
            all = (all + step * (step * own + 2.0 * qp[i])) / (1.0 + step) / (1.0 + step);
            for j in 0..classes {
                qp[j] = (qp[j] + step * q[i * classes + j]) / (1.0 + step);
                p[j] /= 1.0 + step;
            }
        }
    }
    p
}

impl OpDef for Svm {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        self.machine.check()?;
        let x = inputs.shape(0)?;
        let features = self.machine.features;
        ensure!(
            x.len() == 2 && x[1] == features,
            ShapeMismatch,
            "{} where {features} features are wanted",
            inputs.ty(0)?
        );
        let sums = TensorType::f32([x[0], self.machine.n_sums()]);
        Ok(match &self.machine.sums {
            Sums::Plain(_) => vec![sums],
            Sums::Pairs { counts, .. } => vec![sums, TensorType::f32([x[0], counts.len()])],
        })
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x: Vec<f32> = inputs[0].tensor()?.to_floats()?.into_iter().map(|x| x as f32).collect();
        let (mut y, mut votes) = (Vec::new(), Vec::new());
        x.chunks_exact(self.machine.features).for_each(|row| self.machine.sums_of(row, &mut y, &mut votes));
        outputs[0].narrow(Wide::Floats(y))?;
        match outputs.get_mut(1) {
            Some(output) => output.narrow(Wide::Floats(votes)),
            None => Ok(()),
        }
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        false
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let vectors = [0.5f32, -1.0, 1.0, 0.25, -0.75, 0.5];
        let machine = |kernel: Kernel, sums: Sums| Svm {
            machine: Arc::new(Machine {
                kernel,
                features: 2,
                vectors: vectors.to_vec(),
                sums,
                rho: vec![0.25; 3],
            }),
        };
        let alike = |row: &[f64], i: usize| {
            let v = [f64::from(vectors[2 * i]), f64::from(vectors[2 * i + 1])];
            (-0.5 * ((row[0] - v[0]).powi(2) + (row[1] - v[1]).powi(2))).exp()
        };
        let plain = machine(Kernel::Rbf { gamma: 0.5 }, Sums::Plain(vec![1.0, -2.0, 0.5]));
        let pairs = machine(
            Kernel::Rbf { gamma: 0.5 },
            Sums::Pairs { weights: vec![1.0, -2.0, 0.5], counts: vec![1, 2], likelihoods: Vec::new() },
        );
        let likely = machine(
            Kernel::Rbf { gamma: 0.5 },
            Sums::Pairs {
                weights: vec![1.0, -2.0, 0.5],
                counts: vec![1, 2],
                likelihoods: vec![(-1.5, 0.25)],
            },
        );
        let rows = || vec![Given::noise(&[4, 2], 1)];
        let sums = move |x: &[Option<Array>]| -> Vec<f64> {
            let rows = x[0].as_ref().expect("rows").rows();
            rows.map(|row| alike(row, 0) - 2.0 * alike(row, 1) + 0.5 * alike(row, 2) + 0.25).collect()
        };
        vec![
            Case::new("of weights", plain, rows(), Tolerance::of(1e-6), move |x| {
                vec![Array::new(&[4, 1], sums(x))]
            }),
            // Of two classes, the likelihoods are those of the pair, as near as the iteration goes before it ends.
            Case::new("likelihoods", likely, rows(), Tolerance::of(1e-3), move |x| {
                let first = |y: &f64| 1.0 / (1.0 + (-1.5 * y + 0.25).exp());
                let both = sums(x).iter().flat_map(|y| [first(y), 1.0 - first(y)]).collect();
                let votes =
                    sums(x).iter().flat_map(|y| if *y > 0.0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
                vec![Array::new(&[4, 2], both), Array::new(&[4, 2], votes)]
            }),
            Case::new("of a pair of classes", pairs, rows(), Tolerance::of(1e-6), move |x| {
                let votes =
                    sums(x).iter().flat_map(|y| if *y > 0.0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
                vec![Array::new(&[4, 1], sums(x)), Array::new(&[4, 2], votes)]
            }),
        ]
    }
}
