//! Matrices of which one side of a diagonal is zero. ONNX Trilu.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::TensorType;

/// `(x [.., m, n], diagonal i64 []?) → y` like `x`, zero below the diagonal, or above it.
#[derive(Clone, Debug, PartialEq)]
pub struct Triangle {
    /// Whether what is above stays.
    pub upper: bool,
}

impl OpDef for Triangle {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        ensure!(x.shape.rank() >= 2, ShapeMismatch, "{x} is no matrix");
        Ok(vec![x.clone()])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let y = &mut outputs[0];
        if let Some(x) = inputs[0].optional()? {
            y.bytes.copy_from_slice(x.bytes);
        }
        let diagonal = inputs.get(1).map_or(Ok(None), Input::optional)?;
        let diagonal = diagonal.as_ref().map(TensorView::to_ints).transpose()?.unwrap_or_default();
        let diagonal = diagonal.first().copied().unwrap_or(0);
        let (m, n) = (y.shape[y.shape.len() - 2], y.shape[y.shape.len() - 1]);
        let size = y.dtype.block_bytes();
        for (i, row) in y.bytes.chunks_exact_mut((n * size).max(1)).enumerate() {
            let edge = (i % m) as i64;
            for (j, element) in row.chunks_exact_mut(size).enumerate() {
                let beyond = (j as i64).saturating_sub(edge);
                if if self.upper { beyond < diagonal } else { beyond > diagonal } {
                    element.fill(0);
                }
            }
        }
        Ok(())
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let case = |upper: bool, diagonal: i64| {
            let inputs = vec![Given::noise(&[2, 3, 4], 1), Given::known(&[], &[diagonal])];
            Case::new(
                format!("{upper} {diagonal}"),
                Triangle { upper },
                inputs,
                Tolerance::of(0.0),
                move |x| {
                    let x = x[0].as_ref().expect("an input");
                    let of = |index: Vec<usize>| {
                        let beyond = index[2] as i64 - index[1] as i64;
                        let stays = if upper { beyond >= diagonal } else { beyond <= diagonal };
                        if stays { x.at(&index) } else { 0.0 }
                    };
                    vec![Array::new(&x.shape, indices(&x.shape).map(of).collect())]
                },
            )
        };
        vec![case(true, 0), case(false, 1), case(true, -1)]
    }
}
