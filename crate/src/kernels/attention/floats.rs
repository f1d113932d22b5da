//! Attention over keys and values that are floats. A query of a head is a lane. Those that see the same head of keys go together
//! in panels `[head_dim][lanes]`, so that no sum crosses a vector; threads share blocks of queries.

use super::{Causal, WORTH};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::{Places, Threads};
use half::f16;
use std::array::from_fn;
use std::hint::black_box;
use std::ops::Range;

/// Keys of a part.
const PART: usize = 32;
/// What the largest score is at least; so no score is compared with minus infinity.
const LOWEST: f32 = -f32::MAX;
/// Queries whose keys are read once.
const TOGETHER: usize = 32;
/// Keys, or elements of values, that meet a line at once: eight sums, so that none waits for the one before.
const TALL: usize = 4;
/// Vectors of a line.
const WIDE: usize = 2;
/// Queries of a panel.
const LANES: usize = 4 * WIDE;

/// A number of each lane.
type Line = [[f32; 4]; WIDE];
/// A line in registers.
type Vectors = [<S as Simd>::F; WIDE];

/// What keys and values consist of.
pub(super) trait Element: bytemuck::Pod + Sync {
    /// Decodes elements into as many f32.
    fn decode(from: &[Self], to: &mut [f32]);
}

impl Element for f32 {
    fn decode(from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
}

impl Element for f16 {
    /// The bits are moved and multiplied by 2^112, which also decodes subnormals; infinities do not matter here.
    fn decode(from: &[f16], to: &mut [f32]) {
        // The sign is extended to where it belongs, and its copies are masked away. (Constants that the compiler knew V8 would
        // make anew at each use.)
        let [kept, grown] = black_box([0x8fff_e000_u32, 0x7780_0000]).map(|x| S::splat_i32(x.cast_signed()));
        let four = |from: &[f16; 4], to: &mut [f32; 4]| {
            let moved = S::shift_left(S::widen_i16(bytemuck::cast_ref(from)), 13);
            S::store(S::mul(S::from_bits(S::and(moved, kept)), S::from_bits(grown)), to);
        };
        let ((from, from_rest), (to, to_rest)) = (from.as_chunks(), to.as_chunks_mut());
        from.iter().zip(to).for_each(|(from, to)| four(from, to));
        if !from_rest.is_empty() {
            let (mut last, mut decoded) = ([f16::ZERO; 4], [0.0; 4]);
            last[..from_rest.len()].copy_from_slice(from_rest);
            four(&last, &mut decoded);
            to_rest.copy_from_slice(&decoded[..to_rest.len()]);
        }
    }
}

/// What a thread works in.
struct Room {
    /// Of one part, `[PART, head_dim]`.
    keys: Vec<f32>,
    values: Vec<f32>,
    scores: [Line; PART],
    /// Panels of queries.
    queries: Vec<Line>,
    /// Of each lane of a panel the largest score, the sum of weights, and the weighted sum of values: over all parts yet,
    /// and over one.
    totals: Vec<Line>,
    sums: Vec<Line>,
}

impl<T: Element> Causal<'_, T> {
    /// All queries.
    pub(super) fn run(&self, threads: Threads, out: &Places<f32>) {
        let d = self.shape.head_dim;
        let each = d + 2;
        let blocks = self.rows.div_ceil(TOGETHER);
        let keys = self.position + self.rows;
        let grain = WORTH / (TOGETHER * self.group() * keys * d).max(1) + 1;
        threads.for_each(self.shape.n_kv_heads * blocks, grain, |units| {
            let panels = (TOGETHER.min(self.rows) * self.group()).div_ceil(LANES);
            let lines = |n| vec![[[0.0; 4]; WIDE]; n];
            let mut room = Room {
                keys: vec![0.0; PART * d],
                values: vec![0.0; PART * d],
                scores: [[[0.0; 4]; WIDE]; PART],
                queries: lines(panels * d),
                totals: lines(panels * each),
                sums: lines(each),
            };
            for unit in units {
                let (kv_head, first) = (unit / blocks, unit % blocks * TOGETHER);
                self.block(&mut room, kv_head, first..self.rows.min(first + TOGETHER), out);
            }
        });
    }

