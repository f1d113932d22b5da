//! Rows of one value but for one element. ONNX OneHot.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::TensorViewMut;
use crate::types::{Dim, Shape, TensorType};

/// `(indices [..], depth [], values [2]: off and on) → y` of the values' dtype with a dimension of `depth` more.
#[derive(Clone, Debug, PartialEq)]
pub struct OneHot {
    /// Where the new dimension is; negative ones count from the end.
    pub axis: i64,
}

impl OpDef for OneHot {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let mut dims = inputs.ty(0)?.shape.0.clone();
        let depth = inputs.value(1)?.map(|depth| depth.to_floats()).transpose()?.unwrap_or_default();
        let fits = depth.len() == 1 && depth[0] >= 0.0 && inputs.shape(2)? == [2];
        ensure!(fits, ShapeMismatch, "a depth {depth:?} and values {}", inputs.ty(2)?);
        let axis = super::axis_of(self.axis, dims.len() + 1)?;
        dims.insert(axis, Dim::Known(depth[0] as usize));
        Ok(vec![TensorType { dtype: inputs.dtype(2)?, shape: Shape(dims) }])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (indices, values, y) = (inputs[0].tensor()?.to_floats()?, inputs[2].tensor()?, &mut outputs[0]);
        let axis = super::axis_of(self.axis, y.shape.len())?;
        let (depth, inner) = (y.shape[axis], y.shape[axis + 1..].iter().product::<usize>());
        let size = y.dtype.block_bytes();
        let (off, on) = values.bytes.split_at(size);
        y.bytes.chunks_exact_mut(size).for_each(|y| y.copy_from_slice(off));
        for (i, &index) in indices.iter().enumerate() {
            let index = if index < 0.0 { index + depth as f64 } else { index };
            if (0.0..depth as f64).contains(&index) {
                let at = (i / inner * depth + index as usize) * inner + i % inner;
                y.bytes[at * size..][..size].copy_from_slice(on);
            }
        }
        Ok(())
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1]
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let inputs = vec![
            Given::fed(&[3], &[1i64, -1, 7]),
            Given::known(&[], &[3i64]),
            Given::fed(&[2], &[2.0f32, 5.0]),
        ];
        let want = vec![2.0, 5.0, 2.0, 2.0, 2.0, 5.0, 2.0, 2.0, 2.0];
        vec![Case::new("3 of 3", OneHot { axis: -1 }, inputs, Tolerance::of(0.0), |_| {
            vec![Array::new(&[3, 3], want.clone())]
        })]
    }
}
