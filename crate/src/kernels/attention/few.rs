//! Few queries, as an answer is written: keys and values are read once, in order, for all heads, as what fetches memory ahead
//! likes it. A key is multiplied lane by lane with a query; threads share the parts of the keys, and where those are few, the
//! heads of each.

use super::{Causal, Element, LOWEST, PART, WORTH, rest, shares, weigh};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::{Places, Threads};
use std::array::from_fn;
use std::hint::black_box;
use std::ops::Range;

/// Keys that are read at once.
const KEYS: usize = 4;
/// Bytes of a line of the cache.
const LINE: usize = 64;
/// Parts for each thread from which on threads share the parts alone.
const FEW: usize = 4;

impl<T: Element> Causal<'_, T> {
    /// All queries.
    pub(super) fn few(&self, threads: Threads, out: &Places<f32>) {
        let (d, rows, n_heads) = (self.shape.head_dim, self.rows, self.shape.n_heads);
        // The queries that one head of keys serves lie together.
        let lanes = rows * self.group();
        let place = |query: usize| {
            let (kv_head, lane) = (query / lanes, query % lanes);
            (lane / self.group() * n_heads + kv_head * self.group() + lane % self.group()) * d
        };
        let kv_heads = self.shape.n_kv_heads;
        let total = kv_heads * lanes;
        let mut queries = vec![0.0; total * d];
        for (query, to) in queries.chunks_exact_mut(d.max(1)).enumerate() {
            let from = &self.q[place(query)..][..d];
            to.iter_mut().zip(from).for_each(|(to, q)| *to = q * self.shape.scale);
        }
        // Of a query: the largest score, the sum of weights, and the weighted sum of values.
        let each = d + 2;
        let parts = (self.position + rows).div_ceil(PART);
        let mut sums = vec![0.0; parts * total * each];
        let few = threads.count() > 1 && parts < FEW * threads.count();
        let heads = if few { 1 } else { kv_heads };
        let grain = WORTH / (PART * d * heads * (lanes + 2)).max(1) + 1;
        threads.for_rows(&mut sums, heads * lanes * each, grain, |first, sums| {
            let mut scores = vec![[0.0; PART]; heads * lanes];
            let mut read = vec![0.0; KEYS * heads * d];
            for (unit, sums) in (first..).zip(sums.chunks_exact_mut((heads * lanes * each).max(1))) {
                let (part, head) = (unit * heads / kv_heads, unit * heads % kv_heads);
                let queries = &queries[head * lanes * d..][..heads * lanes * d];
                self.part(part, head..head + heads, queries, &mut scores, &mut read, sums);
            }
        });
        let (first, later) = sums.split_at_mut(total * each);
        for (query, first) in first.chunks_exact_mut(each).enumerate() {
            for later in later.chunks_exact(total * each) {
                merge(first, &later[query * each..][..each]);
            }
            // SAFETY: each query of a head is finished once.
            let out = unsafe { out.range(place(query)..place(query) + d) };
            let inverse = 1.0 / first[1];
            out.iter_mut().zip(&first[2..]).for_each(|(y, x)| *y = x * inverse);
        }
    }

    /// The sums `[queries][2 + head_dim]` of some heads of keys over one part of these.
    fn part(
        &self,
        part: usize,
        heads: Range<usize>,
        queries: &[f32],
        scores: &mut [[f32; PART]],
        read: &mut [f32],
        sums: &mut [f32],
    ) {
        let d = self.shape.head_dim;
        let (lanes, each) = (self.rows * self.group(), d + 2);
        let start = part * PART;
        let len = PART.min(self.position + self.rows - start);
        let (stride, row) = (self.shape.n_kv_heads * d, heads.len() * d);
        let (skipped, heads) = (heads.start * d, heads.len());
        if row < stride {
            for of in self.cache {
                let keys = of[start * stride..][..len * stride].chunks_exact(stride);
                black_box(keys.fold(0, |x, key| x ^ ask_for(&key[skipped..][..row])));
            }
        }
        // Past the last, there is what was read before: no query sees that.
        let next = |of: &[T], first: usize, read: &mut [f32]| {
            let from = &of[(start + first) * stride..][..KEYS.min(len - first) * stride];
            for (from, read) in from.chunks_exact(stride.max(1)).zip(read.chunks_exact_mut(row.max(1))) {
                T::decode(&from[skipped..][..row], read);
            }
        };
        for first in (0..len).step_by(KEYS) {
            next(self.cache[0], first, read);
            for head in 0..heads {
                let keys = from_fn(|i| &read[i * row + head * d..][..d]);
                let queries = queries[head * lanes * d..][..lanes * d].chunks(4 * d);
                for (queries, scores) in queries.zip(scores[head * lanes..][..lanes].chunks_mut(4)) {
                    match scores.len() {
                        4 => dots::<4>(keys, queries, first, scores),
                        3 => dots::<3>(keys, queries, first, scores),
                        2 => dots::<2>(keys, queries, first, scores),
                        _ => dots::<1>(keys, queries, first, scores),
                    }
                }
            }
        }
        for (query, (scores, sums)) in scores.iter_mut().zip(sums.chunks_exact_mut(each)).enumerate() {
            let row = query % lanes / self.group();
            scores[(self.position + row + 1).saturating_sub(start).min(len)..].fill(f32::NEG_INFINITY);
            (sums[0], sums[1]) = softmax(scores);
            sums[2..].fill(0.0);
        }
        for first in (0..len).step_by(KEYS) {
            next(self.cache[1], first, read);
            for head in 0..heads {
                let values = from_fn(|i| &read[i * row + head * d..][..d]);
                let sums = sums[head * lanes * each..][..lanes * each].chunks_mut(4 * each);
                for (scores, sums) in scores[head * lanes..][..lanes].chunks(4).zip(sums) {
                    match scores.len() {
                        4 => add::<4>(values, scores, first, sums),
                        3 => add::<3>(values, scores, first, sums),
                        2 => add::<2>(values, scores, first, sums),
                        _ => add::<1>(values, scores, first, sums),
                    }
                }
            }
        }
    }
}

