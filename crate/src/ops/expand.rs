//! A tensor repeated to a larger shape. ONNX Expand (broadcasting) and Tile (whole copies).

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::strided;
use crate::kernels::walk::Moved;
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(x, integers [r]) → y` of any dtype.
#[derive(Clone, Debug, PartialEq)]
pub enum Expand {
    /// To the shape that `x` and input 1 broadcast to.
    Broadcast,
    /// As often along each dimension as input 1 says.
    Tile,
}

/// The walk over `y`, whole copies of `x`: each dimension [n·t] as [t, n], of which only the second moves in `x`.
fn tiles(x: &[usize], y: &[usize]) -> (Vec<usize>, Vec<isize>) {
    let (mut shape, mut strides) = (Vec::new(), Vec::new());
    for ((&n, &out), stride) in x.iter().zip(y).zip(strided::row_major(x)) {
        shape.extend([out / n.max(1), n]);
        strides.extend([0, stride]);
    }
    (shape, strides)
}

impl OpDef for Expand {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.shape(0)?;
        let wanted = inputs.ints(1)?.unwrap_or_default();
        ensure!(wanted.iter().all(|n| *n >= 0), ShapeMismatch, "{wanted:?} has a negative number");
        let wanted: Vec<usize> = wanted.into_iter().map(|n| n as usize).collect();
        let shape = match self {
            Self::Broadcast => super::broadcast_shape(&x, &wanted)?,
            Self::Tile => {
                ensure!(
                    wanted.len() == x.len(),
                    ShapeMismatch,
                    "{} repeats for {} dimensions",
                    wanted.len(),
                    x.len()
                );
                x.iter().zip(&wanted).map(|(n, times)| n * times).collect()
            }
        };
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let size = x.dtype.block_bytes();
        match self {
            Self::Broadcast => {
                strided::copy(size, x.bytes, 0, &strided::broadcast(x.shape, y.shape), y.bytes, y.shape);
            }
            Self::Tile => {
                let (shape, strides) = tiles(x.shape, y.shape);
                strided::copy(size, x.bytes, 0, &strides, y.bytes, &shape);
            }
        }
        Ok(())
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1]
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, y) = (types.input(0)?, types.output(0)?);
        let (shape, from) = match self {
            Self::Broadcast => (y.clone(), strided::broadcast(&x, &y)),
            Self::Tile => tiles(&x, &y),
        };
        let moved = Moved { shape: &shape, from: (0, 0, &from), to: (0, 0, &strided::row_major(&shape)) };
        Lowered::moved(&[moved], types)
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let case = |op: Expand, x: &[usize], to: &[i64], shape: &'static [usize]| {
            let inputs = vec![Given::noise(x, 1), Given::known(&[to.len()], to)];
            Case::new(format!("{op:?} {x:?} by {to:?}"), op, inputs, Tolerance::of(0.0), move |x| {
                let x = x[0].as_ref().expect("an input");
                let skip = shape.len() - x.shape.len();
                let of = |index: Vec<usize>| {
                    x.at(&index[skip..].iter().zip(&x.shape).map(|(i, n)| i % n).collect::<Vec<_>>())
                };
                vec![Array::new(shape, indices(shape).map(of).collect())]
            })
        };
        vec![
            case(Expand::Broadcast, &[3, 1], &[2, 1, 5], &[2, 3, 5]),
            case(Expand::Tile, &[2, 3], &[2, 3], &[4, 9]),
        ]
    }
}
