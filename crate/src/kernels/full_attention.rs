//! Attention of all queries to all keys: `softmax(q · kᵀ · scale + mask) · v`.
//!
//! Eight queries go together. Their scores `[keys][8]` come out of the microkernel of [`gemm::tile`](super::gemm::tile)
//! in the very layout that it wants columns in, and stay in the nearest cache: the softmax has one query in each lane,
//! and what it leaves meets the values as it lies. Keys and values are packed once a head.

use super::gemm::tile::{self, Epilogue, WIDE};
use super::math;
use super::simd::{Best as S, Simd};
use crate::error::{Result, fail};

/// Heads of rows in a tensor: row `s` of head `h` of batch `b` begins at `b · batch + h · head + s · row`.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Elements from one item of the batch to the next.
    pub batch: usize,
    /// Elements from one head to the next.
    pub head: usize,
    /// Elements from one row to the next.
    pub row: usize,
}

impl Heads {
    fn at(&self, b: usize, h: usize) -> usize {
        b * self.batch + h * self.head
    }
}

/// What is added to scores, or which scores count; strides of the batch, head, query and key, 0 where it repeats.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a> {
    /// The elements.
    pub values: MaskValues<'a>,
    /// Elements from one to the next.
    pub strides: [usize; 4],
}

/// The elements of a mask.
#[derive(Clone, Copy, Debug)]
pub enum MaskValues<'a> {
    /// Added.
    Added(&'a [f32]),
    /// Not 0 where a key is seen.
    Seen(&'a [u8]),
}

/// The sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Items.
    pub batch: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, of which each serves as many neighbouring heads of queries.
    pub kv_heads: usize,
    /// Queries.
    pub queries: usize,
    /// Keys.
    pub keys: usize,
    /// Elements of a query and of a key.
    pub depth: usize,
    /// Elements of a value.
    pub value_depth: usize,
}

/// How scores are made of products.
#[derive(Clone, Copy, Debug)]
pub struct Scoring<'a> {
    /// By what products are multiplied.
    pub scale: f32,
    /// Whether query `i` sees keys up to `i` only.
    pub causal: bool,
    /// The mask, where there is one.
    pub mask: Option<Mask<'a>>,
}

/// Computes all heads into `y`. A query that sees no key gives zeros. Fails when memory does not suffice.
pub fn attend(
    s: Sizes,
    scoring: &Scoring,
    [(q, of_q), (k, of_k), (v, of_v)]: [(&[f32], Heads); 3],
    (y, of_y): (&mut [f32], Heads),
) -> Result<()> {
    if [s.batch, s.heads, s.queries, s.value_depth].contains(&0) {
        return Ok(());
    }
    let room = |rows: usize, n: usize| {
        let mut values = Vec::new();
        match rows.checked_mul(n).filter(|n| values.try_reserve_exact(*n).is_ok()) {
            Some(n) => values.resize(n, 0.0),
            None => return fail!(OutOfMemory, "no memory for attention to {} keys", s.keys),
        }
        Ok(values)
    };
    let (mut keys, mut values) = (room(s.keys, s.depth)?, room(s.keys, s.value_depth)?);
    let (mut panel, mut scores) = (room(s.depth, WIDE)?, room(s.keys, WIDE)?);
    let mut out = room(s.value_depth, WIDE)?;
    let group = s.heads / s.kv_heads.max(1);
    for (b, h) in (0..s.batch).flat_map(|b| (0..s.heads).map(move |h| (b, h))) {
        if h % group == 0 {
            let (k, v) = (&k[of_k.at(b, h / group)..], &v[of_v.at(b, h / group)..]);
            tile::pack_rows(k, (of_k.row, 1), (s.keys, s.depth), &mut keys);
            tile::pack_rows(v, (1, of_v.row), (s.value_depth, s.keys), &mut values);
        }
        for first in (0..s.queries).step_by(WIDE) {
            let n = (s.queries - first).min(WIDE);
            let q = &q[of_q.at(b, h) + first * of_q.row..];
            tile::pack_columns(q, (1, of_q.row), (s.depth, n), &mut panel);
            let scale = S::splat(scoring.scale);
            math::map::<S>(&mut panel, |x| S::mul(x, scale));
            tile::multiply(&keys, &panel, (s.keys, s.depth, WIDE), &mut scores, WIDE, &Epilogue::default());
            let (lines, _) = scores.as_chunks_mut::<WIDE>();
            if let Some(mask) = scoring.mask {
                mask.apply(lines, [b, h, first], n);
            }
            if scoring.causal {
                for (key, line) in lines.iter_mut().enumerate() {
                    let hidden = key.saturating_sub(first).min(n);
                    line[..hidden].fill(f32::NEG_INFINITY);
                }
            }
            let shares = softmax(lines);
            tile::multiply(
                &values,
                &scores,
                (s.value_depth, s.keys, WIDE),
                &mut out,
                WIDE,
                &Epilogue::default(),
            );
            let (lines, _) = out.as_chunks::<WIDE>();
            for (i, share) in shares.iter().enumerate().take(n) {
                let y = &mut y[of_y.at(b, h) + (first + i) * of_y.row..][..s.value_depth];
                y.iter_mut().zip(lines).for_each(|(y, line)| *y = line[i] * share);
            }
        }
    }
    Ok(())
}

