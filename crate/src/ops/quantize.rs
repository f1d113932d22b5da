//! Numbers as levels, integers or floats of few bits: `x / scale`, rounded to even, `+ zero`, clamped. ONNX QuantizeLinear; with the scale
//! found from the numbers themselves, DynamicQuantizeLinear.

use super::dequantize::{is_level, scale_of, zeros_fit};
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, MAX_LINE, Operand, params};
use crate::kernels::levels_launch::Levels;
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::tensor::{Narrowing, TensorViewMut, Wide};
use crate::types::{DType, TensorType};

/// `(x float, scale float, zero?) → y`, or `x f32 → (y u8, scale f32 [], zero u8 [])`.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantize {
    /// With scales that are given.
    Given {
        /// The dimension that has scales of its own; negative ones count from the end.
        axis: i64,
        /// How many elements share a scale, where that is a block; as few as there must be where it is left out.
        block: Option<usize>,
        /// The dtype where no zero says it.
        dtype: DType,
        /// The dtype to which quotients are rounded first.
        precision: Option<DType>,
        /// Whether what is too large for a small float becomes the largest.
        saturate: bool,
    },
    /// With a scale such that all numbers, and zero, are among 0 to 255.
    Dynamic,
}

impl Quantize {
    /// With scales along a dimension, to that dtype where no zero says another.
    pub fn along(axis: i64, dtype: DType) -> Self {
        Self::Given { axis, block: None, dtype, precision: None, saturate: true }
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
                let zero = inputs.optional(2);
                ensure!(zeros_fit(zero, scale), ShapeMismatch, "zeros {zero:?} with scales {scale}");
                ensure!(is_level(dtype), UnsupportedOp, "quantisation to {dtype} is not supported");
                Ok(vec![of(dtype)])
            }
        }
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let Self::Given { axis, block, precision, saturate, .. } = self else {
            return dynamic(x.data::<f32>()?, outputs);
        };
        let scale = inputs[1].tensor()?;
        let which = scale_of(x.shape, scale.shape, *axis, *block)?;
        let zero = match inputs.get(2).map_or(Ok(None), Input::optional)? {
            Some(zero) => zero.to_floats()?,
            None => vec![0.0; scale.len()],
        };
        let dtypes = (x.dtype, scale.dtype, outputs[0].dtype);
        if let ((DType::F32, DType::F32, DType::U8), 1, None) = (dtypes, scale.len(), precision) {
            to_levels(x.data()?, scale.data::<f32>()?[0], zero[0] as f32, outputs[0].data()?);
            return Ok(());
        }
        let range = outputs[0].dtype.int_range();
        let (x, scale) = (x.to_floats()?, scale.to_floats()?);
        let y = x.iter().zip(which).map(|(x, i)| {
            let quotient = match precision {
                Some(DType::F64) => x / scale[i],
                Some(DType::F16) => half::f16::from_f64(x / scale[i]).to_f64(),
                Some(DType::BF16) => half::bf16::from_f64(x / scale[i]).to_f64(),
                _ => f64::from(*x as f32 / scale[i] as f32),
            };
            match range {
                Some((low, high)) => (quotient.round_ties_even() + zero[i]).clamp(low as f64, high as f64),
                None => quotient + zero[i],
            }
        });
        let narrowing = Narrowing { saturate: *saturate, ..Narrowing::default() };
        outputs[0].narrow_by(Wide::Floats(y.collect()), narrowing)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, n) = (types.input(0)?, types.n_out()?);
        let dtype = types.outputs[0].dtype;
        if types.dtype(0) != Some(DType::F32) {
            return Lowered::not_on_gpu("no kernel makes levels of numbers of this dtype");
        }
        let Self::Given { axis, precision: None | Some(DType::F32), .. } = self else {
            if *self != Self::Dynamic {
                return Lowered::not_on_gpu("no kernel rounds quotients to this dtype");
            }
            if n > MAX_LINE {
                return Lowered::too_long(n);
            }
            let (scale, zero) = (Operand::Output(1), Operand::Output(2));
            let operands = (Operand::Input(0), scale, Some(zero), Operand::Output(0));
            let levels = Levels { n, scales: [1, 1], dtype, operands }.launch(true)?;
            let bindings = vec![(0, Operand::Input(0)), (1, scale), (2, zero)];
            let range =
                Dispatch::new("quantize_range", &[], bindings, Params { n: n as u32 }.bytes(), [1, 1, 1])?;
            return Ok(Lowered::Dispatches([range].into_iter().chain(levels).collect()));
        };
        let axis = super::axis_of(*axis, x.len()).ok();
        let scales = Levels::scales(&x, &types.input(1)?, axis);
        let (Some(scales), Some(DType::F32)) = (scales, types.dtype(1)) else {
            return Lowered::not_on_gpu("no kernel has scales of blocks, or of this dtype");
        };
        let zero = types.has(2).then_some(Operand::Input(2));
        let operands = (Operand::Input(0), Operand::Input(1), zero, Operand::Output(0));
        match (Levels { n, scales, dtype, operands }).launch(true)? {
            Some(launch) => Lowered::one(launch),
            None => Lowered::not_on_gpu("no kernel has levels of this dtype"),
        }
    }
}

