//! Convolution whose windows read at places that are computed. ONNX DeformConv; Dai et al. 2017, arXiv:1703.06211, with
//! the masks of Zhu et al. 2018, arXiv:1811.11168.

use super::{CpuContext, Input, Known, OpDef, expect_float, optional};
use crate::error::{Result, ensure};
use crate::kernels::product::{Matrix, Multiplier};
use crate::kernels::window::{Sliding, Windows, for_each_index};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x [n, c, h, w], weight [m, c / groups, kh, kw], offsets [n, parts·kh·kw·2, oh, ow], bias [m]?, mask [n, parts·kh·kw,
/// oh, ow]?) → y [n, m, oh, ow]`. Offsets are down, then right.
#[derive(Clone, Debug, PartialEq)]
pub struct DeformConv {
    /// Strides, dilations and padding.
    pub sliding: Sliding,
    /// Parts of the channels that do not meet.
    pub groups: usize,
    /// Parts of the channels that have offsets of their own.
    pub offset_groups: usize,
}

impl DeformConv {
    fn windows(&self, x: &[usize], w: &[usize]) -> Result<(Windows, Vec<usize>)> {
        let windows = self.sliding.over(&x[2..], &w[2..])?;
        let out = windows.count(&x[2..], false);
        Ok((windows, out))
    }
}

impl OpDef for DeformConv {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, w, offsets) = (inputs.shape(0)?, inputs.shape(1)?, inputs.shape(2)?);
        expect_float(inputs.ty(0)?, "the image")?;
        let fits = x.len() == 4
            && w.len() == 4
            && self.groups > 0
            && self.offset_groups > 0
            && x[1].is_multiple_of(self.offset_groups)
            && w[1] * self.groups == x[1]
            && w[0].is_multiple_of(self.groups);
        ensure!(
            fits,
            ShapeMismatch,
            "a weight {} in {} groups of an image {}",
            inputs.ty(1)?,
            self.groups,
            inputs.ty(0)?
        );
        let (_, out) = self.windows(&x, &w)?;
        let taps = self.offset_groups * w[2] * w[3];
        let mask = Shape::known(&[x[0], taps, out[0], out[1]]);
        let fits = offsets == [x[0], 2 * taps, out[0], out[1]]
            && inputs.optional(4).is_none_or(|ty| ty.shape == mask)
            && inputs.optional(3).is_none_or(|ty| ty.shape == Shape::known(&w[..1]));
        ensure!(
            fits,
            ShapeMismatch,
            "offsets {}, bias {:?} and mask {:?}",
            inputs.ty(2)?,
            inputs.optional(3),
            inputs.optional(4)
        );
        Ok(vec![TensorType::new(inputs.dtype(0)?, [x[0], w[0], out[0], out[1]])])
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, w) = (inputs[0].tensor()?, inputs[1].tensor()?);
        let (windows, out) = self.windows(x.shape, w.shape)?;
        let (channels, filters) = (x.shape[1], w.shape[0] / self.groups);
        let (h, width) = (x.shape[2], x.shape[3]);
        let (taps, n) = (w.shape[2] * w.shape[3], out[0] * out[1]);
        let given = |index: usize| optional(inputs, index)?.map(|view| view.data::<f32>()).transpose();
        let (bias, mask) = (given(3)?, given(4)?);
        let (batch, k) = (x.shape[0], w.shape[1] * taps);
        let (x, w, offsets) = (x.data::<f32>()?, w.data::<f32>()?, inputs[2].tensor()?.data::<f32>()?);
        let mut columns = vec![0.0; channels * taps * n];
        for image in 0..batch {
            for (channel, columns) in columns.chunks_exact_mut((taps * n).max(1)).enumerate() {
                let pixels = &x[(image * channels + channel) * h * width..][..h * width];
                let part = image * self.offset_groups + channel / (channels / self.offset_groups);
                let mut column = columns.iter_mut();
                let mut tap_number = part * taps;
                for_each_index(&windows.kernel, |tap| {
                    let mut window = 0;
                    for_each_index(&out, |index| {
                        let place = |i: usize| {
                            let grid = (index[i] * windows.strides[i] + tap[i] * windows.dilations[i]) as f32;
                            grid - windows.pads[i].0 as f32 + offsets[(2 * tap_number + i) * n + window]
                        };
                        let factor = mask.map_or(1.0, |mask| mask[tap_number * n + window]);
                        if let Some(column) = column.next() {
                            *column = factor * between(pixels, h, width, place(0), place(1));
                        }
                        window += 1;
                    });
                    tap_number += 1;
                });
            }
            let y = &mut outputs[0].data::<f32>()?[image * self.groups * filters * n..]
                [..self.groups * filters * n];
            for (group, y) in y.chunks_exact_mut((filters * n).max(1)).enumerate() {
                let weights = Matrix { values: &w[group * filters * k..][..filters * k], steps: (k, 1) };
                let columns = Matrix { values: &columns[group * k * n..][..k * n], steps: (n, 1) };
                Multiplier::new((filters, k, n), 1.0)?.multiply(cx.threads, weights, columns, y);
            }
            if let Some(bias) = bias {
                let planes = y.chunks_exact_mut(n.max(1)).zip(bias);
                planes.for_each(|(plane, bias)| plane.iter_mut().for_each(|y| *y += bias));
            }
        }
        Ok(())
    }
}

