//! Attention by a state that each token updates, instead of by all keys: `S ← exp(g)·S + k ⊗ v`, `y = scale·qᵀS`; by the
//! delta rule v is first what the state lacks, `β·(v - Sᵀk)`. ONNX LinearAttention; Yang et al. 2024, arXiv:2412.06464.

use super::{CpuContext, Input, Known, OpDef, expect_float, optional};
use crate::error::{Result, ensure};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(q [b, t, h·d], k [b, t, h_kv·d], v [b, t, h_kv·e], state [b, h_kv, d, e]?, decay g [b, t, h_kv or h_kv·d]?, beta
/// [b, t, h_kv or 1]?) → (y [b, t, h·e], state)`. Beta makes it the delta rule.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearAttention {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// The factor of the outputs; 1/√d where it is left out.
    pub scale: Option<f32>,
    /// How many outputs the node has: 1 or 2.
    pub outputs: usize,
}

impl OpDef for LinearAttention {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (q, k, v) = (inputs.shape(0)?, inputs.shape(1)?, inputs.shape(2)?);
        expect_float(inputs.ty(0)?, "the query")?;
        let fits = self.kv_heads > 0
            && self.heads > 0
            && self.heads.is_multiple_of(self.kv_heads)
            && match (&q[..], &k[..], &v[..]) {
                ([b, t, n], [b_k, t_k, n_k], [b_v, t_v, n_v]) => {
                    (b, t) == (b_k, t_k)
                        && (b, t) == (b_v, t_v)
                        && n % self.heads == 0
                        && n_k % self.kv_heads == 0
                        && n / self.heads == n_k / self.kv_heads
                        && n_v % self.kv_heads == 0
                }
                _ => false,
            };
        ensure!(
            fits,
            ShapeMismatch,
            "queries {}, keys {} and values {} in {} and {} heads",
            inputs.ty(0)?,
            inputs.ty(1)?,
            inputs.ty(2)?,
            self.heads,
            self.kv_heads
        );
        let (d, e) = (q[2] / self.heads, v[2] / self.kv_heads);
        let state = Shape::known(&[q[0], self.kv_heads, d, e]);
        if let Some(past) = inputs.optional(3) {
            ensure!(past.shape == state, ShapeMismatch, "a state {past} where {state} is wanted");
        }
        for (index, widths) in [(4, [self.kv_heads, self.kv_heads * d]), (5, [self.kv_heads, 1])] {
            let Some(ty) = inputs.optional(index) else { continue };
            let fits = widths.iter().any(|n| ty.shape == Shape::known(&[q[0], q[1], *n]));
            ensure!(fits, ShapeMismatch, "input {index}, {ty}, does not fit {}", inputs.ty(0)?);
        }
        let dtype = inputs.optional(3).map_or(inputs.dtype(0)?, |past| past.dtype);
        let y = TensorType::new(inputs.dtype(0)?, Shape::known(&[q[0], q[1], self.heads * e]));
        Ok([y, TensorType::new(dtype, state)].into_iter().take(self.outputs).collect())
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (q, k, v) = (inputs[0].tensor()?, inputs[1].tensor()?, inputs[2].tensor()?);
        let (batch, tokens) = (q.shape[0], q.shape[1]);
        let (d, e) = (q.shape[2] / self.heads, v.shape[2] / self.kv_heads);
        let (q, k, v) = (q.data::<f32>()?, k.data::<f32>()?, v.data::<f32>()?);
        let given = |index: usize| optional(inputs, index)?.map(|view| view.data::<f32>()).transpose();
        let (past, decay, beta) = (given(3)?, given(4)?, given(5)?);
        let scale = self.scale.unwrap_or(1.0 / (d as f32).sqrt());
        let group = self.heads / self.kv_heads;
        let k_rows = batch * tokens * self.kv_heads;
        let mut states = past.map_or_else(|| vec![0.0; batch * self.kv_heads * d * e], <[f32]>::to_vec);
        let mut wanted = vec![0.0; e];
        for (pair, state) in states.chunks_exact_mut((d * e).max(1)).enumerate() {
            let (batch, head) = (pair / self.kv_heads, pair % self.kv_heads);
            for token in (0..tokens).map(|token| batch * tokens + token) {
                let at = token * self.kv_heads + head;
                let (k, v) = (&k[at * d..][..d], &v[at * e..][..e]);
                if let Some(decay) = decay {
                    let by_head = decay.len() == k_rows;
                    let rows = state.chunks_exact_mut(e.max(1)).enumerate();
                    rows.for_each(|(i, row)| {
                        let factor = decay[if by_head { at } else { at * d + i }].exp();
                        row.iter_mut().for_each(|x| *x *= factor);
                    });
                }
                wanted.copy_from_slice(v);
                if let Some(beta) = beta {
                    for (row, k) in state.chunks_exact(e.max(1)).zip(k) {
                        wanted.iter_mut().zip(row).for_each(|(v, x)| *v -= x * k);
                    }
                    let factor = beta[if beta.len() == k_rows { at } else { token }];
                    wanted.iter_mut().for_each(|v| *v *= factor);
                }
                for (row, k) in state.chunks_exact_mut(e.max(1)).zip(k) {
                    row.iter_mut().zip(&wanted).for_each(|(x, v)| *x += k * v);
                }
                let y = outputs[0].data::<f32>()?;
                for own in (0..group).map(|i| token * self.heads + head * group + i) {
                    let y = &mut y[own * e..][..e];
                    y.fill(0.0);
                    for (row, q) in state.chunks_exact(e.max(1)).zip(&q[own * d..][..d]) {
                        y.iter_mut().zip(row).for_each(|(y, x)| *y += scale * q * x);
                    }
                }
            }
        }
        match outputs.get_mut(1) {
            Some(output) => output.data::<f32>().map(|output| output.copy_from_slice(&states)),
            None => Ok(()),
        }
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    /// Without decay and delta, the outputs are causal attention without a softmax: `y_t = Σ_s≤t (q_t·k_s)·v_s`. Two
    /// heads of queries, one of keys; d = 4, e = 3.
    fn reference_linear_attention(x: &[Option<Array>]) -> Array {
        let [Some(q), Some(k), Some(v), ..] = x else { panic!("three inputs") };
        let of = |at: Vec<usize>| {
            let product = |s: usize| {
                (0..4).map(|i| q.at(&[at[0], at[1], at[2] / 3 * 4 + i]) * k.at(&[at[0], s, i])).sum::<f64>()
            };
            (0..=at[1]).map(|s| product(s) * v.at(&[at[0], s, at[2] % 3])).sum::<f64>() / 2.0
        };
        Array::new(&[2, 5, 6], indices(&[2, 5, 6]).map(of).collect())
    }

