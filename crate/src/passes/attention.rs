//! Attention spelt out in products becomes one operator: `softmax(scale·q·kᵀ + mask)·v`, with the factor on the scores, the queries
//! or the keys; the transposes that take heads apart and put them together again go into it too, where they are there.

use super::matching::{binary_of, dims, each, factors_of, rank, sole};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Op;
use crate::ops::binary::BinaryFunction::Add;
use crate::ops::full_attention::FullAttention;
use crate::ops::product::Product;
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::transpose::Transpose;
use crate::types::{DType, Dim};

/// Rewrites every attention that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| match &node.op {
        Op::Product(product) if *product == Product::default() => attention(graph, node),
        Op::Reshape(_) => merged(graph, node),
        _ => Ok(None),
    })
}

/// What attention is of.
struct Found {
    scale: f64,
    q: ValueId,
    k: ValueId,
    /// How the keys are transposed already, beyond `[batch, heads, keys, depth]`.
    k_order: Option<Vec<usize>>,
    v: ValueId,
    mask: Option<ValueId>,
    heads: usize,
}

fn find(graph: &Graph, node: &Node) -> Option<Found> {
    let (shares, v) = ((*node.inputs.first()?)?, (*node.inputs.get(1)?)?);
    let softmax = sole(graph, shares)?;
    let Op::Softmax(Softmax { function: SoftmaxFunction::Softmax, axis: -1 | 3, .. }) = softmax.op else {
        return None;
    };
    let scores = softmax.input(0)?;
    (rank(graph, scores) == Some(4)).then_some(())?;
    let (product, scale, mask) = match scaled_product(graph, scores) {
        Some((product, scale)) => (product, scale, None),
        None => {
            let (function, a, b) = binary_of(sole(graph, scores)?)?;
            (function == Add).then_some(())?;
            [(a, b), (b, a)].into_iter().find_map(|(scores, mask)| {
                let (product, scale) = scaled_product(graph, scores)?;
                Some((product, scale, Some(mask)))
            })?
        }
    };
    let Op::Product(Product { transposed: [false, k_transposed], scale: own }) = product.op else {
        return None;
    };
    let [q, k] = [0, 1].map(|i| product.inputs[i].map(|x| scaled_value(graph, x)));
    let ((q, q_scale), (mut k, mut k_scale)) = (q?, k?);
    // Where the keys lie so that the product needs no transpose, and where not.
    let mut k_order = None;
    if !k_transposed {
        let (_, Node { op: Op::Transpose(Transpose { order: Some(order) }), inputs, .. }) =
            graph.producer(k)?
        else {
            return None;
        };
        let (from, scale) = scaled_value(graph, inputs.first().copied().flatten()?);
        k_scale *= scale;
        k = from;
        match order[..] {
            [0, 1, 3, 2] => {}
            [0, 2, 3, 1] => k_order = Some(vec![0, 2, 1, 3]),
            _ => return None,
        }
    }
    let [of_q, of_k, of_v] = [dims(graph, q)?, dims(graph, k)?, dims(graph, v)?];
    let (&[batch, heads, _, depth], &[v_batch, v_heads, _, _]) = (&ref_of(of_q)?, &ref_of(of_v)?);
    let [k_batch, a, b, k_depth] = ref_of(of_k)?;
    let k_heads = if k_order.is_some() { b } else { a };
    let alike =
        batch == v_batch && batch == k_batch && depth == k_depth && heads == v_heads && heads == k_heads;
    let fits = mask.is_none_or(|mask| {
        let ty = graph.value(mask).ty.as_ref();
        ty.is_some_and(|ty| ty.dtype == DType::F32 && ty.shape.rank() <= 4 && goes_beside(&ty.shape.0, heads))
    });
    let scale = scale * f64::from(own) * q_scale * k_scale;
    let heads = heads.known().filter(|n| *n > 0 && alike && fits)?;
    Some(Found { scale, q, k, k_order, v, mask, heads })
}

fn ref_of(dims: &[Dim]) -> Option<[&Dim; 4]> {
    match dims {
        [a, b, c, d] => Some([a, b, c, d]),
        _ => None,
    }
}

/// Whether a mask's heads are one or all.
fn goes_beside(mask: &[Dim], heads: &Dim) -> bool {
    mask.len() < 3 || [&Dim::Known(1), heads].contains(&&mask[mask.len() - 3])
}

