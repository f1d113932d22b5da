//! Causal attention over a cache. Keys are cut into parts at fixed places, whose results are then weighed against each
//! other in order. What becomes of a query does not depend on which others come with it: [`few`] and [`many`] queries go
//! different ways through a part, and do the same additions in the same order. So a prompt that is partly in the cache
//! already gives the same answer, and so do guesses that are checked together.

mod few;
mod many;

use super::math;
use super::simd::{Best as S, Simd};
use super::threads::{Places, Threads};
use half::f16;
use std::hint::black_box;

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

/// Cached keys and values, each `[context, n_kv_heads · head_dim]`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Cache<'a> {
    F32([&'a [f32]; 2]),
    F16([&'a [f16]; 2]),
}

/// Queries from which on these are shared out among threads; the parts and heads of the keys of fewer are.
const MANY: usize = 5;
/// Keys of a part.
const PART: usize = 32;
/// Multiplications that are worth handing to another thread: some microseconds.
const WORTH: usize = 1 << 13;
/// What the largest score is at least; so no score is compared with minus infinity.
const LOWEST: f32 = -f32::MAX;

/// `out[i] = softmax(scale · q[i] · kᵀ) · v` over the rows `0..=position + i` of the cache. `q` and `out` are
/// `[s, n_heads · head_dim]`.
pub fn attention(
    threads: Threads,
    shape: &AttentionShape,
    q: &[f32],
    cache: Cache,
    position: usize,
    out: &mut [f32],
) {
    let rows = q.len() / (shape.n_heads * shape.head_dim).max(1);
    let out = Places::new(out);
    match cache {
        _ if rows == 0 => {}
        Cache::F32(cache) => Causal { shape, q, cache, position, rows }.run(threads, &out),
        Cache::F16(cache) => Causal { shape, q, cache, position, rows }.run(threads, &out),
    }
}

/// What an attention reads.
struct Causal<'a, T> {
    shape: &'a AttentionShape,
    q: &'a [f32],
    /// Keys and values.
    cache: [&'a [T]; 2],
    /// Keys that the first query finds.
    position: usize,
    /// Queries.
    rows: usize,
}

impl<T: Element> Causal<'_, T> {
    fn run(&self, threads: Threads, out: &Places<f32>) {
        if self.rows < MANY { self.few(threads, out) } else { self.many(threads, out) }
    }

    /// Query heads that a head of keys serves.
    fn group(&self) -> usize {
        self.shape.n_heads / self.shape.n_kv_heads.max(1)
    }
}

/// What keys and values consist of.
trait Element: bytemuck::Pod + Sync {
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

/// Fewer than four elements, and zeros.
fn rest(from: &[f32]) -> <S as Simd>::F {
    let mut four = [0.0; 4];
    four[..from.len()].copy_from_slice(from);
    S::load(&four)
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
            attention(Threads::single(), &shape, &q, Cache::F32([&k, &v]), position, &mut out);
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
            let cache = Cache::F16([&k16, &v16]);
            attention(Threads::single(), &shape, &q, cache, position, &mut out);
            let error = out.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(error < 1e-5);
        }
    }

    #[test]
    fn a_query_does_not_see_who_comes_with_it() {
        for [n_heads, n_kv_heads, head_dim] in [[6, 2, 20], [5, 5, 6], [10, 2, 8]] {
            let shape = AttentionShape { n_heads, n_kv_heads, head_dim, scale: 0.3 };
            let (rows, stride, kv_stride) = (600, n_heads * head_dim, n_kv_heads * head_dim);
            let (q, k, v) = (noise(rows * stride, 1), noise(rows * kv_stride, 2), noise(rows * kv_stride, 3));
            let cache = Cache::F32([&k, &v]);
            let mut all = vec![f32::NAN; q.len()];
            attention(Threads::single(), &shape, &q, cache, 0, &mut all);
            for (first, n) in [
                (599, 1),
                (597, 3),
                (149, 1),
                (148, 2),
                (140, 3),
                (139, 4),
                (133, 5),
                (131, 7),
                (60, 90),
                (1, 40),
                (0, 1),
            ] {
                let own = first * stride..(first + n) * stride;
                let mut some = vec![f32::NAN; n * stride];
                attention(pool(), &shape, &q[own.clone()], cache, first, &mut some);
                assert_eq!(some, all[own], "{n} queries of {n_heads} heads from {first} on");
            }
        }
    }

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
