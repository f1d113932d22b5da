//! Attention spelt out in products becomes one operator: `softmax(scale·q·kᵀ + mask)·v`, with the factor on the scores, the queries
//! or the keys; the transposes that take heads apart and put them together again go into it too, where they are there.

use super::matching::{dims, each, either, factors_of, rank, scalar, sole, unary_of};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction::Add};
use crate::ops::full_attention::FullAttention;
use crate::ops::product::Product;
use crate::ops::select::Select;
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::transpose::Transpose;
use crate::ops::unary::UnaryFunction;
use crate::tensor::Tensor;
use crate::types::Dim;

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
    /// The order in which the keys are transposed to `[batch, heads, keys, depth]`.
    k_order: Vec<usize>,
    v: ValueId,
    masks: Vec<Mask>,
    heads: usize,
    kv_heads: usize,
}

/// What scores are masked with.
enum Mask {
    Added(ValueId),
    /// Where this holds, or where not, a number stands in the place of the score.
    Filled {
        condition: ValueId,
        kept: bool,
        number: ValueId,
    },
}

/// A number beside which no score counts: their sum is the number itself.
const NOTHING: f32 = -1e30;

fn find(graph: &Graph, node: &Node) -> Option<Found> {
    let (shares, v) = (node.input(0)?, node.input(1)?);
    let softmax = softmax_of(graph, shares)?;
    let Op::Softmax(Softmax { function: SoftmaxFunction::Softmax, axis: -1 | 3, .. }) = softmax.op else {
        return None;
    };
    let scores = softmax.input(0)?;
    (rank(graph, scores) == Some(4)).then_some(())?;
    let mut masks = Vec::new();
    let (product, scale) = masked_product(graph, scores, &mut masks)?;
    let Op::Product(Product { transposed: [false, k_transposed], scale: own }) = product.op else {
        return None;
    };
    let [q, k] = [0, 1].map(|i| product.input(i).map(|x| scaled_value(graph, x)));
    let ((q, q_scale), (mut k, mut k_scale)) = (q?, k?);
    // Where the keys lie so that the product needs no transpose, and where not.
    let mut k_order = vec![0, 1, 2, 3];
    if !k_transposed {
        let (_, Node { op: Op::Transpose(Transpose { order: Some(order) }), inputs, .. }) =
            graph.producer(k)?
        else {
            return None;
        };
        let &[a, b, d, s] = &order[..] else { return None };
        let (from, scale) = scaled_value(graph, inputs.first().copied().flatten()?);
        k_scale *= scale;
        k = from;
        k_order = vec![a, b, s, d];
    }
    let (mut v, mut kv_shared) = (v, false);
    if k_order.is_sorted()
        && let (Some(one_k), Some(one_v)) = (repeated(graph, k), repeated(graph, v))
        && dims(graph, one_k)?.get(1) == dims(graph, one_v)?.get(1)
    {
        (k, v, kv_shared) = (one_k, one_v, true);
    }
    let [of_q, of_k, of_v] = [dims(graph, q)?, dims(graph, k)?, dims(graph, v)?];
    let (&[batch, heads, _, depth], &[v_batch, v_heads, _, _]) = (&ref_of(of_q)?, &ref_of(of_v)?);
    let of_k = ref_of(of_k)?;
    let [k_batch, k_heads, k_depth] = [0, 1, 3].map(|i| k_order.get(i).and_then(|from| of_k.get(*from)));
    let alike = batch == v_batch && Some(&batch) == k_batch && Some(&depth) == k_depth;
    let one_each = Some(&v_heads) == k_heads && (kv_shared || heads == v_heads);
    let fits = masks.iter().all(|mask| {
        let beside = |value: ValueId| {
            let ty = graph.value(value).ty.as_ref();
            ty.is_some_and(|ty| ty.shape.rank() <= 4 && goes_beside(&ty.shape.0, heads))
        };
        match mask {
            Mask::Added(mask) => beside(*mask) && dims(graph, *mask).is_some(),
            Mask::Filled { condition, .. } => beside(*condition),
        }
    });
    let scale = scale * f64::from(own) * q_scale * k_scale;
    let heads = heads.known().filter(|n| *n > 0 && alike && one_each && fits)?;
    let kv_heads = v_heads.known().filter(|n| *n > 0 && heads.is_multiple_of(*n))?;
    Some(Found { scale, q, k, k_order, v, masks, heads, kv_heads })
}

