//! Numbers as integers of few bits: `x / scale`, rounded to even, `+ zero`, clamped. ONNX QuantizeLinear; with the scale
//! found from the numbers themselves, DynamicQuantizeLinear.

use super::{CpuContext, Input, Known, OpDef, dequantize::scale_of};
use crate::error::{Result, ensure};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, TensorType};

/// `(x float, scale float, zero integer?) → y`, or `x f32 → (y u8, scale f32 [], zero u8 [])`.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantize {
    /// With scales that are given.
    Given {
        /// The dimension that has scales of its own; negative ones count from the end.
        axis: i64,
        /// The dtype where no zero says it.
        dtype: DType,
    },
    /// With a scale such that all numbers, and zero, are among 0 to 255.
    Dynamic,
}

/// The smallest and largest integers of a dtype.
fn limits(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::I8 => (-128.0, 127.0),
        DType::I16 => (-32768.0, 32767.0),
        DType::U16 => (0.0, 65535.0),
        _ => (0.0, 255.0),
    }
}

impl OpDef for Quantize {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        let of = |dtype| TensorType { dtype, shape: x.shape.clone() };
        match self {
            Self::Dynamic => {
                ensure!(x.dtype == DType::F32, ShapeMismatch, "{x} is not f32");
                Ok(vec![of(DType::U8), TensorType::f32([0usize; 0]), TensorType::new(DType::U8, [0usize; 0])])
            }
            Self::Given { dtype, .. } => {
                let dtype = inputs.optional(2).map_or(*dtype, |zero| zero.dtype);
                let scale = inputs.ty(1)?;
                let like = inputs.optional(2).is_none_or(|zero| zero.shape == scale.shape);
                ensure!(like, ShapeMismatch, "zeros {:?} with scales {scale}", inputs.optional(2));
                let known = matches!(dtype, DType::I8 | DType::U8 | DType::I16 | DType::U16);
                ensure!(known, UnsupportedOp, "quantisation to {dtype} is not supported");
                Ok(vec![of(dtype)])
            }
        }
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let Self::Given { axis, .. } = self else { return dynamic(x.data::<f32>()?, outputs) };
        let scale = inputs[1].tensor()?;
        let which = scale_of(x.shape, scale.shape, *axis)?;
        let zero = match inputs.get(2).map_or(Ok(None), Input::optional)? {
            Some(zero) => zero.to_floats()?,
            None => vec![0.0; scale.len()],
        };
        let (low, high) = limits(outputs[0].dtype);
        let (x, scale) = (x.to_floats()?, scale.to_floats()?);
        let y = x.iter().zip(which).map(|(x, i)| {
            let level = f64::from((*x as f32 / scale[i] as f32).round_ties_even());
            (level + zero[i]).clamp(low, high)
        });
        outputs[0].narrow(Wide::Floats(y.collect()))
    }
}

fn dynamic(x: &[f32], outputs: &mut [TensorViewMut]) -> Result<()> {
    let low = x.iter().fold(0.0f32, |a, x| a.min(*x));
    let high = x.iter().fold(0.0f32, |a, x| a.max(*x));
    let scale = (high - low) / 255.0;
    let zero = if scale == 0.0 { 0.0 } else { (-low / scale).clamp(0.0, 255.0).round_ties_even() };
    let level = |x: f32| if scale == 0.0 { 0.0 } else { ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) };
    outputs[0].data::<u8>()?.iter_mut().zip(x).for_each(|(y, x)| *y = level(*x) as u8);
    outputs[1].data::<f32>()?[0] = scale;
    outputs[2].data::<u8>()?[0] = zero as u8;
    Ok(())
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let x = [-1.0f32, 0.26, 0.74, 3.0];
        let inputs = vec![Given::fed(&[4], &x), Given::fed(&[1], &[0.5f32]), Given::fed(&[1], &[1i8])];
        let given = Quantize::Given { axis: 0, dtype: DType::U8 };
        vec![
            Case::new("by one scale", given, inputs, Tolerance::of(0.0), |_| vec![Array::new(&[4], vec![-1.0, 2.0, 2.0, 7.0])]),
            Case::new("dynamic", Quantize::Dynamic, vec![Given::fed(&[4], &x)], Tolerance::of(1e-6), |_| {
                // From -1 to 3 in 255 steps of 4 / 255; zero is the 64th (63.75).
                let y = vec![0.0, 81.0, 111.0, 255.0];
                vec![Array::new(&[4], y), Array::new(&[], vec![4.0 / 255.0]), Array::new(&[], vec![64.0])]
            }),
        ]
    }
}
