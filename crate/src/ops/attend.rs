//! Attention of computed queries, keys and values under masks: `softmax(scale·q·kᵀ + mask)·v`. ONNX Attention and
//! FlexAttention without its functions; Vaswani et al. 2017, arXiv:1706.03762. ([`attention`](super::attention) is the
//! one of language models, over their cache.)

mod launches;

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_float, optional};
use crate::error::{Result, ensure};
use crate::kernels::product::{Matrix, Multiplier};
use crate::kernels::strided;
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};

/// `(q [b, h, s, d], k [b, h_kv, t, d], v [b, h_kv, t, e], mask [.., s, t]?, past k?, past v?, lengths integers [b]?,
/// starts integers [b]?, sinks [h]?) → (y [b, h, s, e], k and v with their past before them, scores [b, h, s, t])`, of which
/// the last three may be left out. With `heads`, q, k, v and y are `[b, s, h·d]`. A mask is bool, or added; of a length, keys
/// beyond it are hidden. With starts, so much of each past counts, and what is new follows that. A sink is one more score of
/// each query of a head, as of a key whose value is zero: Xiao et al. 2023, arXiv:2309.17453, of one number a head.
#[derive(Clone, Debug, PartialEq)]
pub struct Attend {
    /// Heads of the queries, and of keys and values, where the inputs have them in their last dimension.
    pub heads: Option<(usize, usize)>,
    /// The factor of the scores; 1/√d where it is left out.
    pub scale: Option<f32>,
    /// Whether a query sees no key after its own.
    pub causal: bool,
    /// Where scores level off, by `c·tanh(x/c)`; 0 for nowhere.
    pub softcap: f32,
    /// How many keys before and after its own a query sees; all where left out.
    pub window: (Option<usize>, Option<usize>),
    /// What the scores are given as.
    pub scores: Scores,
    /// How many outputs the node has: 1 to 4.
    pub outputs: usize,
}

/// What scores are given as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scores {
    /// Products.
    Products,
    /// Products that level off.
    Capped,
    /// With the mask.
    Masked,
    /// What sums to one.
    Shares,
}

struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    past: usize,
    new: usize,
    head: usize,
    value: usize,
}

impl Attend {
    fn sizes(&self, q: &[usize], k: &[usize], v: &[usize], past: Option<&[usize]>) -> Option<Sizes> {
        let split = |x: &[usize], heads: usize| match (self.heads, x) {
            (Some(_), &[b, s, n]) if heads > 0 && n % heads == 0 => Some([b, heads, s, n / heads]),
            (None, &[b, h, s, d]) => Some([b, h, s, d]),
            _ => None,
        };
        let (heads, kv_heads) = self.heads.unwrap_or((1, 1));
        let ([batch, heads, queries, head], k) = (split(q, heads)?, split(k, kv_heads)?);
        let [v_batch, v_heads, v_new, value] = split(v, kv_heads)?;
        let [_, kv_heads, new, _] = k;
        let past = past.map_or(Some(0), |past| match past {
            &[b, h, n, d] if [b, h, d] == [batch, kv_heads, head] => Some(n),
            _ => None,
        })?;
        let fits = k[0] == batch && k[3] == head && [v_batch, v_heads, v_new] == [batch, kv_heads, new];
        let grouped = if kv_heads == 0 { heads == 0 } else { heads % kv_heads == 0 };
        (fits && grouped).then_some(Sizes { batch, heads, kv_heads, queries, past, new, head, value })
    }
}

