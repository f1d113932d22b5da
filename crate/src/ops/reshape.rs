//! The same elements in another shape. ONNX Reshape, Flatten, Squeeze, Unsqueeze, Identity. No byte moves.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(x [..], integers [..]?) → y`, the elements of `x`.
#[derive(Clone, Debug, PartialEq)]
pub enum Reshape {
    /// As it is.
    Same,
    /// To input 1: -1 once for what remains, 0 for the input's own dimension unless `allow_zero`.
    To {
        /// Whether 0 means an empty dimension.
        allow_zero: bool,
    },
    /// To `[d0·…, …·dn]`, cut before this axis, which may be negative.
    Flatten(i64),
    /// Without the dimensions of size 1 that input 1 lists, or without all of size 1.
    Squeeze,
    /// With dimensions of size 1 at the end, so that the first is dimension `axis` of input 1; a single number stays as it
    /// is. ONNX before opset 7 broadcast so.
    Align {
        /// The dimension; negative ones count from the end.
        axis: i64,
    },
    /// With dimensions of size 1 where input 1 says, counted in the output.
    Unsqueeze,
}

impl Reshape {
    fn shape(&self, inputs: &Known) -> Result<Vec<usize>> {
        let x = inputs.shape(0)?;
        let n: usize = x.iter().product();
        Ok(match self {
            Self::Same => x,
            Self::Flatten(axis) => {
                let cut = axis_or_end(*axis, x.len())?;
                vec![x[..cut].iter().product(), x[cut..].iter().product()]
            }
            Self::To { allow_zero } => {
                let wanted = inputs.ints(1)?.unwrap_or_default();
                let mut shape = Vec::with_capacity(wanted.len());
                let mut rest = None;
                for (i, &dim) in wanted.iter().enumerate() {
                    shape.push(match dim {
                        -1 if rest.is_none() => {
                            rest = Some(i);
                            1
                        }
                        0 if !allow_zero => {
                            let own = x.get(i).copied();
                            ensure!(
                                own.is_some(),
                                ShapeMismatch,
                                "dimension {i} of {wanted:?} copies one that {x:?} lacks"
                            );
                            own.unwrap_or_default()
                        }
                        0.. => dim as usize,
                        _ => {
                            return crate::error::fail!(
                                ShapeMismatch,
                                "{x:?} cannot take the shape {wanted:?}"
                            );
                        }
                    });
                }
                if let Some(rest) = rest {
                    let others: usize = shape.iter().product();
                    let fits = if others == 0 { n == 0 } else { n.is_multiple_of(others) };
                    ensure!(fits, ShapeMismatch, "{x:?} cannot take the shape {wanted:?}");
                    shape[rest] = n.checked_div(others).unwrap_or(0);
                }
                shape
            }
            Self::Squeeze => {
                let axes = inputs.ints(1)?.map(|axes| super::axes_of(&axes, x.len())).transpose()?;
                let goes = |i: usize| axes.as_ref().map_or(x[i] == 1, |axes| axes.contains(&i));
                let bad = (0..x.len()).find(|&i| goes(i) && x[i] != 1);
                ensure!(bad.is_none(), ShapeMismatch, "an axis to squeeze of {x:?} is not 1");
                (0..x.len()).filter(|&i| !goes(i)).map(|i| x[i]).collect()
            }
            Self::Align { axis } => {
                let rank = inputs.shape(1)?.len();
                if n == 1 {
                    return Ok(vec![1; rank.min(1)]);
                }
                let axis = super::axis_of(*axis, rank)?;
                ensure!(axis + x.len() <= rank, ShapeMismatch, "{x:?} from dimension {axis} on of {rank}");
                [&x[..], &vec![1; rank - axis - x.len()]].concat()
            }
            Self::Unsqueeze => {
                let axes = inputs.ints(1)?.unwrap_or_default();
                let rank = x.len() + axes.len();
                let axes = super::axes_of(&axes, rank)?;
                let mut own = x.iter().copied();
                (0..rank).map(|i| if axes.contains(&i) { 1 } else { own.next().unwrap_or(1) }).collect()
            }
        })
    }
}

/// An axis that may be negative, and may be the rank itself.
fn axis_or_end(axis: i64, rank: usize) -> Result<usize> {
    let resolved = if axis < 0 { axis + rank as i64 } else { axis };
    ensure!((0..=rank as i64).contains(&resolved), ShapeMismatch, "axis {axis} of {rank} dimensions");
    Ok(resolved as usize)
}

impl OpDef for Reshape {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        let shape = self.shape(inputs)?;
        let (had, has) = (inputs.shape(0)?.iter().product::<usize>(), shape.iter().product::<usize>());
        ensure!(had == has, ShapeMismatch, "{x} cannot take the shape {shape:?}");
        Ok(vec![TensorType::new(x.dtype, Shape::known(&shape))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        outputs[0].bytes.copy_from_slice(inputs[0].tensor()?.bytes);
        Ok(())
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1]
    }

    fn is_view(&self) -> bool {
        true
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |op: Reshape, to: &[i64], shape: &'static [usize]| {
            let inputs = vec![Given::noise(&[2, 1, 6], 1), Given::known(&[to.len()], to)];
            Case::new(format!("{op:?} {to:?}"), op, inputs, Tolerance::of(0.0), move |x| {
                vec![Array::new(shape, x[0].as_ref().expect("an input").values.clone())]
            })
        };
        vec![
            case(Reshape::To { allow_zero: false }, &[0, -1, 3], &[2, 2, 3]),
            case(Reshape::Flatten(-1), &[], &[2, 6]),
            case(Reshape::Squeeze, &[1], &[2, 6]),
            case(Reshape::Unsqueeze, &[0, -1], &[1, 2, 1, 6, 1]),
        ]
    }
}
