//! Attention without a cache, as encoders have it: `softmax(q · kᵀ · scale + mask) · v` of every head, with grouped heads
//! of keys and values. Vaswani et al. 2017, arXiv:1706.03762; ONNX Attention without its past.

pub(super) mod launch;

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::{Result, ensure, fail};
use crate::kernels::dispatch::Operand;
use crate::kernels::full_attention::{Heads, Mask, MaskValues, Scoring, Sizes, attend};
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::{DType, Dim, Shape, TensorType};
use launch::{Launch, MAX_DEPTH, mask_strides};

/// `(q, k, v, mask?) → y`, all f32 but for a mask of bool. Each of q, k and v is `[batch, heads, rows, depth]` or, with
/// the heads side by side, `[batch, rows, heads · depth]`; k and v have `kv_heads`. The mask broadcasts to `[batch, heads,
/// queries, keys]`: f32 is added to the scores, bool says which keys are seen. A query that sees none gives zeros. A batch
/// of 1 stands for as many as the others have.
#[derive(Clone, Debug, PartialEq)]
pub struct FullAttention {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values: each serves `heads / kv_heads` neighbouring heads of queries.
    pub kv_heads: usize,
    /// What products are multiplied by.
    pub scale: f32,
    /// Whether query `i` sees keys up to `i` only.
    pub causal: bool,
    /// Whether `y` is `[batch, queries, heads · depth]`, else `[batch, heads, queries, depth]`.
    pub merged: bool,
}

/// Batch, rows and elements of a head.
pub(super) type Parts<D> = [D; 3];

impl FullAttention {
    /// The parts of a type that is one of q, k and v.
    fn parts(&self, ty: &TensorType, heads: usize) -> Result<Parts<Dim>> {
        expect_dtype(ty, DType::F32, "an input of attention")?;
        let parts = match &ty.shape.0[..] {
            [batch, h, rows, depth] if *h == Dim::Known(heads) => {
                Some([batch.clone(), rows.clone(), depth.clone()])
            }
            [batch, rows, all] if heads > 0 && all.known().is_none_or(|n| n.is_multiple_of(heads)) => {
                Some([batch.clone(), rows.clone(), all.over(heads)])
            }
            _ => None,
        };
        match parts {
            Some(parts) => Ok(parts),
            None => fail!(
                ShapeMismatch,
                "{ty} is neither [batch, {heads}, rows, depth] nor [batch, rows, {heads} · depth]"
            ),
        }
    }
}

/// Where the heads of a tensor lie. One item is all of a batch.
fn heads_of(shape: &[usize], heads: usize) -> Result<(Parts<usize>, Heads)> {
    let (parts, mut of) = heads_of_items(shape, heads)?;
    if parts[0] == 1 {
        of.batch = 0;
    }
    Ok((parts, of))
}

/// Where the heads of a tensor lie, of `[batch, heads, rows, depth]` or `[batch, rows, heads · depth]`.
pub(super) fn heads_of_items(shape: &[usize], heads: usize) -> Result<(Parts<usize>, Heads)> {
    match *shape {
        [batch, _, rows, depth] => {
            Ok(([batch, rows, depth], Heads { batch: heads * rows * depth, head: rows * depth, row: depth }))
        }
        [batch, rows, all] => {
            let depth = all / heads.max(1);
            Ok(([batch, rows, depth], Heads { batch: rows * all, head: depth, row: all }))
        }
        _ => fail!(Internal, "{shape:?} has no heads"),
    }
}

