//! Trees and support vectors of the domain ai.onnx.ml.

use super::attention::count;
use super::ml::{best, both, floats, linear, n_classes, transformed, transformed_by};
use super::{Use, unsupported};
use crate::error::{Error, ErrorKind, Result, ensure};
use crate::graph::ValueId;
use crate::ops::svm::{Kernel, Machine, Sums, Svm};
use crate::ops::tree_ensemble::{Branch, Child, Join, Test, TreeEnsemble, Trees};
use crate::ops::unary::UnaryFunction;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::InvalidGraph, what)
}

fn at<T: Copy>(list: &[T], i: usize) -> Result<T> {
    list.get(i).copied().ok_or_else(|| broken("the lists of a tree's nodes differ in length"))
}

fn place(x: i64) -> Result<usize> {
    usize::try_from(x).map_err(|_| broken("a negative index in a tree"))
}

/// Numbers of an attribute, which may be a tensor of doubles instead.
fn numbers(of: &Use, name: &str) -> Result<Vec<f64>> {
    if let Some(tensor) = of.tensor(&format!("{name}_as_tensor"))? {
        return tensor.view().to_floats();
    }
    Ok(of.node.floats(name)?.unwrap_or_default().iter().map(|x| f64::from(*x)).collect())
}

/// Trees whose nodes have names, before version 5 of the domain. Leaves are of `target`s or `class`es.
fn named_trees(of: &Use, leaf: &str) -> Result<Trees> {
    let ints = |name: &str| Ok::<_, Error>(of.node.ints(name)?.unwrap_or_default());
    let (tree_ids, node_ids) = (ints("nodes_treeids")?, ints("nodes_nodeids")?);
    let (features, missing) = (ints("nodes_featureids")?, ints("nodes_missing_value_tracks_true")?);
    let children = [ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?];
    let values = numbers(of, "nodes_values")?;
    let modes = of.node.strings("nodes_modes")?.unwrap_or_default();
    let name = |i: usize| Ok::<_, Error>((at(tree_ids, i)?, at(node_ids, i)?));
    let mut trees = Trees::default();
    let mut nodes = HashMap::new();
    for (i, mode) in modes.iter().enumerate() {
        let child = if *mode == "LEAF" {
            trees.leaves.push(Vec::new());
            Child::Leaf(trees.leaves.len() - 1)
        } else {
            let test = match *mode {
                "BRANCH_LEQ" => Test::LessOrEqual,
                "BRANCH_LT" => Test::Less,
                "BRANCH_GTE" => Test::GreaterOrEqual,
                "BRANCH_GT" => Test::Greater,
                "BRANCH_EQ" => Test::Equal,
                "BRANCH_NEQ" => Test::NotEqual,
                other => return unsupported(format!("a tree's node of the mode {other}")),
            };
            let feature = place(at(features, i)?)?;
            trees.features = trees.features.max(feature + 1);
            let missing_passes = missing.get(i).is_some_and(|x| *x != 0);
            let children = [Child::Leaf(0); 2];
            trees.branches.push(Branch { feature, test, value: at(&values, i)?, missing_passes, children });
            Child::Branch(trees.branches.len() - 1)
        };
        nodes.insert(name(i)?, child);
    }
    let mut is_child = HashSet::new();
    for i in 0..modes.len() {
        let (tree, own) = name(i)?;
        let Some(Child::Branch(branch)) = nodes.get(&(tree, own)) else { continue };
        for (side, ids) in children.iter().enumerate() {
            let id = (tree, at(ids, i)?);
            let found =
                nodes.get(&id).ok_or_else(|| broken("a tree's node has a child that is not there"))?;
            trees.branches[*branch].children[side] = *found;
            is_child.insert(id);
        }
    }
    for i in 0..modes.len() {
        if !is_child.contains(&name(i)?) {
            trees.roots.push(nodes[&name(i)?]);
        }
    }
    let of_leaf = |what: &str| ints(&format!("{leaf}_{what}"));
    let (tree_ids, node_ids, targets) = (of_leaf("treeids")?, of_leaf("nodeids")?, of_leaf("ids")?);
    let weights = numbers(of, &format!("{leaf}_weights"))?;
    for (i, &weight) in weights.iter().enumerate() {
        let id = (at(tree_ids, i)?, at(node_ids, i)?);
        if let Some(Child::Leaf(leaf)) = nodes.get(&id) {
            let target = place(at(targets, i)?)?;
            trees.targets = trees.targets.max(target + 1);
            trees.leaves[*leaf].push((target, weight));
        }
    }
    trees.base = numbers(of, "base_values")?;
    trees.join = match of.node.string("aggregate_function")?.unwrap_or("SUM") {
        "SUM" => Join::Sum,
        "AVERAGE" => Join::Average,
        "MIN" => Join::Min,
        "MAX" => Join::Max,
        other => return unsupported(format!("leaves that come together by {other}")),
    };
    Ok(trees)
}

