//! Dimensions in another order. ONNX Transpose.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::strided;
use crate::kernels::walk::Moved;
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `x → y` of any dtype; dimension `i` of `y` is dimension `order[i]` of `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Transpose {
    /// The order; reversed where it is left out.
    pub order: Option<Vec<usize>>,
}

impl Transpose {
    fn order(&self, rank: usize) -> Result<Vec<usize>> {
        let order = self.order.clone().unwrap_or_else(|| (0..rank).rev().collect());
        let complete = order.len() == rank && (0..rank).all(|i| order.contains(&i));
        ensure!(complete, ShapeMismatch, "{order:?} is no order of {rank} dimensions");
        Ok(order)
    }
}

impl OpDef for Transpose {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        let order = self.order(x.shape.rank())?;
        Ok(vec![TensorType::new(x.dtype, Shape(order.iter().map(|&i| x.shape.0[i].clone()).collect()))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let strides = strided::row_major(x.shape);
        let strides: Vec<isize> = self.order(x.shape.len())?.iter().map(|&i| strides[i]).collect();
        strided::copy(x.dtype.block_bytes(), x.bytes, 0, &strides, y.bytes, y.shape);
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, y) = (types.input(0)?, types.output(0)?);
        let strides = strided::row_major(&x);
        let strides: Vec<isize> = self.order(x.len())?.iter().map(|&i| strides[i]).collect();
        let moved = Moved { shape: &y, from: (0, 0, &strides), to: (0, 0, &strided::row_major(&y)) };
        Lowered::moved(&[moved], types)
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let case = |given: fn(&[usize], u64) -> Given, shape: &[usize], order: &'static [usize]| {
            let op = Transpose { order: Some(order.to_vec()) };
            Case::new(
                format!("{}, {shape:?} to {order:?}", given(shape, 1).dtype().expect("an input")),
                op,
                vec![given(shape, 1)],
                Tolerance::of(0.0),
                |x| {
                    let x = x[0].as_ref().expect("an input");
                    let shape: Vec<usize> = order.iter().map(|&i| x.shape[i]).collect();
                    let of = |index: Vec<usize>| {
                        let mut from = vec![0; order.len()];
                        order.iter().zip(&index).for_each(|(&axis, &i)| from[axis] = i);
                        x.at(&from)
                    };
                    vec![Array::new(&shape, indices(&shape).map(of).collect())]
                },
            )
        };
        vec![
            case(Given::noise, &[3, 5], &[1, 0]),
            case(Given::noise, &[2, 3, 4, 5], &[0, 2, 1, 3]),
            case(Given::noise, &[2, 3, 4], &[2, 0, 1]),
            case(Given::bytes, &[3, 5], &[1, 0]),
            case(Given::bytes, &[2, 9, 7, 3], &[0, 3, 1, 2]),
            // By whole words.
            case(Given::bytes, &[2, 3, 5, 8], &[2, 0, 1, 3]),
        ]
    }
}
