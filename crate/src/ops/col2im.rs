//! Columns of windows put together to an image: each element is added where its window has it. ONNX Col2Im.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::kernels::window::{Sliding, Windows, for_each_index};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{Shape, TensorType};

/// `(x [n, c·block…, windows], image integers [r], block integers [r]) → y [n, c, image…]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Col2Im {
    /// Strides, dilations and padding of the windows.
    pub sliding: Sliding,
}

impl Col2Im {
    fn windows(&self, image: &[i64], block: &[i64]) -> Result<(Windows, Vec<usize>)> {
        let sizes =
            |values: &[i64]| values.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect::<Vec<_>>();
        let image = sizes(image);
        Ok((self.sliding.over(&image, &sizes(block))?, image))
    }
}

impl OpDef for Col2Im {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, image, block) =
            (inputs.shape(0)?, inputs.ints(1)?.unwrap_or_default(), inputs.ints(2)?.unwrap_or_default());
        let (windows, image) = self.windows(&image, &block)?;
        let taps: usize = windows.kernel.iter().product();
        let count = windows.count(&image, false).iter().product::<usize>();
        let fits = x.len() == 3 && x[1].is_multiple_of(taps) && x[2] == count;
        ensure!(
            fits,
            ShapeMismatch,
            "{} are not the {count} windows {block:?} of an image {image:?}",
            inputs.ty(0)?
        );
        let shape = [&[x[0], x[1] / taps], &image[..]].concat();
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1, 2]
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let (windows, image) =
            self.windows(&inputs[1].tensor()?.to_ints()?, &inputs[2].tensor()?.to_ints()?)?;
        let counts = windows.count(&image, false);
        let values = x.to_floats()?;
        let mut sums = vec![0.0; y.len()];
        let pixels: usize = image.iter().product();
        let mut next = values.iter();
        for plane in 0..y.shape[0] * y.shape[1] {
            for_each_index(&windows.kernel, |tap| {
                for_each_index(&counts, |index| {
                    let Some(value) = next.next() else { return };
                    let at = (0..image.len()).try_fold(0, |at, i| {
                        Some(at * image[i] + windows.at(i, index[i], tap[i], image[i])?)
                    });
                    if let Some(at) = at {
                        sums[plane * pixels + at] += value;
                    }
                });
            });
        }
        y.narrow(Wide::Floats(sums))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::kernels::window::Padding;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let sliding = Sliding { strides: None, dilations: None, padding: Padding::Valid };
        let inputs =
            vec![Given::noise(&[2, 6, 3], 1), Given::known(&[1], &[4i64]), Given::known(&[1], &[2i64])];
        vec![Case::new("windows of 2", Col2Im { sliding }, inputs, Tolerance::of(1e-6), |x| {
            let x = x[0].as_ref().expect("columns");
            let mut y = Array::new(&[2, 3, 4], vec![0.0; 24]);
            for (n, c, tap, window) in (0..36).map(|i| (i / 18, i / 6 % 3, i / 3 % 2, i % 3)) {
                y.values[(n * 3 + c) * 4 + window + tap] += x.at(&[n, 2 * c + tap, window]);
            }
            vec![y]
        })]
    }
}