/// The softmax that computes shares for one product, perhaps with 0 where a query saw nothing and its shares were no numbers.
fn softmax_of(graph: &Graph, shares: ValueId) -> Option<&Node> {
    let node = sole(graph, shares)?;
    let Op::Select(_) = node.op else { return Some(node) };
    let (condition, zero, shares) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (function, of) = unary_of(sole(graph, condition)?)?;
    let guarded = function == UnaryFunction::IsNan && of == shares && scalar(graph, zero) == Some(0.0);
    let twice = graph.consumers(shares).len() == 2 && !graph.is_output(shares);
    (guarded && twice).then(|| graph.producer(shares)).flatten().map(|(_, node)| node)
}

/// The product that scores are made of, what it is multiplied by, and what masks it after that.
fn masked_product<'a>(graph: &'a Graph, scores: ValueId, masks: &mut Vec<Mask>) -> Option<(&'a Node, f64)> {
    if let Some(found) = scaled_product(graph, scores) {
        return Some(found);
    }
    (masks.len() < 3).then_some(())?;
    let node = sole(graph, scores)?;
    if let Op::Select(_) = node.op {
        let (condition, a, b) = (node.input(0)?, node.input(1)?, node.input(2)?);
        return [(a, b, true), (b, a, false)].into_iter().find_map(|(scores, number, kept)| {
            (scalar(graph, number)? <= NOTHING).then_some(())?;
            masks.push(Mask::Filled { condition, kept, number });
            masked_product(graph, scores, masks)
        });
    }
    let n = masks.len();
    either(node, Add).find_map(|(scores, mask)| {
        masks.truncate(n);
        masks.push(Mask::Added(mask));
        masked_product(graph, scores, masks)
    })
}

/// Heads of keys or values `[batch, kv_heads, rows, depth]` that are repeated for each head of queries.
fn repeated(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let reshaped = |value: ValueId| {
        let (_, node) = graph.producer(value).filter(|(_, node)| matches!(node.op, Op::Reshape(_)))?;
        node.input(0)
    };
    let wide = reshaped(value)?;
    let (_, node) = graph.producer(wide).filter(|(_, node)| matches!(node.op, Op::Expand(_)))?;
    let narrow = node.input(0)?;
    let one = reshaped(narrow)?;
    let ([b, h, s, d], [b1, k1, r1, s1, d1]) = (dims(graph, value)?, dims(graph, wide)?) else { return None };
    let ([b2, k2, Dim::Known(1), s2, d2], [b3, k3, s3, d3]) = (dims(graph, narrow)?, dims(graph, one)?)
    else {
        return None;
    };
    let whole = k1.known()?.checked_mul(r1.known()?)? == h.known()?;
    let alike = [b1, b2, b3].iter().all(|own| *own == b)
        && [s1, s2, s3].iter().all(|own| *own == s)
        && [d1, d2, d3].iter().all(|own| *own == d)
        && k1 == k2
        && k2 == k3;
    (whole && alike).then_some(one)
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

/// All masks as one that is added.
fn one_mask(graph: &mut Graph, name: &str, masks: &[Mask]) -> Result<Option<ValueId>> {
    let mut all = None;
    for (i, mask) in masks.iter().enumerate() {
        let name = format!("{name}.mask{i}");
        let added = match *mask {
            Mask::Added(mask) => mask,
            Mask::Filled { condition, kept, number } => {
                let zero = graph.constant("nothing", Tensor::new(&[], &[0.0f32])?);
                let [a, b] = if kept { [zero, number] } else { [number, zero] };
                graph.emit1(&name, Select, &[Some(condition), Some(a), Some(b)])?
            }
        };
        all = Some(match all {
            None => added,
            Some(all) => graph.emit1(&name, Binary { function: Add }, &[Some(all), Some(added)])?,
        });
    }
    Ok(all)
}

fn attention(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let Some(found) = find(graph, node) else { return Ok(None) };
    let q = side_by_side(graph, found.q, found.heads).unwrap_or(found.q);
    let k = match found.k_order[..] {
        [0, 1, 2, 3] => side_by_side(graph, found.k, found.kv_heads).unwrap_or(found.k),
        [0, 2, 1, 3] if flat(graph, found.k).is_some() => flat(graph, found.k).unwrap_or(found.k),
        _ => {
            let name = format!("{}.keys", node.name);
            graph.emit1(&name, Transpose { order: Some(found.k_order) }, &[Some(found.k)])?
        }
    };
    let v = side_by_side(graph, found.v, found.kv_heads).unwrap_or(found.v);
    let (heads, kv_heads, scale) = (found.heads, found.kv_heads, found.scale as f32);
    let op = FullAttention { heads, kv_heads, scale, causal: false, merged: false };
    let mut inputs = vec![Some(q), Some(k), Some(v)];
    inputs.extend(one_mask(graph, &node.name, &found.masks)?.map(Some));
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
