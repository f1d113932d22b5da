//! What lies between the QKV product and attention: split, normalise queries and keys where the model does
//! (QK-norm), rotate them by their position (RoPE, Su et al. 2021, arXiv:2104.09864), and append keys and
//! values to the cache.
//!
//! Queries, keys and values come as three tensors or, after QKV fusion, as the columns of one.

mod heads;

use super::attention::MAX_GPU_HEAD_DIM;
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::{Result, ensure, fail};
use crate::kernels::attention::levels;
use crate::kernels::dispatch::{Dispatch, Operand, params};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Dim, Shape, TensorType};
use heads::Heads;

/// Which elements of a head rotate together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RopeLayout {
    /// Elements `2i` and `2i + 1`: ggml's NORM, as Llama files are laid out.
    Interleaved,
    /// Elements `i` and `i + head_dim / 2`: ggml's NEOX, as Qwen files are.
    Halves,
    /// None: this layer has no positional encoding.
    Skip,
}

/// Inputs, by position: 0 queries `[s, n_heads · head_dim]`, or all three as
/// `[s, (n_heads + 2 n_kv_heads) · head_dim]`; 1 keys and 2 values `[s, n_kv_heads · head_dim]` unless
/// fused; 3 and 4 norm weights of queries and keys `[head_dim]`, optional; 5 the table of
/// (cos, sin) `[positions, head_dim / 2, 2]`; 6 the position of the first row, i32 `[1]`; 7 and 8 the key
/// and value caches `[context, n_kv_heads · head_dim]`, f32 or f16; or, on the CPU alone, i16 `[n_kv_heads, context, head_dim + 1]`:
/// levels of 12 bits and a sign, and behind them their scale, bf16.
///
/// Outputs: queries `[s, n_heads · head_dim]` and the two caches, updated.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeCache {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// The pairing of elements.
    pub layout: RopeLayout,
    /// Epsilon of the norms of queries and keys.
    pub norm_epsilon: f32,
}

/// Positions of the inputs.
#[allow(missing_docs, reason = "described at RopeCache")]
pub mod input {
    pub const Q: usize = 0;
    pub const K: usize = 1;
    pub const V: usize = 2;
    pub const Q_NORM: usize = 3;
    pub const K_NORM: usize = 4;
    pub const TABLE: usize = 5;
    pub const POSITION: usize = 6;
    pub const K_CACHE: usize = 7;
    pub const V_CACHE: usize = 8;
}

impl RopeCache {
    /// Columns of the queries and of the keys.
    fn columns(&self) -> (usize, usize) {
        (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim)
    }
}

