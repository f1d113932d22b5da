//! Many queries, as a prompt is read: a query of a head is a lane. Those that see the same head of keys go together in
//! panels, so that no sum crosses a vector; threads share blocks of queries.

use super::{BEFORE, F, LEAST, PART, Rows, WEIGHTS};
use crate::kernels::attention::{Causal, WORTH};
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
type Vectors = [F; WIDE];
/// Two neighbouring levels.
type Pair = [i16; 2];
/// Two levels of each lane.
type Pairs = [[Pair; 4]; WIDE];

/// What a thread works in.
struct Room {
    /// Of one part, and of two keys each: `[PART / 2, head_dim]`.
    values: Vec<Pair>,
    /// Of keys and values.
    scales: [[f32; PART]; 2],
    scores: [Line; PART],
    weights: [Pairs; PART / 2],
    panels: Vec<Panel>,
    /// What [`Panel::totals`] are, over one part.
    sums: Vec<Line>,
}

/// Queries.
#[derive(Clone)]
struct Panel {
    /// `[head_dim / 2]`.
    queries: Vec<Pairs>,
    factors: Line,
    /// Of each lane what its weights count for, in the exponent of two, the sum of weights, and the weighted sum of values.
    totals: Vec<Line>,
}

impl Causal<'_, i16> {
    /// All queries.
    pub(super) fn many(&self, threads: Threads, out: &Places<f32>) {
        let d = self.shape.head_dim;
        let (pairs, each) = (d / 2, d + BEFORE);
        let blocks = self.rows.div_ceil(TOGETHER);
        let keys = self.position + self.rows;
        let grain = WORTH / (TOGETHER * self.group() * keys * d).max(1) + 1;
        threads.for_each(self.shape.n_kv_heads * blocks, grain, |units| {
            let panels = (TOGETHER.min(self.rows) * self.group()).div_ceil(LANES);
            let lines = |n| vec![[[0.0; 4]; WIDE]; n];
            let panel = Panel {
                queries: vec![[[[0; 2]; 4]; WIDE]; pairs],
                factors: [[0.0; 4]; WIDE],
                totals: lines(each),
            };
            let mut room = Room {
                values: vec![[0; 2]; PART / 2 * d],
                scales: [[0.0; PART]; 2],
                scores: [[[0.0; 4]; WIDE]; PART],
                weights: [[[[0; 2]; 4]; WIDE]; PART / 2],
                panels: vec![panel; panels],
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
        let group = self.group();
        let lanes = rows.len() * group;
        let place = |lane: usize| self.place(kv_head, rows.start * group + lane);
        let mut panels = std::mem::take(&mut room.panels);
        let mut levels = vec![[0; 2]; d / 2];
        for lane in 0..lanes.next_multiple_of(LANES) {
            // Lanes past the last repeat it.
            let from = &self.q[place(lane.min(lanes - 1))..][..d];
            let factor = self.query(from, &mut levels.as_flattened_mut()[..d]);
            let (panel, lane) = (&mut panels[lane / LANES], lane % LANES);
            panel.factors.as_flattened_mut()[lane] = factor;
            panel.queries.iter_mut().zip(&levels).for_each(|(to, pair)| to.as_flattened_mut()[lane] = *pair);
        }
        let keys = self.position + rows.end;
        for part in 0..keys.div_ceil(PART) {
            let start = part * PART;
            let [of_part, values] = self.head(kv_head, start);
            room.load([&of_part, &values], PART.min(keys - start));
            for (i, panel) in panels.iter_mut().enumerate().take(lanes.div_ceil(LANES)) {
                let seen = from_fn(|lane| {
                    let row = rows.start + (i * LANES + lane).min(lanes - 1) / group;
                    (self.position + row + 1).saturating_sub(start).min(PART)
                });
                room.part(&of_part, panel, &seen);
                if part == 0 {
                    panel.totals.copy_from_slice(&room.sums);
                } else {
                    merge(&mut panel.totals, &room.sums);
                }
            }
        }
        for lane in 0..lanes {
            let total = &panels[lane / LANES].totals;
            let mut column = total.iter().map(|line| line.as_flattened()[lane % LANES]).skip(1);
            let inverse = 1.0 / column.next().unwrap_or(1.0);
            // SAFETY: each query of a head is finished once.
            let out = unsafe { out.range(place(lane)..place(lane) + d) };
            out.iter_mut().zip(column).for_each(|(y, x)| *y = x * inverse);
        }
        room.panels = panels;
    }
}

impl Room {
    /// Reads scales, and values in pairs.
    fn load(&mut self, [keys, values]: [&Rows; 2], len: usize) {
        [keys, values].iter().zip(&mut self.scales).for_each(|(of, scales)| of.scales(len, scales));
        for (pair, to) in self.values.chunks_exact_mut(values.head_dim).enumerate().take(len.div_ceil(2)) {
            // Past the last, there is the last again: no query sees that.
            let [a, b] = [2 * pair, (2 * pair + 1).min(len - 1)].map(|row| values.levels(row));
            to.iter_mut().zip(a.iter().zip(b)).for_each(|(to, (a, b))| *to = [*a, *b]);
        }
    }

    /// The sums of a panel over the keys of a part, of which each lane sees so many, later ones more.
    fn part(&mut self, keys: &Rows, panel: &Panel, seen: &[usize; LANES]) {
        let (least, most) = (seen[0], seen[LANES - 1]);
        let factors = load(&panel.factors);
        let groups = self.scales[0].as_chunks::<TALL>().0.iter().zip(self.scores.as_chunks_mut::<TALL>().0);
        for (i, (scales, scores)) in groups.enumerate().take(most.div_ceil(TALL)) {
            let products = dots(from_fn(|k| keys.levels((i * TALL + k).min(most - 1))), &panel.queries);
            for ((products, scale), score) in products.into_iter().zip(scales).zip(scores) {
                let scale = S::splat(*scale);
                store(from_fn(|v| S::mul(S::mul(products[v], scale), factors[v])), score);
            }
        }
        for (key, line) in self.scores.iter_mut().enumerate().take(most.next_multiple_of(TALL)).skip(least) {
            let unseen = line.as_flattened_mut().iter_mut().zip(seen).filter(|(_, seen)| key >= **seen);
            unseen.for_each(|(score, _)| *score = f32::NEG_INFINITY);
        }
        let n = most.div_ceil(TALL);
        let scores = &mut self.scores.as_chunks_mut().0[..n];
        let weights = &mut self.weights.as_chunks_mut().0[..n];
        let (of_softmax, counts) = softmax(scores, &self.scales[1].as_chunks().0[..n], weights);
        of_softmax.into_iter().zip(&mut self.sums).for_each(|(x, to)| store(x, to));
        let d = self.sums.len() - BEFORE;
        let weights = &self.weights[..most.div_ceil(2)];
        let (blocks, rest) = self.sums[BEFORE..].as_chunks_mut::<TALL>();
        let scaled = |x: Vectors| from_fn(|v| S::mul(x[v], counts[v]));
        for (i, to) in blocks.iter_mut().enumerate() {
            let sums = weighted::<TALL>(weights, &self.values, d, i * TALL);
            sums.into_iter().zip(to).for_each(|(x, to)| store(scaled(x), to));
        }
        for (i, to) in rest.iter_mut().enumerate() {
            let [sum] = weighted::<1>(weights, &self.values, d, d / TALL * TALL + i);
            store(scaled(sum), to);
        }
    }
}

/// The products of some keys with the queries of a panel.
#[inline(always)]
fn dots(keys: [&[i16]; TALL], queries: &[Pairs]) -> [Vectors; TALL] {
    let mut totals = [[S::zero_i(); WIDE]; TALL];
    let keys = keys.map(|key| &key.as_chunks::<2>().0[..queries.len()]);
    for (i, pairs) in queries.iter().enumerate() {
        let pairs = load_pairs(pairs);
        for (totals, key) in totals.iter_mut().zip(keys) {
            let key = S::splat_4(bytemuck::cast_ref(&key[i]));
            totals.iter_mut().zip(pairs).for_each(|(total, pair)| *total = S::dot_pairs(*total, key, pair));
        }
    }
    totals.map(|totals| totals.map(S::to_f32))
}

/// The exponent that the weights of each lane are taken from, and their sum; what a level of a weight counts for; and levels of
/// the weights, each multiplied with the scale of its value.
#[inline(always)]
fn softmax(
    scores: &mut [[Line; 4]],
    scales: &[[f32; 4]],
    levels: &mut [[Pairs; 2]],
) -> ([Vectors; 2], Vectors) {
    let mut largest = [S::splat(-f32::MAX); WIDE];
    for line in scores.as_flattened() {
        largest = from_fn(|v| S::max(largest[v], S::load(&line[v])));
    }
    let top = largest.map(|x| S::sub(S::splat(0.0), S::floor(S::sub(S::splat(0.0), x))));
    let mut sums = [[S::splat(0.0); 4]; WIDE];
    let mut most = [S::splat(0.0); WIDE];
    let exp2 = math::exp2_negative::<S>();
    for (four, scales) in scores.iter_mut().zip(scales) {
        for (i, (line, scale)) in four.iter_mut().zip(scales).enumerate() {
            let scale = S::splat(*scale);
            for (v, x) in line.iter_mut().enumerate() {
                let weight = exp2(S::sub(S::load(x), top[v]));
                sums[v][i] = S::add(sums[v][i], weight);
                let scaled = S::mul(weight, scale);
                most[v] = S::max(most[v], scaled);
                S::store(scaled, x);
            }
        }
    }
    let inverse = most.map(|most| {
        let inverse = S::div(S::splat(WEIGHTS), most);
        S::select(S::lt(S::splat(LEAST), most), inverse, S::splat(0.0))
    });
    // The lowest bits of 1.5 · 2²³ + n are n.
    let magic = S::splat(12_582_912.0);
    for (lines, pairs) in scores.as_flattened().as_chunks::<2>().0.iter().zip(levels.as_flattened_mut()) {
        for (v, pairs) in pairs.iter_mut().enumerate() {
            let [a, b] = lines.map(|line| S::bits(S::add(S::mul(S::load(&line[v]), inverse[v]), magic)));
            let pair = S::or(S::and(a, S::splat_i32(0xffff)), S::shift_left(b, 16));
            S::store_i(pair, bytemuck::cast_mut(pairs));
        }
    }
    let counts = most.map(|most| S::div(most, S::splat(WEIGHTS)));
    ([top, sums.map(|[a, b, c, d]| S::add(S::add(a, c), S::add(b, d)))], counts)
}

/// The sums of `R` elements, from `at` on, of values by the weights of each lane.
#[inline(always)]
fn weighted<const R: usize>(weights: &[Pairs], values: &[Pair], d: usize, at: usize) -> [Vectors; R] {
    let mut totals = [[S::zero_i(); WIDE]; R];
    for (pairs, values) in weights.iter().zip(values.chunks_exact(d)) {
        let pairs = load_pairs(pairs);
        for (totals, value) in totals.iter_mut().zip(&values[at..at + R]) {
            let value = S::splat_4(bytemuck::cast_ref(value));
            totals.iter_mut().zip(pairs).for_each(|(total, pair)| *total = S::dot_pairs(*total, value, pair));
        }
    }
    totals.map(|totals| totals.map(S::to_f32))
}

/// Takes the sums of a later part into those of earlier ones.
fn merge(total: &mut [Line], part: &[Line]) {
    let [tops, parts] = [&total[0], &part[0]].map(load);
    for v in 0..WIDE {
        let top = S::max(tops[v], parts[v]);
        let [of_total, of_part] = [tops[v], parts[v]].map(|x| math::exp2_whole::<S>(S::sub(x, top)));
        S::store(top, &mut total[0][v]);
        for (a, b) in total[1..].iter_mut().zip(&part[1..]) {
            S::store(S::mul_add(S::load(&b[v]), of_part, S::mul(S::load(&a[v]), of_total)), &mut a[v]);
        }
    }
}

#[inline(always)]
fn load(line: &Line) -> Vectors {
    line.each_ref().map(S::load)
}

#[inline(always)]
fn load_pairs(pairs: &Pairs) -> [<S as Simd>::I; WIDE] {
    pairs.each_ref().map(|pairs| S::load_i(bytemuck::cast_ref(pairs)))
}

/// Writes a line.
#[inline(always)]
fn store(from: Vectors, to: &mut Line) {
    from.into_iter().zip(to).for_each(|(x, to)| S::store(x, to));
}
