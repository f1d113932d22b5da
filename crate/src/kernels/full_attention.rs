//! Attention of all queries to all keys: `softmax(q · kᵀ · scale + mask) · v`.
//!
//! Eight queries go together. Their scores `[keys][8]` come out of the microkernel of [`gemm::tile`](super::gemm::tile)
//! in the very layout that it wants columns in, and stay in the nearest cache: the softmax has one query in each lane,
//! and what it leaves meets the values as it lies. Keys and values are packed once a head.

use super::gemm::tile::{self, Epilogue, TALL, WIDE};
use super::math;
use super::simd::{Best as S, Simd};
use super::threads::{Places, Threads};
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

/// Multiplications that are worth handing to another thread: some microseconds.
const WORTH: usize = 1 << 17;

/// Computes all heads into `y`. A query that sees no key gives zeros. Fails when memory does not suffice.
pub fn attend(
    threads: Threads,
    s: Sizes,
    scoring: &Scoring,
    q: (&[f32], Heads),
    [k, v]: [(&[f32], Heads); 2],
    (y, of_y): (&mut [f32], Heads),
) -> Result<()> {
    let heads = s.batch * s.heads;
    if heads * s.queries * s.value_depth == 0 {
        return Ok(());
    }
    // Where there are few heads, their queries are shared out too.
    let panels = s.queries.div_ceil(WIDE);
    let parts = (16 / heads).clamp(1, panels.div_ceil(4));
    let each = panels.div_ceil(parts) * WIDE * s.keys * (s.depth + s.value_depth);
    let y = (Places::new(y), of_y);
    threads.try_for_each(heads * parts, WORTH / each.max(1) + 1, |units| {
        let mut work = Work::new(s)?;
        for unit in units {
            let (head, part) = (unit / parts, unit % parts);
            let at = [head / s.heads, head % s.heads];
            work.pack(at, k, v);
            for panel in panels * part / parts..panels * (part + 1) / parts {
                // SAFETY: the queries of a panel belong to one thread.
                unsafe { work.panel(scoring, at, panel * WIDE, q, &y) };
            }
        }
        Ok(())
    })
}

/// What a thread works in.
struct Work {
    sizes: Sizes,
    /// The item and the head of keys that are packed.
    packed: Option<[usize; 2]>,
    keys: Vec<f32>,
    values: Vec<f32>,
    panel: Vec<f32>,
    scores: Vec<f32>,
    out: Vec<f32>,
}

impl Work {
    fn new(sizes: Sizes) -> Result<Self> {
        let s = sizes;
        let room = |rows: usize, n: usize| {
            let mut values = Vec::new();
            match rows.checked_mul(n).filter(|n| values.try_reserve_exact(*n).is_ok()) {
                Some(n) => values.resize(n, 0.0),
                None => return fail!(OutOfMemory, "no memory for attention to {} keys", s.keys),
            }
            Ok(values)
        };
        Ok(Self {
            sizes,
            packed: None,
            keys: room(s.keys, s.depth)?,
            values: room(s.keys, s.value_depth)?,
            panel: room(s.depth, WIDE)?,
            scores: room(s.keys, WIDE)?,
            out: room(s.value_depth, WIDE)?,
        })
    }

    /// Packs the keys and values that head `h` of item `b` attends to.
    fn pack(&mut self, [b, h]: [usize; 2], (k, of_k): (&[f32], Heads), (v, of_v): (&[f32], Heads)) {
        let s = self.sizes;
        let head = h / (s.heads / s.kv_heads.max(1)).max(1);
        if self.packed.replace([b, head]) == Some([b, head]) {
            return;
        }
        let (one, k, v) = (Threads::single(), &k[of_k.at(b, head)..], &v[of_v.at(b, head)..]);
        tile::pack_rows(one, k, (of_k.row, 1), (s.keys, s.depth), &mut self.keys);
        tile::pack_rows(one, v, (1, of_v.row), (s.value_depth, s.keys), &mut self.values);
    }

    /// The results of eight queries from `first` on.
    ///
    /// # Safety
    /// Nobody else uses their places meanwhile.
    unsafe fn panel(
        &mut self,
        scoring: &Scoring,
        [b, h]: [usize; 2],
        first: usize,
        (q, of_q): (&[f32], Heads),
        (y, of_y): &(Places<f32>, Heads),
    ) {
        let (s, one, plain) = (self.sizes, Threads::single(), Epilogue::default());
        let n = (s.queries - first).min(WIDE);
        let q = &q[of_q.at(b, h) + first * of_q.row..];
        tile::pack_columns(one, q, (1, of_q.row), (s.depth, n), &mut self.panel);
        let scale = S::splat(scoring.scale);
        math::map::<S>(&mut self.panel, |x| S::mul(x, scale));
        // Keys that none of the queries sees need no scores.
        let seen = if scoring.causal { s.keys.min((first + n).next_multiple_of(TALL)) } else { s.keys };
        tile::multiply(one, &self.keys, &self.panel, (seen, s.depth, WIDE), &mut self.scores, WIDE, &plain);
        let (lines, _) = self.scores.as_chunks_mut::<WIDE>();
        let (lines, unseen) = lines.split_at_mut(seen);
        if let Some(mask) = scoring.mask {
            mask.apply(lines, [b, h, first], n);
        }
        if scoring.causal {
            for (key, line) in lines.iter_mut().enumerate().skip(first) {
                line[..(key - first).min(n)].fill(f32::NEG_INFINITY);
            }
        }
        let shares = softmax(lines);
        unseen.fill([0.0; WIDE]);
        let sizes = (s.value_depth, s.keys, WIDE);
        tile::multiply(one, &self.values, &self.scores, sizes, &mut self.out, WIDE, &plain);
        let (lines, _) = self.out.as_chunks::<WIDE>();
        for (i, share) in shares.iter().enumerate().take(n) {
            let at = of_y.at(b, h) + (first + i) * of_y.row;
            // SAFETY: the caller vouches for it.
            let y = unsafe { y.range(at..at + s.value_depth) };
            y.iter_mut().zip(lines).for_each(|(y, line)| *y = line[i] * share);
        }
    }
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
