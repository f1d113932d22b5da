//! Where the largest or smallest element along a dimension is. ONNX ArgMax and ArgMin.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, MAX_LINE, Operand, params, spread};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Dim, TensorType};

/// `x [..] → i64`, without the dimension or with it as 1.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgReduce {
    /// The dimension; negative ones count from the end.
    pub axis: i64,
    /// Whether it stays, as 1.
    pub keep: bool,
    /// Whether the largest is wanted, or the smallest.
    pub largest: bool,
    /// Whether the last of equals is wanted, or the first.
    pub last: bool,
}

impl OpDef for ArgReduce {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let mut shape = inputs.ty(0)?.shape.clone();
        let axis = super::axis_of(self.axis, shape.rank())?;
        if self.keep {
            shape.0[axis] = Dim::Known(1);
        } else {
            shape.0.remove(axis);
        }
        Ok(vec![TensorType { dtype: DType::I64, shape }])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let axis = super::axis_of(self.axis, x.shape.len())?;
        let (n, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>());
        let values = x.to_floats()?;
        for (i, y) in outputs[0].data::<i64>()?.iter_mut().enumerate() {
            let start = i / inner * n * inner + i % inner;
            let at = |j: usize| values[start + j * inner];
            let mut best = 0;
            for j in 1..n {
                let better = if self.largest { at(j) > at(best) } else { at(j) < at(best) };
                if better || self.last && at(j) == at(best) {
                    best = j;
                }
            }
            *y = best as i64;
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        if types.dtype(0) != Some(DType::F32) {
            return Lowered::not_on_gpu("no kernel compares elements of this dtype");
        }
        let axis = super::axis_of(self.axis, x.len())?;
        let (n, count) = (types.n_out()?, x[axis]);
        if count > MAX_LINE {
            return Lowered::too_long(count);
        }
        let params = Params {
            n: n as u32,
            count: count as u32,
            inner: x[axis + 1..].iter().product::<usize>() as u32,
            sign: if self.largest { 1.0 } else { -1.0 },
            last: self.last.into(),
        };
        let bindings = vec![(0, Operand::Input(0)), (1, Operand::Output(0))];
        if count < 64 {
            return Lowered::one(Dispatch::of_each("arg_reduce", &["each"], bindings, params.bytes(), n)?);
        }
        let (x, z) = spread(n);
        Lowered::one(Dispatch::new("arg_reduce", &[], bindings, params.bytes(), [x, 1, z])?)
    }
}

params!("arg_reduce": n: u32, count: u32, inner: u32, sign: f32, last: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let x = [3.0f32, 9.0, 9.0, 1.0, 5.0, 1.0];
        let case = |axis: i64, largest: bool, last: bool, shape: &'static [usize], want: &'static [f64]| {
            let op = ArgReduce { axis, keep: true, largest, last };
            let inputs = vec![Given::fed(&[2, 3], &x)];
            Case::new(format!("{op:?}"), op, inputs, Tolerance::of(0.0), |_| {
                vec![Array::new(shape, want.to_vec())]
            })
        };
        // More than a workgroup has threads, with equals far apart.
        let long = |largest: bool, last: bool| {
            let op = ArgReduce { axis: 1, keep: false, largest, last };
            let x: Vec<f32> = (0..2 * 300 * 3).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
            let inputs = vec![Given::fed(&[2, 300, 3], &x)];
            Case::new(format!("{op:?} of 300"), op, inputs, Tolerance::of(0.0), move |x| {
                let x = x[0].as_ref().expect("an input");
                let of = |i: usize| {
                    let at = |j: usize| x.at(&[i / 3, j, i % 3]);
                    let better = |a: f64, b: f64| if largest { b > a } else { b < a };
                    (1..300).fold(0, |best, j| {
                        let goes = better(at(best), at(j)) || last && at(j) == at(best);
                        if goes { j } else { best }
                    }) as f64
                };
                vec![Array::new(&[2, 3], (0..6).map(of).collect())]
            })
        };
        vec![
            long(true, false),
            long(false, true),
            case(-1, true, false, &[2, 1], &[1.0, 1.0]),
            case(-1, true, true, &[2, 1], &[2.0, 1.0]),
            case(0, false, false, &[1, 3], &[1.0, 1.0, 1.0]),
        ]
    }
}
