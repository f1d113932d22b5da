//! Loops over slices, four lanes at a time.

use crate::kernels::simd::Simd;

/// Applies a function of vectors to every element.
#[inline(always)]
pub fn map<S: Simd>(values: &mut [f32], f: impl Fn(S::F) -> S::F) {
    let (vectors, rest) = values.as_chunks_mut::<4>();
    for x in vectors {
        S::store(f(S::load(x)), x);
    }
    if !rest.is_empty() {
        let mut last = [0.0; 4];
        last[..rest.len()].copy_from_slice(rest);
        S::store(f(S::load(&last)), &mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// `a[i] = f(a[i], b[i])`.
#[inline(always)]
pub fn zip<S: Simd>(a: &mut [f32], b: &[f32], f: impl Fn(S::F, S::F) -> S::F) {
    let (vectors, rest) = a.as_chunks_mut::<4>();
    let (others, other_rest) = b.as_chunks::<4>();
    for (a, b) in vectors.iter_mut().zip(others) {
        S::store(f(S::load(a), S::load(b)), a);
    }
    if !rest.is_empty() {
        let (mut last, mut other) = ([0.0; 4], [0.0; 4]);
        last[..rest.len()].copy_from_slice(rest);
        let n = other_rest.len().min(4);
        other[..n].copy_from_slice(&other_rest[..n]);
        S::store(f(S::load(&last), S::load(&other)), &mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

/// The lanes of a vector.
#[inline(always)]
fn lanes<S: Simd>(x: S::F) -> [f32; 4] {
    let mut lanes = [0.0; 4];
    S::store(x, &mut lanes);
    lanes
}

/// The sum of `f` of every element, in sixteen lanes.
#[inline(always)]
pub fn sum<S: Simd>(values: &[f32], f: impl Fn(S::F) -> S::F) -> f32 {
    let (blocks, rest) = values.as_chunks::<16>();
    let mut sums = [S::splat(0.0); 4];
    for block in blocks {
        let (vectors, _) = block.as_chunks::<4>();
        for (sum, x) in sums.iter_mut().zip(vectors) {
            *sum = S::add(*sum, f(S::load(x)));
        }
    }
    let (vectors, rest) = rest.as_chunks::<4>();
    for x in vectors {
        sums[0] = S::add(sums[0], f(S::load(x)));
    }
    let mut last = [0.0; 4];
    last[..rest.len()].copy_from_slice(rest);
    S::store(f(S::load(&last)), &mut last);
    let [a, b, c, d] = lanes::<S>(S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3])));
    last[..rest.len()].iter().fold((a + b) + (c + d), |sum, x| sum + x)
}

/// The largest element that is a number; minus infinity where there is none.
#[inline(always)]
pub fn largest<S: Simd>(values: &[f32]) -> f32 {
    let (vectors, rest) = values.as_chunks::<4>();
    let lowest = S::splat(f32::NEG_INFINITY);
    let most = vectors.iter().fold(lowest, |most, x| S::max(most, S::load(x)));
    lanes::<S>(most).iter().chain(rest).fold(f32::NEG_INFINITY, |a, x| if a < *x { *x } else { a })
}

/// The smallest element that is a number; infinity where there is none.
#[inline(always)]
pub fn smallest<S: Simd>(values: &[f32]) -> f32 {
    let (vectors, rest) = values.as_chunks::<4>();
    let least = vectors.iter().fold(S::splat(f32::INFINITY), |least, x| S::min(least, S::load(x)));
    lanes::<S>(least).iter().chain(rest).fold(f32::INFINITY, |a, x| if *x < a { *x } else { a })
}

/// Dot products of `R` neighbouring rows `[R, k]` with `x` `[k]`.
#[inline(always)]
pub fn dot<S: Simd, const R: usize>(rows: &[f32], x: &[f32]) -> [f32; R] {
    let k = x.len();
    let rows: [&[f32]; R] = std::array::from_fn(|r| &rows[r * k..][..k]);
    let split = rows.map(|row| row.as_chunks::<4>());
    let (vectors, rest) = x.as_chunks::<4>();
    let mut sums = [S::splat(0.0); R];
    for (i, x) in vectors.iter().enumerate() {
        let x = S::load(x);
        for (sum, (row, _)) in sums.iter_mut().zip(&split) {
            *sum = S::mul_add(S::load(&row[i]), x, *sum);
        }
    }
    std::array::from_fn(|r| {
        let [a, b, c, d] = lanes::<S>(sums[r]);
        let tail = rest.iter().zip(split[r].1).map(|(x, w)| x * w).sum::<f32>();
        (a + b) + (c + d) + tail
    })
}