params!("quantize_range": n: u32);

fn dynamic(x: &[f32], outputs: &mut [TensorViewMut]) -> Result<()> {
    let high = math::largest::<S>(x).max(0.0);
    let low = math::smallest::<S>(x).min(0.0);
    let scale = (high - low) / 255.0;
    let zero = if scale == 0.0 { 0.0 } else { (-low / scale).clamp(0.0, 255.0).round_ties_even() };
    let levels = outputs[0].data::<u8>()?;
    if scale == 0.0 {
        levels.fill(0);
    } else {
        to_levels(x, scale, zero, levels);
    }
    outputs[1].data::<f32>()?[0] = scale;
    outputs[2].data::<u8>()?[0] = zero as u8;
    Ok(())
}

/// `x / scale`, rounded to even, `+ zero`, clamped to 0 to 255.
fn to_levels(x: &[f32], scale: f32, zero: f32, y: &mut [u8]) {
    let (by, zero) = (S::splat(scale), S::splat(zero));
    let level = |x: &[f32; 4]| {
        let x = S::add(S::nearest(S::div(S::load(x), by)), zero);
        S::min(S::max(x, S::splat(0.0)), S::splat(255.0))
    };
    let sixteen = |x: &[f32; 16], y: &mut [u8; 16]| {
        let (x, _) = x.as_chunks::<4>();
        S::store_i(S::to_bytes(std::array::from_fn(|i| level(&x[i]))), y);
    };
    let (blocks, rest) = x.as_chunks::<16>();
    let (levels, levels_rest) = y.as_chunks_mut::<16>();
    blocks.iter().zip(levels).for_each(|(x, y)| sixteen(x, y));
    let (mut last, mut to) = ([0.0; 16], [0; 16]);
    last[..rest.len()].copy_from_slice(rest);
    sixteen(&last, &mut to);
    levels_rest.copy_from_slice(&to[..levels_rest.len()]);
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let x = [-1.0f32, 0.26, 0.74, 3.0];
        let inputs = vec![Given::fed(&[4], &x), Given::fed(&[1], &[0.5f32]), Given::fed(&[1], &[1i8])];
        let given = Quantize::along(0, DType::U8);
        let floats: Vec<f32> = (0..83).map(|i| i as f32 * 1.125 - 4.0).collect();
        let many = vec![Given::fed(&[83], &floats), Given::fed(&[], &[0.25f32]), Given::fed(&[], &[9u8])];
        let columns = vec![
            Given::fed(&[2, 3], &[-1.0f32, 0.26, 0.74, 3.0, -90.0, 7.0]),
            Given::fed(&[3], &[0.5f32, 0.25, 2.0]),
            Given::fed(&[3], &[1u8, 200, 3]),
        ];
        let zeros = vec![Given::fed(&[5], &[0.0f32; 5])];
        vec![
            Case::new("by column", Quantize::along(1, DType::U8), columns, Tolerance::of(0.0), |_| {
                vec![Array::new(&[2, 3], vec![0.0, 201.0, 3.0, 7.0, 0.0, 7.0])]
            }),
            Case::new("dynamic, of zeros", Quantize::Dynamic, zeros, Tolerance::of(0.0), |_| {
                vec![Array::new(&[5], vec![0.0; 5]), Array::new(&[], vec![0.0]), Array::new(&[], vec![0.0])]
            }),
            Case::new("by one scale", given, inputs, Tolerance::of(0.0), |_| {
                vec![Array::new(&[4], vec![-1.0, 2.0, 2.0, 7.0])]
            }),
            Case::new("to bytes", Quantize::along(0, DType::U8), many, Tolerance::of(0.0), |x| {
                let x = x[0].as_ref().expect("an input");
                let level = |x: &f64| ((x / 0.25).round_ties_even() + 9.0).clamp(0.0, 255.0);
                vec![Array::new(&[83], x.values.iter().map(level).collect())]
            }),
            Case::new("dynamic", Quantize::Dynamic, vec![Given::fed(&[4], &x)], Tolerance::of(1e-6), |_| {
                // From -1 to 3 in 255 steps of 4 / 255; zero is the 64th (63.75).
                let y = vec![0.0, 81.0, 111.0, 255.0];
                vec![Array::new(&[4], y), Array::new(&[], vec![4.0 / 255.0]), Array::new(&[], vec![64.0])]
            }),
        ]
    }
}