impl OpDef for FullAttention {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        ensure!(
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads),
            ShapeMismatch,
            "{} heads of queries do not share {} of keys",
            self.heads,
            self.kv_heads
        );
        let [batch, queries, depth] = self.parts(inputs.ty(0)?, self.heads)?;
        let [k_batch, keys, k_depth] = self.parts(inputs.ty(1)?, self.kv_heads)?;
        let [v_batch, v_rows, v_depth] = self.parts(inputs.ty(2)?, self.kv_heads)?;
        let mask_batch =
            inputs.optional(3).filter(|mask| mask.shape.rank() == 4).map(|mask| &mask.shape.0[0]);
        let batches = [&k_batch, &v_batch].into_iter().chain(mask_batch);
        let whole = batches.fold(&batch, |all, own| if *all == Dim::Known(1) { own } else { all }).clone();
        let goes = |own: &Dim| *own == whole || *own == Dim::Known(1);
        ensure!(
            goes(&k_batch) && goes(&v_batch) && depth == k_depth && keys == v_rows,
            ShapeMismatch,
            "queries {}, keys {} and values {} do not go together",
            inputs.ty(0)?,
            inputs.ty(1)?,
            inputs.ty(2)?
        );
        let batch = whole;
        if let Some(mask) = inputs.optional(3) {
            let scores = [batch.clone(), Dim::Known(self.heads), queries.clone(), keys];
            let fits = mask.shape.rank() <= 4
                && (mask.dtype == DType::F32 || mask.dtype == DType::Bool)
                && (mask.shape.0.iter().rev().zip(scores.iter().rev())).all(|(own, dim)| {
                    own == dim || *own == Dim::Known(1) || own.known().is_none() || dim.known().is_none()
                });
            ensure!(fits, ShapeMismatch, "a mask {mask} does not broadcast to {scores:?}");
        }
        let shape = if self.merged {
            vec![batch, queries, v_depth.times(self.heads)]
        } else {
            vec![batch, Dim::Known(self.heads), queries, v_depth]
        };
        Ok(vec![TensorType::f32(Shape(shape))])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (q, k, v) = (inputs[0].tensor()?, inputs[1].tensor()?, inputs[2].tensor()?);
        let ([_, queries, depth], of_q) = heads_of(q.shape, self.heads)?;
        let ([_, keys, _], of_k) = heads_of(k.shape, self.kv_heads)?;
        let ([_, _, value_depth], of_v) = heads_of(v.shape, self.kv_heads)?;
        let y = &mut outputs[0];
        let ([batch, ..], of_y) = heads_of(y.shape, self.heads)?;
        let mask = inputs.get(3).map_or(Ok(None), Input::optional)?;
        let scoring =
            Scoring { scale: self.scale, causal: self.causal, mask: mask.map(mask_of).transpose()? };
        let sizes =
            Sizes { batch, heads: self.heads, kv_heads: self.kv_heads, queries, keys, depth, value_depth };
        let (k, v) = ((k.data()?, of_k), (v.data()?, of_v));
        attend(cx.threads, sizes, &scoring, (q.data()?, of_q), [k, v], (y.data()?, of_y))
    }

    fn work(&self, types: &Types) -> u64 {
        let (q, k) = (types.input(0).unwrap_or_default(), types.input(1).unwrap_or_default());
        let Ok(([_, keys, _], _)) = heads_of(&k, self.kv_heads) else { return 0 };
        2 * (q.iter().product::<usize>() as u64).saturating_mul(keys as u64)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let [q, k, v, y] = [types.input(0)?, types.input(1)?, types.input(2)?, types.output(0)?];
        let ([_, queries, depth], of_q) = heads_of(&q, self.heads)?;
        let ([_, keys, _], of_k) = heads_of(&k, self.kv_heads)?;
        let ([_, _, value_depth], of_v) = heads_of(&v, self.kv_heads)?;
        let ([batch, ..], of_y) = heads_of(&y, self.heads)?;
        if depth.max(value_depth) > MAX_DEPTH {
            return Lowered::not_on_gpu("no kernel has heads of so many elements");
        }
        let sizes =
            Sizes { batch, heads: self.heads, kv_heads: self.kv_heads, queries, keys, depth, value_depth };
        let launch = Launch {
            sizes,
            scale: self.scale,
            softcap: 0.0,
            window: (None, self.causal.then_some(0)),
            new_keys: keys,
            starts: None,
            sinks: None,
            q: of_q,
            k: (Operand::Input(1), of_k),
            v: (Operand::Input(2), of_v),
            y: of_y,
        };
        Lowered::one(launch.dispatch(types)?)
    }
}