/// Targets that no leaf has are there all the same.
fn widened(mut trees: Trees, targets: usize) -> Result<TreeEnsemble> {
    ensure!(trees.targets <= targets, InvalidGraph, "a leaf of target {} of {targets}", trees.targets);
    trees.targets = targets;
    Ok(TreeEnsemble { trees: Arc::new(trees) })
}

pub(super) fn regressor(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = widened(named_trees(of, "target")?, count(of, "n_targets", 1)?)?;
    let x = of.input(0)?;
    let y = of.step("trees", op, &[Some(x)]);
    Ok(vec![transformed(of, y)?])
}

/// Of two classes, leaves may have the weights of one alone.
pub(super) fn classifier(of: &mut Use) -> Result<Vec<ValueId>> {
    let mut trees = named_trees(of, "class")?;
    let classes = n_classes(of)?;
    let weights = || trees.leaves.iter().flatten();
    let one = weights().next().map(|(class, _)| *class);
    let x = of.input(0)?;
    if classes == 2 && weights().all(|(class, _)| Some(*class) == one) {
        let positive = weights().all(|(_, weight)| *weight >= 0.0);
        trees.leaves.iter_mut().flatten().for_each(|(class, _)| *class = 0);
        if let [_, base] = trees.base[..] {
            trees.base = vec![base];
        }
        trees.targets = 1;
        let score = of.step("trees", widened(trees, 1)?, &[Some(x)]);
        let scores = both(of, score, positive)?;
        let label = best(of, scores)?;
        return Ok(vec![label, if positive { scores } else { transformed(of, scores)? }]);
    }
    let scores = of.step("trees", widened(trees, classes)?, &[Some(x)]);
    let label = best(of, scores)?;
    Ok(vec![label, transformed(of, scores)?])
}

/// Trees of version 5, whose children are numbers.
pub(super) fn ensemble(of: &mut Use) -> Result<Vec<ValueId>> {
    let ints = |name: &str| Ok::<_, Error>(of.node.ints(name)?.unwrap_or_default());
    let list =
        |name: &str| of.tensor(name)?.map_or_else(|| Ok(Vec::new()), |tensor| tensor.view().to_floats());
    let (features, missing) = (ints("nodes_featureids")?, ints("nodes_missing_value_tracks_true")?);
    let children = [ints("nodes_truenodeids")?, ints("nodes_falsenodeids")?];
    let leafs = [ints("nodes_trueleafs")?, ints("nodes_falseleafs")?];
    let (splits, modes) = (list("nodes_splits")?, list("nodes_modes")?);
    let (targets, weights) = (ints("leaf_targetids")?, list("leaf_weights")?);
    let mut trees = Trees { targets: count(of, "n_targets", 1)?, ..Trees::default() };
    for (i, &weight) in weights.iter().enumerate() {
        trees.leaves.push(vec![(place(at(targets, i)?)?, weight)]);
    }
    let members = list("membership_values")?;
    let mut sets = members.split(|x| x.is_nan()).map(<[f64]>::to_vec);
    for (i, mode) in modes.iter().enumerate() {
        let test = match *mode as i64 {
            0 => Test::LessOrEqual,
            1 => Test::Less,
            2 => Test::GreaterOrEqual,
            3 => Test::Greater,
            4 => Test::Equal,
            5 => Test::NotEqual,
            6 => {
                trees.members.push(sets.next().unwrap_or_default());
                Test::Member(trees.members.len() - 1)
            }
            other => return unsupported(format!("a tree's node of the mode {other}")),
        };
        let feature = place(at(features, i)?)?;
        trees.features = trees.features.max(feature + 1);
        let child = |side: usize| {
            let child = place(at(children[side], i)?)?;
            let (n, child) = match at(leafs[side], i)? {
                0 => (modes.len(), Child::Branch(child)),
                _ => (weights.len(), Child::Leaf(child)),
            };
            let (Child::Branch(number) | Child::Leaf(number)) = child;
            ensure!(number < n, InvalidGraph, "a tree's child {number} of {n}");
            Ok(child)
        };
        let missing_passes = missing.get(i).is_some_and(|x| *x != 0);
        let children = [child(0)?, child(1)?];
        trees.branches.push(Branch { feature, test, value: at(&splits, i)?, missing_passes, children });
    }
    for &root in ints("tree_roots")? {
        let root = place(root)?;
        ensure!(root < trees.branches.len(), InvalidGraph, "a tree begins at {root}, which is not there");
        trees.roots.push(Child::Branch(root));
    }
    let in_range = trees.leaves.iter().flatten().all(|(target, _)| *target < trees.targets);
    ensure!(in_range, InvalidGraph, "a leaf of a target beyond {}", trees.targets);
    trees.join = match of.node.int("aggregate_function")?.unwrap_or(1) {
        0 => Join::Average,
        1 => Join::Sum,
        2 => Join::Min,
        3 => Join::Max,
        other => return unsupported(format!("leaves that come together by {other}")),
    };
    let transform = match of.node.int("post_transform")?.unwrap_or(0) {
        0 => return of.as_is(TreeEnsemble { trees: Arc::new(trees) }),
        1 => "SOFTMAX",
        2 => "LOGISTIC",
        3 => "SOFTMAX_ZERO",
        4 => "PROBIT",
        other => return unsupported(format!("scores that become {other}")),
    };
    let x = of.input(0)?;
    let scores = of.step("trees", TreeEnsemble { trees: Arc::new(trees) }, &[Some(x)]);
    Ok(vec![transformed_by(of, scores, transform)?])
}