/// The product that computes a value for one user, and what it is multiplied by.
fn scaled_product(graph: &Graph, value: ValueId) -> Option<(&Node, f64)> {
    let factors = factors_of(graph, value);
    let [product] = factors.values[..] else { return None };
    let node = sole(graph, product).filter(|node| matches!(node.op, Op::Product(_)))?;
    Some((node, factors.number))
}

/// A value, and what it is multiplied by.
fn scaled_value(graph: &Graph, value: ValueId) -> (ValueId, f64) {
    let factors = factors_of(graph, value);
    match factors.values[..] {
        [one] => (one, factors.number),
        _ => (value, 1.0),
    }
}

fn attention(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let Some(found) = find(graph, node) else { return Ok(None) };
    let q = side_by_side(graph, found.q, found.heads).unwrap_or(found.q);
    let k = match found.k_order {
        None => side_by_side(graph, found.k, found.heads).unwrap_or(found.k),
        Some(order) => match flat(graph, found.k) {
            Some(k) => k,
            None => {
                let name = format!("{}.keys", node.name);
                graph.emit1(&name, Transpose { order: Some(order) }, &[Some(found.k)])?
            }
        },
    };
    let v = side_by_side(graph, found.v, found.heads).unwrap_or(found.v);
    let (heads, scale) = (found.heads, found.scale as f32);
    let op = FullAttention { heads, kv_heads: heads, scale, causal: false, merged: false };
    let mut inputs = vec![Some(q), Some(k), Some(v)];
    inputs.extend(found.mask.map(Some));
    graph.emit1(&node.name, op, &inputs).map(Some)
}

/// Of `[batch, heads, rows, depth]` the value `[batch, rows, heads · depth]` that it is made of.
fn side_by_side(graph: &Graph, value: ValueId, heads: usize) -> Option<ValueId> {
    let (_, Node { op: Op::Transpose(Transpose { order: Some(order) }), inputs, .. }) =
        graph.producer(value)?
    else {
        return None;
    };
    let flat =
        (order[..] == [0, 2, 1, 3]).then(|| flat(graph, inputs.first().copied().flatten()?)).flatten()?;
    let all = dims(graph, flat)?[2].known()?;
    all.is_multiple_of(heads).then_some(flat)
}

/// Of `[batch, rows, heads, depth]` the value `[batch, rows, heads · depth]` that it is made of.
fn flat(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let (_, Node { op: Op::Reshape(_), inputs, .. }) = graph.producer(value)? else { return None };
    let from = inputs.first().copied().flatten()?;
    let ([a, b, all], [batch, rows, heads, depth]) = (dims(graph, from)?, dims(graph, value)?) else {
        return None;
    };
    let whole = heads.known()?.checked_mul(depth.known()?)?;
    (a == batch && b == rows && *all == Dim::Known(whole)).then_some(from)
}

/// Heads that are put side by side after an attention.
fn merged(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = node.input(0).and_then(|x| {
        let Node { op: Op::Transpose(Transpose { order: Some(order) }), inputs, .. } = sole(graph, x)? else {
            return None;
        };
        let Node { op: Op::FullAttention(op @ FullAttention { merged: false, .. }), inputs, .. } =
            sole(graph, (order[..] == [0, 2, 1, 3]).then(|| inputs.first().copied().flatten()).flatten()?)?
        else {
            return None;
        };
        // Batch and rows are those of the queries, though a mask may seem to widen them.
        let of_q = match dims(graph, inputs.first().copied().flatten()?)? {
            [batch, rows, _] | [batch, _, rows, _] => (batch, rows),
            _ => return None,
        };
        let ([a, b, all], [batch, rows, heads, depth]) = (dims(graph, node.outputs[0])?, dims(graph, x)?)
        else {
            return None;
        };
        let whole = heads.known()?.checked_mul(depth.known()?)?;
        let fits = [batch, of_q.0].contains(&a) && [rows, of_q.1].contains(&b) && *all == Dim::Known(whole);
        fits.then(|| (FullAttention { merged: true, ..op.clone() }, inputs.clone()))
    });
    match found {
        Some((op, inputs)) => graph.emit1(&node.name, op, &inputs).map(Some),
        None => Ok(None),
    }
}
