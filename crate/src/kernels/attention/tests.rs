//! Held to a naive reference in f64.

use super::*;
use crate::kernels::threads::{Threads, pool};

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut x = seed;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / 8_388_608.0 - 1.0
    })
    .take(n)
    .collect()
}

fn reference_attention(shape: &AttentionShape, q: &[f32], k: &[f32], v: &[f32], position: usize) -> Vec<f64> {
    let AttentionShape { n_heads, n_kv_heads, head_dim: d, scale } = *shape;
    let mut out = Vec::new();
    for (row, q) in q.chunks_exact(n_heads * d).enumerate() {
        for head in 0..n_heads {
            let kv = head / (n_heads / n_kv_heads);
            let at = |cache: &[f32], i: usize, j: usize| f64::from(cache[(i * n_kv_heads + kv) * d + j]);
            let scores: Vec<f64> = (0..=position + row)
                .map(|i| {
                    (0..d).map(|j| f64::from(q[head * d + j]) * at(k, i, j)).sum::<f64>() * f64::from(scale)
                })
                .collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
            let total: f64 = weights.iter().sum();
            out.extend(
                (0..d).map(|j| weights.iter().enumerate().map(|(i, w)| w * at(v, i, j)).sum::<f64>() / total),
            );
        }
    }
    out
}

/// A cache of levels, and what it stands for.
fn levels_of(x: &[f32], shape: &AttentionShape) -> (Vec<i16>, Vec<f32>) {
    let AttentionShape { n_kv_heads: n, head_dim: d, .. } = *shape;
    let context = x.len() / (n * d);
    let mut cache = vec![0; n * context * levels::row(d)];
    for (i, head) in x.chunks_exact(d).enumerate() {
        let (position, kv_head) = (i / n, i % n);
        let row = (kv_head * context + position) * levels::row(d);
        levels::write(head, &mut cache[row..][..levels::row(d)]);
    }
    let mut values = Vec::new();
    for (i, head) in x.chunks_exact(d).enumerate() {
        let (position, kv_head) = (i / n, i % n);
        let row = &cache[(kv_head * context + position) * levels::row(d)..][..levels::row(d)];
        let scale = half::bf16::from_bits(row[d].cast_unsigned()).to_f32();
        let decoded = row[..d].iter().map(|level| f32::from(*level) * scale);
        let largest = head.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        assert!(decoded.clone().zip(head).all(|(a, b)| (a - b).abs() <= largest / 8_000.0 + 1e-26));
        values.extend(decoded);
    }
    (cache, values)
}

#[test]
fn agrees_with_the_reference_and_notices_a_wrong_position() {
    for (n_heads, n_kv_heads, head_dim, rows, position) in
        [(4, 2, 8, 1, 0), (4, 2, 8, 5, 40), (3, 1, 64, 33, 0), (2, 2, 6, 2, 31), (9, 3, 64, 1, 100)]
    {
        let shape = AttentionShape { n_heads, n_kv_heads, head_dim, scale: 0.7 };
        let context = position + rows + 3;
        let q = noise(rows * n_heads * head_dim, 1);
        let (k, v) = (noise(context * n_kv_heads * head_dim, 2), noise(context * n_kv_heads * head_dim, 3));
        let mut out = vec![f32::NAN; q.len()];
        attention(Threads::single(), &shape, &q, Cache::F32([&k, &v]), position, &mut out);
        let error = |want: &[f64], out: &[f32]| {
            out.iter().zip(want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
        };
        assert!(error(&reference_attention(&shape, &q, &k, &v, position), &out) < 1e-5);
        assert!(
            error(&reference_attention(&shape, &q, &k, &v, position + 1), &out) > 1e-3,
            "the canary passed"
        );
        let halves = |x: &[f32]| x.iter().map(|x| f16::from_f32(*x)).collect::<Vec<_>>();
        let (k16, v16) = (halves(&k), halves(&v));
        let wide = |x: &[f16]| x.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
        let want = reference_attention(&shape, &q, &wide(&k16), &wide(&v16), position);
        let cache = Cache::F16([&k16, &v16]);
        attention(Threads::single(), &shape, &q, cache, position, &mut out);
        assert!(error(&want, &out) < 1e-5);
        let [(k16, k), (v16, v)] = [&k, &v].map(|x| levels_of(x, &shape));
        let want = reference_attention(&shape, &q, &k, &v, position);
        attention(Threads::single(), &shape, &q, Cache::Levels([&k16, &v16]), position, &mut out);
        // Queries are rounded too.
        assert!(error(&want, &out) < 4e-4);
        assert!(error(&reference_attention(&shape, &q, &k, &v, position + 1), &out) > 1e-3);
    }
}

#[test]
fn a_query_does_not_see_who_comes_with_it() {
    for [n_heads, n_kv_heads, head_dim] in [[6, 2, 20], [5, 5, 6], [10, 2, 8]] {
        let shape = AttentionShape { n_heads, n_kv_heads, head_dim, scale: 0.3 };
        let (rows, stride, kv_stride) = (600, n_heads * head_dim, n_kv_heads * head_dim);
        let (q, mut k, mut v) =
            (noise(rows * stride, 1), noise(rows * kv_stride, 2), noise(rows * kv_stride, 3));
        // Values, and keys, that are nothing, or next to it.
        v[..50 * kv_stride].fill(0.0);
        v[130 * kv_stride..141 * kv_stride].iter_mut().for_each(|x| *x *= 1e-35);
        k[20 * kv_stride..90 * kv_stride].iter_mut().for_each(|x| *x *= 1e-20);
        k[30 * kv_stride..33 * kv_stride].fill(0.0);
        let [(k16, _), (v16, _)] = [&k, &v].map(|x| levels_of(x, &shape));
        for cache in [Cache::F32([&k, &v]), Cache::Levels([&k16, &v16])] {
            let mut all = vec![f32::NAN; q.len()];
            attention(Threads::single(), &shape, &q, cache, 0, &mut all);
            assert!(all[..50 * stride].iter().all(|x| *x == 0.0), "a query sees what comes later");
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
}

#[test]
fn the_largest_sums_fit() {
    for head_dim in [2, 16, 128, 256] {
        let shape = AttentionShape { n_heads: 1, n_kv_heads: 1, head_dim, scale: 1.0 / head_dim as f32 };
        // Half of the keys agree with all queries, and half are their opposite, in blocks as large as a part, and key by key.
        for block in [1, 64] {
            let sign = |i: usize| if (i / head_dim / block).is_multiple_of(2) { 1.0 } else { -1.0 };
            let signs: Vec<f32> = (0..128 * head_dim).map(sign).collect();
            let (levels, _) = levels_of(&signs, &shape);
            for rows in [1, 6] {
                let q = vec![1.0; rows * head_dim];
                let mut out = vec![f32::NAN; q.len()];
                let cache = Cache::Levels([&levels, &levels]);
                attention(Threads::single(), &shape, &q, cache, 128 - rows, &mut out);
                let last = &out[(rows - 1) * head_dim..];
                assert!(
                    last.iter().all(|x| (x - 1f32.tanh()).abs() < 1e-3),
                    "{head_dim} {block} {rows}: {last:?}"
                );
            }
        }
    }
}
