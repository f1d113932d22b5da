//! Few queries, as an answer is written. A key is multiplied along the head with each query, values are added key by key;
//! threads share the parts of the keys of each head.

use super::{BEFORE, LEAST, PART, Rows, WEIGHTS, lanes, largest_of};
use crate::kernels::attention::{Causal, WORTH};
use crate::kernels::math;
use crate::kernels::scratch::scratch;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::{Places, Threads};
use std::array::from_fn;
use std::hint::black_box;

/// Queries that meet a key at once.
const TOGETHER: usize = 4;
/// Elements of a vector of levels.
const STEP: usize = 8;
/// Bytes of a line of the cache of the processor.
const LINE: usize = 64;

/// A vector of levels.
type Vector = [i16; STEP];

/// What a thread works in.
struct Room {
    /// Of keys and values.
    scales: [[f32; PART]; 2],
    scores: [[f32; PART]; TOGETHER],
    weights: [[i16; PART]; TOGETHER],
}

impl Causal<'_, i16> {
    /// All queries.
    pub(super) fn few(&self, threads: Threads, out: &Places<f32>) {
        let (d, kv_heads) = (self.shape.head_dim, self.shape.n_kv_heads);
        let lanes = self.rows * self.group();
        let (queries, factors) = self.queries();
        let (vectors, each) = (d.div_ceil(STEP), d + BEFORE);
        let parts = (self.position + self.rows).div_ceil(PART);
        let of_head = parts * lanes * each;
        scratch(kv_heads * of_head, |sums| {
            let grain = WORTH / (PART * d * (lanes + 2)).max(1) + 1;
            threads.for_rows(sums, lanes * each, grain, |first, sums| {
                let mut room = Room {
                    scales: [[0.0; PART]; 2],
                    scores: [[0.0; PART]; TOGETHER],
                    weights: [[0; PART]; TOGETHER],
                };
                for (unit, sums) in (first..).zip(sums.chunks_exact_mut((lanes * each).max(1))) {
                    let (head, part) = (unit / parts, unit % parts);
                    let queries = &queries[head * lanes * vectors..][..lanes * vectors];
                    self.part(&mut room, head, part, queries, &factors[head * lanes..][..lanes], sums);
                }
            });
            let grain = WORTH / (parts * d).max(1) + 1;
            threads.for_each(kv_heads * lanes, grain, |queries| {
                for query in queries {
                    let place = self.place(query / lanes, query % lanes);
                    let sums = &sums[query / lanes * of_head..][..of_head];
                    let of_parts =
                        sums.chunks_exact(lanes * each).map(|sums| &sums[query % lanes * each..][..each]);
                    // SAFETY: each query of a head is finished once.
                    let out = unsafe { out.range(place..place + d) };
                    merge(of_parts, out);
                }
            });
        });
    }

    /// Levels, and what one counts for. Of those that meet a key at once the same vectors lie together.
    fn queries(&self) -> (Vec<Vector>, Vec<f32>) {
        let (d, lanes) = (self.shape.head_dim, self.rows * self.group());
        let (total, vectors) = (self.shape.n_kv_heads * lanes, d.div_ceil(STEP));
        let mut queries = vec![[0; STEP]; total * vectors];
        let mut levels = vec![[0; STEP]; vectors];
        let factors = (0..total).map(|query| {
            let x = &self.q[self.place(query / lanes, query % lanes)..][..d];
            let factor = self.query(x, &mut levels.as_flattened_mut()[..d]);
            let first = query - query % lanes % TOGETHER;
            let together = TOGETHER.min(lanes - first % lanes);
            let to = queries[first * vectors + query - first..].iter_mut().step_by(together);
            to.zip(&levels).for_each(|(to, levels)| *to = *levels);
            factor
        });
        let factors = factors.collect();
        (queries, factors)
    }

    /// The sums `[queries][2 + head_dim]` of a head of keys over one part of these.
    fn part(
        &self,
        room: &mut Room,
        head: usize,
        part: usize,
        queries: &[Vector],
        factors: &[f32],
        sums: &mut [f32],
    ) {
        let d = self.shape.head_dim;
        let (vectors, each) = (d.div_ceil(STEP), d + BEFORE);
        let start = part * PART;
        let len = PART.min(self.position + self.rows - start);
        let [keys, values] = self.head(head, start);
        // Many lines are on their way together; what computes with values row by row would wait for one after the other.
        black_box(ask_for(&values.rows[..len * values.stride()]));
        [keys, values].iter().zip(&mut room.scales).for_each(|(of, scales)| of.scales(len, scales));
        let queries = queries.chunks(TOGETHER * vectors).zip(factors.chunks(TOGETHER));
        for (i, ((queries, factors), sums)) in queries.zip(sums.chunks_mut(TOGETHER * each)).enumerate() {
            let scores = &mut room.scores[..factors.len()];
            match factors.len() {
                4 => products::<4>(&keys, len, queries, scores),
                3 => products::<3>(&keys, len, queries, scores),
                2 => products::<2>(&keys, len, queries, scores),
                _ => products::<1>(&keys, len, queries, scores),
            }
            let mut counts = [0.0; TOGETHER];
            for (q, (scores, weights)) in scores.iter_mut().zip(&mut room.weights).enumerate() {
                let row = (i * TOGETHER + q) / self.group();
                let seen = (self.position + row + 1).saturating_sub(start).min(len);
                let scores = &mut scores[..len.next_multiple_of(STEP)];
                let of = softmax(scores, seen, factors[q], &room.scales, weights);
                [sums[q * each], sums[q * each + 1], counts[q]] = of;
            }
            match factors.len() {
                4 => weighted::<4>(&values, len, &room.weights, &counts, sums),
                3 => weighted::<3>(&values, len, &room.weights, &counts, sums),
                2 => weighted::<2>(&values, len, &room.weights, &counts, sums),
                _ => weighted::<1>(&values, len, &room.weights, &counts, sums),
            }
        }
    }
}