    /// The queries of some rows that one head of keys serves.
    fn block(&self, room: &mut Room, kv_head: usize, rows: Range<usize>, out: &Places<f32>) {
        let d = self.shape.head_dim;
        let (group, each) = (self.group(), d + 2);
        let lanes = rows.len() * group;
        let place = |lane: usize| self.place(kv_head, rows.start * group + lane);
        for lane in 0..lanes.next_multiple_of(LANES) {
            // Lanes past the last repeat it.
            let from = &self.q[place(lane.min(lanes - 1))..][..d];
            for (to, q) in room.queries[lane / LANES * d..].iter_mut().zip(from) {
                to.as_flattened_mut()[lane % LANES] = q * self.shape.scale;
            }
        }
        let keys = self.position + rows.end;
        for part in 0..keys.div_ceil(PART) {
            let start = part * PART;
            self.load(room, kv_head, start..keys.min(start + PART));
            for panel in 0..lanes.div_ceil(LANES) {
                let seen = from_fn(|i| {
                    let row = rows.start + (panel * LANES + i).min(lanes - 1) / group;
                    (self.position + row + 1).saturating_sub(start).min(PART)
                });
                let queries = &room.queries[panel * d..][..d];
                let total = &mut room.totals[panel * each..][..each];
                let tiles = [&*room.keys, &*room.values];
                if part == 0 {
                    sums(tiles, queries, &seen, &mut room.scores, total);
                } else {
                    sums(tiles, queries, &seen, &mut room.scores, &mut room.sums);
                    merge(total, &room.sums);
                }
            }
        }
        for lane in 0..lanes {
            let total = &room.totals[lane / LANES * each..][..each];
            let mut column = total.iter().map(|line| line.as_flattened()[lane % LANES]).skip(1);
            let inverse = 1.0 / column.next().unwrap_or(1.0);
            // SAFETY: each query of a head is finished once.
            let out = unsafe { out.range(place(lane)..place(lane) + d) };
            out.iter_mut().zip(column).for_each(|(y, x)| *y = x * inverse);
        }
    }

    /// Reads keys and values of one head.
    fn load(&self, room: &mut Room, kv_head: usize, keys: Range<usize>) {
        let d = self.shape.head_dim;
        for (rows, tile) in self.cache.iter().zip([&mut room.keys, &mut room.values]) {
            for (key, to) in keys.clone().zip(tile.chunks_exact_mut(d.max(1))) {
                T::decode(&rows[(key * self.shape.n_kv_heads + kv_head) * d..][..d], to);
            }
        }
    }
}

/// The sums `[2 + head_dim]` of a panel over the keys of a part, of which each lane sees so many, later ones more.
fn sums(
    [keys, values]: [&[f32]; 2],
    queries: &[Line],
    seen: &[usize; LANES],
    scores: &mut [Line; PART],
    sums: &mut [Line],
) {
    let d = queries.len();
    let (least, most) = (seen[0], seen[LANES - 1]);
    for (keys, scores) in
        keys.chunks_exact(TALL * d).zip(scores.chunks_exact_mut(TALL)).take(most.div_ceil(TALL))
    {
        let keys: [_; TALL] = from_fn(|i| &keys[i * d..][..d]);
        store(dots(keys, queries), scores);
    }
    for (key, line) in scores.iter_mut().enumerate().take(most.next_multiple_of(TALL)).skip(least) {
        let unseen = line.as_flattened_mut().iter_mut().zip(seen).filter(|(_, seen)| key >= **seen);
        unseen.for_each(|(score, _)| *score = f32::NEG_INFINITY);
    }
    let (of_softmax, of_values) = sums.split_at_mut(2);
    let (fours, _) = scores.as_chunks_mut::<TALL>();
    store(softmax(&mut fours[..most.div_ceil(TALL)]), of_softmax);
    let (blocks, rest) = of_values.as_chunks_mut::<TALL>();
    for (i, to) in blocks.iter_mut().enumerate() {
        store(weighted::<TALL>(&scores[..most], values, d, i * TALL), to);
    }
    for (i, to) in rest.iter_mut().enumerate() {
        store(weighted::<1>(&scores[..most], values, d, d / TALL * TALL + i), std::slice::from_mut(to));
    }
}

