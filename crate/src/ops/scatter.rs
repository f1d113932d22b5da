//! A copy of a tensor with elements, or slices, replaced by others or joined with them. ONNX ScatterElements (and its
//! elder Scatter) and ScatterND.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, gather_nd::position, take::wrapped};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::Operand;
use crate::kernels::indexed::{Indexed, Named};
use crate::kernels::strided;
use crate::kernels::walk::Moved;
use crate::kernels::window::for_each_index;
use crate::tensor::{TensorViewMut, Wide};
use crate::types::TensorType;

/// `(x, indices integers, updates) → y` like `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter {
    /// What an index names.
    pub by: ScatterBy,
    /// What an update does to what is there.
    pub join: ScatterJoin,
}

/// What an index names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScatterBy {
    /// The place along a dimension; the other dimensions are those of the index itself.
    Element {
        /// The dimension; negative ones count from the end.
        axis: i64,
    },
    /// Each row of indices a slice of `x`.
    Slice,
}

/// What an update does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum ScatterJoin {
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

impl ScatterJoin {
    fn floats(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Replace => b,
            Self::Add => a + b,
            Self::Mul => a * b,
            Self::Max => a.max(b),
            Self::Min => a.min(b),
        }
    }

    fn ints(self, a: i128, b: i128) -> i128 {
        match self {
            Self::Replace => b,
            Self::Add => a + b,
            Self::Mul => a.wrapping_mul(b),
            Self::Max => a.max(b),
            Self::Min => a.min(b),
        }
    }
}

impl Scatter {
    /// For each element of the updates, in order, where it goes.
    fn targets(
        &self,
        x: &[usize],
        indices: &[i64],
        of_indices: &[usize],
        updates: &[usize],
    ) -> Result<Vec<usize>> {
        let mut targets = Vec::new();
        match self.by {
            ScatterBy::Element { axis } => {
                let axis = super::axis_of(axis, x.len())?;
                let strides = strided::row_major(x);
                let mut bad = None;
                let mut next = indices.iter();
                for_each_index(of_indices, |index| {
                    let Some(&at) = next.next() else { return };
                    match wrapped(at, x[axis]) {
                        Ok(at) => {
                            let part = |i: usize| if i == axis { at } else { index[i] };
                            targets.push((0..index.len()).map(|i| part(i) * strides[i] as usize).sum());
                        }
                        Err(error) => bad = Some(error),
                    }
                });
                bad.map_or(Ok(targets), Err)
            }
            ScatterBy::Slice => {
                let k = of_indices.last().copied().unwrap_or(0);
                let size: usize = x[k..].iter().product();
                let n = updates.iter().product::<usize>().checked_div(size).unwrap_or(0);
                for i in 0..n {
                    let start = position(&indices[i * k..][..k], &x[..k])? * size;
                    targets.extend(start..start + size);
                }
                Ok(targets)
            }
        }
    }
}

