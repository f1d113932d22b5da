//! Products of two f32 matrices that are computed, not weights. Both are packed on the way to the microkernel of
//! [`gemm::tile`](super::gemm::tile); a product of one or two rows is not worth that.

use super::gemm::tile::{self, Epilogue, WIDE};
use super::math;
use super::simd::{Best as S, Simd};
use super::threads::Threads;
use crate::error::{Result, fail};

/// A matrix: element `(i, j)` is `values[i · steps.0 + j · steps.1]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// How far apart rows, and columns, are.
    pub steps: (usize, usize),
}

/// Products of one size, `(m, k, n)`, with room for packed operands.
pub struct Multiplier {
    sizes: (usize, usize, usize),
    scale: f32,
    rows: Vec<f32>,
    panels: Vec<f32>,
    /// Which right side lies in `panels`.
    packed: Option<*const f32>,
}

/// Rows below which the left side meets the right one as it is.
const FEW: usize = 3;

impl Multiplier {
    /// For products that are multiplied by `scale`. Fails when memory does not suffice.
    pub fn new((m, k, n): (usize, usize, usize), scale: f32) -> Result<Self> {
        let (mut rows, mut panels) = (Vec::new(), Vec::new());
        let (of_rows, of_panels) = if m < FEW { (k, 0) } else { (m * k, n.div_ceil(WIDE) * WIDE * k) };
        if rows.try_reserve_exact(of_rows).is_err() || panels.try_reserve_exact(of_panels).is_err() {
            return fail!(OutOfMemory, "no memory to pack matrices of {m} by {k} and {k} by {n}");
        }
        rows.resize(of_rows, 0.0);
        panels.resize(of_panels, 0.0);
        Ok(Self { sizes: (m, k, n), scale, rows, panels, packed: None })
    }

    /// `y = scale · a·b`, row-major. One of the steps of `b` is 1, and what lies at an address does not change from one
    /// product to the next.
    pub fn multiply(&mut self, threads: Threads, a: Matrix, b: Matrix, y: &mut [f32]) {
        let (m, k, n) = self.sizes;
        let scale = S::splat(self.scale);
        let scaled = |x: &mut [f32]| {
            if self.scale != 1.0 {
                math::map::<S>(x, |x| S::mul(x, scale));
            }
        };
        if m < FEW {
            for (r, y) in y.chunks_exact_mut(n.max(1)).take(m).enumerate() {
                let row = a.values[r * a.steps.0..].iter().step_by(a.steps.1);
                self.rows.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
                scaled(&mut self.rows);
                one_row(&self.rows, b, y);
            }
            return;
        }
        tile::pack_rows(threads, a.values, a.steps, (m, k), &mut self.rows);
        scaled(&mut self.rows);
        // Batches often share a side.
        if self.packed != Some(b.values.as_ptr()) {
            tile::pack_columns(threads, b.values, b.steps, (k, n), &mut self.panels);
            self.packed = Some(b.values.as_ptr());
        }
        tile::multiply(threads, &self.rows, &self.panels, (m, k, n), y, n, &Epilogue::default());
    }
}

/// `y = x·b`, by dot products with columns that lie one after the other, or else as a sum of rows.
fn one_row(x: &[f32], b: Matrix, y: &mut [f32]) {
    let k = x.len();
    if b.steps.0 == 1 {
        let (blocks, rest) = y.as_chunks_mut::<4>();
        let done = blocks.len() * 4;
        blocks.iter_mut().enumerate().for_each(|(i, y)| *y = math::dot::<S, 4>(&b.values[i * 4 * k..], x));
        rest.iter_mut()
            .enumerate()
            .for_each(|(i, y)| [*y] = math::dot::<S, 1>(&b.values[(done + i) * k..], x));
        return;
    }
    // Strips of the result that stay in the nearest cache.
    for (strip, y) in y.chunks_mut(1024).enumerate() {
        y.fill(0.0);
        for (i, x) in x.iter().enumerate() {
            let row = &b.values[i * b.steps.0 + strip * 1024..][..y.len()];
            math::zip::<S>(y, row, |y, b| S::mul_add(b, S::splat(*x), y));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_textbook() {
        for (m, k, n) in [(1, 1, 1), (4, 3, 5), (6, 17, 300), (3, 0, 2), (9, 8, 257), (1, 9, 2050), (2, 5, 1)]
        {
            let a: Vec<f32> = (0..m * k).map(|i| ((i * 7 % 13) as f32) - 6.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| ((i * 5 % 11) as f32) - 5.0).collect();
            let mut y = vec![9.0; m * n];
            let mut multiplier = Multiplier::new((m, k, n), 1.0).unwrap();
            let a_of = |values| Matrix { values, steps: (k, 1) };
            let one = Threads::single();
            multiplier.multiply(one, a_of(&a), Matrix { values: &b, steps: (n, 1) }, &mut y);
            let turned: Vec<f32> = (0..k * n).map(|i| b[i % k * n + i / k]).collect();
            let mut again = vec![9.0; m * n];
            multiplier.multiply(one, a_of(&a), Matrix { values: &turned, steps: (1, k) }, &mut again);
            assert_eq!(y, again, "{m} {k} {n}");
            for row in 0..m {
                for column in 0..n {
                    let want: f32 = (0..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
                    assert_eq!(y[row * n + column], want, "{m} {k} {n}");
                }
            }
        }
    }
}
