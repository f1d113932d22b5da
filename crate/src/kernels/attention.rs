//! Causal attention over a cache. Many queries go the way of [`attend`]. Few go one query head at a time, with an online
//! softmax: keys are read in tiles of 32; each tile's scores shift the running maximum, and what is accumulated is
//! scaled to it.

use super::full_attention::{Heads, Rows, Scoring, Sizes, attend, decode_halves};
use super::math::{self, exp_scalar as exp};
use super::simd::{Best as S, Simd};
use super::threads::Threads;
use crate::error::Result;

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

/// Rows from which on queries go eight together.
const MANY: usize = 4;
/// Keys that are read together.
const TILE: usize = 32;
/// Keys that another thread may take, and the most such parts.
const PART: usize = 128;
const PARTS: usize = 8;
/// Multiplications that are worth handing to another thread: some microseconds.
const WORTH: usize = 1 << 14;

/// `out[i] = softmax(scale · q[i] · kᵀ) · v` over the rows `0..=position + i` of the cache, whose keys and values are
/// each `[context, n_kv_heads · head_dim]`. `q` and `out` are `[s, n_heads · head_dim]`.
pub fn attention(
    threads: Threads,
    shape: &AttentionShape,
    q: &[f32],
    [k, v]: [Rows; 2],
    position: usize,
    out: &mut [f32],
) -> Result<()> {
    let AttentionShape { n_heads, n_kv_heads, head_dim, .. } = *shape;
    let queries = q.len() / (n_heads * head_dim).max(1);
    if queries < MANY {
        few(threads, shape, q, [k, v], position, out);
        return Ok(());
    }
    let sizes = Sizes {
        batch: 1,
        heads: n_heads,
        kv_heads: n_kv_heads,
        queries,
        keys: position + queries,
        depth: head_dim,
        value_depth: head_dim,
    };
    let scoring = Scoring { scale: shape.scale, causal: Some(position), mask: None };
    let rows = |heads: usize| Heads { batch: 0, head: head_dim, row: heads * head_dim };
    let (of_q, of_kv) = (rows(n_heads), rows(n_kv_heads));
    attend(threads, sizes, &scoring, (q, of_q), [(k, of_kv), (v, of_kv)], (out, of_q))
}

/// Attention of few queries: the keys of a head are cut into parts, whose results are then weighed against each other.
fn few(
    threads: Threads,
    shape: &AttentionShape,
    q: &[f32],
    [k, v]: [Rows; 2],
    position: usize,
    out: &mut [f32],
) {
    let AttentionShape { n_heads, n_kv_heads, head_dim, .. } = *shape;
    let group = n_heads / n_kv_heads.max(1);
    let q_stride = n_heads * head_dim;
    let rows = q.len() / q_stride.max(1);
    let keys = position + rows;
    let parts = keys.div_ceil(PART).clamp(1, PARTS);
    // Of each part and head: the largest score, the sum of weights, and the weighted sum of values.
    let each = head_dim + 2;
    let own = rows * group * each;
    let mut sums = vec![0.0; parts * n_kv_heads * own];
    let grain = WORTH / (keys / parts * head_dim * (rows * group + 1)).max(1) + 1;
    threads.for_rows(&mut sums, own, grain, |first, sums| {
        let mut keys_of_tile = vec![0.0f32; TILE * head_dim];
        let mut values_of_tile = vec![0.0f32; TILE * head_dim];
        for (unit, sums) in (first..).zip(sums.chunks_exact_mut(own.max(1))) {
            let (kv_head, part) = (unit / parts, unit % parts);
            sums.iter_mut().step_by(each).for_each(|largest| *largest = f32::NEG_INFINITY);
            let tiles = keys.div_ceil(TILE);
            for tile in tiles * part / parts..tiles * (part + 1) / parts {
                let start = tile * TILE;
                let len = TILE.min(keys - start);
                load_tile(k, shape, kv_head, start, len, &mut keys_of_tile);
                load_tile(v, shape, kv_head, start, len, &mut values_of_tile);
                for row in start.saturating_sub(position)..rows {
                    let seen = (position + row + 1 - start).min(len);
                    for head in 0..group {
                        let at = row * q_stride + (kv_head * group + head) * head_dim;
                        let sums = &mut sums[(row * group + head) * each..][..each];
                        let query = &q[at..at + head_dim];
                        accumulate(shape.scale, query, &keys_of_tile, &values_of_tile, seen, sums);
                    }
                }
            }
        }
    });
    for (i, out) in out.chunks_exact_mut(head_dim.max(1)).enumerate() {
        let (row, head) = (i / n_heads, i % n_heads);
        let of_part = |part: usize| {
            let at = (head / group * parts + part) * own + (row * group + head % group) * each;
            &sums[at..at + each]
        };
        let largest = (0..parts).map(|part| of_part(part)[0]).fold(f32::NEG_INFINITY, f32::max);
        let shrink = |part: usize| match of_part(part)[0] {
            f32::NEG_INFINITY => 0.0,
            of_part => exp(of_part - largest),
        };
        let inverse = 1.0 / (0..parts).map(|part| of_part(part)[1] * shrink(part)).sum::<f32>();
        out.fill(0.0);
        for part in 0..parts {
            let weight = shrink(part) * inverse;
            out.iter_mut().zip(&of_part(part)[2..]).for_each(|(y, x)| *y += weight * x);
        }
    }
}

