//! Slices by whole indices. ONNX GatherND.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, take::wrapped};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::Operand;
use crate::kernels::indexed::{Indexed, Named};
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(x [batch…, d…, rest…], indices integers [batch…, n…, k]) → y [batch…, n…, rest…]`: each row of `k` indices names
/// a slice of `x` behind the batch.
#[derive(Clone, Debug, PartialEq)]
pub struct GatherNd {
    /// How many dimensions `x` and the indices share at the front.
    pub batch_dims: usize,
}

impl OpDef for GatherNd {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, indices) = (inputs.shape(0)?, inputs.shape(1)?);
        let k = indices.last().copied().unwrap_or(0);
        let fits = self.batch_dims < indices.len()
            && self.batch_dims + k <= x.len()
            && x[..self.batch_dims] == indices[..self.batch_dims];
        ensure!(fits, ShapeMismatch, "indices {} do not fit {}", inputs.ty(1)?, inputs.ty(0)?);
        let shape = [&indices[..indices.len() - 1], &x[self.batch_dims + k..]].concat();
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, indices) = (inputs[0].tensor()?, inputs[1].tensor()?);
        let k = indices.shape.last().copied().unwrap_or(0);
        let batches: usize = x.shape[..self.batch_dims].iter().product();
        let dims = &x.shape[self.batch_dims..][..k];
        let size = x.shape[self.batch_dims + k..].iter().product::<usize>() * x.dtype.block_bytes();
        let all = indices.to_ints()?;
        if size == 0 {
            return Ok(());
        }
        let rows = outputs[0].bytes.len() / size / batches.max(1);
        for (i, y) in outputs[0].bytes.chunks_exact_mut(size).enumerate() {
            let at = position(&all[i * k..][..k], dims)? + i / rows.max(1) * dims.iter().product::<usize>();
            y.copy_from_slice(&x.bytes[at * size..][..size]);
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, indices, y) = (types.input(0)?, types.input(1)?, types.output(0)?);
        let [Some(dtype), Some(of_indices)] = [types.dtype(0), types.dtype(1)] else {
            return Lowered::not_on_gpu("its inputs have no dtypes");
        };
        let numbers = indices.last().copied().unwrap_or(0);
        let launch = Indexed {
            named: Named::Slices { numbers, batch_dims: self.batch_dims },
            scatter: false,
            dtypes: [dtype, of_indices],
            shapes: [&x, &indices, &y],
            operands: [Operand::Input(0), Operand::Input(1), Operand::Output(0)],
        };
        match launch.launch()? {
            Some(launch) => Lowered::one(launch),
            None => Lowered::not_on_gpu("no kernel takes elements or indices of this dtype"),
        }
    }
}

/// The row-major position of an index whose parts may be negative.
pub(super) fn position(index: &[i64], dims: &[usize]) -> Result<usize> {
    index.iter().zip(dims).try_fold(0, |at, (&i, &n)| Ok(at * n + wrapped(i, n)?))
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let x = || Given::noise(&[2, 3, 4], 1);
        let rows = vec![x(), Given::fed(&[2, 2], &[0i64, 1, 1, -1])];
        let one_by_one = vec![x(), Given::fed(&[2, 3], &[0i32, 1, -1, 1, 2, 0])];
        let batched = vec![x(), Given::fed(&[2, 1], &[2i64, 0])];
        vec![
            Case::new("one by one", GatherNd { batch_dims: 0 }, one_by_one, Tolerance::of(0.0), |x| {
                let x = x[0].as_ref().expect("an input");
                vec![Array::new(&[2], vec![x.at(&[0, 1, 3]), x.at(&[1, 2, 0])])]
            }),
            Case::new("rows", GatherNd { batch_dims: 0 }, rows, Tolerance::of(0.0), |x| {
                let rows: Vec<&[f64]> = x[0].as_ref().expect("an input").rows().collect();
                vec![Array::new(&[2, 4], [rows[1], rows[5]].concat())]
            }),
            Case::new("by batch", GatherNd { batch_dims: 1 }, batched, Tolerance::of(0.0), |x| {
                let rows: Vec<&[f64]> = x[0].as_ref().expect("an input").rows().collect();
                vec![Array::new(&[2, 4], [rows[2], rows[3]].concat())]
            }),
        ]
    }
}