fn kernel(of: &Use) -> Result<Kernel> {
    let params = of.node.floats("kernel_params")?.unwrap_or_default();
    let param = |i: usize| params.get(i).copied().unwrap_or(0.0);
    let (gamma, offset, degree) = (param(0), param(1), param(2));
    Ok(match of.node.string("kernel_type")?.unwrap_or("LINEAR") {
        "LINEAR" => Kernel::Linear,
        "POLY" => Kernel::Poly { gamma, offset, degree },
        "RBF" => Kernel::Rbf { gamma },
        "SIGMOID" => Kernel::Sigmoid { gamma, offset },
        other => return unsupported(format!("the kernel {other}")),
    })
}

fn list(of: &Use, name: &str) -> Result<Vec<f32>> {
    Ok(of.node.floats(name)?.unwrap_or_default().to_vec())
}

pub(super) fn svm_regressor(of: &mut Use) -> Result<Vec<ValueId>> {
    let (vectors, weights, rho) = (list(of, "support_vectors")?, list(of, "coefficients")?, list(of, "rho")?);
    let x = floats(of, 0)?;
    let n = count(of, "n_supports", 0)?;
    let mut y = match vectors.len().checked_div(n) {
        None => linear(of, x, &weights, &rho, 1)?,
        Some(features) => {
            let machine = Machine { kernel: kernel(of)?, features, vectors, sums: Sums::Plain(weights), rho };
            of.step("sums", Svm { machine: Arc::new(machine) }, &[Some(x)])
        }
    };
    if of.flag("one_class")? {
        y = of.unary("side", UnaryFunction::Sign, y);
    }
    Ok(vec![transformed(of, y)?])
}

pub(super) fn svm_classifier(of: &mut Use) -> Result<Vec<ValueId>> {
    let (vectors, weights, rho) = (list(of, "support_vectors")?, list(of, "coefficients")?, list(of, "rho")?);
    let x = floats(of, 0)?;
    let counts = of.node.ints("vectors_per_class")?.unwrap_or_default().iter().map(|n| place(*n));
    let counts = counts.collect::<Result<Vec<_>>>()?;
    let n = counts.iter().try_fold(0usize, |all, n| all.checked_add(*n)).unwrap_or(0);
    let Some(features) = vectors.len().checked_div(n) else {
        let classes = n_classes(of)?.max(1);
        let scores = linear(of, x, &weights, &rho[..rho.len().min(1)], classes)?;
        let label = best(of, scores)?;
        return Ok(vec![label, transformed(of, scores)?]);
    };
    let (prob_a, prob_b) = (list(of, "prob_a")?, list(of, "prob_b")?);
    let pairs = rho.len() == 1 && prob_a.is_empty();
    let likelihoods = prob_a.into_iter().zip(prob_b).collect();
    let sums = Sums::Pairs { weights, counts, likelihoods };
    let machine = Machine { kernel: kernel(of)?, features, vectors, sums, rho };
    let names = [format!("{}.scores", of.name), format!("{}.votes", of.name)];
    let names = [&names[0][..], &names[1][..]];
    let outputs = of.import.graph.defer(of.name, Svm { machine: Arc::new(machine) }, &[Some(x)], &names);
    let label = best(of, outputs[1])?;
    let scores = if pairs { both(of, outputs[0], false)? } else { outputs[0] };
    Ok(vec![label, transformed(of, scores)?])
}
