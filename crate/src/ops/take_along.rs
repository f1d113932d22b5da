//! One element for each index, along one dimension. ONNX GatherElements, numpy's take_along_axis.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, take::wrapped};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::Operand;
use crate::kernels::indexed::{Indexed, Named};
use crate::kernels::strided;
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(x, indices integers, of x's rank) → y` of the indices' shape and x's dtype.
#[derive(Clone, Debug, PartialEq)]
pub struct TakeAlong {
    /// The dimension; negative ones count from the end.
    pub axis: i64,
}

impl OpDef for TakeAlong {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, indices) = (inputs.shape(0)?, inputs.shape(1)?);
        let axis = super::axis_of(self.axis, x.len())?;
        let fits = indices.len() == x.len() && (0..x.len()).all(|i| i == axis || indices[i] <= x[i]);
        ensure!(fits, ShapeMismatch, "indices {} do not fit {}", inputs.ty(1)?, inputs.ty(0)?);
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&indices))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, indices, y) = (inputs[0].tensor()?, inputs[1].tensor()?.to_ints()?, &mut outputs[0]);
        let axis = super::axis_of(self.axis, x.shape.len())?;
        let strides = strided::row_major(x.shape);
        let size = x.dtype.block_bytes();
        let mut elements = y.bytes.chunks_exact_mut(size).zip(&indices);
        let mut bad = None;
        crate::kernels::window::for_each_index(y.shape, |index| {
            let Some((y, &at)) = elements.next() else { return };
            let at = |i: usize| if i == axis { wrapped(at, x.shape[axis]) } else { Ok(index[i]) };
            let from = (0..index.len()).try_fold(0, |from, i| Ok(from + at(i)? * strides[i] as usize));
            match from {
                Ok(from) => y.copy_from_slice(&x.bytes[from * size..][..size]),
                Err(error) => bad = Some(error),
            }
        });
        bad.map_or(Ok(()), Err)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, indices, y) = (types.input(0)?, types.input(1)?, types.output(0)?);
        let [Some(dtype), Some(of_indices)] = [types.dtype(0), types.dtype(1)] else {
            return Lowered::not_on_gpu("its inputs have no dtypes");
        };
        let axis = super::axis_of(self.axis, x.len())?;
        // Indices that are known are looked at now: the kernel cannot fail.
        for index in types.ints(1)?.unwrap_or_default() {
            wrapped(index, x[axis])?;
        }
        let launch = Indexed {
            named: Named::Along(axis),
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

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let picks = [2i64, 0, 1, -1, 1, 0];
        let case = |axis: usize| {
            let inputs = vec![Given::noise(&[3, 3], 1), Given::fed(&[2, 3], &picks)];
            Case::new(
                format!("on {axis}"),
                TakeAlong { axis: axis as i64 },
                inputs,
                Tolerance::of(0.0),
                |x| {
                    let x = x[0].as_ref().expect("an input");
                    let of = |mut index: Vec<usize>| {
                        index[axis] = picks[index[0] * 3 + index[1]].rem_euclid(3) as usize;
                        x.at(&index)
                    };
                    vec![Array::new(&[2, 3], indices(&[2, 3]).map(of).collect())]
                },
            )
        };
        let narrow: Vec<i32> = picks.iter().map(|pick| *pick as i32).collect();
        let inputs =
            vec![Given::fed(&[3, 3], &[0i64, 1, 2, 3, 4, 5, 6, 7, -8]), Given::fed(&[2, 3], &narrow)];
        let wide = Case::new("of i64", TakeAlong { axis: 0 }, inputs, Tolerance::of(0.0), |_| {
            vec![Array::new(&[2, 3], vec![6.0, 1.0, 5.0, 6.0, 4.0, 2.0])]
        });
        vec![case(0), case(1), wide]
    }
}