/// Copies rows of one head into a tile `[len, head_dim]` of f32.
fn load_tile(rows: Rows, shape: &AttentionShape, head: usize, start: usize, len: usize, tile: &mut [f32]) {
    let d = shape.head_dim;
    for (i, to) in tile.chunks_exact_mut(d.max(1)).enumerate().take(len) {
        let at = ((start + i) * shape.n_kv_heads + head) * d;
        match rows {
            Rows::F32(rows) => to.copy_from_slice(&rows[at..at + d]),
            Rows::F16(rows) => decode_halves(&rows[at..at + d], to),
        }
    }
}

/// Adds the first `seen` rows of a tile to one query's running softmax: the largest score, the sum of weights, and the
/// weighted sum of values.
#[inline]
fn accumulate(scale: f32, query: &[f32], keys: &[f32], values: &[f32], seen: usize, sums: &mut [f32]) {
    let (state, sum) = sums.split_at_mut(2);
    let d = query.len();
    let mut scores = [f32::NEG_INFINITY; TILE];
    let (fours, rest) = scores[..seen].as_chunks_mut::<4>();
    let done = fours.len() * 4;
    for (i, four) in fours.iter_mut().enumerate() {
        *four = math::dot::<S, 4>(&keys[i * 4 * d..], query);
    }
    for (i, score) in rest.iter_mut().enumerate() {
        [*score] = math::dot::<S, 1>(&keys[(done + i) * d..], query);
    }
    scores[..seen].iter_mut().for_each(|score| *score *= scale);
    let largest = state[0].max(math::largest::<S>(&scores));
    let top = S::splat(largest);
    math::map::<S>(&mut scores, |score| math::exp_negative::<S>(S::sub(score, top)));
    let shrink = if state[0] == f32::NEG_INFINITY { 0.0 } else { exp(state[0] - largest) };
    (state[0], state[1]) = (largest, state[1] * shrink + math::sum::<S>(&scores, |x| x));
    weighted_sum(shrink, &scores[..seen], values, sum);
}

/// `sum = shrink · sum + Σ weights[i] · values[i, ·]`.
fn weighted_sum(shrink: f32, weights: &[f32], values: &[f32], sum: &mut [f32]) {
    let d = sum.len();
    let mut at = 0;
    while d - at >= 16 {
        columns::<4>(shrink, weights, &values[at..], d, &mut sum[at..]);
        at += 16;
    }
    while d - at >= 4 {
        columns::<1>(shrink, weights, &values[at..], d, &mut sum[at..]);
        at += 4;
    }
    for (i, x) in sum.iter_mut().enumerate().skip(at) {
        let added: f32 = weights.iter().zip(values[i..].iter().step_by(d)).map(|(w, v)| w * v).sum();
        *x = *x * shrink + added;
    }
}

/// The first `4 · V` columns of [`weighted_sum`], whose rows are `d` apart; few columns would wait for each addition.
#[inline(always)]
fn columns<const V: usize>(shrink: f32, weights: &[f32], values: &[f32], d: usize, sum: &mut [f32]) {
    let (sum, _) = sum.as_chunks_mut::<4>();
    let mut totals: [_; V] = std::array::from_fn(|v| S::mul(S::load(&sum[v]), S::splat(shrink)));
    for (i, weight) in weights.iter().enumerate() {
        let (row, _) = values[i * d..][..4 * V].as_chunks::<4>();
        let weight = S::splat(*weight);
        for (total, value) in totals.iter_mut().zip(row) {
            *total = S::mul_add(weight, S::load(value), *total);
        }
    }
    totals.into_iter().zip(sum).for_each(|(total, sum)| S::store(total, sum));
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

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
            attention(Threads::single(), &shape, &q, [Rows::F32(&k), Rows::F32(&v)], position, &mut out)
                .unwrap();
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
            let cache = [Rows::F16(&k16), Rows::F16(&v16)];
            attention(Threads::single(), &shape, &q, cache, position, &mut out).unwrap();
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
