//! The Fourier transform of each frame of a signal, under a window. ONNX STFT.

use super::{CpuContext, Input, Known, OpDef, expect_float, optional};
use crate::error::{Result, ensure};
use crate::kernels::fourier::{Complex, transform};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{Shape, TensorType};

/// `(x [b, n, 1 or 2], step integer [], window [l]?, length l integer []?) → y [b, frames, frequencies, 2]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stft {
    /// Whether frequencies are the first half, `l / 2 + 1`.
    pub half: bool,
}

impl Stft {
    /// The step and the length of a frame, and how many frames there are.
    fn sizes(
        x: &[usize],
        step: Option<i64>,
        window: Option<&[usize]>,
        length: Option<i64>,
    ) -> Result<(usize, usize, usize)> {
        let (&[_, n, 1 | 2] | &[_, n]) = x else {
            return crate::error::fail!(ShapeMismatch, "{x:?} is no signal [b, n, 1 or 2]");
        };
        let step = step.and_then(|step| usize::try_from(step).ok()).unwrap_or(0);
        let length = match (length, window) {
            (Some(length), _) => usize::try_from(length).unwrap_or(0),
            (None, Some(window)) => window.first().copied().unwrap_or(0),
            (None, None) => n,
        };
        let fits = step > 0 && (1..=n).contains(&length) && window.is_none_or(|window| window == [length]);
        ensure!(
            fits,
            ShapeMismatch,
            "frames of {length} elements, {step} apart, under {window:?}, of a signal of {n}"
        );
        Ok((step, length, 1 + (n - length) / step))
    }
}

impl OpDef for Stft {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        expect_float(inputs.ty(0)?, "the signal")?;
        let number =
            |index: usize| Ok::<_, crate::error::Error>(inputs.ints(index)?.and_then(|x| x.first().copied()));
        let window = inputs.optional(2).map(TensorType::known_shape).transpose()?;
        let x = inputs.shape(0)?;
        let (_, length, frames) = Self::sizes(&x, number(1)?, window.as_deref(), number(3)?)?;
        let frequencies = if self.half { length / 2 + 1 } else { length };
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&[x[0], frames, frequencies, 2]))])
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1, 3]
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let number = |index: usize| {
            Ok::<_, crate::error::Error>(
                optional(inputs, index)?.map(|x| x.to_ints()).transpose()?.and_then(|x| x.first().copied()),
            )
        };
        let window = optional(inputs, 2)?;
        let (step, length, frames) =
            Self::sizes(x.shape, number(1)?, window.map(|window| window.shape), number(3)?)?;
        let window = window.map_or_else(|| Ok(vec![1.0; length]), |window| window.to_floats())?;
        let (values, parts) = (x.to_floats()?, if x.shape.len() == 2 { 1 } else { x.shape[2] });
        let kept = y.shape[2];
        let mut results = Vec::with_capacity(y.len());
        for signal in values.chunks_exact(x.shape[1] * parts) {
            for frame in 0..frames {
                let part = &signal[frame * step * parts..][..length * parts];
                let numbers = part.chunks_exact(parts).zip(&window);
                let line: Vec<Complex> =
                    numbers.map(|(x, w)| (x[0] * w, x.get(1).map_or(0.0, |x| x * w))).collect();
                results.extend(transform(&line, false).into_iter().take(kept).flat_map(|(re, im)| [re, im]));
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

    pub fn cases() -> Vec<Case> {
        let inputs = vec![Given::noise(&[2, 20, 1], 1), Given::known(&[], &[3i64]), Given::noise(&[8], 2)];
        vec![Case::new("frames of 8", Stft { half: true }, inputs, Tolerance::of(2e-6), |x| {
            let [Some(x), _, Some(window)] = x else { panic!("three inputs") };
            let of = |at: Vec<usize>| {
                let angle = |j: usize| std::f64::consts::TAU * (j * at[2]) as f64 / 8.0;
                let term = |j: usize| {
                    let turned = if at[3] == 0 { angle(j).cos() } else { -angle(j).sin() };
                    x.at(&[at[0], at[1] * 3 + j, 0]) * window.values[j] * turned
                };
                (0..8).map(term).sum()
            };
            vec![Array::new(&[2, 5, 5, 2], indices(&[2, 5, 5, 2]).map(of).collect())]
        })]
    }
}