/// A mask with its strides.
fn mask_of(mask: TensorView) -> Result<Mask> {
    let strides = mask_strides(mask.shape);
    let values = match mask.dtype {
        DType::F32 => MaskValues::Added(mask.data()?),
        _ => MaskValues::Seen(mask.bytes),
    };
    Ok(Mask { values, strides })
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};
    use crate::tensor::Tensor;

    fn reference_full_attention(op: &FullAttention, given: &[Option<Array>], bool_mask: bool) -> Array {
        let [Some(q), Some(k), Some(v), mask] = given else { panic!("three inputs, and a mask perhaps") };
        let rows = |x: &Array| if x.shape.len() == 4 { x.shape[2] } else { x.shape[1] };
        let depth =
            |x: &Array, heads: usize| if x.shape.len() == 4 { x.shape[3] } else { x.shape[2] / heads };
        let item = |x: &Array, b: usize| if x.shape[0] == 1 { 0 } else { b };
        let at = |x: &Array, heads: usize, [b, h, s, i]: [usize; 4]| match (x.shape.len(), item(x, b)) {
            (4, b) => x.at(&[b, h, s, i]),
            (_, b) => x.at(&[b, s, h * depth(x, heads) + i]),
        };
        let score = |b: usize, h: usize, s: usize, t: usize| {
            let kv = h * op.kv_heads / op.heads;
            let product = |i: usize| at(q, op.heads, [b, h, s, i]) * at(k, op.kv_heads, [b, kv, t, i]);
            let score = (0..depth(q, op.heads)).map(product).sum::<f64>() * f64::from(op.scale);
            let masked = mask.as_ref().map(|mask| {
                let index: Vec<usize> = [b, h, s, t][4 - mask.shape.len()..].to_vec();
                mask.at(&index
                    .iter()
                    .zip(&mask.shape)
                    .map(|(i, n)| if *n == 1 { 0 } else { *i })
                    .collect::<Vec<_>>())
            });
            match masked {
                _ if op.causal && t > s => f64::NEG_INFINITY,
                Some(0.0) if bool_mask => f64::NEG_INFINITY,
                Some(added) if !bool_mask => score + added,
                _ => score,
            }
        };
        let (heads, n) = (op.heads, depth(v, op.kv_heads));
        let masked = mask.as_ref().filter(|mask| mask.shape.len() == 4).map_or(1, |mask| mask.shape[0]);
        let batch = q.shape[0].max(masked);
        let shape = if op.merged { vec![batch, rows(q), heads * n] } else { vec![batch, heads, rows(q), n] };
        let of = |index: Vec<usize>| {
            let [b, h, s, i] = match index[..] {
                [b, s, i] => [b, i / n, s, i % n],
                _ => [index[0], index[1], index[2], index[3]],
            };
            let weights: Vec<f64> = (0..rows(k)).map(|t| score(b, h, s, t).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let value = |t: usize| at(v, op.kv_heads, [b, h * op.kv_heads / heads, t, i]);
            let y: f64 = weights.iter().enumerate().map(|(t, w)| w * value(t)).sum();
            if sum == 0.0 { 0.0 } else { y / sum }
        };
        Array::new(&shape, indices(&shape).map(of).collect())
    }

    pub fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        let mut add = |what: &str, op: FullAttention, shapes: [&[usize]; 3], mask: Given| {
            let mut inputs: Vec<Given> =
                (1..).zip(shapes).map(|(seed, shape)| Given::noise(shape, seed)).collect();
            let is_bool = matches!(&mask, Given::Fed(tensor) if tensor.dtype() == DType::Bool);
            inputs.push(mask);
            let reference = op.clone();
            let name = format!("{what}, {shapes:?}");
            cases.push(Case::new(name, op, inputs, Tolerance::of(3e-6), move |x| {
                vec![reference_full_attention(&reference, x, is_bool)]
            }));
        };
        let op = FullAttention { heads: 2, kv_heads: 2, scale: 0.7, causal: false, merged: false };
        let merged = FullAttention { merged: true, ..op.clone() };
        let apart: [&[usize]; 3] = [&[2, 2, 9, 5], &[2, 2, 11, 5], &[2, 2, 11, 7]];
        let beside: [&[usize]; 3] = [&[2, 9, 10], &[2, 11, 10], &[2, 11, 14]];
        add("heads apart", op.clone(), apart, Given::Absent);
        add("heads side by side", merged.clone(), beside, Given::noise(&[2, 1, 1, 11], 4));
        add("heads side by side, then apart", op.clone(), beside, Given::noise(&[9, 11], 4));
        add("a mask a head", merged.clone(), apart, Given::noise(&[2, 1, 11], 4));
        let causal = FullAttention { causal: true, ..merged.clone() };
        add("causal", causal, [&[1, 2, 20, 4], &[1, 2, 20, 4], &[1, 2, 20, 4]], Given::Absent);
        let grouped = FullAttention { heads: 4, kv_heads: 2, ..op.clone() };
        let one: [&[usize]; 3] = [&[1, 9, 10], &[1, 11, 10], &[1, 11, 14]];
        add("one item under many masks", merged.clone(), one, Given::noise(&[3, 1, 1, 11], 4));
        add("grouped", grouped, [&[1, 4, 3, 8], &[1, 2, 6, 8], &[1, 2, 6, 8]], Given::Absent);
        let mut seen = Tensor::zeros(DType::Bool, &[2, 1, 9, 11]).expect("a small tensor");
        // The first query of all sees nothing.
        (seen.view_mut().bytes.iter_mut().enumerate()).for_each(|(i, x)| *x = u8::from(i > 10 && i % 3 != 0));
        add("a mask of bool", merged, apart, Given::Fed(seen));
        // Many queries go by 64, their keys by 16.
        let many: [&[usize]; 3] = [&[2, 2, 70, 30], &[2, 2, 37, 30], &[2, 2, 37, 11]];
        let deep: [&[usize]; 3] = [&[1, 130, 128], &[1, 130, 64], &[1, 130, 64]];
        let grouped = FullAttention { heads: 2, kv_heads: 1, scale: 0.2, causal: true, merged: true };
        add("many queries", op.clone(), many, Given::noise(&[2, 1, 70, 37], 4));
        add("many causal queries of long heads", grouped.clone(), deep, Given::Absent);
        add(
            "many of longer heads",
            op.clone(),
            [&[1, 2, 20, 70], &[1, 2, 9, 70], &[1, 2, 9, 70]],
            Given::Absent,
        );
        let mut hidden = Tensor::zeros(DType::F32, &[37]).expect("a small tensor");
        let keys = hidden.data_mut::<f32>().expect("floats").iter_mut().enumerate();
        keys.for_each(|(i, x)| {
            *x = if i % 3 == 0 || i < 20 { f32::NEG_INFINITY } else { -3e38 * (i % 2) as f32 }
        });
        add("many queries, and keys that are hidden", op.clone(), many, Given::Fed(hidden));
        let mut seen = Tensor::zeros(DType::Bool, &[70, 37]).expect("a small tensor");
        (seen.view_mut().bytes.iter_mut().enumerate()).for_each(|(i, x)| *x = u8::from(i > 90 && i % 5 != 0));
        add("many queries, a mask of bool", op, many, Given::Fed(seen));
        cases
    }
}