/// The products of some keys with the queries of a panel.
#[inline(always)]
fn dots(keys: [&[f32]; TALL], queries: &[Line]) -> [Vectors; TALL] {
    let mut totals = [[S::splat(0.0); WIDE]; TALL];
    let keys = keys.map(|key| &key[..queries.len()]);
    for (i, line) in queries.iter().enumerate() {
        let line = load(line);
        for (totals, key) in totals.iter_mut().zip(keys) {
            let key = S::splat(key[i]);
            totals.iter_mut().zip(line).for_each(|(total, q)| *total = S::mul_add(key, q, *total));
        }
    }
    totals
}

/// Makes weights of scores; gives the largest score of each lane and the sum of its weights.
#[inline(always)]
fn softmax(scores: &mut [[Line; 4]]) -> [Vectors; 2] {
    let mut largest = [S::splat(LOWEST); WIDE];
    for line in scores.as_flattened() {
        largest = from_fn(|v| S::max(largest[v], S::load(&line[v])));
    }
    let mut sums = [[S::splat(0.0); 4]; WIDE];
    for four in scores {
        for (i, line) in four.iter_mut().enumerate() {
            for (v, x) in line.iter_mut().enumerate() {
                let weight = math::exp_negative::<S>(S::sub(S::load(x), largest[v]));
                sums[v][i] = S::add(sums[v][i], weight);
                S::store(weight, x);
            }
        }
    }
    [largest, sums.map(|[a, b, c, d]| S::add(S::add(a, c), S::add(b, d)))]
}

/// The sums of `R` elements, from `at` on, of values `[_, d]` by the weights of each lane.
#[inline(always)]
fn weighted<const R: usize>(weights: &[Line], values: &[f32], d: usize, at: usize) -> [Vectors; R] {
    let mut totals = [[S::splat(0.0); WIDE]; R];
    for (line, values) in weights.iter().zip(values.chunks_exact(d)) {
        let line = load(line);
        for (totals, value) in totals.iter_mut().zip(&values[at..at + R]) {
            let value = S::splat(*value);
            totals
                .iter_mut()
                .zip(line)
                .for_each(|(total, weight)| *total = S::mul_add(value, weight, *total));
        }
    }
    totals
}

/// What earlier and later sums count for, given the largest score of each, and the larger of these.
#[inline(always)]
fn shares(earlier: <S as Simd>::F, later: <S as Simd>::F) -> ([<S as Simd>::F; 2], <S as Simd>::F) {
    let largest = S::max(earlier, later);
    ([earlier, later].map(|x| math::exp_negative::<S>(S::sub(x, largest))), largest)
}

/// A sum of both, weighed by those shares.
#[inline(always)]
fn weigh(a: <S as Simd>::F, b: <S as Simd>::F, [of_a, of_b]: [<S as Simd>::F; 2]) -> <S as Simd>::F {
    S::mul_add(b, of_b, S::mul(a, of_a))
}

/// Takes the sums of a later part into those of earlier ones.
fn merge(total: &mut [Line], part: &[Line]) {
    for v in 0..WIDE {
        let (of_both, largest) = shares(S::load(&total[0][v]), S::load(&part[0][v]));
        S::store(largest, &mut total[0][v]);
        for (a, b) in total[1..].iter_mut().zip(&part[1..]) {
            S::store(weigh(S::load(&a[v]), S::load(&b[v]), of_both), &mut a[v]);
        }
    }
}

#[inline(always)]
fn load(line: &Line) -> Vectors {
    line.each_ref().map(S::load)
}

/// Writes vectors to lines.
#[inline(always)]
fn store<const R: usize>(from: [Vectors; R], to: &mut [Line]) {
    for (from, to) in from.into_iter().zip(to) {
        from.into_iter().zip(to).for_each(|(x, to)| S::store(x, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_decode_exactly() {
        let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|x| x.is_finite()).collect();
        let mut out = vec![0.0; all.len()];
        // And some with a rest.
        for (from, to) in all.chunks(7).zip(out.chunks_mut(7)) {
            f16::decode(from, to);
        }
        assert!(all.iter().zip(&out).all(|(a, b)| a.to_f32().to_bits() == b.to_bits()));
    }
}
