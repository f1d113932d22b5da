//! Blocks of pixels become channels, or channels blocks of pixels. ONNX SpaceToDepth and DepthToSpace.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::strided;
use crate::kernels::walk::Moved;
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `x [n, c, h, w] → y` of any dtype: `[n, c / b², h·b, w·b]`, or back.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthSpace {
    /// Pixels along each side of a block.
    pub block: usize,
    /// Which way.
    pub way: DepthSpaceWay,
}

/// Which way, and which part of a channel's number is the pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepthSpaceWay {
    /// To channels; the pixel is the high part.
    ToDepth,
    /// To channels; the pixel is the low part.
    ToDepthByChannel,
    /// To pixels; the pixel is the high part.
    ToSpace,
    /// To pixels; the pixel is the low part.
    ToSpaceByChannel,
}

impl OpDef for DepthSpace {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.shape(0)?;
        let b = self.block;
        let to_depth = matches!(self.way, DepthSpaceWay::ToDepth | DepthSpaceWay::ToDepthByChannel);
        let pixels = b.checked_mul(b).filter(|pixels| *pixels > 0);
        let shape = match (&x[..], pixels) {
            (&[n, c, h, w], Some(pixels)) if to_depth => (h.is_multiple_of(b) && w.is_multiple_of(b))
                .then(|| [n, c.saturating_mul(pixels), h / b, w / b]),
            (&[n, c, h, w], Some(pixels)) => {
                c.is_multiple_of(pixels).then(|| [n, c / pixels, h.saturating_mul(b), w.saturating_mul(b)])
            }
            _ => None,
        };
        ensure!(shape.is_some(), ShapeMismatch, "{} has no blocks of {b}", inputs.ty(0)?);
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape.unwrap_or_default()))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let (shape, strides) = self.walk(x.shape);
        strided::copy(x.dtype.block_bytes(), x.bytes, 0, &strides, y.bytes, &shape);
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (shape, from) = self.walk(&types.input(0)?);
        let moved = Moved { shape: &shape, from: (0, 0, &from), to: (0, 0, &strided::row_major(&shape)) };
        Lowered::moved(&[moved], types)
    }
}

impl DepthSpace {
    /// The walk over y, with dimensions split, and the stride of each in x.
    fn walk(&self, x: &[usize]) -> (Vec<usize>, Vec<isize>) {
        let (&[n, c, h, w], b) = (x, self.block) else { return Default::default() };
        let (shape, strides) = match self.way {
            DepthSpaceWay::ToDepth => {
                (vec![n, b, b, c, h / b, w / b], vec![c * h * w, w, 1, h * w, b * w, b])
            }
            DepthSpaceWay::ToDepthByChannel => {
                (vec![n, c, b, b, h / b, w / b], vec![c * h * w, h * w, w, 1, b * w, b])
            }
            DepthSpaceWay::ToSpace => {
                let c = c / (b * b);
                (vec![n, c, h, b, w, b], vec![c * b * b * h * w, h * w, w, b * c * h * w, 1, c * h * w])
            }
            DepthSpaceWay::ToSpaceByChannel => {
                let c = c / (b * b);
                (vec![n, c, h, b, w, b], vec![c * b * b * h * w, b * b * h * w, w, b * h * w, 1, h * w])
            }
        };
        (shape, strides.into_iter().map(|stride: usize| stride as isize).collect())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let case = |way: DepthSpaceWay, x: &[usize], shape: &'static [usize]| {
            let op = DepthSpace { block: 2, way };
            Case::new(format!("{way:?}"), op, vec![Given::noise(x, 1)], Tolerance::of(0.0), move |x| {
                let x = x[0].as_ref().expect("an image");
                let of = |i: Vec<usize>| match way {
                    DepthSpaceWay::ToDepth | DepthSpaceWay::ToDepthByChannel => {
                        let c = x.shape[1];
                        let high = way == DepthSpaceWay::ToDepth;
                        let (channel, pixel) = if high { (i[1] % c, i[1] / c) } else { (i[1] / 4, i[1] % 4) };
                        x.at(&[i[0], channel, i[2] * 2 + pixel / 2, i[3] * 2 + pixel % 2])
                    }
                    _ => {
                        let (c, pixel) = (shape[1], i[2] % 2 * 2 + i[3] % 2);
                        let high = way == DepthSpaceWay::ToSpace;
                        x.at(&[
                            i[0],
                            if high { pixel * c + i[1] } else { i[1] * 4 + pixel },
                            i[2] / 2,
                            i[3] / 2,
                        ])
                    }
                };
                vec![Array::new(shape, indices(shape).map(of).collect())]
            })
        };
        vec![
            case(DepthSpaceWay::ToDepth, &[2, 3, 4, 6], &[2, 12, 2, 3]),
            case(DepthSpaceWay::ToDepthByChannel, &[2, 3, 4, 6], &[2, 12, 2, 3]),
            case(DepthSpaceWay::ToSpace, &[1, 8, 2, 3], &[1, 2, 4, 6]),
            case(DepthSpaceWay::ToSpaceByChannel, &[1, 8, 2, 3], &[1, 2, 4, 6]),
        ]
    }
}
