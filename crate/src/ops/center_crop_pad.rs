//! The middle of a tensor, with zeros around it where it is too small. ONNX CenterCropPad.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::kernels::strided;
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(x, sizes integers [n]) → y`.
#[derive(Clone, Debug, PartialEq)]
pub struct CenterCropPad {
    /// The dimensions that the sizes are of; all where it is left out.
    pub axes: Option<Vec<i64>>,
}

impl OpDef for CenterCropPad {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let mut shape = inputs.shape(0)?;
        let sizes = inputs.ints(1)?.unwrap_or_default();
        let axes = match &self.axes {
            Some(axes) => super::axes_of(axes, shape.len())?,
            None => (0..shape.len()).collect(),
        };
        ensure!(
            axes.len() == sizes.len() && sizes.iter().all(|n| *n >= 0),
            ShapeMismatch,
            "sizes {sizes:?} of {} dimensions",
            axes.len()
        );
        axes.iter().zip(&sizes).for_each(|(&axis, &n)| shape[axis] = n as usize);
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1]
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        y.bytes.fill(0);
        let size = y.dtype.block_bytes();
        let (of_x, of_y) = (strided::row_major(x.shape), strided::row_major(y.shape));
        let common: Vec<usize> = x.shape.iter().zip(y.shape).map(|(a, b)| *a.min(b)).collect();
        // What is cut before, and what is empty before.
        let before = |a: &[usize], b: &[usize], strides: &[isize]| -> usize {
            (0..a.len()).map(|i| (a[i].saturating_sub(b[i]) / 2) * strides[i] as usize).sum()
        };
        let (from, to) = (before(x.shape, y.shape, &of_x), before(y.shape, x.shape, &of_y));
        let n = common.last().copied().unwrap_or(1) * size;
        strided::for_each_row(&common, [&of_x, &of_y], |[i, j]| {
            let (i, j) = ((from + i as usize) * size, (to + j as usize) * size);
            y.bytes[j..][..n].copy_from_slice(&x.bytes[i..][..n]);
        });
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let inputs = vec![Given::noise(&[2, 7, 3], 1), Given::known(&[2], &[4i64, 6])];
        let op = CenterCropPad { axes: Some(vec![1, -1]) };
        vec![Case::new("cut and padded", op, inputs, Tolerance::of(0.0), |x| {
            let x = x[0].as_ref().expect("an input");
            let of =
                |i: Vec<usize>| if (1..4).contains(&i[2]) { x.at(&[i[0], i[1] + 1, i[2] - 1]) } else { 0.0 };
            vec![Array::new(&[2, 4, 6], indices(&[2, 4, 6]).map(of).collect())]
        })]
    }
}
