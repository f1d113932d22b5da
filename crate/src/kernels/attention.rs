//! Causal attention over a cache, one query head at a time, with an online softmax: keys are read in tiles
//! of 32; each tile's scores shift the running maximum, and what is accumulated is scaled to it.

use super::math::exp_scalar as exp;
use super::simd::{Best, Simd};
use super::threads::Threads;
use half::f16;

/// Sizes of the heads.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; each serves `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
}

/// Keys and values, each `[context, n_kv_heads · head_dim]`.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Cache<'a> {
    F32(&'a [f32], &'a [f32]),
    F16(&'a [f16], &'a [f16]),
}

const TILE: usize = 32;

/// `out[i] = softmax(scale · q[i] · kᵀ) · v` over the rows `0..=position + i` of the cache. `q` and `out` are
/// `[s, n_heads · head_dim]`.
pub fn attention(
    threads: &Threads,
    shape: &AttentionShape,
    q: &[f32],
    cache: Cache,
    position: usize,
    out: &mut [f32],
) {
    let AttentionShape { n_heads, n_kv_heads, head_dim, .. } = *shape;
    let group = n_heads / n_kv_heads.max(1);
    let q_stride = n_heads * head_dim;
    let rows = q.len() / q_stride.max(1);
    threads.parallel_for(n_kv_heads, |kv_heads| {
        let mut keys = vec![0.0f32; TILE * head_dim];
        let mut values = vec![0.0f32; TILE * head_dim];
        let mut states = vec![(f32::NEG_INFINITY, 0.0f32); rows * group];
        for kv_head in kv_heads {
            let first = kv_head * group * head_dim;
            states.fill((f32::NEG_INFINITY, 0.0));
            for row in out.chunks_exact_mut(q_stride) {
                row[first..first + group * head_dim].fill(0.0);
            }
            for start in (0..position + rows).step_by(TILE) {
                let len = TILE.min(position + rows - start);
                load_tile(cache, shape, kv_head, start, len, &mut keys, &mut values);
                for row in start.saturating_sub(position)..rows {
                    let seen = (position + row + 1).saturating_sub(start).min(len);
                    for head in 0..group {
                        let at = row * q_stride + first + head * head_dim;
                        let query = &q[at..at + head_dim];
                        let sum = &mut out[at..at + head_dim];
                        let state = &mut states[row * group + head];
                        accumulate(shape.scale, query, &keys, &values, seen, state, sum);
                    }
                }
            }
            for row in 0..rows {
                for head in 0..group {
                    let at = row * q_stride + first + head * head_dim;
                    let inverse = 1.0 / states[row * group + head].1;
                    out[at..at + head_dim].iter_mut().for_each(|x| *x *= inverse);
                }
            }
        }
    });
}

/// Copies rows of one key head into tiles `[len, head_dim]` of f32.
fn load_tile(
    cache: Cache,
    shape: &AttentionShape,
    kv_head: usize,
    start: usize,
    len: usize,
    keys: &mut [f32],
    values: &mut [f32],
) {
    let d = shape.head_dim;
    let stride = shape.n_kv_heads * d;
    for i in 0..len {
        let from = (start + i) * stride + kv_head * d..(start + i) * stride + (kv_head + 1) * d;
        let to = i * d..(i + 1) * d;
        match cache {
            Cache::F32(k, v) => {
                keys[to.clone()].copy_from_slice(&k[from.clone()]);
                values[to].copy_from_slice(&v[from]);
            }
            Cache::F16(k, v) => {
                decode_halves(&k[from.clone()], &mut keys[to.clone()]);
                decode_halves(&v[from], &mut values[to]);
            }
        }
    }
}

/// f16 to f32 by moving the bits and multiplying by 2^112, which also decodes subnormals; no cache row holds
/// an infinity that matters.
fn decode_halves(from: &[f16], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        let bits = u32::from(from.to_bits());
        let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
        *to = f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16);
    }
}

/// Adds the first `seen` rows of a tile to one query's running softmax: `state` is (maximum, sum of weights).
#[inline]
fn accumulate(
    scale: f32,
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    seen: usize,
    state: &mut (f32, f32),
    sum: &mut [f32],
) {
    let d = query.len();
    let mut scores = [f32::NEG_INFINITY; TILE];
    let mut largest = state.0;
    for (score, key) in scores.iter_mut().zip(keys.chunks_exact(d)).take(seen) {
        *score = dot::<Best>(query, key) * scale;
        largest = if *score > largest { *score } else { largest };
    }
    let shrink = if state.0 == f32::NEG_INFINITY { 0.0 } else { exp(state.0 - largest) };
    let mut weight_sum = state.1 * shrink;
    for score in &mut scores[..seen] {
        *score = exp(*score - largest);
        weight_sum += *score;
    }
    *state = (largest, weight_sum);
    weighted_sum::<Best>(shrink, &scores[..seen], values, sum);
}

