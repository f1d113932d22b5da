//! Rewrites of the graph, in order. The graph is verified after each that changed it, so that an illegal rewrite fails at
//! once under its own name.

mod activations;
mod attention;
mod clean_up;
mod columns;
mod common;
mod dead_code;
mod fold_constants;
mod fuse_conv;
mod fuse_matmul;
mod fuse_norms;
mod fuse_qkv;
mod fuse_swiglu;
mod integers;
mod levels_cache;
mod lookups;
mod matching;
mod permuted;
mod products;
mod scale_shift;
mod transposes;
mod turns;

use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::ops::Op;
use crate::ops::matmul::MatMul;
use crate::types::{Shape, TensorType};

/// One family of rewrites: returns how many it made.
type Pass = fn(&mut Graph) -> Result<usize>;

/// The passes, in the order they run: what is known first, then functions and norms spelt out, since what they are part of
/// is seen by them; transposes sink before what follows a convolution comes to it; gates before residuals, since both take
/// over a product's output.
const PASSES: &[(&str, Pass)] = &[
    ("dead_code", dead_code::run),
    ("fold_constants", fold_constants::run_but_weights),
    ("integers", integers::run),
    ("clean_up", clean_up::run),
    ("turns", turns::run),
    ("parts", columns::parts),
    ("common", common::run),
    ("activations", activations::run),
    ("fuse_norms", fuse_norms::run),
    ("transposes", transposes::run),
    ("transposed_twice", clean_up::run),
    ("fuse_conv", fuse_conv::run),
    ("scale_shift", scale_shift::run),
    ("fuse_qkv", fuse_qkv::run),
    ("fuse_swiglu", fuse_swiglu::run),
    ("fuse_matmul", fuse_matmul::run),
    ("lookups", lookups::run),
    ("narrow", columns::narrow),
    ("attention", attention::run),
    ("masks_once", common::run),
    ("products", products::run),
];

/// The passes for a graph that the CPU shall run.
const ON_CPU: &[(&str, Pass)] = &[("levels_cache", levels_cache::run)];

/// Runs all passes on `graph` and its bodies. After each that changed something, what it left unused goes and the graph is verified.
pub fn optimise(graph: &mut Graph) -> Result<()> {
    for body in graph.bodies() {
        optimise(body)?;
    }
    graph.verify()?;
    run(PASSES, graph)
}

/// Makes of a graph that any device can run one for the CPU.
pub fn optimise_for_cpu(graph: &mut Graph) -> Result<()> {
    run(ON_CPU, graph)
}

fn run(passes: &[(&str, Pass)], graph: &mut Graph) -> Result<()> {
    for (name, pass) in passes {
        let blame = |e: Error| Error::new(e.kind(), format!("after the pass {name}: {e}"));
        let rewrites = pass(graph).map_err(blame)?;
        if rewrites > 0 {
            dead_code::run(graph)?;
        }
        // What no pass touched needs no second look, but where passes are tested.
        if rewrites > 0 || cfg!(debug_assertions) {
            graph.verify().map_err(blame)?;
        }
    }
    Ok(())
}

/// A plain product with a weight: its node, activations, weight, and bias.
struct Product {
    x: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
}

/// The product that computes `value`, when nothing else uses it and nothing is fused into it yet.
fn plain_product(graph: &Graph, value: ValueId) -> Option<(NodeId, Product)> {
    let (id, node) = graph.producer(value)?;
    let Op::MatMul(MatMul { swiglu: false, activation: None }) = node.op else { return None };
    let used_once = graph.consumers(value).len() == 1 && graph.outputs().iter().all(|(_, out)| *out != value);
    let [Some(x), Some(weight), bias, None] = node.inputs[..] else { return None };
    used_once.then_some((id, Product { x, weight, bias }))
}

/// One product in place of several that share their activations, their weights stacked by rows. `None` when
/// the weights differ in dtype or length, or only some have a bias.
fn stack(graph: &mut Graph, name: &str, products: &[Product]) -> Option<(ValueId, ValueId, Option<ValueId>)> {
    let first = products.first()?;
    let same = products.iter().all(|p| p.x == first.x && p.bias.is_some() == first.bias.is_some());
    let weights: Vec<ValueId> = products.iter().map(|p| p.weight).collect();
    let weight = same.then(|| stack_weights(graph, name, &weights)).flatten()?;
    let biases: Vec<ValueId> = products.iter().filter_map(|p| p.bias).collect();
    let bias =
        if biases.is_empty() { None } else { Some(stack_weights(graph, &format!("{name}.bias"), &biases)?) };
    Some((first.x, weight, bias))
}

fn stack_weights(graph: &mut Graph, name: &str, weights: &[ValueId]) -> Option<ValueId> {
    let first = graph.ty(*weights.first()?).ok()?.clone();
    let mut rows = 0;
    let mut parts = Vec::new();
    for &weight in weights {
        let ty = graph.ty(weight).ok()?;
        let Source::Weight(source) = &graph.value(weight).source else { return None };
        let derived = source.derivation.is_some();
        if derived || ty.dtype != first.dtype || ty.shape.0.get(1) != first.shape.0.get(1) {
            return None;
        }
        // A weight with another use stays where it is: stacking would hold it twice.
        if graph.consumers(weight).len() != 1 {
            return None;
        }
        rows += ty.shape.0.first()?.known()?;
        parts.extend(source.parts.iter().cloned());
    }
    let mut shape = first.shape.0.clone();
    *shape.first_mut()? = rows.into();
    Some(graph.stacked_weight(name, TensorType { dtype: first.dtype, shape: Shape(shape) }, parts))
}

#[cfg(test)]
mod tests;
