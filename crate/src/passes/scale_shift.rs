//! A factor and a sum by constants, of an image's channels or of all of it, are one walk over it: a batch norm.

use super::fuse_conv::affine_of;
use super::matching::{dims, each, sole};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::batch_norm::BatchNorm;
use crate::tensor::Tensor;

/// Rewrites every pair that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| {
        let Some((x, scale, shift)) = found(graph, node) else { return Ok(None) };
        let n = scale.len();
        let numbers = |of: &[f64]| of.iter().map(|x| *x as f32).collect::<Vec<f32>>();
        let parts = [numbers(&scale), numbers(&shift), vec![0.0; n], vec![1.0; n]];
        let mut inputs = vec![Some(x)];
        for (part, name) in parts.iter().zip(["scale", "shift", "mean", "variance"]) {
            let tensor = Tensor::new(&[n], part)?;
            inputs.push(Some(graph.constant(&format!("{}.{name}", node.name), tensor)));
        }
        graph.emit1(&node.name, BatchNorm { epsilon: 0.0 }, &inputs).map(Some)
    })
}

/// Of a node that shifts what another scales: the value, and both together. (The other way round, what was one difference
/// would become that of two products, which rounds more.)
fn found(graph: &Graph, node: &Node) -> Option<(ValueId, Vec<f64>, Vec<f64>)> {
    let dims = dims(graph, *node.outputs.first()?)?;
    let (rank, n) = (dims.len(), dims.get(1)?.known()?);
    (rank > 2).then_some(())?;
    let (y, outer, shift) = affine_of(graph, node, n, rank)?;
    let (x, inner, added) = affine_of(graph, sole(graph, y)?, n, rank)?;
    let finite = inner.iter().chain(&shift).all(|x| x.is_finite());
    let scales_first = outer.iter().all(|x| *x == 1.0) && added.iter().all(|x| *x == 0.0);
    let keeps_shape = graph.value(x).ty == graph.value(node.outputs[0]).ty;
    (keeps_shape && scales_first && finite).then_some((x, inner, shift))
}
