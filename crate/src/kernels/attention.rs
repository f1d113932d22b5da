//! Causal attention over a cache, one query head at a time, with an online softmax: keys are read in tiles of 32; each
//! tile's scores shift the running maximum, and what is accumulated is scaled to it. Keys are cut into parts at fixed
//! places, whose results are then weighed against each other in order. So what becomes of a query does not depend on which
//! others come with it, and a prompt that is partly in the cache already gives the same answer.

use super::math::{self, exp_scalar as exp};
use super::simd::{Best as S, Simd};
use super::threads::{Places, Threads};
use half::f16;
use std::ops::Range;

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

/// The elements of cached keys, or of values.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Rows<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
}

/// Queries from which on these are shared out among threads; the parts of the keys of fewer are.
const MANY: usize = 4;
/// Queries that go together.
const TOGETHER: usize = 32;
/// Queries of a tile that are computed at once, so that no addition waits for the one before.
const ABREAST: usize = 3;
/// Keys that are read together.
const TILE: usize = 32;
/// Keys of a part.
const PART: usize = 2 * TILE;
/// Multiplications that are worth handing to another thread: some microseconds.
const WORTH: usize = 1 << 14;

/// `out[i] = softmax(scale · q[i] · kᵀ) · v` over the rows `0..=position + i` of the cache, whose keys and values are
/// each `[context, n_kv_heads · head_dim]`. `q` and `out` are `[s, n_heads · head_dim]`.
pub fn attention(
    threads: Threads,
    shape: &AttentionShape,
    q: &[f32],
    cache: [Rows; 2],
    position: usize,
    out: &mut [f32],
) {
    let AttentionShape { n_heads, n_kv_heads, head_dim, .. } = *shape;
    let group = n_heads / n_kv_heads.max(1);
    let rows = q.len() / (n_heads * head_dim).max(1);
    let work = Causal { shape, q, cache, position, keys: position + rows };
    let parts = work.keys.div_ceil(PART);
    // Of a query and a head: the largest score, the sum of weights, and the weighted sum of values.
    let each = head_dim + 2;
    let out = Places::new(out);
    let finish = |row: usize, head: usize, total: &[f32]| {
        let at = (row * n_heads + head) * head_dim;
        // SAFETY: each query of a head is finished once.
        let out = unsafe { out.range(at..at + head_dim) };
        let inverse = 1.0 / total[1];
        out.iter_mut().zip(&total[2..]).for_each(|(y, x)| *y = x * inverse);
    };
    if rows < MANY {
        let own = rows * group * each;
        let mut sums = vec![0.0; parts * n_kv_heads * own];
        let grain = WORTH / (PART * head_dim * (rows * group + 1)).max(1) + 1;
        threads.for_rows(&mut sums, own, grain, |first, sums| {
            let mut tiles = work.tiles();
            for (unit, sums) in (first..).zip(sums.chunks_exact_mut(own.max(1))) {
                work.part(&mut tiles, unit / parts, 0..rows, unit % parts, sums);
            }
        });
        for (head, row) in (0..n_heads).flat_map(|head| (0..rows).map(move |row| (head, row))) {
            let of_part =
                |part: usize| (head / group * parts + part) * own + (row * group + head % group) * each;
            let (total, later) = sums[of_part(0)..].split_at_mut(each);
            for part in 1..parts {
                merge(total, &later[of_part(part) - of_part(0) - each..][..each]);
            }
            finish(row, head, total);
        }
        return;
    }
    let blocks = rows.div_ceil(TOGETHER);
    let grain = WORTH / (TOGETHER * group * work.keys * head_dim).max(1) + 1;
    threads.for_each(n_kv_heads * blocks, grain, |units| {
        let mut tiles = work.tiles();
        let (mut totals, mut sums) = (Vec::new(), Vec::new());
        for unit in units {
            let (kv_head, first) = (unit / blocks, unit % blocks * TOGETHER);
            let block = first..rows.min(first + TOGETHER);
            let own = block.len() * group * each;
            totals.resize(own, 0.0);
            sums.resize(own, 0.0);
            work.part(&mut tiles, kv_head, block.clone(), 0, &mut totals);
            for part in 1..(position + block.end).div_ceil(PART) {
                work.part(&mut tiles, kv_head, block.clone(), part, &mut sums);
                totals.chunks_exact_mut(each).zip(sums.chunks_exact(each)).for_each(|(a, b)| merge(a, b));
            }
            for (i, total) in totals.chunks_exact(each).enumerate() {
                finish(first + i / group, kv_head * group + i % group, total);
            }
        }
    });
}

/// Takes the sums of a later part into those of earlier ones.
fn merge(total: &mut [f32], part: &[f32]) {
    if part[0] == f32::NEG_INFINITY {
        return;
    }
    let largest = total[0].max(part[0]);
    let (of_total, of_part) = (exp(total[0] - largest), exp(part[0] - largest));
    total[0] = largest;
    total[1..].iter_mut().zip(&part[1..]).for_each(|(a, b)| *a = *a * of_total + b * of_part);
}

