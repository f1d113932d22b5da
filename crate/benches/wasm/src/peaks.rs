//! What the machine does at most: the instructions that kernels are made of, on nothing but registers, and reading.

use crate::cases::{Case, SET};
use homefire::kernels::simd::{Best as S, Simd};
use homefire::kernels::threads::Threads;
use std::array::from_fn;
use std::hint::black_box;

/// Sums side by side: enough that none waits for its own last addition, and no more than there are registers for.
const SUMS: usize = 12;
/// Steps of a piece of work.
const STEPS: usize = 20_000;
/// Pieces of a call.
const PIECES: usize = 16;
/// Bytes that stay in the nearest cache.
const NEAR: usize = 16 << 10;

/// The peaks.
pub fn cases() -> Vec<Case> {
    let peak = |name: &str, piece: fn()| {
        Case::new("peak", name, move || {
            Ok(Box::new(move |threads: Threads| {
                threads.for_each(PIECES, 1, |pieces| pieces.for_each(|_| piece()))
            }))
        })
    };
    vec![
        peak("multiply-add of f32", multiply_adds).floats(PIECES * STEPS * SUMS * 8),
        peak("dot product of 8-bit integers in i16", dots).integers(PIECES * STEPS * SUMS * 32),
        reading("reading memory", read::<1>),
        reading("reading memory in four places", read::<4>),
        Case::new("peak", "reading and writing the nearest cache", || {
            let mut near = vec![[0.0f32; 4]; NEAR / 16 * PIECES];
            Ok(Box::new(move |threads: Threads| {
                threads.for_rows(&mut near, NEAR / 16, 1, |_, part| {
                    part.chunks_exact_mut(NEAR / 16).for_each(rewrite)
                });
            }))
        })
        .cache(PIECES * REWRITES * NEAR * 2),
    ]
}

fn reading(name: &str, read: fn(&[[u8; 64]])) -> Case {
    Case::new("peak", name, move || {
        let set = vec![[1u8; 64]; SET / 64];
        Ok(Box::new(move |threads: Threads| threads.for_each(set.len(), 1 << 10, |part| read(&set[part]))))
    })
    .memory(SET)
}

#[inline(never)]
fn multiply_adds() {
    let (a, b, mut sums) = (S::splat(black_box(0.5)), S::splat(black_box(1e-3)), [S::splat(1.0); SUMS]);
    for _ in 0..STEPS {
        for sum in &mut sums {
            *sum = S::mul_add(a, b, *sum);
        }
    }
    black_box(sums.into_iter().fold(S::splat(0.0), S::add));
}

#[inline(never)]
fn dots() {
    let (weights, mut sums) = (S::load_i(&black_box([3; 16])), [S::zero_i(); SUMS]);
    for _ in 0..STEPS {
        for sum in &mut sums {
            *sum = S::dot_i16(*sum, *sum, weights);
        }
    }
    black_box(sums.into_iter().fold(S::zero_i(), S::add_i32));
}

/// Reads `N` parts of a part in turn, a line of each: so many streams for what fetches memory ahead.
#[inline(never)]
fn read<const N: usize>(part: &[[u8; 64]]) {
    let mut sums = [S::zero_i(); 4];
    let each = part.len() / N;
    let parts: [_; N] = from_fn(|n| &part[n * each..][..each]);
    for i in 0..each {
        for lines in parts {
            let (vectors, _) = lines[i].as_chunks::<16>();
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = S::add_i32(*sum, S::load_i(vector));
            }
        }
    }
    black_box(sums.into_iter().fold(S::zero_i(), S::add_i32));
}

/// How often a part is rewritten.
const REWRITES: usize = 64;

#[inline(never)]
fn rewrite(part: &mut [[f32; 4]]) {
    for _ in 0..REWRITES {
        let (fours, _) = part.as_chunks_mut::<4>();
        for x in fours.iter_mut().flatten() {
            S::store(S::add(S::load(x), S::splat(1.0)), x);
        }
        black_box(&mut *part);
    }
}