#[inline(always)]
fn dot<S: Simd>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [S::splat(0.0); 2];
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        sums[i % 2] = S::mul_add(S::load(a), S::load(b), sums[i % 2]);
    }
    let mut lanes = [0.0; 4];
    S::store(S::add(sums[0], sums[1]), &mut lanes);
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// `sum = shrink · sum + Σ weights[i] · values[i, ·]`.
#[inline(always)]
fn weighted_sum<S: Simd>(shrink: f32, weights: &[f32], values: &[f32], sum: &mut [f32]) {
    let d = sum.len();
    let (chunks, rest) = sum.as_chunks_mut::<4>();
    for (column, chunk) in chunks.iter_mut().enumerate() {
        let mut total = S::mul(S::load(chunk), S::splat(shrink));
        for (weight, value) in weights.iter().zip(values.chunks_exact(d)) {
            let (value, _) = value.as_chunks::<4>();
            total = S::mul_add(S::splat(*weight), S::load(&value[column]), total);
        }
        S::store(total, chunk);
    }
    let first = d - rest.len();
    for (i, x) in rest.iter_mut().enumerate() {
        let added: f32 = weights.iter().zip(values.chunks_exact(d)).map(|(w, v)| w * v[first + i]).sum();
        *x = *x * shrink + added;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut x = seed;
        std::iter::repeat_with(|| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .take(n)
        .collect()
    }

    fn reference_attention(
        shape: &AttentionShape,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        position: usize,
    ) -> Vec<f64> {
        let AttentionShape { n_heads, n_kv_heads, head_dim: d, scale } = *shape;
        let mut out = Vec::new();
        for (row, q) in q.chunks_exact(n_heads * d).enumerate() {
            for head in 0..n_heads {
                let kv = head / (n_heads / n_kv_heads);
                let at = |cache: &[f32], i: usize, j: usize| f64::from(cache[(i * n_kv_heads + kv) * d + j]);
                let scores: Vec<f64> = (0..=position + row)
                    .map(|i| {
                        (0..d).map(|j| f64::from(q[head * d + j]) * at(k, i, j)).sum::<f64>()
                            * f64::from(scale)
                    })
                    .collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
                let total: f64 = weights.iter().sum();
                out.extend(
                    (0..d).map(|j| {
                        weights.iter().enumerate().map(|(i, w)| w * at(v, i, j)).sum::<f64>() / total
                    }),
                );
            }
        }
        out
    }

    #[test]
    fn agrees_with_the_reference_and_notices_a_wrong_position() {
        for (n_heads, n_kv_heads, head_dim, rows, position) in
            [(4, 2, 8, 1, 0), (4, 2, 8, 5, 40), (3, 1, 64, 33, 0), (2, 2, 6, 2, 31), (9, 3, 64, 1, 100)]
        {
            let shape = AttentionShape { n_heads, n_kv_heads, head_dim, scale: 0.7 };
            let context = position + rows + 3;
            let q = noise(rows * n_heads * head_dim, 1);
            let (k, v) =
                (noise(context * n_kv_heads * head_dim, 2), noise(context * n_kv_heads * head_dim, 3));
            let mut out = vec![f32::NAN; q.len()];
            attention(&Threads::single(), &shape, &q, Cache::F32(&k, &v), position, &mut out);
            let error = |want: &[f64]| {
                out.iter().zip(want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
            };
            assert!(error(&reference_attention(&shape, &q, &k, &v, position)) < 1e-5);
            assert!(
                error(&reference_attention(&shape, &q, &k, &v, position + 1)) > 1e-3,
                "the canary passed"
            );
            let halves = |x: &[f32]| x.iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>();
            let (k16, v16) = (halves(&k), halves(&v));
            let wide = |x: &[f16]| x.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
            let want = reference_attention(&shape, &q, &wide(&k16), &wide(&v16), position);
            attention(&Threads::single(), &shape, &q, Cache::F16(&k16, &v16), position, &mut out);
            let error = out.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-5);
        }
    }

    #[test]
    fn halves_decode_exactly() {
        let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|x| x.is_finite()).collect();
        let mut out = vec![0.0; all.len()];
        decode_halves(&all, &mut out);
        assert!(all.iter().zip(&out).all(|(a, b)| a.to_f32().to_bits() == b.to_bits()));
    }
}