impl OpDef for RopeCache {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let q = inputs.ty(input::Q)?;
        let (q_columns, kv_columns) = self.columns();
        ensure!(
            self.head_dim.is_multiple_of(2)
                && self.n_kv_heads > 0
                && self.n_heads.is_multiple_of(self.n_kv_heads),
            InvalidGraph,
            "{} heads of {} elements over {} key heads cannot be rotated and grouped",
            self.n_heads,
            self.head_dim,
            self.n_kv_heads
        );
        let fused = inputs.optional(input::K).is_none();
        let columns = if fused { q_columns + 2 * kv_columns } else { q_columns };
        ensure!(
            q.shape.rank() == 2 && q.shape.0[1] == Dim::Known(columns) && q.dtype == DType::F32,
            ShapeMismatch,
            "queries {q} are not f32 [s, {columns}]"
        );
        if !fused {
            for index in [input::K, input::V] {
                let want = TensorType::f32(Shape(vec![q.shape.0[0].clone(), Dim::Known(kv_columns)]));
                let got = inputs.ty(index)?;
                ensure!(*got == want, ShapeMismatch, "keys or values {got} are not {want}");
            }
        }
        for index in [input::Q_NORM, input::K_NORM] {
            if let Some(weight) = inputs.optional(index) {
                ensure!(
                    *weight == TensorType::f32([self.head_dim]),
                    ShapeMismatch,
                    "a head norm's weight is {weight}, not f32[{}]",
                    self.head_dim
                );
            }
        }
        let table = inputs.ty(input::TABLE)?;
        ensure!(
            table.shape.rank() == 3
                && table.shape.0[1] == Dim::Known(self.head_dim / 2)
                && table.dtype == DType::F32,
            ShapeMismatch,
            "the table of angles {table} is not f32 [positions, {}, 2]",
            self.head_dim / 2
        );
        expect_dtype(inputs.ty(input::POSITION)?, DType::I32, "the position")?;
        let (k_cache, v_cache) = (inputs.ty(input::K_CACHE)?, inputs.ty(input::V_CACHE)?);
        expect_caches([k_cache, v_cache], self.n_kv_heads, self.head_dim)?;
        let y = TensorType::f32(Shape(vec![q.shape.0[0].clone(), Dim::Known(q_columns)]));
        Ok(vec![y, k_cache.clone(), v_cache.clone()])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let [q_out, k_cache, v_cache] = outputs else { return fail!(Internal, "three outputs are wanted") };
        let q = inputs[input::Q].tensor()?;
        let (rows, stride) = q.as_rows();
        let floats = |index: usize| inputs[index].optional()?.map(|x| x.data::<f32>()).transpose();
        let (q, table) = (q.data::<f32>()?, inputs[input::TABLE].tensor()?.data::<f32>()?);
        let position = first_position(&inputs[input::POSITION])?;
        let context = context_of(k_cache.dtype, k_cache.shape).min(table.len() / self.head_dim.max(1));
        ensure!(
            position + rows <= context,
            ContextFull,
            "rows {position} to {} do not fit a context of {context}",
            position + rows
        );
        let (q_columns, kv_columns) = self.columns();
        // Keys and values are tensors of their own, or behind the queries in each row.
        let of = |index: usize, before: usize, norm: Option<usize>| -> Result<Heads> {
            let own = if index == input::Q { None } else { floats(index)? };
            let norm = norm.map(&floats).transpose()?.flatten();
            Ok(Heads {
                rows: own.unwrap_or(q.get(before..).unwrap_or_default()),
                stride: if own.is_some() { kv_columns } else { stride },
                head_dim: self.head_dim,
                norm: norm.map(|weight| (weight, self.norm_epsilon)),
                layout: if index == input::V { RopeLayout::Skip } else { self.layout },
                angles: &table[position * self.head_dim..],
            })
        };
        of(input::Q, 0, Some(input::Q_NORM))?.write(cx.threads, q_columns, q_out.data()?);
        let keys = of(input::K, q_columns, Some(input::K_NORM))?;
        keys.append(cx.threads, kv_columns, (position, rows), k_cache)?;
        let values = of(input::V, q_columns + kv_columns, None)?;
        values.append(cx.threads, kv_columns, (position, rows), v_cache)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        if self.head_dim > MAX_GPU_HEAD_DIM {
            return Lowered::not_on_gpu(format!("heads of {} elements are too long", self.head_dim));
        }
        if types.dtype(input::K_CACHE) == Some(DType::I16) {
            return Lowered::not_on_gpu("its cache has the form that only the CPU reads");
        }
        let rows = types.input(input::Q)?[0];
        let context = types.input(input::K_CACHE)?[0].min(types.input(input::TABLE)?[0]);
        let has = |index: usize| matches!(types.inputs.get(index), Some(Some(_)));
        let norms = |yes: bool| if yes { "norms" } else { "" };
        let half = types.dtype(input::K_CACHE) == Some(DType::F16);
        if has(input::K) {
            return self.lower_parts(rows, context, half, &has);
        }
        if has(input::Q_NORM) != has(input::K_NORM) {
            return Lowered::not_on_gpu("only one of queries and keys has a norm");
        }
        let params = Params {
            n_heads: self.n_heads as u32,
            n_kv_heads: self.n_kv_heads as u32,
            head_dim: self.head_dim as u32,
            pairing: self.layout as u32,
            epsilon: self.norm_epsilon,
            context: context as u32,
        };
        let mut bindings = vec![
            (0, Operand::Input(input::Q)),
            (1, Operand::Input(input::TABLE)),
            (2, Operand::Input(input::POSITION)),
            (5, Operand::Output(0)),
            (6, Operand::Output(1)),
            (7, Operand::Output(2)),
        ];
        if has(input::Q_NORM) {
            bindings.extend([(3, Operand::Input(input::Q_NORM)), (4, Operand::Input(input::K_NORM))]);
        }
        let features = [if half { "half_cache" } else { "" }, norms(has(input::Q_NORM))];
        let groups = [self.n_heads + 2 * self.n_kv_heads, rows, 1];
        Lowered::one(Dispatch::new("rope_cache", &features, bindings, params.bytes(), groups)?)
    }

    fn updates_state(&self) -> &'static [(usize, usize)] {
        &[(input::K_CACHE, 1), (input::V_CACHE, 2)]
    }
}