impl OpDef for Attend {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (q, k, v) = (inputs.shape(0)?, inputs.shape(1)?, inputs.shape(2)?);
        expect_float(inputs.ty(0)?, "the query")?;
        let past = [4, 5].map(|i| inputs.optional(i).map(TensorType::known_shape).transpose());
        let [past, past_v] = past;
        let (past, past_v) = (past?, past_v?);
        let sizes = self.sizes(&q, &k, &v, past.as_deref());
        ensure!(
            sizes.is_some(),
            ShapeMismatch,
            "queries {}, keys {}, values {} and past keys {past:?} in heads {:?} do not fit each other",
            inputs.ty(0)?,
            inputs.ty(1)?,
            inputs.ty(2)?,
            self.heads
        );
        let Some(s) = sizes else { return Ok(Vec::new()) };
        let fits = match past_v {
            Some(shape) => past.is_some() && shape == [s.batch, s.kv_heads, s.past, s.value],
            None => past.is_none(),
        };
        ensure!(fits, ShapeMismatch, "past keys and past values do not fit each other");
        let total = s.past + s.new;
        if let Some(mask) = inputs.optional(3) {
            let shape = mask.known_shape()?;
            let wide = [s.batch, s.heads, s.queries, total];
            let fits = shape.len() <= 4
                && shape
                    .iter()
                    .rev()
                    .zip(wide.iter().rev())
                    .enumerate()
                    .all(|(i, (n, of))| n == of || *n == 1 || i == 0 && n < of);
            ensure!(fits, ShapeMismatch, "a mask {mask} does not fit scores {wide:?}");
        }
        for lengths in [6, 7].iter().filter_map(|i| inputs.optional(*i)) {
            ensure!(
                lengths.known_shape()?.iter().product::<usize>() == s.batch,
                ShapeMismatch,
                "lengths {lengths} of {} sequences",
                s.batch
            );
        }
        if let Some(sinks) = inputs.optional(8) {
            expect_float(sinks, "a sink for each head")?;
            let fits = sinks.known_shape()? == [s.heads];
            ensure!(fits, ShapeMismatch, "sinks {sinks}, where [{}] is wanted: one for each head", s.heads);
        }
        let of = |i: usize, shape: &[usize]| {
            Ok::<_, crate::error::Error>(TensorType::new(inputs.dtype(i)?, Shape::known(shape)))
        };
        let y = match self.heads {
            Some(_) => of(0, &[s.batch, s.queries, s.heads * s.value])?,
            None => of(0, &[s.batch, s.heads, s.queries, s.value])?,
        };
        let all = [
            y,
            of(1, &[s.batch, s.kv_heads, total, s.head])?,
            of(2, &[s.batch, s.kv_heads, total, s.value])?,
            of(0, &[s.batch, s.heads, s.queries, total])?,
        ];
        Ok(all.into_iter().take(self.outputs).collect())
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (q, k, v) = (inputs[0].tensor()?, inputs[1].tensor()?, inputs[2].tensor()?);
        let (past_k, past_v) = (optional(inputs, 4)?, optional(inputs, 5)?);
        let Some(s) = self.sizes(q.shape, k.shape, v.shape, past_k.map(|past| past.shape)) else {
            return Ok(());
        };
        let total = s.past + s.new;
        let past_k = past_k.map_or(Ok(&[][..]), |past| past.data::<f32>())?;
        let past_v = past_v.map_or(Ok(&[][..]), |past| past.data::<f32>())?;
        let starts = optional(inputs, 7)?.map(|starts| starts.to_ints()).transpose()?;
        let starts = match starts {
            Some(starts) => {
                let within = starts.iter().all(|start| (0..=s.past as i64).contains(start));
                ensure!(within, InvalidInput, "sequences that go on at {starts:?} of a past of {}", s.past);
                starts.into_iter().map(|start| start as usize).collect()
            }
            None => vec![s.past; s.batch],
        };
        let last = self.heads.is_some();
        let k = by_head(k.data()?, past_k, [s.batch, s.kv_heads, s.new, s.head], s.past, &starts, last);
        let v = by_head(v.data()?, past_v, [s.batch, s.kv_heads, s.new, s.value], s.past, &starts, last);
        let q = by_head(q.data()?, &[], [s.batch, s.heads, s.queries, s.head], 0, &[], last);
        for (output, values) in outputs.iter_mut().skip(1).zip([&k, &v]) {
            output.data::<f32>()?.copy_from_slice(values);
        }
        let mask = optional(inputs, 3)?;
        let mask = mask
            .map(|mask| Ok::<_, crate::error::Error>((self.added(mask.widen()?, mask.dtype), mask.shape)))
            .transpose()?;
        let lengths = optional(inputs, 6)?.map(|lengths| lengths.to_ints()).transpose()?;
        let sinks = optional(inputs, 8)?.map(|sinks| sinks.data::<f32>()).transpose()?;
        let scale = self.scale.unwrap_or(1.0 / (s.head as f32).sqrt());
        let mut scores = vec![0.0; s.queries * total];
        let mut products = Multiplier::new((s.queries, s.head, total), scale)?;
        let mut sums = Multiplier::new((s.queries, total, s.value), 1.0)?;
        let mut y = vec![0.0; s.queries * s.value];
        for pair in 0..s.batch * s.heads {
            let (batch, head) = (pair / s.heads, pair % s.heads);
            let of_kv = batch * s.kv_heads + head / (s.heads / s.kv_heads);
            let (k, v) = (
                &k[of_kv * total * s.head..][..total * s.head],
                &v[of_kv * total * s.value..][..total * s.value],
            );
            let q = &q[pair * s.queries * s.head..][..s.queries * s.head];
            let keys = Matrix { values: k, steps: (1, s.head) };
            products.multiply(cx.threads, Matrix { values: q, steps: (s.head, 1) }, keys, &mut scores);
            let at = pair * scores.len();
            let give = |scores: &[f32], stage: Scores, outputs: &mut [TensorViewMut]| match outputs.get_mut(3)
            {
                Some(output) if self.scores == stage => {
                    output.data::<f32>().map(|output| output[at..][..scores.len()].copy_from_slice(scores))
                }
                _ => Ok(()),
            };
            give(&scores, Scores::Products, outputs)?;
            if self.softcap > 0.0 {
                scores.iter_mut().for_each(|x| *x = self.softcap * (*x / self.softcap).tanh());
            }
            give(&scores, Scores::Capped, outputs)?;
            let length = lengths.as_ref().map(|lengths| lengths[batch]);
            let first = match length {
                Some(length) if s.past == 0 => length - s.queries as i64,
                _ => starts[batch] as i64,
            };
            let end = starts[batch] + s.new;
            for (query, row) in scores.chunks_exact_mut(total.max(1)).enumerate() {
                let own = first + query as i64;
                if let Some((mask, shape)) = &mask {
                    add_mask(row, mask, shape, [batch, head, query]);
                }
                for (key, score) in row.iter_mut().enumerate() {
                    let key = key as i64;
                    let beyond = |limit: Option<usize>, by: i64| limit.is_some_and(|limit| by > limit as i64);
                    let hidden = key >= end as i64
                        || self.causal && key > own
                        || length.is_some_and(|length| key >= length)
                        || beyond(self.window.0, own - key)
                        || beyond(self.window.1, key - own);
                    if hidden {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
            give(&scores, Scores::Masked, outputs)?;
            let sink = sinks.map_or(f32::NEG_INFINITY, |sinks| sinks[head]);
            scores.chunks_exact_mut(total.max(1)).for_each(|row| shares(row, sink));
            give(&scores, Scores::Shares, outputs)?;
            let of_keys = Matrix { values: &scores, steps: (total, 1) };
            sums.multiply(cx.threads, of_keys, Matrix { values: v, steps: (s.value, 1) }, &mut y);
            let out = outputs[0].data::<f32>()?;
            for (query, y) in y.chunks_exact(s.value.max(1)).enumerate() {
                let row = if self.heads.is_some() {
                    (batch * s.queries + query) * s.heads + head
                } else {
                    pair * s.queries + query
                };
                out[row * s.value..][..s.value].copy_from_slice(y);
            }
        }
        Ok(())
    }

    fn work(&self, types: &Types) -> u64 {
        let (q, k) = (types.input(0).unwrap_or_default(), types.input(1).unwrap_or_default());
        let past = types.input(4).unwrap_or_default();
        let keys = k.iter().rev().nth(1).unwrap_or(&0) + past.get(2).unwrap_or(&0);
        2 * (q.iter().product::<usize>() as u64).saturating_mul(keys as u64)
    }

    fn lower_gpu(&self, caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        launches::lower(self, caps, types)
    }
}

impl Attend {
    /// A mask as numbers to add.
    fn added(&self, mask: Wide, dtype: DType) -> Vec<f32> {
        match mask {
            Wide::Floats(values) => values.into_iter().map(|x| x as f32).collect(),
            Wide::Ints(values) if dtype == DType::Bool => {
                values.into_iter().map(|x| if x != 0 { 0.0 } else { f32::NEG_INFINITY }).collect()
            }
            Wide::Ints(values) => values.into_iter().map(|x| x as f32).collect(),
        }
    }
}

/// Adds a row of a mask that broadcasts to `[batch, head, query, key]`. Keys beyond a mask are hidden.
fn add_mask(row: &mut [f32], mask: &[f32], shape: &[usize], [batch, head, query]: [usize; 3]) {
    let strides = strided::row_major(shape);
    let index = [batch, head, query, 0];
    let missing = 4 - shape.len();
    let at: usize =
        (0..shape.len()).map(|i| index[i + missing].min(shape[i].max(1) - 1) * strides[i] as usize).sum();
    let n = shape.last().copied().unwrap_or(1);
    for (key, score) in row.iter_mut().enumerate() {
        *score += match n {
            1 => mask[at],
            _ if key < n => mask[at + key],
            _ => f32::NEG_INFINITY,
        };
    }
}

/// A row of scores as shares that sum to one with the sink's; zeros where every key is hidden.
fn shares(row: &mut [f32], sink: f32) {
    let largest = row.iter().fold(sink, |a, x| a.max(*x));
    if largest == f32::NEG_INFINITY {
        return row.fill(0.0);
    }
    row.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let factor = 1.0 / (row.iter().sum::<f32>() + (sink - largest).exp());
    row.iter_mut().for_each(|x| *x *= factor);
}

/// `[b, h, past + s, d]` of `x`, which is `[b, s, h, d]` or has its heads first, and of as much of what comes before it as
/// counts; zeros fill up the rest.
fn by_head(
    x: &[f32],
    past: &[f32],
    [b, h, s, d]: [usize; 4],
    n_past: usize,
    starts: &[usize],
    heads_last: bool,
) -> Vec<f32> {
    let mut y = Vec::with_capacity(b * h * (n_past + s) * d);
    for pair in 0..b * h {
        let start = starts.get(pair / h).copied().unwrap_or(0);
        y.extend_from_slice(&past[pair * n_past * d..][..start * d]);
        for i in 0..s {
            let row = if heads_last { (pair / h * s + i) * h + pair % h } else { pair * s + i };
            y.extend_from_slice(&x[row * d..][..d]);
        }
        y.resize((pair + 1) * (n_past + s) * d, 0.0);
    }
    y
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn sinks_are_floats_one_for_each_head() {
        let op = Attend {
            heads: Some((4, 2)),
            scale: None,
            causal: true,
            softcap: 0.0,
            window: (None, None),
            scores: Scores::Products,
            outputs: 1,
        };
        let of = |dtype: DType, shape: &[usize]| TensorType::new(dtype, Shape::known(shape));
        let (q, kv) = (of(DType::F32, &[1, 3, 32]), of(DType::F32, &[1, 3, 16]));
        let infer = |sinks: TensorType| {
            let none = [None; 5];
            op.infer(&Known::types(&[&[Some(&q), Some(&kv), Some(&kv)], &none[..], &[Some(&sinks)]].concat()))
        };
        assert_eq!(infer(of(DType::F32, &[4])).unwrap(), [of(DType::F32, &[1, 3, 32])]);
        for wrong in [of(DType::F32, &[2]), of(DType::F32, &[1, 4]), of(DType::I32, &[4])] {
            let error = infer(wrong).expect_err("no sinks");
            assert_eq!(error.kind(), ErrorKind::ShapeMismatch, "{error}");
        }
    }
}
