//! A KV cache of f16 becomes one of levels, which the CPU computes with in fewer steps.

use crate::error::Result;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::kernels::attention::levels;
use crate::ops::Op;
use crate::ops::rope_cache::RopeCache;
use crate::ops::rope_cache::input::{K_CACHE, V_CACHE};
use crate::types::{DType, Dim, Shape, TensorType};

/// The longest head of such a cache.
const LONGEST: usize = 256;

/// Rewrites every attention to such a cache, and the `RopeCache` before it.
pub fn run(graph: &mut Graph) -> Result<usize> {
    let found: Vec<NodeId> =
        graph.nodes().filter(|(_, node)| matches!(node.op, Op::Attention(_))).map(|(id, _)| id).collect();
    let mut made = 0;
    for id in found {
        let attention = graph.node(id).clone();
        let [Some((id, rope)), Some((of_values, _))] =
            [1, 2].map(|index| attention.input(index).and_then(|cache| graph.producer(cache)))
        else {
            continue;
        };
        if id != of_values {
            continue;
        }
        let rope = rope.clone();
        let Op::RopeCache(op) = &rope.op else { continue };
        let mut inputs = rope.inputs.clone();
        for index in [K_CACHE, V_CACHE] {
            inputs[index] = rope.input(index).and_then(|cache| with_levels(graph, cache, op));
        }
        if inputs[K_CACHE].is_none() || inputs[V_CACHE].is_none() {
            continue;
        }
        let of_rope = graph.apply(&rope.name, rope.op.clone(), &inputs)?;
        let mut inputs = attention.inputs.clone();
        for input in inputs.iter_mut().flatten() {
            if let Some(output) = rope.outputs.iter().position(|old| old == input) {
                *input = of_rope[output];
            }
        }
        let attended = graph.apply(&attention.name, attention.op.clone(), &inputs)?;
        for (&old, new) in attention.outputs.iter().zip(attended) {
            graph.replace(old, new)?;
        }
        made += 1;
    }
    Ok(made)
}

/// A state to take the place of one of f16.
fn with_levels(graph: &mut Graph, cache: ValueId, op: &RopeCache) -> Option<ValueId> {
    let (name, ty) = (graph.value(cache).name.clone(), graph.ty(cache).ok()?.clone());
    if !matches!(graph.value(cache).source, Source::State) || ty.dtype != DType::F16 {
        return None;
    }
    // Of longer heads a query would have too few levels for sums of 32 bits.
    let ([context, _], true) = (&ty.shape.0[..], op.head_dim <= LONGEST) else { return None };
    let (heads, row) = (Dim::Known(op.n_kv_heads), Dim::Known(levels::row(op.head_dim)));
    Some(graph.state(&name, TensorType::new(DType::I16, Shape(vec![heads, context.clone(), row]))))
}