/// Reads a byte of each line, and nothing else.
#[inline(always)]
fn ask_for(from: &[i16]) -> u8 {
    let bytes: &[u8] = bytemuck::cast_slice(from);
    bytes.iter().step_by(LINE).chain(bytes.last()).fold(0, |x, byte| x ^ byte)
}

/// The products of keys and `Q` queries. (A call of its own, as are the next two: inlined, they would take each other's registers.)
#[inline(never)]
fn products<const Q: usize>(keys: &Rows, len: usize, queries: &[Vector], scores: &mut [[f32; PART]]) {
    let (queries, _) = queries.as_chunks::<Q>();
    for first in (0..len).step_by(4) {
        let mut totals = [[S::zero_i(); 4]; Q];
        // Two keys at a time leave room for all in registers.
        for pair in [0, 2] {
            // Past the last, there is the last again: no query sees that.
            let keys = [0, 1].map(|i| keys.levels((first + pair + i).min(len - 1)).as_chunks::<STEP>());
            let mut sums = [[S::zero_i(); 2]; Q];
            let mut add = |queries: &[Vector; Q], keys: [&Vector; 2]| {
                let keys = keys.map(|key| S::load_i(bytemuck::cast_ref(key)));
                for (sums, query) in sums.iter_mut().zip(queries) {
                    let query = S::load_i(bytemuck::cast_ref(query));
                    for (sum, key) in sums.iter_mut().zip(keys) {
                        *sum = S::dot_pairs(*sum, key, query);
                    }
                }
            };
            let [(a, a_rest), (b, b_rest)] = keys;
            queries.iter().zip(a).zip(b).for_each(|((queries, a), b)| add(queries, [a, b]));
            if let (Some(queries), false) = (queries.get(a.len()), a_rest.is_empty()) {
                add(queries, [&rest(a_rest), &rest(b_rest)]);
            }
            totals
                .iter_mut()
                .zip(sums)
                .for_each(|(totals, sums)| totals[pair..pair + 2].copy_from_slice(&sums));
        }
        for (scores, [a, b, c, d]) in scores.iter_mut().zip(totals) {
            let sums = S::add_neighbours(S::add_neighbours(a, b), S::add_neighbours(c, d));
            S::store(S::to_f32(sums), &mut scores.as_chunks_mut().0[first / 4]);
        }
    }
}

/// Fewer levels than a vector, and zeros.
fn rest(from: &[i16]) -> Vector {
    let mut vector = [0; STEP];
    vector[..from.len()].copy_from_slice(from);
    vector
}

