//! Regions of an image, each made an image of one size. ONNX RoiAlign and MaxRoiPool; He et al. 2017, arXiv:1703.06870,
//! Girshick 2015, arXiv:1504.08083.

use super::{CpuContext, Input, Known, OpDef, expect_float, optional};
use crate::error::{Result, ensure, fail};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x [n, c, h, w], regions [r, 4], image of each i64 [r]) → y [r, c, rows, columns]`; regions are two corners, x before y.
/// Without images, regions are `[r, 5]`, the image first.
#[derive(Clone, Debug, PartialEq)]
pub struct RoiPool {
    /// Rows and columns of the output.
    pub size: (usize, usize),
    /// The factor from coordinates of regions to pixels.
    pub scale: f32,
    /// How a pixel of the output is found.
    pub by: RoiMethod,
}

/// How a pixel of the output is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoiMethod {
    /// From samples of its part, interpolated.
    Samples {
        /// Samples along each dimension; of 0, one a pixel.
        each: usize,
        /// Whether the largest counts, not the mean.
        largest: bool,
        /// Whether coordinates are half a pixel off.
        half_pixel: bool,
    },
    /// The largest pixel of its part.
    Largest,
}

impl RoiPool {
    /// A region as pixels: its corner and size, y before x.
    fn part(&self, corners: &[f32]) -> ([f32; 2], [f32; 2]) {
        let scaled = [1, 0, 3, 2].map(|i| corners[i] * self.scale);
        match self.by {
            RoiMethod::Largest => {
                let [y, x, to_y, to_x] = scaled.map(f32::round);
                ([y, x], [(to_y - y + 1.0).max(1.0), (to_x - x + 1.0).max(1.0)])
            }
            RoiMethod::Samples { half_pixel, .. } => {
                let [y, x, to_y, to_x] = scaled.map(|at| if half_pixel { at - 0.5 } else { at });
                let least = if half_pixel { f32::NEG_INFINITY } else { 1.0 };
                ([y, x], [(to_y - y).max(least), (to_x - x).max(least)])
            }
        }
    }
}

/// The most samples along a dimension: a region beyond any image must not take for ever.
const MOST: f32 = 4096.0;

/// The four pixels around a place, each with its weight; none beyond the image.
fn around(y: f32, x: f32, h: usize, w: usize) -> Option<[(usize, f32); 4]> {
    if !(-1.0..=h as f32).contains(&y) || !(-1.0..=w as f32).contains(&x) {
        return None;
    }
    let along = |at: f32, n: usize| {
        let low = at.max(0.0) as usize;
        if low + 1 >= n { (n - 1, n - 1, 0.0) } else { (low, low + 1, at.max(0.0) - low as f32) }
    };
    let ((top, bottom, v), (left, right, u)) = (along(y, h), along(x, w));
    Some([
        (top * w + left, (1.0 - v) * (1.0 - u)),
        (top * w + right, (1.0 - v) * u),
        (bottom * w + left, v * (1.0 - u)),
        (bottom * w + right, v * u),
    ])
}

impl OpDef for RoiPool {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, regions) = (inputs.shape(0)?, inputs.shape(1)?);
        expect_float(inputs.ty(0)?, "the image")?;
        let images = inputs.optional(2).is_some();
        let fits = match (&x[..], &regions[..]) {
            (&[_, _, h, w], &[n, width]) => {
                h > 0
                    && w > 0
                    && width == if images { 4 } else { 5 }
                    && inputs.optional(2).is_none_or(|images| images.shape == Shape::known(&[n]))
            }
            _ => false,
        };
        ensure!(
            fits && self.size.0 > 0 && self.size.1 > 0,
            ShapeMismatch,
            "regions {} of {}",
            inputs.ty(1)?,
            inputs.ty(0)?
        );
        Ok(vec![TensorType::new(inputs.dtype(0)?, [regions[0], x[1], self.size.0, self.size.1])])
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, regions) = (inputs[0].tensor()?, inputs[1].tensor()?);
        let &[n, channels, h, w] = x.shape else { return Ok(()) };
        let width = regions.shape[1];
        let images = optional(inputs, 2)?.map(|images| images.to_ints()).transpose()?;
        let (x, regions, y) = (x.data::<f32>()?, regions.data::<f32>()?, outputs[0].data::<f32>()?);
        let (rows, columns) = self.size;
        for (r, region) in regions.chunks_exact(width).enumerate() {
            let image = images.as_ref().map_or(region[0] as i64, |images| images[r]);
            let Some(image) = usize::try_from(image).ok().filter(|image| *image < n) else {
                return fail!(InvalidInput, "a region of image {image} of {n}");
            };
            let (corner, size) = self.part(&region[width - 4..]);
            for (at, channel) in (0..channels).map(|c| (r * channels + c, image * channels + c)) {
                let pixels = &x[channel * h * w..][..h * w];
                let y = &mut y[at * rows * columns..][..rows * columns];
                for (i, y) in y.iter_mut().enumerate() {
                    let bin = [(i / columns, rows), (i % columns, columns)];
                    *y = match self.by {
                        RoiMethod::Largest => {
                            let along = |axis: usize, limit: usize| {
                                let (bin, n) = bin[axis];
                                let edge = |i: f32| (corner[axis] + i).clamp(0.0, limit as f32) as usize;
                                let step = size[axis] / n as f32;
                                edge((bin as f32 * step).floor())..edge(((bin + 1) as f32 * step).ceil())
                            };
                            let (down, across) = (along(0, h), along(1, w));
                            let all = down.flat_map(|row| pixels[row * w..][..w][across.clone()].iter());
                            all.copied().reduce(f32::max).unwrap_or(0.0)
                        }
                        RoiMethod::Samples { each, largest, .. } => {
                            let step = [0, 1].map(|axis| size[axis] / bin[axis].1 as f32);
                            let count =
                                step.map(
                                    |step| {
                                        if each > 0 { each } else { step.ceil().clamp(0.0, MOST) as usize }
                                    },
                                );
                            let place = |axis: usize, i: usize| {
                                corner[axis]
                                    + (bin[axis].0 as f32 + (i as f32 + 0.5) / count[axis] as f32)
                                        * step[axis]
                            };
                            let samples = (0..count[0] * count[1])
                                .map(|i| around(place(0, i / count[1]), place(1, i % count[1]), h, w));
                            if largest {
                                let value = |(at, weight): (usize, f32)| pixels[at] * weight;
                                let best = samples.map(|taps| {
                                    taps.map_or(0.0, |taps| {
                                        taps.map(value).into_iter().fold(f32::NEG_INFINITY, f32::max)
                                    })
                                });
                                best.reduce(f32::max).unwrap_or(0.0)
                            } else {
                                let sum: f32 =
                                    samples.flatten().flatten().map(|(at, weight)| pixels[at] * weight).sum();
                                sum / (count[0] * count[1]).max(1) as f32
                            }
                        }
                    };
                }
            }
        }
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        // A region of whole pixels: its parts are means of two by two samples in the middle of four pixels each.
        let by = RoiMethod::Samples { each: 2, largest: false, half_pixel: true };
        let aligned = RoiPool { size: (2, 2), scale: 1.0, by };
        let inputs = vec![
            Given::noise(&[1, 2, 6, 6], 1),
            Given::fed(&[1, 4], &[1.0f32, 1.0, 5.0, 5.0]),
            Given::fed(&[1], &[0i64]),
        ];
        let pooled = RoiPool { size: (2, 2), scale: 1.0, by: RoiMethod::Largest };
        let region = vec![Given::noise(&[1, 2, 6, 6], 1), Given::fed(&[1, 5], &[0.0f32, 1.0, 1.0, 4.0, 4.0])];
        let each = |x: &Array, of: fn(&[f64]) -> f64| {
            let value = |at: Vec<usize>| {
                let pixels =
                    indices(&[2, 2]).map(|i| x.at(&[0, at[1], 1 + 2 * at[2] + i[0], 1 + 2 * at[3] + i[1]]));
                of(&pixels.collect::<Vec<_>>())
            };
            Array::new(&[1, 2, 2, 2], indices(&[1, 2, 2, 2]).map(value).collect())
        };
        vec![
            Case::new("means", aligned, inputs, Tolerance::of(1e-6), |x| {
                vec![each(x[0].as_ref().expect("an image"), |pixels| pixels.iter().sum::<f64>() / 4.0)]
            }),
            Case::new("largest", pooled, region, Tolerance::of(1e-6), |x| {
                vec![each(x[0].as_ref().expect("an image"), |pixels| {
                    pixels.iter().copied().fold(f64::MIN, f64::max)
                })]
            }),
        ]
    }
}