    /// A token at a time by the delta rule, one head, d = e = 2, with decay by row.
    fn reference_delta(x: &[Option<Array>]) -> Array {
        let [Some(q), Some(k), Some(v), Some(state), Some(decay), Some(beta)] = x else {
            panic!("six inputs")
        };
        let (mut s, mut y) = (state.values.clone(), Vec::new());
        for t in 0..3 {
            (0..4).for_each(|i| s[i] *= decay.values[2 * t + i / 2].exp());
            let had = |j: usize| s[j] * k.values[2 * t] + s[2 + j] * k.values[2 * t + 1];
            let lacks = [0, 1].map(|j| beta.values[t] * (v.values[2 * t + j] - had(j)));
            (0..4).for_each(|i| s[i] += k.values[2 * t + i / 2] * lacks[i % 2]);
            y.extend([0, 1].map(|j| (q.values[2 * t] * s[j] + q.values[2 * t + 1] * s[2 + j]) / 2f64.sqrt()));
        }
        Array::new(&[1, 3, 2], y)
    }

    pub fn cases() -> Vec<Case> {
        let op = |heads: usize| LinearAttention { heads, kv_heads: 1, scale: None, outputs: 1 };
        let noise = Given::noise;
        let plain = vec![noise(&[2, 5, 8], 1), noise(&[2, 5, 4], 2), noise(&[2, 5, 3], 3)];
        let row = [1, 3, 2];
        let delta = vec![
            noise(&row, 1),
            noise(&row, 2),
            noise(&row, 3),
            noise(&[1, 1, 2, 2], 4),
            noise(&row, 5),
            noise(&[1, 3, 1], 6),
        ];
        vec![
            Case::new("two heads share a state", op(2), plain, Tolerance::of(2e-6), |x| {
                vec![reference_linear_attention(x)]
            }),
            Case::new("by the delta rule", op(1), delta, Tolerance::of(2e-6), |x| vec![reference_delta(x)]),
        ]
    }
}
