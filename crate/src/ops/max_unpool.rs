//! The largest elements of windows put back where they were. ONNX MaxUnpool.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure, fail};
use crate::kernels::strided;
use crate::kernels::window::{Padding, Sliding};
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(x [n, c, in…], places i64 like x, shape integers [2 + r]?) → y [n, c, out…]`. Places count the elements of the image
/// that the windows make, which begins where y does.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxUnpool {
    /// Elements of a window.
    pub kernel: Vec<usize>,
    /// Strides and padding.
    pub sliding: Sliding,
}

impl MaxUnpool {
    /// The image that the windows make.
    fn image(&self, x: &[usize]) -> Result<Vec<usize>> {
        let rank = self.kernel.len();
        let windows = self.sliding.over(&x[2.min(x.len())..], &self.kernel)?;
        let pads = match &self.sliding.padding {
            Padding::Given(pads) if pads.len() == 2 * rank => pads.clone(),
            _ => vec![0; 2 * rank],
        };
        let of = |i: usize| {
            let reach =
                x[2 + i].saturating_sub(1).checked_mul(windows.strides[i])?.checked_add(self.kernel[i])?;
            reach.checked_sub(pads[i].checked_add(pads[rank + i])?)
        };
        let sizes: Option<Vec<usize>> = (0..rank).map(of).collect();
        ensure!(sizes.is_some(), ShapeMismatch, "windows {:?} of {x:?} with padding {pads:?}", self.kernel);
        Ok([&x[..2], &sizes.unwrap_or_default()].concat())
    }
}

impl OpDef for MaxUnpool {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.shape(0)?;
        ensure!(inputs.shape(1)? == x, ShapeMismatch, "places {} of {}", inputs.ty(1)?, inputs.ty(0)?);
        let image = self.image(&x)?;
        let shape = match inputs.ints(2)? {
            Some(shape) => shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect(),
            None => image.clone(),
        };
        let fits = shape.len() == image.len() && shape.iter().zip(&image).all(|(n, m)| n >= m);
        ensure!(fits, ShapeMismatch, "an output {shape:?} that does not hold the image {image:?}");
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn needs_values(&self) -> &'static [usize] {
        &[2]
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, places, y) = (inputs[0].tensor()?, inputs[1].tensor()?.to_ints()?, &mut outputs[0]);
        let image = self.image(x.shape)?;
        let (of_image, of_y) = (strided::row_major(&image), strided::row_major(y.shape));
        let (n, size) = (image.iter().product::<usize>(), y.dtype.block_bytes());
        y.bytes.fill(0);
        for (element, &place) in x.bytes.chunks_exact(size).zip(&places) {
            let Some(place) = usize::try_from(place).ok().filter(|place| *place < n) else {
                return fail!(InvalidInput, "place {place} of {n} elements");
            };
            let part = |i: usize| place / of_image[i] as usize % image[i] * of_y[i] as usize;
            let at: usize = (0..image.len()).map(part).sum();
            y.bytes[at * size..][..size].copy_from_slice(element);
        }
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let sliding = Sliding { strides: Some(vec![2]), dilations: None, padding: Padding::Valid };
        let inputs = vec![
            Given::noise(&[1, 1, 2], 1),
            Given::fed(&[1, 1, 2], &[1i64, 2]),
            Given::known(&[3], &[1i64, 1, 5]),
        ];
        vec![Case::new(
            "into more room",
            MaxUnpool { kernel: vec![2], sliding },
            inputs,
            Tolerance::of(0.0),
            |x| {
                let x = &x[0].as_ref().expect("an input").values;
                vec![Array::new(&[1, 1, 5], vec![0.0, x[0], x[1], 0.0, 0.0])]
            },
        )]
    }
}