params!("rope_cache": n_heads: u32, n_kv_heads: u32, head_dim: u32, pairing: u32, epsilon: f32, context: u32);

/// The launches of queries, keys and values that are not fused.
mod part {
    use super::*;

    params!("rope_part": n_heads: u32, head_dim: u32, pairing: u32, epsilon: f32, context: u32);

    impl RopeCache {
        /// One launch each; `has` says which inputs are there.
        pub(super) fn lower_parts(
            &self,
            rows: usize,
            context: usize,
            half: bool,
            has: &dyn Fn(usize) -> bool,
        ) -> Result<Lowered> {
            let parts = [
                (input::Q, Some(input::Q_NORM), self.n_heads, self.layout),
                (input::K, Some(input::K_NORM), self.n_kv_heads, self.layout),
                (input::V, None, self.n_kv_heads, RopeLayout::Skip),
            ];
            let mut dispatches = Vec::new();
            for (output, (x, norm, n_heads, layout)) in parts.into_iter().enumerate() {
                let norm = norm.filter(|&index| has(index));
                let mut bindings = vec![
                    (0, Operand::Input(x)),
                    (1, Operand::Input(input::TABLE)),
                    (2, Operand::Input(input::POSITION)),
                    (5, Operand::Output(output)),
                ];
                bindings.extend(norm.map(|index| (3, Operand::Input(index))));
                let cache = output > 0;
                let features = [
                    if cache { "cache" } else { "" },
                    if cache && half { "half" } else { "" },
                    if norm.is_some() { "norms" } else { "" },
                ];
                let params = Params {
                    n_heads: n_heads as u32,
                    head_dim: self.head_dim as u32,
                    pairing: layout as u32,
                    epsilon: self.norm_epsilon,
                    context: context as u32,
                };
                let groups = [n_heads, rows, 1];
                dispatches.push(Dispatch::new("rope_part", &features, bindings, params.bytes(), groups)?);
            }
            Ok(Lowered::Dispatches(dispatches))
        }
    }
}

/// The position that a graph is fed as `i32 [1]`.
pub(super) fn first_position(input: &Input) -> Result<usize> {
    match input.tensor()?.data::<i32>()?.first().map(|&p| usize::try_from(p)) {
        Some(Ok(position)) => Ok(position),
        _ => fail!(InvalidInput, "the position is missing or negative"),
    }
}

/// Fails unless those are the types of a cache of keys and one of values.
pub(super) fn expect_caches(
    [cache, of_values]: [&TensorType; 2],
    n_kv_heads: usize,
    head_dim: usize,
) -> Result<()> {
    ensure!(cache == of_values, ShapeMismatch, "the cache of keys is {cache}, that of values {of_values}");
    let (columns, row) = (n_kv_heads * head_dim, levels::row(head_dim));
    let fits = match (cache.dtype, &cache.shape.0[..]) {
        _ if columns == 0 => false,
        (DType::F32 | DType::F16, [_, last]) => *last == Dim::Known(columns),
        (DType::I16, [heads, _, last]) => {
            head_dim.is_multiple_of(2) && [heads, last] == [&Dim::Known(n_kv_heads), &Dim::Known(row)]
        }
        _ => false,
    };
    ensure!(
        fits,
        ShapeMismatch,
        "a cache {cache} is neither f16 or f32 [context, {columns}] nor i16 [{n_kv_heads}, context, {row}]"
    );
    Ok(())
}