impl OpDef for Scatter {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, indices, updates) = (inputs.shape(0)?, inputs.shape(1)?, inputs.shape(2)?);
        let fits = match self.by {
            ScatterBy::Element { axis } => {
                let axis = super::axis_of(axis, x.len())?;
                indices == updates
                    && indices.len() == x.len()
                    && (0..x.len()).all(|i| i == axis || indices[i] <= x[i])
            }
            ScatterBy::Slice => match indices.split_last() {
                Some((&k, outer)) if k <= x.len() => updates == [outer, &x[k..]].concat(),
                _ => false,
            },
        };
        let (x, updates) = (inputs.ty(0)?, inputs.ty(2)?);
        let fits = fits && x.dtype == updates.dtype;
        ensure!(fits, ShapeMismatch, "indices {} and updates {updates} do not fit {x}", inputs.ty(1)?);
        Ok(vec![x.clone()])
    }

    fn moves_elements(&self) -> bool {
        self.join == ScatterJoin::Replace
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (indices, updates, y) = (inputs[1].tensor()?, inputs[2].tensor()?, &mut outputs[0]);
        if let Some(x) = inputs[0].optional()? {
            y.bytes.copy_from_slice(x.bytes);
        }
        let targets = self.targets(y.shape, &indices.to_ints()?, indices.shape, updates.shape)?;
        if self.join == ScatterJoin::Replace {
            let size = y.dtype.block_bytes();
            for (update, at) in updates.bytes.chunks_exact(size).zip(targets) {
                y.bytes[at * size..][..size].copy_from_slice(update);
            }
            return Ok(());
        }
        let joined = match (y.as_view().widen()?, updates.widen()?) {
            (Wide::Ints(mut y), Wide::Ints(updates)) => {
                targets.iter().zip(updates).for_each(|(&at, x)| y[at] = self.join.ints(y[at], x));
                Wide::Ints(y)
            }
            (y, _) => {
                let Wide::Floats(mut y) = y else { return Ok(()) };
                targets
                    .iter()
                    .zip(updates.to_floats()?)
                    .for_each(|(&at, x)| y[at] = self.join.floats(y[at], x));
                Wide::Floats(y)
            }
        };
        y.narrow(joined)
    }

    /// A copy, and the updates written over it. Of updates of one place, which ONNX forbids, any may be the last.
    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, indices, updates) = (types.input(0)?, types.input(1)?, types.input(2)?);
        if self.join != ScatterJoin::Replace {
            return Lowered::not_on_gpu("no kernel joins updates with what is there");
        }
        let [Some(dtype), Some(of_indices)] = [types.dtype(0), types.dtype(1)] else {
            return Lowered::not_on_gpu("its inputs have no dtypes");
        };
        let named = match self.by {
            ScatterBy::Element { axis } => Named::Along(super::axis_of(axis, x.len())?),
            ScatterBy::Slice => {
                Named::Slices { numbers: indices.last().copied().unwrap_or(0), batch_dims: 0 }
            }
        };
        let launch = Indexed {
            named,
            scatter: true,
            dtypes: [dtype, of_indices],
            shapes: [&x, &indices, &updates],
            operands: [Operand::Input(2), Operand::Input(1), Operand::Output(0)],
        };
        let strides = strided::row_major(&x);
        let copy = Moved { shape: &x, from: (0, 0, &strides), to: (0, 0, &strides) };
        match (copy.launch(dtype)?, launch.launch()?) {
            (Some(copy), Some(launch)) => Ok(Lowered::Dispatches(vec![copy, launch])),
            _ => Lowered::not_on_gpu("no kernel takes elements or indices of this dtype"),
        }
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |by: ScatterBy,
                    join: ScatterJoin,
                    indices: Given,
                    updates: &[usize],
                    places: &'static [usize]| {
            let inputs = vec![Given::noise(&[3, 4], 1), indices, Given::noise(updates, 2)];
            Case::new(format!("{by:?} {join:?}"), Scatter { by, join }, inputs, Tolerance::of(1e-6), |x| {
                let mut y = x[0].as_ref().expect("an input").clone();
                for (&at, update) in places.iter().zip(&x[2].as_ref().expect("updates").values) {
                    y.values[at] = if join == ScatterJoin::Add { y.values[at] + update } else { *update };
                }
                vec![y]
            })
        };
        let along = Given::fed(&[2, 2], &[2i64, 0, -1, 1]);
        let slices = Given::fed(&[3, 1], &[2i64, 0, 2]);
        let last = ScatterBy::Element { axis: 1 };
        vec![
            case(
                ScatterBy::Slice,
                ScatterJoin::Replace,
                Given::fed(&[2, 2], &[2i32, -1, 0, 1]),
                &[2],
                &[11, 1],
            ),
            case(
                ScatterBy::Slice,
                ScatterJoin::Replace,
                Given::fed(&[2, 1], &[-1i64, 0]),
                &[2, 4],
                &[8, 9, 10, 11, 0, 1, 2, 3],
            ),
            case(
                ScatterBy::Element { axis: 0 },
                ScatterJoin::Replace,
                Given::fed(&[1, 3], &[2i32, 0, -1]),
                &[1, 3],
                &[8, 1, 10],
            ),
            case(last, ScatterJoin::Replace, along.clone(), &[2, 2], &[2, 0, 7, 5]),
            case(ScatterBy::Element { axis: 0 }, ScatterJoin::Add, along, &[2, 2], &[8, 1, 8, 5]),
            case(
                ScatterBy::Slice,
                ScatterJoin::Add,
                slices,
                &[3, 4],
                &[8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11],
            ),
        ]
    }
}
