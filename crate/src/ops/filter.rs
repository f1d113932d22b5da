//! What audio is filtered with: windows over a frame, and the triangles of the mel scale over frequencies. ONNX HannWindow,
//! HammingWindow, BlackmanWindow and MelWeightMatrix.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, TensorType};
use std::f64::consts::TAU;

/// `n integer [] → y [n]`, or `(bands, length, rate integers [], lowest, highest floats []) → y [length / 2 + 1, bands]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Which.
    pub shape: FilterShape,
    /// The dtype.
    pub dtype: DType,
}

/// The filters of the family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FilterShape {
    /// A window, a sum of cosines: the factors of 1, cos and cos 2.
    Cosines {
        /// The factors.
        factors: [f64; 3],
        /// Whether the period is n; else n - 1.
        periodic: bool,
    },
    /// Triangles that are as wide as their neighbours' distance on the mel scale.
    Mel,
}

/// A window or filters with more elements is none that anyone wants.
const MOST: usize = 1 << 28;

fn size(inputs: &Known, index: usize) -> Result<usize> {
    let value = inputs.ints(index)?.and_then(|x| x.first().copied()).unwrap_or(0);
    let size = usize::try_from(value).unwrap_or(usize::MAX);
    ensure!(size <= MOST, InvalidInput, "a filter of {value} elements");
    Ok(size)
}

impl OpDef for Filter {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let wanted = if self.shape == FilterShape::Mel { 5 } else { 1 };
        (0..wanted).try_for_each(|i| inputs.ty(i).map(|_| ()))?;
        let n = size(inputs, 0)?;
        if self.shape != FilterShape::Mel {
            return Ok(vec![TensorType::new(self.dtype, [n])]);
        }
        let rows = size(inputs, 1)? / 2 + 1;
        ensure!(rows.saturating_mul(n) <= MOST, InvalidInput, "a filter of {rows} by {n} elements");
        Ok(vec![TensorType::new(self.dtype, [rows, n])])
    }

    fn needs_values(&self) -> &'static [usize] {
        match self.shape {
            FilterShape::Mel => &[0, 1, 2, 3, 4],
            FilterShape::Cosines { .. } => &[0],
        }
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let y = &mut outputs[0];
        let values = match self.shape {
            FilterShape::Cosines { factors: [a, b, c], periodic } => {
                let n = y.shape[0];
                let period = if periodic { n } else { n.saturating_sub(1).max(1) } as f64;
                let angles = (0..n).map(|i| TAU * i as f64 / period);
                angles.map(|angle| a + b * angle.cos() + c * (2.0 * angle).cos()).collect()
            }
            FilterShape::Mel => {
                let number = |i: usize| {
                    Ok::<_, crate::error::Error>(
                        inputs[i].tensor()?.to_floats()?.first().copied().unwrap_or(0.0),
                    )
                };
                let (length, rate) = (number(1)?, number(2)?);
                mel(y.shape[1], y.shape[0], (length, rate), (number(3)?, number(4)?))
            }
        };
        y.narrow(Wide::Floats(values))
    }
}

/// `[rows, bands]`: of each band a triangle, its corners at whole rows.
fn mel(bands: usize, rows: usize, (length, rate): (f64, f64), (lowest, highest): (f64, f64)) -> Vec<f64> {
    let to_mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
    let (low, high) = (to_mel(lowest), to_mel(highest));
    // The specification's step counts the two outer corners as bands.
    let step = (high - low) / (bands + 2) as f64;
    let corner = |i: usize| {
        let hz = 700.0 * (10f64.powf((i as f64 * step + low) / 2595.0) - 1.0);
        ((length + 1.0) * hz / rate).floor().max(0.0) as usize
    };
    let mut y = vec![0.0; rows * bands];
    for band in 0..bands {
        let (from, top, to) = (corner(band), corner(band + 1), corner(band + 2));
        let mut set = |row: usize, value: f64| {
            if row < rows {
                y[row * bands + band] = value;
            }
        };
        if top <= from {
            set(top, 1.0);
        } else {
            (from..=top).for_each(|row| set(row, (row - from) as f64 / (top - from) as f64));
        }
        if to > top {
            (top..to).for_each(|row| set(row, (to - row) as f64 / (to - top) as f64));
        }
    }
    y
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let hann = Filter {
            shape: FilterShape::Cosines { factors: [0.5, -0.5, 0.0], periodic: false },
            dtype: DType::F32,
        };
        let of = |i: usize| (std::f64::consts::PI * i as f64 / 9.0).sin().powi(2);
        let number = |x: i64| Given::known(&[], &[x]);
        let mel = Filter { shape: FilterShape::Mel, dtype: DType::F32 };
        let inputs = vec![
            number(2),
            number(16),
            number(8000),
            Given::known(&[], &[0.0f32]),
            Given::known(&[], &[4000.0f32]),
        ];
        vec![
            Case::new("of Hann", hann, vec![number(10)], Tolerance::of(1e-6), |_| {
                vec![Array::new(&[10], (0..10).map(of).collect())]
            }),
            Case::new("of mel", mel, inputs, Tolerance::of(1e-6), |_| {
                // Corners at 0, 427, 1114 and 2220 Hz: rows 0, 0, 2 and 4.
                let bands = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 0.5]];
                let bands = [bands.concat(), vec![0.0; 10]];
                vec![Array::new(&[9, 2], bands.concat())]
            }),
        ]
    }
}