/// The positions of a cache.
pub(super) fn context_of(dtype: DType, shape: &[usize]) -> usize {
    shape[usize::from(dtype == DType::I16)]
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_rope_cache(op: &RopeCache, x: &[Option<Array>]) -> Vec<Array> {
        let (d, table) = (op.head_dim, x[input::TABLE].as_ref().expect("a table"));
        let (q_columns, kv_columns) = op.columns();
        let position = x[input::POSITION].as_ref().expect("a position").values[0] as usize;
        let fused = x[input::Q].as_ref().expect("queries");
        let part = |row: usize, index: usize, skip: usize, n: usize| match &x[index] {
            Some(own) if index != input::Q => own.rows().nth(row).expect("a row").to_vec(),
            _ => fused.rows().nth(row).expect("a row")[skip..skip + n].to_vec(),
        };
        let turn = |mut row: Vec<f64>, norm: &Option<Array>, at: usize| {
            for head in row.chunks_exact_mut(d) {
                if let Some(norm) = norm {
                    let mean = head.iter().map(|x| x * x).sum::<f64>() / d as f64;
                    let scale = (mean + f64::from(op.norm_epsilon)).sqrt();
                    head.iter_mut().zip(&norm.values).for_each(|(x, w)| *x = *x / scale * w);
                }
                for i in 0..d / 2 {
                    let (a, b) = match op.layout {
                        RopeLayout::Interleaved => (2 * i, 2 * i + 1),
                        RopeLayout::Halves => (i, i + d / 2),
                        RopeLayout::Skip => continue,
                    };
                    let (cos, sin) = (table.values[at * d + 2 * i], table.values[at * d + 2 * i + 1]);
                    (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
                }
            }
            row
        };
        let mut k_cache = x[input::K_CACHE].clone().expect("a cache");
        let mut v_cache = x[input::V_CACHE].clone().expect("a cache");
        let mut q = Vec::new();
        for row in 0..fused.shape[0] {
            let at = position + row;
            q.extend(turn(part(row, input::Q, 0, q_columns), &x[input::Q_NORM], at));
            let k = turn(part(row, input::K, q_columns, kv_columns), &x[input::K_NORM], at);
            let v = part(row, input::V, q_columns + kv_columns, kv_columns);
            for (cache, row) in [(&mut k_cache, k), (&mut v_cache, v)] {
                match cache.shape[..] {
                    [_, columns] => cache.values[at * columns..][..columns].copy_from_slice(&row),
                    _ => reference_levels(&row, d, at, cache),
                }
            }
        }
        vec![Array::new(&[fused.shape[0], q_columns], q), k_cache, v_cache]
    }

    /// Writes a row to a cache of i16.
    pub fn reference_levels(row: &[f64], d: usize, at: usize, cache: &mut Array) {
        let context = cache.shape[1];
        for (i, head) in row.chunks_exact(d).enumerate() {
            let largest = head.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
            let upper = (((largest / 4095.0) as f32).to_bits() + 0xffff) >> 16;
            let scale = f64::from(f32::from_bits(upper << 16));
            let levels = head.iter().map(|x| (x / scale).round_ties_even());
            let row = levels.chain([f64::from(upper)]);
            cache.values[(i * context + at) * (d + 1)..].iter_mut().zip(row).for_each(|(to, x)| *to = x);
        }
    }

    pub fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        let layouts = [RopeLayout::Interleaved, RopeLayout::Halves, RopeLayout::Skip];
        let shapes = [(4, 2, 32), (3, 1, 64), (2, 2, 80), (9, 3, 64), (2, 1, 128)];
        for (i, (n_heads, n_kv_heads, head_dim)) in shapes.into_iter().enumerate() {
            for (j, (fused, norms)) in
                [(true, false), (true, true), (false, false), (false, true)].into_iter().enumerate()
            {
                let dtype = [DType::F32, DType::F16, DType::I16][(i + j) % 3];
                let (layout, rows, position) = (layouts[(i + 2 * j) % 3], 1 + 2 * (j % 2), (i + j) % 4);
                let op = RopeCache { n_heads, n_kv_heads, head_dim, layout, norm_epsilon: 1e-5 };
                let (q, kv) = op.columns();
                let norm =
                    |seed| if norms { Given::weight(DType::F32, &[head_dim], seed) } else { Given::Absent };
                let apart = |seed| if fused { Given::Absent } else { Given::noise(&[rows, kv], seed) };
                let shape = if dtype == DType::I16 { vec![n_kv_heads, 7, head_dim + 1] } else { vec![7, kv] };
                let cache = Given::State { dtype, shape };
                let inputs = vec![
                    Given::noise(&[rows, if fused { q + 2 * kv } else { q }], 1),
                    apart(2),
                    apart(3),
                    norm(4),
                    norm(5),
                    Given::noise(&[7, head_dim / 2, 2], 6),
                    Given::fed(&[1], &[position as i32]),
                    cache.clone(),
                    cache,
                ];
                // A cache of f16 rounds to 11 bits; levels may be one off, and beside them are the bits of their scales.
                let tolerance = Tolerance::of(match dtype {
                    DType::F16 => 5e-4,
                    DType::I16 => 1e-4,
                    _ => 1e-5,
                });
                let name = format!(
                    "{dtype} {layout:?} {n_heads}/{n_kv_heads} heads of {head_dim}, fused {fused}, norms {norms}"
                );
                cases.push(Case::new(name, op.clone(), inputs, tolerance, |x| reference_rope_cache(&op, x)));
            }
        }
        cases
    }
}
