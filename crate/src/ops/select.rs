//! Elements of one tensor or another. ONNX Where.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::kernels::strided;
use crate::kernels::walk::{Walk, vec4u};
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::{DType, Shape, TensorType};

/// `(condition bool, a, b) → y`: `a` where the condition holds, else `b`; all three broadcast.
#[derive(Clone, Debug, PartialEq)]
pub struct Select;

impl OpDef for Select {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (condition, a, b) = (inputs.ty(0)?, inputs.ty(1)?, inputs.ty(2)?);
        expect_dtype(condition, DType::Bool, "the condition")?;
        ensure!(a.dtype == b.dtype, ShapeMismatch, "{a} and {b} differ in dtype");
        let shape =
            super::broadcast_shape(&super::broadcast_shape(&a.shape.0, &b.shape.0)?, &condition.shape.0)?;
        Ok(vec![TensorType { dtype: a.dtype, shape: Shape(shape) }])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (condition, a, b) = (inputs[0].tensor()?, inputs[1].tensor()?, inputs[2].tensor()?);
        let y = &mut outputs[0];
        match y.dtype.block_bytes() {
            1 => select::<u8>(condition, a, b, y),
            2 => select::<u16>(condition, a, b, y),
            4 => select::<u32>(condition, a, b, y),
            _ => select::<u64>(condition, a, b, y),
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let y = types.output(0)?;
        let strides =
            [types.input(0)?, types.input(1)?, types.input(2)?].map(|from| strided::broadcast(&from, &y));
        let words = types.dtype(1).is_some_and(|dtype| dtype.block_bytes() == 4);
        let Some(walk) = Walk::new(&y, [&strides[0], &strides[1], &strides[2]]).filter(|_| words) else {
            return Lowered::not_on_gpu("no kernel selects elements of this dtype along so many dimensions");
        };
        let [sizes, more_sizes] = walk.sizes;
        let [[c_strides, more_c_strides], [a_strides, more_a_strides], [b_strides, more_b_strides]] =
            walk.strides;
        let n = types.n_out()?;
        let params = Params {
            n: n as u32,
            rank: walk.rank,
            unused0: 0,
            unused1: 0,
            sizes,
            more_sizes,
            c_strides,
            more_c_strides,
            a_strides,
            more_a_strides,
            b_strides,
            more_b_strides,
        };
        let bindings = vec![(0, Input(0)), (1, Input(1)), (2, Input(2)), (3, Output(0))];
        Lowered::one(Dispatch::of_each("select", &[], bindings, params.bytes(), n)?)
    }
}

/// Elements as so many bytes.
fn select<T: bytemuck::Pod>(condition: TensorView, a: TensorView, b: TensorView, y: &mut TensorViewMut) {
    let shape = y.shape;
    let strides = [condition.shape, a.shape, b.shape].map(|from| strided::broadcast(from, shape));
    let [of_condition, of_a, of_b] =
        [0, 1, 2].map(|i: usize| strides[i].last().map_or(0, |step| *step as usize));
    let (a, b): (&[T], &[T]) = (bytemuck::cast_slice(a.bytes), bytemuck::cast_slice(b.bytes));
    let y: &mut [T] = bytemuck::cast_slice_mut(y.bytes);
    let mut rows = y.chunks_exact_mut(shape.last().copied().unwrap_or(1).max(1));
    strided::for_each_row(shape, [&strides[0], &strides[1], &strides[2]], |at| {
        let Some(row) = rows.next() else { return };
        let (condition, a, b) =
            (&condition.bytes[at[0] as usize..], &a[at[1] as usize..], &b[at[2] as usize..]);
        for (i, y) in row.iter_mut().enumerate() {
            *y = if condition[i * of_condition] != 0 { a[i * of_a] } else { b[i * of_b] };
        }
    });
}

params!("select": n: u32, rank: u32, unused0: u32, unused1: u32, sizes: vec4u, more_sizes: vec4u, c_strides: vec4u,
    more_c_strides: vec4u, a_strides: vec4u, more_a_strides: vec4u, b_strides: vec4u, more_b_strides: vec4u);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};
    use crate::tensor::Tensor;

    pub fn cases() -> Vec<Case> {
        let mut mask = Tensor::zeros(DType::Bool, &[4]).expect("a small tensor");
        mask.view_mut().bytes.copy_from_slice(&[1, 0, 0, 1]);
        let inputs = vec![Given::Fed(mask), Given::noise(&[3, 1], 1), Given::noise(&[3, 4], 2)];
        vec![Case::new("a mask of columns", Select, inputs, Tolerance::of(0.0), |x| {
            let [Some(mask), Some(a), Some(b)] = x else { panic!("three inputs") };
            let of = |(i, b): (usize, &f64)| if mask.values[i % 4] != 0.0 { a.values[i / 4] } else { *b };
            vec![Array::new(&[3, 4], b.values.iter().enumerate().map(of).collect())]
        })]
    }
}
