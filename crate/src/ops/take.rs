//! Slices of a tensor by index along one dimension, of any dtype. ONNX Gather, numpy's take. ([`gather`](super::gather) is
//! the same for rows of a weight.)

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x, indices integers) → y`: the dimension becomes those of the indices, which may be negative.
#[derive(Clone, Debug, PartialEq)]
pub struct Take {
    /// The dimension; negative ones count from the end.
    pub axis: i64,
}

impl OpDef for Take {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, indices) = (inputs.ty(0)?, inputs.ty(1)?);
        let axis = super::axis_of(self.axis, x.shape.rank())?;
        let dims = [&x.shape.0[..axis], &indices.shape.0[..], &x.shape.0[axis + 1..]].concat();
        Ok(vec![TensorType { dtype: x.dtype, shape: Shape(dims) }])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, indices) = (inputs[0].tensor()?, inputs[1].tensor()?.to_ints()?);
        let axis = super::axis_of(self.axis, x.shape.len())?;
        let n = x.shape[axis];
        let indices = indices.iter().map(|&index| wrapped(index, n)).collect::<Result<Vec<_>>>()?;
        let size = x.shape[axis + 1..].iter().product::<usize>() * x.dtype.block_bytes();
        if size == 0 || indices.is_empty() {
            return Ok(());
        }
        let blocks =
            outputs[0].bytes.chunks_exact_mut(size * indices.len()).zip(x.bytes.chunks_exact(size * n));
        for (y, x) in blocks {
            for (y, &index) in y.chunks_exact_mut(size).zip(&indices) {
                y.copy_from_slice(&x[index * size..][..size]);
            }
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, indices) = (types.input(0)?, types.input(1)?);
        let axis = super::axis_of(self.axis, x.len())?;
        let words = types.dtype(0).map_or(0, |dtype| dtype.block_bytes() / 4);
        let features: &[&str] = match types.dtype(1) {
            Some(DType::I32) => &[],
            Some(DType::I64) => &["wide"],
            _ => return Lowered::not_on_gpu("no kernel takes indices of this dtype"),
        };
        if words == 0 {
            return Lowered::not_on_gpu("no kernel takes elements of this dtype");
        }
        // Indices that are known are looked at now: the kernel cannot fail.
        for index in types.ints(1)?.unwrap_or_default() {
            wrapped(index, x[axis])?;
        }
        let n = types.n_out()? * words;
        let params = Params {
            n: n as u32,
            inner: (x[axis + 1..].iter().product::<usize>() * words) as u32,
            count: indices.iter().product::<usize>() as u32,
            size: x[axis] as u32,
        };
        let bindings = vec![(0, Input(0)), (1, Input(1)), (2, Output(0))];
        Lowered::one(Dispatch::of_each("take", features, bindings, params.bytes(), n)?)
    }
}

/// An index that may be negative, of a dimension of `n`.
pub(super) fn wrapped(index: i64, n: usize) -> Result<usize> {
    let at = if index < 0 { index + n as i64 } else { index };
    ensure!((0..n as i64).contains(&at), InvalidInput, "the index {index} is outside a dimension of {n}");
    Ok(at as usize)
}

params!("take": n: u32, inner: u32, count: u32, size: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let case = |axis: usize, shape: &'static [usize]| {
            let inputs = vec![Given::noise(&[4, 5, 3], 1), Given::fed(&[2], &[2i64, -1])];
            Case::new(format!("on {axis}"), Take { axis: axis as i64 }, inputs, Tolerance::of(0.0), |x| {
                let x = x[0].as_ref().expect("an input");
                let of = |mut index: Vec<usize>| {
                    index[axis] = [2, x.shape[axis] - 1][index[axis]];
                    x.at(&index)
                };
                vec![Array::new(shape, indices(shape).map(of).collect())]
            })
        };
        let inputs = vec![Given::noise(&[4, 3], 1), Given::fed(&[2, 2], &[3i32, -4, 1, 1])];
        let narrow = Case::new("i32", Take { axis: 0 }, inputs, Tolerance::of(0.0), |x| {
            let x = x[0].as_ref().expect("an input");
            let rows = [3, 0, 1, 1].iter().flat_map(|row| (0..3).map(|i| x.at(&[*row, i])));
            vec![Array::new(&[2, 2, 3], rows.collect())]
        });
        vec![narrow, case(0, &[2, 5, 3]), case(1, &[4, 2, 3]), case(2, &[4, 5, 2])]
    }
}
