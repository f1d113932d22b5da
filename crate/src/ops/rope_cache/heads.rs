//! What becomes of each head of queries, keys and values: normalised, rotated, and stored.

use super::{RopeLayout, context_of};
use crate::error::Result;
use crate::kernels::attention::levels;
use crate::kernels::halves;
use crate::kernels::threads::Threads;
use crate::ops::rms_norm::rms_norm_row;
use crate::tensor::TensorViewMut;
use crate::types::DType;
use half::f16;

/// Rows that are worth handing to a thread.
const GRAIN: usize = 8;

/// Queries, keys or values of some rows as their product gives them, and what becomes of each head.
pub(super) struct Heads<'a> {
    /// Rows of `stride` elements; the heads are in front.
    pub rows: &'a [f32],
    pub stride: usize,
    pub head_dim: usize,
    /// The weight of their norm, and its epsilon.
    pub norm: Option<(&'a [f32], f32)>,
    pub layout: RopeLayout,
    /// (cos, sin) of the first row, then of the next.
    pub angles: &'a [f32],
}

impl Heads<'_> {
    /// Puts a head, normalised and rotated, into `to`.
    fn head(&self, row: usize, head: usize, to: &mut [f32]) {
        let d = self.head_dim;
        to.copy_from_slice(&self.rows[row * self.stride + head * d..][..d]);
        if let Some((weight, epsilon)) = self.norm {
            rms_norm_row(to, weight, epsilon);
        }
        if self.layout == RopeLayout::Skip {
            return;
        }
        let (angles, _) = self.angles[row * d..][..d].as_chunks();
        let turn = |x: &mut f32, y: &mut f32, [cos, sin]: &[f32; 2]| {
            (*x, *y) = (*x * cos - *y * sin, *x * sin + *y * cos);
        };
        if self.layout == RopeLayout::Interleaved {
            let (pairs, _) = to.as_chunks_mut();
            pairs.iter_mut().zip(angles).for_each(|([x, y], angle)| turn(x, y, angle));
        } else {
            let (x, y) = to.split_at_mut(d / 2);
            x.iter_mut().zip(y).zip(angles).for_each(|((x, y), angle)| turn(x, y, angle));
        }
    }

    /// Puts all heads of each row into rows of floats.
    pub fn write(&self, threads: Threads, columns: usize, to: &mut [f32]) {
        threads.for_rows(to, columns, GRAIN, |first, rows| {
            for (row, to) in rows.chunks_exact_mut(columns).enumerate() {
                let heads = to.chunks_exact_mut(self.head_dim).enumerate();
                heads.for_each(|(head, to)| self.head(first + row, head, to));
            }
        });
    }

    /// Appends them to a cache: those of `rows` rows from a position on.
    pub fn append(
        &self,
        threads: Threads,
        columns: usize,
        (position, rows): (usize, usize),
        cache: &mut TensorViewMut,
    ) -> Result<()> {
        let (d, places) = (self.head_dim, position * columns..(position + rows) * columns);
        match cache.dtype {
            DType::F16 => {
                threads.for_rows(&mut cache.data::<f16>()?[places], columns, GRAIN, |first, rows| {
                    let mut own = vec![0.0; d];
                    for (row, to) in rows.chunks_exact_mut(columns).enumerate() {
                        for (head, to) in to.chunks_exact_mut(d).enumerate() {
                            self.head(first + row, head, &mut own);
                            halves::narrow(&own, to);
                        }
                    }
                })
            }
            DType::I16 => {
                let (row, context) = (levels::row(d), context_of(cache.dtype, cache.shape));
                for (head, cache) in cache.data::<i16>()?.chunks_exact_mut(context * row).enumerate() {
                    threads.for_rows(
                        &mut cache[position * row..][..rows * row],
                        row,
                        GRAIN,
                        |first, rows| {
                            let mut own = vec![0.0; d];
                            for (i, to) in rows.chunks_exact_mut(row).enumerate() {
                                self.head(first + i, head, &mut own);
                                levels::write(&own, to);
                            }
                        },
                    );
                }
            }
            _ => self.write(threads, columns, &mut cache.data::<f32>()?[places]),
        }
        Ok(())
    }
}