impl Mask<'_> {
    /// Applies the mask to the scores of `n` queries from `first` on.
    fn apply(&self, lines: &mut [[f32; WIDE]], [b, h, first]: [usize; 3], n: usize) {
        let [by_batch, by_head, by_query, by_key] = self.strides;
        let from = b * by_batch + h * by_head + first * by_query;
        for (key, line) in lines.iter_mut().enumerate() {
            let at = |i: usize| from + i * by_query + key * by_key;
            match self.values {
                MaskValues::Added(mask) if by_query == 0 => {
                    let x = mask[at(0)];
                    line.iter_mut().for_each(|score| *score += x);
                }
                MaskValues::Added(mask) => {
                    line.iter_mut().enumerate().take(n).for_each(|(i, score)| *score += mask[at(i)]);
                }
                MaskValues::Seen(mask) => {
                    for (i, score) in line.iter_mut().enumerate().take(n) {
                        *score = if mask[at(i)] != 0 { *score } else { f32::NEG_INFINITY };
                    }
                }
            }
        }
    }
}

/// Scores become `eˢ⁻ᵐ` with each lane's largest score `m`; gives one over each lane's sum, 0 where nothing counts.
fn softmax(lines: &mut [[f32; WIDE]]) -> [f32; WIDE] {
    let halves = |line: &[f32; WIDE]| -> [<S as Simd>::F; 2] {
        let (halves, _) = line.as_chunks::<4>();
        [S::load(&halves[0]), S::load(&halves[1])]
    };
    let put = |line: &mut [f32; WIDE], [low, high]: [<S as Simd>::F; 2]| {
        let (halves, _) = line.as_chunks_mut::<4>();
        S::store(low, &mut halves[0]);
        S::store(high, &mut halves[1]);
    };
    // Where all scores are minus infinity, the lowest number stands in: their exponentials are zeros.
    let lowest = S::splat(f32::MIN);
    let mut largest = [lowest; 2];
    for line in lines.iter() {
        let [low, high] = halves(line);
        largest = [S::max(largest[0], low), S::max(largest[1], high)];
    }
    let mut sums = [S::splat(0.0); 2];
    for line in lines.iter_mut() {
        let [low, high] = halves(line);
        let e = [
            math::exp_negative::<S>(S::sub(low, largest[0])),
            math::exp_negative::<S>(S::sub(high, largest[1])),
        ];
        sums = [S::add(sums[0], e[0]), S::add(sums[1], e[1])];
        put(line, e);
    }
    let mut shares = [0.0; WIDE];
    put(&mut shares, sums);
    shares.map(|sum| if sum == 0.0 { 0.0 } else { 1.0 / sum })
}
