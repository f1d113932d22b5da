//! Causal attention of new queries over a key and value cache: `softmax(q · kᵀ · scale) · v`, with grouped
//! key heads (Ainslie et al. 2023, arXiv:2305.13245). The score matrix is never stored: rows of the
//! softmax are accumulated online (Dao et al. 2022, arXiv:2205.14135).

use super::rope_cache::{context_of, expect_caches, first_position};
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::attention::{AttentionShape, Cache, attention};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// `(queries f32 [s, n_heads · head_dim], key cache, value cache as [`RopeCache`](super::rope_cache::RopeCache) has them,
/// position of the first query i32 [1]) → f32 [s, n_heads · head_dim]`. Query `i` sees the cache rows up to `position + i`.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
}

impl OpDef for Attention {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let q = inputs.ty(0)?;
        expect_dtype(q, DType::F32, "the queries")?;
        expect_dtype(inputs.ty(3)?, DType::I32, "the position")?;
        ensure!(
            q.shape.rank() == 2,
            ShapeMismatch,
            "queries {q} are not [s, {}]",
            self.n_heads * self.head_dim
        );
        let (k, v) = (inputs.ty(1)?, inputs.ty(2)?);
        expect_caches([k, v], self.n_kv_heads, self.head_dim)?;
        Ok(vec![q.clone()])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let q = inputs[0].tensor()?;
        let (rows, _) = q.as_rows();
        let position = first_position(&inputs[3])?;
        let (k, v) = (inputs[1].tensor()?, inputs[2].tensor()?);
        let context = context_of(k.dtype, k.shape);
        ensure!(
            position + rows <= context,
            ContextFull,
            "attention to {} rows of a cache of {context}",
            position + rows
        );
        let shape = AttentionShape {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            scale: self.scale,
        };
        let out = outputs[0].data::<f32>()?;
        let q = q.data::<f32>()?;
        let cache = match k.dtype {
            DType::F16 => Cache::F16([k.data()?, v.data()?]),
            DType::I16 => Cache::Levels([k.data()?, v.data()?]),
            _ => Cache::F32([k.data()?, v.data()?]),
        };
        attention(cx.threads, &shape, q, cache, position, out);
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        if self.head_dim > MAX_GPU_HEAD_DIM {
            return Lowered::not_on_gpu(format!("heads of {} elements are too long", self.head_dim));
        }
        if types.dtype(1) == Some(DType::I16) {
            return Lowered::not_on_gpu("its cache has the form that only the CPU reads");
        }
        let context = types.input(1)?[0];
        let half_cache = if types.dtype(1) == Some(DType::F16) { "half_cache" } else { "" };
        let params = Params {
            n_heads: self.n_heads as u32,
            n_kv_heads: self.n_kv_heads as u32,
            head_dim: self.head_dim as u32,
            context: context as u32,
            scale: self.scale,
        };
        let bindings = vec![(0, Input(0)), (1, Input(1)), (2, Input(2)), (3, Input(3)), (4, Output(0))];
        let groups = [self.n_heads, types.input(0)?[0], 1];
        Lowered::one(Dispatch::new("attention", &[half_cache], bindings, params.bytes(), groups)?)
    }
}

/// The longest head that the GPU kernels take.
pub(super) const MAX_GPU_HEAD_DIM: usize = 256;

params!("attention": n_heads: u32, n_kv_heads: u32, head_dim: u32, context: u32, scale: f32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};
    use crate::ops::rope_cache::parity::reference_levels;

    fn reference_attention(op: &Attention, x: &[Option<Array>]) -> Array {
        let [q, k, v, position] = [0, 1, 2, 3].map(|i| x[i].as_ref().expect("an input"));
        let d = op.head_dim;
        let mut y = Vec::new();
        for (row, queries) in q.rows().enumerate() {
            for (head, query) in queries.chunks_exact(d).enumerate() {
                let kv_head = head / (op.n_heads / op.n_kv_heads);
                let of = |cache: &Array, at: usize| match cache.shape[..] {
                    [_, columns] => cache.values[at * columns + kv_head * d..][..d].to_vec(),
                    _ => {
                        let row = &cache.values[(kv_head * cache.shape[1] + at) * (d + 1)..][..=d];
                        // Behind levels there is the upper half of their scale.
                        let scale = f64::from(f32::from_bits((row[d] as u32) << 16));
                        row[..d].iter().map(|level| level * scale).collect()
                    }
                };
                let seen = 0..=position.values[0] as usize + row;
                let dot = |at| query.iter().zip(of(k, at)).map(|(q, k)| q * k).sum::<f64>();
                let weights: Vec<f64> =
                    seen.clone().map(|at| (dot(at) * f64::from(op.scale)).exp()).collect();
                let total: f64 = weights.iter().sum();
                y.extend(
                    (0..d).map(|i| seen.clone().map(|at| weights[at] / total * of(v, at)[i]).sum::<f64>()),
                );
            }
        }
        Array::new(&q.shape, y)
    }

    pub fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for dtype in [DType::F32, DType::F16, DType::I16] {
            for (n_heads, n_kv_heads, head_dim) in
                [(4, 2, 32), (3, 1, 64), (2, 2, 80), (9, 3, 64), (2, 1, 128), (1, 1, 256)]
            {
                for (position, rows) in [(0usize, 1usize), (0, 7), (62, 3), (97, 1)] {
                    let op =
                        Attention { n_heads, n_kv_heads, head_dim, scale: 3.0 / (head_dim as f32).sqrt() };
                    let cache = |seed| {
                        let floats = [104, n_kv_heads * head_dim];
                        if dtype != DType::I16 {
                            return Given::random(dtype, &floats, seed);
                        }
                        let Given::Fed(noise) = Given::noise(&floats, seed) else { return Given::Absent };
                        let shape = [n_kv_heads, 104, head_dim + 1];
                        let mut cache = Array::new(&shape, vec![0.0; shape.iter().product()]);
                        let noise = Array::of(&noise);
                        let rows = noise.rows().enumerate();
                        rows.for_each(|(at, row)| reference_levels(row, head_dim, at, &mut cache));
                        let levels: Vec<i16> = cache.values.iter().map(|x| *x as i16).collect();
                        Given::fed(&shape, &levels)
                    };
                    let q = Given::noise(&[rows, n_heads * head_dim], 1);
                    let inputs = vec![q, cache(2), cache(3), Given::fed(&[1], &[position as i32])];
                    let name = format!(
                        "{dtype} {n_heads}/{n_kv_heads} heads of {head_dim}, {rows} rows at {position}"
                    );
                    // Beside levels, queries and weights are rounded too.
                    let tolerance = Tolerance::of(if dtype == DType::I16 { 5e-4 } else { 3e-5 });
                    cases.push(Case::new(name, op.clone(), inputs, tolerance, |x| {
                        vec![reference_attention(&op, x)]
                    }));
                }
            }
        }
        cases
    }
}