/// The exponent that the weights of some products are taken from, their sum, and what a level of a weight counts for. Writes levels
/// of the weights, each multiplied with the scale of its value.
#[inline(never)]
fn softmax(
    products: &mut [f32],
    seen: usize,
    factor: f32,
    [keys, values]: &[[f32; PART]; 2],
    levels: &mut [i16; PART],
) -> [f32; 3] {
    let (fours, _) = products.as_chunks_mut::<4>();
    for (x, scale) in fours.iter_mut().zip(keys.as_chunks().0) {
        S::store(S::mul(S::mul(S::load(x), S::load(scale)), S::splat(factor)), x);
    }
    products[seen..].fill(f32::NEG_INFINITY);
    let top = math::largest::<S>(products).max(-f32::MAX).ceil();
    let (mut sum, mut most) = (S::splat(0.0), S::splat(0.0));
    let exp2 = math::exp2_negative::<S>();
    for (x, scale) in products.as_chunks_mut().0.iter_mut().zip(values.as_chunks().0) {
        let weights = exp2(S::sub(S::load(x), S::splat(top)));
        sum = S::add(sum, weights);
        let scaled = S::mul(weights, S::load(scale));
        most = S::max(most, scaled);
        S::store(scaled, x);
    }
    let most = largest_of(lanes(most).into_iter());
    let inverse = S::splat(if most > LEAST { WEIGHTS / most } else { 0.0 });
    for (to, x) in levels.as_chunks_mut::<STEP>().0.iter_mut().zip(products.as_chunks::<STEP>().0) {
        let (x, _) = x.as_chunks::<4>();
        let whole = from_fn(|i| S::nearest(S::mul(S::load(&x[i]), inverse)));
        S::store_i(S::to_i16(whole), bytemuck::cast_mut(to));
    }
    let [a, b, c, d] = lanes(sum);
    [top, (a + c) + (b + d), most / WEIGHTS]
}

/// The sums of values by the weights of `Q` queries, a level of which counts for so much.
#[inline(never)]
fn weighted<const Q: usize>(
    values: &Rows,
    len: usize,
    weights: &[[i16; PART]],
    counts: &[f32],
    sums: &mut [f32],
) {
    let each = sums.len() / Q;
    let (d, stride) = (values.head_dim, values.stride());
    let weights: [_; Q] = from_fn(|q| weights[q].as_chunks::<2>().0);
    for at in (0..d).step_by(STEP) {
        let mut totals = [[S::zero_i(); 2]; Q];
        let mut add = |pair: usize, [a, b]: [&Vector; 2]| {
            let pairs = S::pair_up(S::load_i(bytemuck::cast_ref(a)), S::load_i(bytemuck::cast_ref(b)));
            for (totals, weights) in totals.iter_mut().zip(weights) {
                let weights = S::splat_4(bytemuck::cast_ref(&weights[pair]));
                for (total, pair) in totals.iter_mut().zip(pairs) {
                    *total = S::dot_pairs(*total, pair, weights);
                }
            }
        };
        if at + STEP <= d {
            let from = &values.rows[at..(len - 1) * stride + at + STEP];
            // SAFETY: row `i` below `len` begins at `i · stride`, and its first `STEP` elements lie in the slice.
            let row = |i: usize| unsafe { &*from.as_ptr().add(i * stride).cast::<Vector>() };
            for pair in 0..len / 2 {
                add(pair, [row(2 * pair), row(2 * pair + 1)]);
            }
            if !len.is_multiple_of(2) {
                add(len / 2, [row(len - 1); 2]);
            }
        } else {
            for pair in 0..len.div_ceil(2) {
                let row = |i| if i < len { rest(&values.levels(i)[at..]) } else { [0; STEP] };
                add(pair, [&row(2 * pair), &row(2 * pair + 1)]);
            }
        }
        for (q, (totals, count)) in totals.into_iter().zip(counts).enumerate() {
            let mut eight = [0.0; STEP];
            let (fours, _) = eight.as_chunks_mut();
            let scaled = totals.map(|x| S::mul(S::to_f32(x), S::splat(*count)));
            fours.iter_mut().zip(scaled).for_each(|(four, x)| S::store(x, four));
            let to = &mut sums[q * each + BEFORE..(q + 1) * each][at..];
            match to.first_chunk_mut() {
                Some(to) => *to = eight,
                None => to.copy_from_slice(&eight[..to.len()]),
            }
        }
    }
}

/// Weighs the sums of all parts against each other, and divides.
#[inline(always)]
fn merge<'a>(parts: impl Iterator<Item = &'a [f32]> + Clone, out: &mut [f32]) {
    let top = parts.clone().fold(-f32::MAX, |top, part| top.max(part[0]));
    let mut total = 0.0;
    out.fill(0.0);
    for part in parts {
        let share = math::exp2_whole::<S>(S::splat(part[0] - top));
        total += part[1] * lanes(share)[0];
        math::zip::<S>(out, &part[BEFORE..], |sum, x| S::mul_add(x, share, sum));
    }
    let inverse = S::splat(1.0 / total);
    math::map::<S>(out, |x| S::mul(x, inverse));
}
