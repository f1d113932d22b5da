//! Sums and means of rows. ONNX ReduceSum and ReduceMean over the last axis, which stays, as 1.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Dim, TensorType};

/// `f32 [.., n] → f32 [.., 1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// What becomes of a row.
    pub function: ReduceFunction,
}

/// The functions of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum ReduceFunction {
    Mean,
    Sum,
}

impl Reduce {
    fn factor(&self, columns: usize) -> f32 {
        if self.function == ReduceFunction::Mean { 1.0 / columns as f32 } else { 1.0 }
    }
}

impl OpDef for Reduce {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        expect_dtype(x, DType::F32, "the input of a reduction")?;
        ensure!(x.shape.rank() > 0, ShapeMismatch, "a reduction wants at least one dimension");
        let mut y = x.clone();
        if let Some(last) = y.shape.0.last_mut() {
            *last = Dim::Known(1);
        }
        Ok(vec![y])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let (_, columns) = x.as_rows();
        let rows = x.data::<f32>()?.chunks_exact(columns.max(1));
        for (y, row) in outputs[0].data::<f32>()?.iter_mut().zip(rows) {
            // Eight lanes, which vectorise.
            let mut lanes = [0.0f32; 8];
            let (chunks, rest) = row.as_chunks::<8>();
            chunks.iter().for_each(|chunk| lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += x));
            *y = (lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()) * self.factor(columns);
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        let columns = x.last().copied().unwrap_or(1);
        let rows = x.iter().product::<usize>() / columns.max(1);
        let params = Params { columns: columns as u32, factor: self.factor(columns) }.bytes();
        Lowered::one(Dispatch::new("reduce", &[], vec![(0, Input(0)), (1, Output(0))], params, [rows, 1, 1])?)
    }
}

params!("reduce": columns: u32, factor: f32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_reduce(function: ReduceFunction, x: &Array) -> Array {
        let of = |row: &[f64]| match function {
            ReduceFunction::Mean => row.iter().sum::<f64>() / row.len() as f64,
            ReduceFunction::Sum => row.iter().sum(),
        };
        let shape = [&x.shape[..x.shape.len() - 1], &[1]].concat();
        Array::new(&shape, x.rows().map(of).collect())
    }

    pub fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for function in [ReduceFunction::Mean, ReduceFunction::Sum] {
            for shape in [&[1][..], &[3, 63], &[2, 3, 576]] {
                let inputs = vec![Given::noise(shape, 3)];
                // Values of both signs nearly cancel.
                let tolerance = Tolerance::of(2e-5);
                cases.push(Case::new(format!("{function:?} of {shape:?}"), Reduce { function }, inputs, tolerance, |x| {
                    vec![reference_reduce(function, x[0].as_ref().expect("an input"))]
                }));
            }
        }
        cases
    }
}