/// What an attention reads.
struct Causal<'a> {
    shape: &'a AttentionShape,
    q: &'a [f32],
    cache: [Rows<'a>; 2],
    position: usize,
    keys: usize,
}

impl Causal<'_> {
    /// Room for a tile of keys and one of values.
    fn tiles(&self) -> [Vec<f32>; 2] {
        [0; 2].map(|_| vec![0.0; TILE * self.shape.head_dim])
    }

    /// The sums of some queries of the heads that one head of keys serves, over one part of the keys:
    /// `[queries][group][head_dim + 2]`.
    fn part(
        &self,
        tiles: &mut [Vec<f32>; 2],
        kv_head: usize,
        queries: Range<usize>,
        part: usize,
        sums: &mut [f32],
    ) {
        let AttentionShape { n_heads, n_kv_heads, head_dim, scale } = *self.shape;
        let (group, each) = (n_heads / n_kv_heads.max(1), head_dim + 2);
        sums.fill(0.0);
        sums.iter_mut().step_by(each).for_each(|largest| *largest = f32::NEG_INFINITY);
        for start in (part * PART..self.keys.min((part + 1) * PART)).step_by(TILE) {
            let len = TILE.min(self.keys - start);
            for (rows, tile) in self.cache.iter().zip(tiles.iter_mut()) {
                load_tile(*rows, self.shape, kv_head, start, len, tile);
            }
            let [keys, values] = &*tiles;
            let of_query = |i: usize| {
                let (row, head) = (queries.start + i / group, kv_head * group + i % group);
                let seen = (self.position + row + 1 - start).min(len);
                (&self.q[(row * n_heads + head) * head_dim..][..head_dim], seen)
            };
            let first_row = queries.end.min(queries.start.max(start.saturating_sub(self.position)));
            let first = (first_row - queries.start) * group;
            for (i, sums) in sums[first * each..].chunks_mut(ABREAST * each).enumerate() {
                let i = first + i * ABREAST;
                match sums.len() / each {
                    3 => accumulate(scale, [0, 1, 2].map(|j| of_query(i + j)), keys, values, sums),
                    2 => accumulate(scale, [0, 1].map(|j| of_query(i + j)), keys, values, sums),
                    _ => accumulate(scale, [of_query(i)], keys, values, sums),
                }
            }
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

/// f16 to f32 by moving the bits and multiplying by 2^112, which also decodes subnormals; infinities do not matter here.
fn decode_halves(from: &[f16], to: &mut [f32]) {
    let decode = |bits: &[i16; 4]| {
        // The sign is extended to where it belongs, and its copies are masked away.
        let moved = S::shift_left(S::widen_i16(bits), 13);
        let kept = S::and(moved, S::splat_i32(0x8fff_e000_u32.cast_signed()));
        S::mul(S::from_bits(kept), S::splat(f32::from_bits(0x7780_0000)))
    };
    let (vectors, rest) = to.as_chunks_mut::<4>();
    let (halves, last) = bytemuck::cast_slice::<f16, i16>(from).as_chunks::<4>();
    for (to, from) in vectors.iter_mut().zip(halves) {
        S::store(decode(from), to);
    }
    let (mut four, mut floats) = ([0; 4], [0.0; 4]);
    let n = rest.len().min(last.len());
    four[..n].copy_from_slice(&last[..n]);
    S::store(decode(&four), &mut floats);
    rest[..n].copy_from_slice(&floats[..n]);
}

/// Adds the rows of a tile that each of `H` queries sees to its running softmax: the largest score, the sum of weights,
/// and the weighted sum of values. What becomes of a query is the same in any company.
#[inline(always)]
fn accumulate<const H: usize>(
    scale: f32,
    queries: [(&[f32], usize); H],
    keys: &[f32],
    values: &[f32],
    sums: &mut [f32],
) {
    let each = sums.len() / H;
    let seen = queries.map(|(_, seen)| seen);
    let most = seen.into_iter().fold(0, usize::max);
    let mut scores = [[f32::NEG_INFINITY; TILE]; H];
    dots(queries.map(|(query, _)| query), keys, most, &mut scores);
    let mut shrink = [0.0; H];
    for (h, (scores, sums)) in scores.iter_mut().zip(sums.chunks_exact_mut(each)).enumerate() {
        scores[..seen[h]].iter_mut().for_each(|score| *score *= scale);
        scores[seen[h]..].fill(f32::NEG_INFINITY);
        let largest = sums[0].max(math::largest::<S>(scores));
        let top = S::splat(largest);
        math::map::<S>(scores, |score| math::exp_negative::<S>(S::sub(score, top)));
        shrink[h] = if sums[0] == f32::NEG_INFINITY { 0.0 } else { exp(sums[0] - largest) };
        (sums[0], sums[1]) = (largest, sums[1] * shrink[h] + math::sum::<S>(scores, |x| x));
    }
    weighted_sums(shrink, &scores, most, values, sums);
}

/// The products of queries with the first `n` rows of a tile, and perhaps up to three more.
#[inline(always)]
fn dots<const H: usize>(queries: [&[f32]; H], keys: &[f32], n: usize, scores: &mut [[f32; TILE]; H]) {
    let d = queries[0].len();
    let split = queries.map(|query| query[..d].as_chunks::<4>());
    for first in (0..n).step_by(4) {
        let rows: [_; 4] = std::array::from_fn(|i| keys[(first + i) * d..][..d].as_chunks::<4>());
        let mut totals = [[S::splat(0.0); 4]; H];
        for i in 0..d / 4 {
            let row = rows.map(|(vectors, _)| S::load(&vectors[i]));
            for (totals, (query, _)) in totals.iter_mut().zip(&split) {
                let query = S::load(&query[i]);
                totals.iter_mut().zip(row).for_each(|(total, row)| *total = S::mul_add(row, query, *total));
            }
        }
        for ((scores, totals), (_, rest)) in scores.iter_mut().zip(totals).zip(&split) {
            for ((score, total), (_, row)) in scores[first..].iter_mut().zip(totals).zip(&rows) {
                let mut lanes = [0.0; 4];
                S::store(total, &mut lanes);
                let [a, b, c, d] = lanes;
                *score = (a + b) + (c + d) + rest.iter().zip(*row).map(|(q, k)| q * k).sum::<f32>();
            }
        }
    }
}

/// `sums[h] = shrink[h] · sums[h] + Σ weights[h][i] · values[i, ·]`, of the first `n` rows; a sum comes after two numbers.
#[inline(always)]
fn weighted_sums<const H: usize>(
    shrink: [f32; H],
    weights: &[[f32; TILE]; H],
    n: usize,
    values: &[f32],
    sums: &mut [f32],
) {
    let each = sums.len() / H;
    let d = each - 2;
    let mut at = 0;
    while d - at >= 16 && H == 1 {
        columns::<4, H>(shrink, weights, n, (values, d), sums, at);
        at += 16;
    }
    while d - at >= 8 {
        columns::<2, H>(shrink, weights, n, (values, d), sums, at);
        at += 8;
    }
    while d - at >= 4 {
        columns::<1, H>(shrink, weights, n, (values, d), sums, at);
        at += 4;
    }
    for h in 0..H {
        for (i, x) in sums[h * each..][2..each].iter_mut().enumerate().skip(at) {
            let values = values[i..].iter().step_by(d);
            let added: f32 = weights[h][..n].iter().zip(values).map(|(w, v)| w * v).sum();
            *x = *x * shrink[h] + added;
        }
    }
}

/// `4 · V` columns of [`weighted_sums`], from column `at` on.
#[inline(always)]
fn columns<const V: usize, const H: usize>(
    shrink: [f32; H],
    weights: &[[f32; TILE]; H],
    n: usize,
    (values, d): (&[f32], usize),
    sums: &mut [f32],
    at: usize,
) {
    let each = d + 2;
    let mut totals: [[_; V]; H] = std::array::from_fn(|h| {
        let (vectors, _) = sums[h * each + 2 + at..][..4 * V].as_chunks::<4>();
        std::array::from_fn(|v| S::mul(S::load(&vectors[v]), S::splat(shrink[h])))
    });
    for i in 0..n {
        let (row, _) = values[i * d + at..][..4 * V].as_chunks::<4>();
        let row: [_; V] = std::array::from_fn(|v| S::load(&row[v]));
        for (totals, weights) in totals.iter_mut().zip(weights) {
            let weight = S::splat(weights[i]);
            totals.iter_mut().zip(row).for_each(|(total, value)| *total = S::mul_add(weight, value, *total));
        }
    }
    for (h, totals) in totals.into_iter().enumerate() {
        let (vectors, _) = sums[h * each + 2 + at..][..4 * V].as_chunks_mut::<4>();
        totals.into_iter().zip(vectors).for_each(|(total, sum)| S::store(total, sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::threads::pool;

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
            attention(Threads::single(), &shape, &q, [Rows::F32(&k), Rows::F32(&v)], position, &mut out);
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
            attention(Threads::single(), &shape, &q, cache, position, &mut out);
            let error = out.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-5);
        }
    }

    #[test]
    fn a_query_does_not_see_who_comes_with_it() {
        let shape = AttentionShape { n_heads: 6, n_kv_heads: 2, head_dim: 20, scale: 0.3 };
        let (rows, stride) = (150, 120);
        let (q, k, v) = (noise(rows * stride, 1), noise(rows * 40, 2), noise(rows * 40, 3));
        let cache = [Rows::F32(&k), Rows::F32(&v)];
        let mut all = vec![f32::NAN; q.len()];
        attention(Threads::single(), &shape, &q, cache, 0, &mut all);
        for (first, n) in [(149, 1), (140, 3), (131, 7), (60, 90), (1, 40)] {
            let own = first * stride..(first + n) * stride;
            let mut some = vec![f32::NAN; n * stride];
            attention(pool(), &shape, &q[own.clone()], cache, first, &mut some);
            assert_eq!(some, all[own], "{n} queries from {first} on");
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
