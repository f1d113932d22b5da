//! The discrete Fourier transform along a dimension, and its inverse. ONNX DFT.

use super::{CpuContext, Input, Known, OpDef, expect_float, optional};
use crate::error::{Result, ensure};
use crate::kernels::fourier::{Complex, transform};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{Shape, TensorType};

/// `(x [.., 1 or 2], n integer []?, axis integer []?) → y [.., 2]`: numbers are real, or have a real and an imaginary part.
#[derive(Clone, Debug, PartialEq)]
pub struct Dft {
    /// The dimension where no input says it; negative ones count from the end.
    pub axis: i64,
    /// Whether to go back, with a factor of 1/n.
    pub inverse: bool,
    /// Whether frequencies are the first half: of a real signal, the others mirror them. The inverse is then real.
    pub half: bool,
}

impl Dft {
    /// The dimension and how many elements of it are transformed.
    fn sizes(&self, x: &[usize], n: Option<i64>, axis: Option<i64>) -> Result<(usize, usize)> {
        let axis = super::axis_of(axis.unwrap_or(self.axis), x.len())?;
        ensure!(
            axis + 1 < x.len() && matches!(x[x.len() - 1], 1 | 2),
            ShapeMismatch,
            "{x:?} has no numbers along {axis}"
        );
        let own = if self.inverse && self.half { 2 * x[axis].saturating_sub(1) } else { x[axis] };
        let n = n.map_or(Some(own), |n| usize::try_from(n).ok());
        ensure!(n.is_some_and(|n| n > 0), ShapeMismatch, "a transform of no element");
        Ok((axis, n.unwrap_or(1)))
    }
}

impl OpDef for Dft {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        expect_float(inputs.ty(0)?, "the signal")?;
        let number =
            |index: usize| Ok::<_, crate::error::Error>(inputs.ints(index)?.and_then(|x| x.first().copied()));
        let mut shape = inputs.shape(0)?;
        let (axis, n) = self.sizes(&shape, number(1)?, number(2)?)?;
        shape[axis] = if self.half && !self.inverse { n / 2 + 1 } else { n };
        if let Some(last) = shape.last_mut() {
            *last = if self.half && self.inverse { 1 } else { 2 };
        }
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1, 2]
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let number = |index: usize| {
            Ok::<_, crate::error::Error>(
                optional(inputs, index)?.map(|x| x.to_ints()).transpose()?.and_then(|x| x.first().copied()),
            )
        };
        let (axis, n) = self.sizes(x.shape, number(1)?, number(2)?)?;
        let values = x.to_floats()?;
        let parts = x.shape[x.shape.len() - 1];
        let inner: usize = x.shape[axis + 1..x.shape.len() - 1].iter().product();
        let (length, kept) = (x.shape[axis], y.shape[axis]);
        let real_only = self.half && self.inverse;
        let mut results = vec![0.0; y.len()];
        let mut line: Vec<Complex> = Vec::new();
        for row in 0..values.len().checked_div(length * parts).unwrap_or(0) {
            let (outer, column) = (row / inner, row % inner);
            let at = |i: usize| ((outer * length + i) * inner + column) * parts;
            let number = |i: usize| (values[at(i)], if parts == 2 { values[at(i) + 1] } else { 0.0 });
            line.clear();
            line.extend((0..n).map(|i| match real_only && i > n / 2 {
                true if n - i < length => (number(n - i).0, -number(n - i).1),
                false if i < length => number(i),
                _ => (0.0, 0.0),
            }));
            let factor = if self.inverse { 1.0 / n as f64 } else { 1.0 };
            for (i, (re, im)) in transform(&line, self.inverse).into_iter().take(kept).enumerate() {
                let at = (outer * kept + i) * inner + column;
                if real_only {
                    results[at] = re * factor;
                } else {
                    results[2 * at..][..2].copy_from_slice(&[re * factor, im * factor]);
                }
            }
        }
        y.narrow(Wide::Floats(results))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};
    use std::f64::consts::TAU;

    pub fn cases() -> Vec<Case> {
        let half = Case::new(
            "half of a real signal",
            Dft { axis: 1, inverse: false, half: true },
            vec![Given::noise(&[2, 6, 1], 1)],
            Tolerance::of(2e-6),
            |x| {
                let x = x[0].as_ref().expect("a signal");
                let of = |at: Vec<usize>| {
                    let angle = |j: usize| TAU * (j * at[1]) as f64 / 6.0;
                    let term = |j: usize| {
                        x.at(&[at[0], j, 0]) * if at[2] == 0 { angle(j).cos() } else { -angle(j).sin() }
                    };
                    (0..6).map(term).sum()
                };
                vec![Array::new(&[2, 4, 2], indices(&[2, 4, 2]).map(of).collect())]
            },
        );
        // Five frequencies of eight, the first and last of them real, are a real signal.
        let frequencies = [1.0f32, 0.0, 2.0, -1.0, 0.5, 0.25, -3.0, 1.5, 0.75, 0.0];
        let back = Case::new(
            "back to a real signal",
            Dft { axis: 0, inverse: true, half: true },
            vec![Given::fed(&[5, 2], &frequencies)],
            Tolerance::of(2e-6),
            |x| {
                let x = x[0].as_ref().expect("frequencies");
                let of = |j: usize| {
                    let angle = |k: usize| TAU * (j * k) as f64 / 8.0;
                    let term = |k: usize| x.at(&[k, 0]) * angle(k).cos() - x.at(&[k, 1]) * angle(k).sin();
                    (term(0) + term(4) + 2.0 * (1..4).map(term).sum::<f64>()) / 8.0
                };
                vec![Array::new(&[8, 1], (0..8).map(of).collect())]
            },
        );
        vec![half, back]
    }
}
