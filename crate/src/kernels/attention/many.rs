//! Many queries, as a prompt is read: a query of a head is a lane. Those that see the same head of keys go together in
//! panels `[head_dim][lanes]`, so that no sum crosses a vector; threads share blocks of queries.

use super::{Causal, Element, LOWEST, PART, WORTH, shares, weigh};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::{Places, Threads};
use std::array::from_fn;
use std::ops::Range;

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
    pub(super) fn many(&self, threads: Threads, out: &Places<f32>) {
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
        let place = |lane: usize| {
            let (row, head) = (rows.start + lane / group, kv_head * group + lane % group);
            (row * self.shape.n_heads + head) * d
        };
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

/// The products of some keys with the queries of a panel. As where a vector lies along the key, every fourth element goes
/// into the same sum.
#[inline(always)]
fn dots(keys: [&[f32]; TALL], queries: &[Line]) -> [Vectors; TALL] {
    let (fours, rest) = queries.as_chunks::<4>();
    let split = keys.map(|key| key[..queries.len()].as_chunks::<4>());
    let every_fourth = |first: usize| {
        let mut totals = [[S::splat(0.0); WIDE]; TALL];
        let mut add = |line: &Line, keys: [f32; TALL]| {
            let line = load(line);
            for (totals, key) in totals.iter_mut().zip(keys.map(S::splat)) {
                totals.iter_mut().zip(line).for_each(|(total, q)| *total = S::mul_add(key, q, *total));
            }
        };
        for (i, lines) in fours.iter().enumerate() {
            add(&lines[first], split.map(|(key, _)| key[i][first]));
        }
        if let Some(line) = rest.get(first) {
            add(line, split.map(|(_, key)| key[first]));
        }
        totals
    };
    let add = |a: [Vectors; TALL], b: [Vectors; TALL]| from_fn(|i| from_fn(|v| S::add(a[i][v], b[i][v])));
    let even = add(every_fourth(0), every_fourth(2));
    let odd = add(every_fourth(1), every_fourth(3));
    add(even, odd)
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
