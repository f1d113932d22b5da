//! Decision trees whose leaves add up. ONNX (ai.onnx.ml) TreeEnsemble, TreeEnsembleRegressor and TreeEnsembleClassifier.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, TensorType};
use std::sync::Arc;

/// `x [n, features] → y [n, targets]`, f32, or f64 of f64.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeEnsemble {
    /// The trees.
    pub trees: Arc<Trees>,
}

/// Trees, all of their branches and leaves in lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trees {
    /// Where each tree begins.
    pub roots: Vec<Child>,
    /// The branches.
    pub branches: Vec<Branch>,
    /// The leaves: targets, each with its weight.
    pub leaves: Vec<Vec<(usize, f64)>>,
    /// What members of sets are compared with.
    pub members: Vec<Vec<f64>>,
    /// How the leaves of all trees come together.
    pub join: Join,
    /// What is added to each target.
    pub base: Vec<f64>,
    /// How many targets there are.
    pub targets: usize,
    /// How many features a row must have.
    pub features: usize,
}

/// What follows a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    /// Another branch.
    Branch(usize),
    /// A leaf.
    Leaf(usize),
}

/// A question to one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch {
    /// The feature.
    pub feature: usize,
    /// How it is compared.
    pub test: Test,
    /// What it is compared with.
    pub value: f64,
    /// Whether a feature that is missing, NaN, passes.
    pub missing_passes: bool,
    /// What follows where the feature passes, and where not.
    pub children: [Child; 2],
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum Test {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    /// Among a set of members.
    Member(usize),
}

/// How leaves come together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum Join {
    #[default]
    Sum,
    Average,
    Min,
    Max,
}

impl Trees {
    fn passes(&self, branch: &Branch, x: f64) -> bool {
        let v = branch.value;
        let passes = match branch.test {
            Test::LessOrEqual => x <= v,
            Test::Less => x < v,
            Test::GreaterOrEqual => x >= v,
            Test::Greater => x > v,
            Test::Equal => x == v,
            Test::NotEqual => x != v,
            Test::Member(set) => self.members[set].contains(&x),
        };
        passes || branch.missing_passes && x.is_nan()
    }

    /// Adds the leaves that a row reaches to `y`. Gives which targets have been met.
    fn follow(&self, row: &[f64], y: &mut [f64], met: &mut [bool]) {
        met.fill(false);
        for &root in &self.roots {
            let mut at = root;
            // A walk has no more steps than there are branches, however they are linked.
            for _ in 0..self.branches.len() {
                let Child::Branch(branch) = at else { break };
                let branch = &self.branches[branch];
                at = branch.children[usize::from(!self.passes(branch, row[branch.feature]))];
            }
            let Child::Leaf(leaf) = at else { continue };
            for &(target, weight) in &self.leaves[leaf] {
                y[target] = match self.join {
                    Join::Min if met[target] => y[target].min(weight),
                    Join::Max if met[target] => y[target].max(weight),
                    Join::Min | Join::Max => weight,
                    Join::Sum | Join::Average => y[target] + weight,
                };
                met[target] = true;
            }
        }
        let share = if self.join == Join::Average { 1.0 / self.roots.len().max(1) as f64 } else { 1.0 };
        let base = self.base.iter().copied().chain(std::iter::repeat(0.0));
        y.iter_mut().zip(base).for_each(|(y, base)| *y = *y * share + base);
    }
}

impl OpDef for TreeEnsemble {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (trees, shape) = (&self.trees, inputs.shape(0)?);
        let (rows, features) = match shape[..] {
            [n] => (1, n),
            [rows, n] => (rows, n),
            _ => (0, 0),
        };
        ensure!(
            features >= trees.features,
            ShapeMismatch,
            "{} where {} features are wanted",
            inputs.ty(0)?,
            trees.features
        );
        let dtype = if inputs.dtype(0)? == DType::F64 { DType::F64 } else { DType::F32 };
        Ok(vec![TensorType::new(dtype, [rows, trees.targets])])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let (values, features) = (x.to_floats()?, x.shape.last().copied().unwrap_or(0));
        let n = self.trees.targets;
        let (mut y, mut met) = (vec![0.0; outputs[0].len()], vec![false; n]);
        for (i, y) in y.chunks_exact_mut(n.max(1)).enumerate() {
            self.trees.follow(&values[i * features..][..features], y, &mut met);
        }
        outputs[0].narrow(Wide::Floats(y))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let branch = |feature: usize, test: Test, value: f64, children: [Child; 2]| Branch {
            feature,
            test,
            value,
            missing_passes: false,
            children,
        };
        let trees = Trees {
            roots: vec![Child::Branch(0), Child::Branch(2)],
            branches: vec![
                branch(0, Test::LessOrEqual, 0.5, [Child::Leaf(0), Child::Branch(1)]),
                branch(1, Test::Greater, -0.25, [Child::Leaf(1), Child::Leaf(2)]),
                branch(1, Test::Member(0), 0.0, [Child::Leaf(1), Child::Leaf(3)]),
            ],
            leaves: vec![vec![(0, 1.0)], vec![(1, 2.0)], vec![(0, 3.0), (1, 4.0)], vec![]],
            members: vec![vec![0.5, 0.75]],
            base: vec![0.0, 0.5],
            targets: 2,
            features: 2,
            ..Trees::default()
        };
        let inputs = vec![Given::fed(&[3, 2], &[0.5f32, 0.75, 0.6, -0.5, 0.7, 0.0])];
        vec![Case::new(
            "two trees",
            TreeEnsemble { trees: Arc::new(trees) },
            inputs,
            Tolerance::of(1e-6),
            |x| {
                let rows = x[0].as_ref().expect("rows").rows();
                let of = |row: &[f64]| {
                    let first = if row[0] <= 0.5 {
                        [1.0, 0.0]
                    } else if row[1] > -0.25 {
                        [0.0, 2.0]
                    } else {
                        [3.0, 4.0]
                    };
                    let second = if row[1] == 0.5 || row[1] == 0.75 { 2.0 } else { 0.0 };
                    [first[0], first[1] + second + 0.5]
                };
                vec![Array::new(&[3, 2], rows.flat_map(of).collect())]
            },
        )]
    }
}