/// Reads a byte of each line of the cache, and nothing else. So many lines are on their way together; what computes with rows
/// that lie apart would wait for one after the other.
#[inline(always)]
fn ask_for<T: Element>(from: &[T]) -> u8 {
    let bytes: &[u8] = bytemuck::cast_slice(from);
    bytes.iter().step_by(LINE).chain(bytes.last()).fold(0, |x, byte| x ^ byte)
}

/// The products of `Q` queries with four keys, to be their scores from `first` on.
#[inline(always)]
fn dots<const Q: usize>(keys: [&[f32]; KEYS], queries: &[f32], first: usize, scores: &mut [[f32; PART]]) {
    let d = keys[0].len();
    let queries: [_; Q] = from_fn(|q| queries[q * d..][..d].as_chunks::<4>());
    let mut totals = [[S::splat(0.0); KEYS]; Q];
    // Two keys at a time leave room for all in registers.
    for pair in [0, 2] {
        let keys: [_; 2] = from_fn(|k| keys[pair + k][..d].as_chunks::<4>());
        let mut sums = [[S::splat(0.0); 2]; Q];
        for i in 0..d / 4 {
            let queries: [_; Q] = from_fn(|q| S::load(&queries[q].0[i]));
            for (k, (key, _)) in keys.iter().enumerate() {
                let key = S::load(&key[i]);
                for (sums, query) in sums.iter_mut().zip(queries) {
                    sums[k] = S::mul_add(key, query, sums[k]);
                }
            }
        }
        for (totals, sums) in totals.iter_mut().zip(sums) {
            totals[pair..pair + 2].copy_from_slice(&sums);
        }
    }
    if !d.is_multiple_of(4) {
        for (totals, (_, query)) in totals.iter_mut().zip(queries) {
            for (total, key) in totals.iter_mut().zip(keys) {
                *total = S::mul_add(rest(&key[d / 4 * 4..]), rest(query), *total);
            }
        }
    }
    for (scores, totals) in scores.iter_mut().zip(totals) {
        S::store(S::sums(totals), &mut scores.as_chunks_mut().0[first / KEYS]);
    }
}

/// Makes weights of the scores of a part; gives the largest score and the sum of weights.
#[inline(always)]
fn softmax(scores: &mut [f32; PART]) -> (f32, f32) {
    let largest = math::largest::<S>(scores).max(LOWEST);
    let (top, mut sum) = (S::splat(largest), S::splat(0.0));
    for x in scores.as_chunks_mut().0 {
        let weights = math::exp_negative::<S>(S::sub(S::load(x), top));
        sum = S::add(sum, weights);
        S::store(weights, x);
    }
    let mut sums = [0.0; 4];
    S::store(S::sums([sum; 4]), &mut sums);
    (largest, sums[0])
}

/// Adds four values to the sums of `Q` queries, by their weights from `first` on.
#[inline(always)]
fn add<const Q: usize>(values: [&[f32]; KEYS], weights: &[[f32; PART]], first: usize, sums: &mut [f32]) {
    let d = values[0].len();
    let each = d + 2;
    let weights: [_; Q] = from_fn(|q| {
        let weights: &[f32; KEYS] = &weights[q].as_chunks().0[first / KEYS];
        weights.map(S::splat)
    });
    let split = values.map(|values| values[..d].as_chunks::<4>());
    for i in 0..d / 4 {
        let values = split.map(|(values, _)| S::load(&values[i]));
        for (q, weights) in weights.iter().enumerate() {
            let sum = &mut sums[q * each + 2..][..d].as_chunks_mut::<4>().0[i];
            let added = values.iter().zip(weights).fold(S::load(sum), |sum, (v, w)| S::mul_add(*v, *w, sum));
            S::store(added, sum);
        }
    }
    if !d.is_multiple_of(4) {
        let values = split.map(|(_, values)| rest(values));
        for (q, weights) in weights.iter().enumerate() {
            let sum = &mut sums[q * each + 2..][d / 4 * 4..d];
            let before = rest(sum);
            let added = values.iter().zip(weights).fold(before, |sum, (v, w)| S::mul_add(*v, *w, sum));
            let mut four = [0.0; 4];
            S::store(added, &mut four);
            sum.copy_from_slice(&four[..sum.len()]);
        }
    }
}

/// Takes the sums of a later part into those of earlier ones.
fn merge(total: &mut [f32], part: &[f32]) {
    let (of_both, largest) = shares(S::splat(total[0]), S::splat(part[0]));
    let mut four = [0.0; 4];
    S::store(largest, &mut four);
    total[0] = four[0];
    math::zip::<S>(&mut total[1..], &part[1..], |a, b| weigh(a, b, of_both));
}
