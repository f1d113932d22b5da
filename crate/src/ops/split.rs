//! A tensor cut along a dimension. ONNX Split.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::strided;
use crate::kernels::walk::Moved;
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(x, sizes [parts]?) → (y0, y1, …)` of any dtype. Without sizes the parts are equal, but for a smaller last.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The dimension; negative ones count from the end.
    pub axis: i64,
    /// How many parts.
    pub parts: usize,
}

impl OpDef for Split {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.shape(0)?;
        let axis = super::axis_of(self.axis, x.len())?;
        let n = x[axis];
        let sizes = match inputs.ints(1)? {
            Some(sizes) => {
                sizes.into_iter().map(|size| usize::try_from(size).unwrap_or(usize::MAX)).collect()
            }
            None => {
                let size = n.div_ceil(self.parts.max(1));
                (0..self.parts).map(|i| n.saturating_sub(i * size).min(size)).collect::<Vec<_>>()
            }
        };
        let sum = sizes.iter().try_fold(0usize, |sum, size| sum.checked_add(*size));
        ensure!(
            sizes.len() == self.parts && sum == Some(n),
            ShapeMismatch,
            "{n} elements do not split into {sizes:?}, {} parts",
            self.parts
        );
        let part = |size| {
            let mut shape = x.clone();
            shape[axis] = size;
            Ok(TensorType::new(inputs.dtype(0)?, Shape::known(&shape)))
        };
        sizes.into_iter().map(part).collect()
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let axis = super::axis_of(self.axis, x.shape.len())?;
        let size = x.dtype.block_bytes();
        let inner = |shape: &[usize]| shape[axis..].iter().product::<usize>() * size;
        let row = inner(x.shape);
        let mut at = 0;
        for y in outputs {
            let own = inner(y.shape);
            if own > 0 {
                let rows = y.bytes.chunks_exact_mut(own).zip(x.bytes.chunks_exact(row));
                rows.for_each(|(y, x)| y.copy_from_slice(&x[at..at + own]));
            }
            at += own;
        }
        Ok(())
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1]
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        let axis = super::axis_of(self.axis, x.len())?;
        let from = strided::row_major(&x);
        let shapes = (0..types.outputs.len()).map(|i| types.output(i)).collect::<Result<Vec<_>>>()?;
        let to: Vec<_> = shapes.iter().map(|y| strided::row_major(y)).collect();
        let mut at = 0;
        let mut parts = Vec::with_capacity(shapes.len());
        for (i, (y, to)) in shapes.iter().zip(&to).enumerate() {
            parts.push(Moved { shape: y, from: (0, at, &from), to: (i, 0, to) });
            at += y[axis] as isize * from[axis];
        }
        Lowered::moved(&parts, types)
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |sizes: Option<&[i64]>, cuts: &'static [usize]| {
            let mut inputs = vec![Given::noise(&[3, 7], 1)];
            inputs.extend(sizes.map(|sizes| Given::known(&[sizes.len()], sizes)));
            let op = Split { axis: -1, parts: cuts.len() - 1 };
            Case::new(format!("{sizes:?}"), op, inputs, Tolerance::of(0.0), |x| {
                let x = x[0].as_ref().expect("an input");
                let part = |range: &[usize]| {
                    let values = x.rows().flat_map(|row| row[range[0]..range[1]].to_vec()).collect();
                    Array::new(&[3, range[1] - range[0]], values)
                };
                cuts.windows(2).map(part).collect()
            })
        };
        vec![case(None, &[0, 4, 7]), case(Some(&[1, 4, 2]), &[0, 1, 5, 7])]
    }
}
