//! Where each pixel of an image comes from under an affine map. ONNX AffineGrid; Jaderberg et al. 2015, arXiv:1506.02025.

use super::{CpuContext, Input, Known, OpDef, expect_float};
use crate::error::{Result, ensure};
use crate::kernels::window::for_each_index;
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{Shape, TensorType};

/// `(maps [n, r, r + 1], sizes integers [2 + r]) → places [n, out…, r]`, the last dimension of the image first, from -1 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct AffineGrid {
    /// Whether -1 and 1 are the middles of the pixels at the edges, not the edges.
    pub align_corners: bool,
}

impl OpDef for AffineGrid {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (maps, sizes) = (inputs.shape(0)?, inputs.ints(1)?.unwrap_or_default());
        expect_float(inputs.ty(0)?, "a map")?;
        let rank = sizes.len().saturating_sub(2);
        let sizes: Vec<usize> = sizes.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
        let fits = rank > 0 && maps[..] == [sizes[0], rank, rank + 1];
        ensure!(fits, ShapeMismatch, "maps {} for an image {sizes:?}", inputs.ty(0)?);
        let shape = [&sizes[..1], &sizes[2..], &[rank]].concat();
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1]
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (maps, y) = (inputs[0].tensor()?.to_floats()?, &mut outputs[0]);
        let sizes = &y.shape[1..y.shape.len() - 1];
        let rank = sizes.len();
        let place = |i: usize, n: usize| match self.align_corners {
            true if n < 2 => 0.0,
            true => 2.0 * i as f64 / (n - 1) as f64 - 1.0,
            false => (2 * i + 1) as f64 / n as f64 - 1.0,
        };
        let mut places = Vec::with_capacity(y.as_view().len());
        for map in maps.chunks_exact(rank * (rank + 1)) {
            for_each_index(sizes, |index| {
                for row in map.chunks_exact(rank + 1) {
                    let sum: f64 =
                        (0..rank).map(|i| row[i] * place(index[rank - 1 - i], sizes[rank - 1 - i])).sum();
                    places.push(sum + row[rank]);
                }
            });
        }
        y.narrow(Wide::Floats(places))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let inputs = vec![Given::noise(&[1, 2, 3], 1), Given::known(&[4], &[1i64, 3, 2, 4])];
        vec![Case::new("2 by 4", AffineGrid { align_corners: false }, inputs, Tolerance::of(1e-6), |x| {
            let map = &x[0].as_ref().expect("a map").values;
            let (rows, columns) = ([-0.5, 0.5], [-0.75, -0.25, 0.25, 0.75]);
            let of = |y: f64, x: f64| [map[0] * x + map[1] * y + map[2], map[3] * x + map[4] * y + map[5]];
            vec![Array::new(
                &[1, 2, 4, 2],
                rows.iter().flat_map(|y| columns.iter().flat_map(move |x| of(*y, *x))).collect(),
            )]
        })]
    }
}
