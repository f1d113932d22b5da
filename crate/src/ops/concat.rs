//! Tensors one after the other along a dimension. ONNX Concat.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::strided;
use crate::kernels::walk::Moved;
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// Bytes that are worth handing to another thread: some microseconds.
const WORTH: usize = 1 << 16;

/// `(x0, x1, …) → y` of any dtype, which all share.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// The dimension; negative ones count from the end.
    pub axis: i64,
}

impl OpDef for Concat {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let mut shape = inputs.shape(0)?;
        let axis = super::axis_of(self.axis, shape.len())?;
        for i in 1..inputs.len() {
            let next = inputs.shape(i)?;
            let fits = next.len() == shape.len()
                && (0..shape.len()).all(|d| d == axis || next[d] == shape[d])
                && inputs.dtype(i)? == inputs.dtype(0)?;
            ensure!(
                fits,
                ShapeMismatch,
                "input {i}, {}, does not go behind {}",
                inputs.ty(i)?,
                inputs.ty(0)?
            );
            shape[axis] += next[axis];
        }
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let y = &mut outputs[0];
        let axis = super::axis_of(self.axis, y.shape.len())?;
        let size = y.dtype.block_bytes();
        let inner = |shape: &[usize]| shape[axis..].iter().product::<usize>() * size;
        let row_bytes = inner(y.shape).max(1);
        // Of each input where its part of a row begins and ends.
        let mut parts = Vec::with_capacity(inputs.len());
        let mut begin = 0;
        for input in inputs {
            let x = input.tensor()?;
            let end = begin + inner(x.shape);
            parts.push((begin..end, x.bytes));
            begin = end;
        }
        cx.threads.for_rows(y.bytes, 1, WORTH, |first, mut y| {
            let (mut row, mut at) = (first / row_bytes, first % row_bytes);
            while !y.is_empty() {
                let next = parts.partition_point(|(part, _)| part.end <= at);
                for (part, x) in &parts[next..] {
                    let n = (part.end - at).min(y.len());
                    let to = y.split_off_mut(..n).unwrap_or_default();
                    to.copy_from_slice(&x[row * part.len() + at - part.start..][..n]);
                    at += n;
                    if y.is_empty() {
                        return;
                    }
                }
                (row, at) = (row + 1, 0);
            }
        });
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let y = types.output(0)?;
        let axis = super::axis_of(self.axis, y.len())?;
        let to = strided::row_major(&y);
        let shapes = (0..types.inputs.len()).map(|i| types.input(i)).collect::<Result<Vec<_>>>()?;
        let from: Vec<_> = shapes.iter().map(|x| strided::row_major(x)).collect();
        let mut at = 0;
        let mut parts = Vec::with_capacity(shapes.len());
        for (i, (x, from)) in shapes.iter().zip(&from).enumerate() {
            parts.push(Moved { shape: x, from: (i, 0, from), to: (0, at, &to) });
            at += x[axis] as isize * to[axis];
        }
        Lowered::moved(&parts, types)
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let case = |given: fn(&[usize], u64) -> Given, axis: i64, a: &[usize], b: &[usize]| {
            let inputs = vec![given(a, 1), given(b, 2)];
            Case::new(
                format!("{}, {a:?} and {b:?} on {axis}", inputs[0].dtype().expect("an input")),
                Concat { axis },
                inputs,
                Tolerance::of(0.0),
                move |x| {
                    let (a, b) = (x[0].as_ref().expect("an input"), x[1].as_ref().expect("an input"));
                    let axis = if axis < 0 { a.shape.len() - 1 } else { axis as usize };
                    let mut shape = a.shape.clone();
                    shape[axis] += b.shape[axis];
                    let of = |mut index: Vec<usize>| match index[axis].checked_sub(a.shape[axis]) {
                        None => a.at(&index),
                        Some(i) => {
                            index[axis] = i;
                            b.at(&index)
                        }
                    };
                    vec![Array::new(&shape, indices(&shape).map(of).collect())]
                },
            )
        };
        vec![
            case(Given::noise, 0, &[2, 3], &[1, 3]),
            case(Given::noise, -1, &[2, 3], &[2, 5]),
            case(Given::noise, 1, &[2, 3, 2], &[2, 1, 2]),
            case(Given::bytes, 0, &[2, 7], &[3, 7]),
            case(Given::bytes, 1, &[3, 3, 7, 7], &[3, 5, 7, 7]),
            case(Given::bytes, 1, &[2, 3, 6, 6], &[2, 5, 6, 6]),
            // Threads share it.
            case(Given::noise, 1, &[3, 40, 331], &[3, 21, 331]),
        ]
    }
}
