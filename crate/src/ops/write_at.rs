//! A cache with new rows written where each sequence goes on. ONNX TensorScatter.

use super::{CpuContext, Input, Known, OpDef, optional};
use crate::error::{Error, ErrorKind, Result, ensure};
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(cache [b, .., n, ..], update [b, .., m, ..], first integers [b]?) → y` like the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteAt {
    /// The dimension that rows are of; negative ones count from the end.
    pub axis: i64,
    /// Whether rows beyond the end begin anew.
    pub circular: bool,
}

impl OpDef for WriteAt {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (cache, update) = (inputs.shape(0)?, inputs.shape(1)?);
        let axis = super::axis_of(self.axis, cache.len())?;
        let fits = axis > 0
            && cache.len() == update.len()
            && (0..cache.len())
                .all(|i| if i == axis { update[i] <= cache[i] } else { update[i] == cache[i] })
            && inputs.dtype(0)? == inputs.dtype(1)?
            && inputs.optional(2).is_none_or(|first| first.shape == Shape::known(&cache[..1]));
        ensure!(
            fits,
            ShapeMismatch,
            "an update {} at {:?} of a cache {}",
            inputs.ty(1)?,
            inputs.optional(2),
            inputs.ty(0)?
        );
        Ok(vec![inputs.ty(0)?.clone()])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (update, y) = (inputs[1].tensor()?, &mut outputs[0]);
        if let Some(cache) = inputs[0].optional()? {
            y.bytes.copy_from_slice(cache.bytes);
        }
        let axis = super::axis_of(self.axis, y.shape.len())?;
        let row = y.shape[axis + 1..].iter().product::<usize>() * y.dtype.block_bytes();
        let (n, m) = (y.shape[axis], update.shape[axis]);
        let each: usize = y.shape[1..axis].iter().product();
        let first = optional(inputs, 2)?.map(|first| first.to_ints()).transpose()?;
        for (i, update) in update.bytes.chunks_exact(row.max(1)).enumerate() {
            let (outer, i) = (i / m, i % m);
            let start = first.as_ref().map_or(0, |first| first[outer / each]);
            let at = usize::try_from(start).ok().and_then(|start| start.checked_add(i));
            let at = if self.circular { at.map(|at| at % n) } else { at.filter(|at| *at < n) };
            let beyond =
                || Error::new(ErrorKind::InvalidInput, format!("rows from {start} on do not fit {n}"));
            let at = outer * n + at.ok_or_else(beyond)?;
            y.bytes[at * row..][..row].copy_from_slice(update);
        }
        Ok(())
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let inputs =
            vec![Given::noise(&[2, 4, 3], 1), Given::noise(&[2, 2, 3], 2), Given::fed(&[2], &[1i64, 3])];
        vec![Case::new(
            "past the end",
            WriteAt { axis: 1, circular: true },
            inputs,
            Tolerance::of(0.0),
            |x| {
                let mut y = x[0].as_ref().expect("a cache").clone();
                let update = x[1].as_ref().expect("an update");
                for (at, from) in [(1, 0), (2, 1), (7, 2), (4, 3)] {
                    y.values[at * 3..][..3].copy_from_slice(&update.values[from * 3..][..3]);
                }
                vec![y]
            },
        )]
    }
}