/// An image between its pixels; zeros beyond.
fn between(pixels: &[f32], h: usize, w: usize, y: f32, x: f32) -> f32 {
    if !(y > -1.0 && y < h as f32 && x > -1.0 && x < w as f32) {
        return 0.0;
    }
    let (top, left) = (y.floor(), x.floor());
    let at = |row: f32, column: f32| {
        let inside = row >= 0.0 && column >= 0.0 && row < h as f32 && column < w as f32;
        if inside { pixels[row as usize * w + column as usize] } else { 0.0 }
    };
    let (v, u) = (y - top, x - left);
    (1.0 - v) * ((1.0 - u) * at(top, left) + u * at(top, left + 1.0))
        + v * ((1.0 - u) * at(top + 1.0, left) + u * at(top + 1.0, left + 1.0))
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::kernels::window::Padding;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    /// Pixels as tents of width 1, so that every one of them counts somewhere.
    fn reference_deform_conv(x: &[Option<Array>]) -> Array {
        let [Some(x), Some(w), Some(offsets), Some(bias), Some(mask)] = x else { panic!("five inputs") };
        let of = |o: Vec<usize>| {
            let mut sum = bias.values[o[1]];
            for tap in indices(&w.shape[1..]) {
                let number = tap[1] * 2 + tap[2];
                let place = |i: usize| {
                    (o[2 + i] + tap[1 + i]) as f64 + offsets.at(&[o[0], 2 * number + i, o[2], o[3]])
                };
                let tent = |i: usize, at: usize| (1.0 - (place(i) - at as f64).abs()).max(0.0);
                let pixels = indices(&x.shape[2..])
                    .map(|p| x.at(&[o[0], tap[0], p[0], p[1]]) * tent(0, p[0]) * tent(1, p[1]));
                sum += pixels.sum::<f64>()
                    * w.at(&[&[o[1]], &tap[..]].concat())
                    * mask.at(&[o[0], number, o[2], o[3]]);
            }
            sum
        };
        Array::new(&[2, 4, 3, 4], indices(&[2, 4, 3, 4]).map(of).collect())
    }

    pub fn cases() -> Vec<Case> {
        let sliding = Sliding { strides: None, dilations: None, padding: Padding::Valid };
        let op = DeformConv { sliding, groups: 1, offset_groups: 1 };
        let inputs = vec![
            Given::noise(&[2, 3, 4, 5], 1),
            Given::noise(&[4, 3, 2, 2], 2),
            Given::noise(&[2, 8, 3, 4], 3),
            Given::noise(&[4], 4),
            Given::noise(&[2, 4, 3, 4], 5),
        ];
        vec![Case::new("2 by 2", op, inputs, Tolerance::of(2e-6), |x| vec![reference_deform_conv(x)])]
    }
}
