//! The products of packed weights, and what comes after the sums: the thread that has the sums of some columns finishes them.

use super::pack::{Layout, PackedMatrix, ROWS};
use super::quantized::{self, Bytes, Done, Job};
use super::{float, tile::Epilogue};
use crate::kernels::math;
use crate::kernels::scratch::scratch;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::threads::{Places, Threads, WORTH};
use crate::quant::AffineLayout;
use std::ops::Range;

impl PackedMatrix {
    /// `out = a · Wᵀ` and the epilogue: `a` `[m, k]`, `out` `[m, n]`. `exact` keeps activations f32 beside quantised
    /// weights, which otherwise are quantised to 8 bits.
    pub fn matmul(
        &self,
        threads: Threads,
        a: &[f32],
        m: usize,
        out: &mut [f32],
        epilogue: &Epilogue,
        exact: bool,
    ) {
        let Some(affine) = self.multiplied_as(exact) else {
            return float::matmul(threads, self, a, m, out, epilogue);
        };
        let out = Places::new(&mut out[..m * self.n()]);
        let job = Job { threads, weight: self, affine, bytes: Bytes::best::<S>(), a, m, halves: false };
        let finish = |columns: Range<usize>| {
            for row in 0..m {
                let at = row * self.n() + columns.start;
                // SAFETY: the columns belong to the thread that has their sums.
                let y = unsafe { out.range(at..at + columns.len()) };
                epilogue.finish_columns(y, columns.start, at);
            }
        };
        // SAFETY: `finish` uses the columns that it is given.
        unsafe { quantized(job, &out, &finish) };
    }

    /// SwiGLU: the same of half the columns, `y = silu(a · Gᵀ) · (a · Uᵀ)`, where `G` is the first half of the rows and `U` the
    /// second, each with its biases; then the rest of the epilogue. `y` is `[m, n / 2]`.
    pub fn swiglu(
        &self,
        threads: Threads,
        a: &[f32],
        m: usize,
        y: &mut [f32],
        epilogue: &Epilogue,
        exact: bool,
    ) {
        let (n, half) = (self.n(), self.n() / 2);
        scratch(m * n, |both| {
            let sums = Places::new(both);
            let y = Places::new(&mut y[..m * half]);
            let biases = Epilogue { column_bias: epilogue.column_bias, ..Epilogue::default() };
            let rest = Epilogue { column_bias: None, ..*epilogue };
            let gate = |columns: Range<usize>| {
                for row in 0..m {
                    let finished = |column: usize| {
                        let at = row * n + column;
                        // SAFETY: the columns of both halves belong to the thread that has their sums.
                        let sums = unsafe { sums.range(at..at + columns.len()) };
                        biases.finish_columns(sums, column, at);
                        sums
                    };
                    let (gates, ups) = (finished(columns.start), finished(half + columns.start));
                    let at = row * half + columns.start;
                    // SAFETY: as above.
                    let y = unsafe { y.range(at..at + columns.len()) };
                    y.copy_from_slice(gates);
                    math::zip::<S>(y, ups, |gate, up| S::mul(math::silu::<S>(gate), up));
                    rest.finish_columns(y, columns.start, at);
                }
            };
            if let (Some(affine), true) = (self.multiplied_as(exact), half.is_multiple_of(ROWS)) {
                let job =
                    Job { threads, weight: self, affine, bytes: Bytes::best::<S>(), a, m, halves: true };
                // SAFETY: `gate` uses the columns that it is given.
                return unsafe { quantized(job, &sums, &gate) };
            }
            // SAFETY: nobody else uses the sums before the product is done.
            let all = unsafe { sums.range(0..m * n) };
            self.matmul(threads, a, m, all, &Epilogue::default(), exact);
            threads.for_each(half, WORTH / m.max(1) + 1, gate);
        });
    }

    /// The integers that activations of 8 bits are multiplied with, unless they stay f32.
    fn multiplied_as(&self, exact: bool) -> Option<AffineLayout> {
        match self.layout {
            Layout::Affine(affine) if !exact => Some(affine),
            _ => None,
        }
    }
}

/// # Safety
/// As for [`quantized::matmul`].
unsafe fn quantized(job: Job, out: &Places<f32>, done: Done) {
    let Job { weight, m, halves, .. } = job;
    let (n, k) = (weight.n(), weight.k());
    if m == 0 {
        return;
    }
    if k == 0 {
        // SAFETY: the caller vouches for them, and this is the only thread.
        unsafe { out.range(0..m * n) }.fill(0.0);
        return done(0..if halves { n / 2 } else { n });
    }
    // SAFETY: the caller vouches for `out`.
    unsafe { quantized::matmul::<S, { S::BYTE_PRODUCTS }>(Job { a: &job.a[..m * k], ..job }, out, done) };
}
