//! Levels as the numbers that they stand for: `(x - zero) · scale`. ONNX DequantizeLinear.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::Operand;
use crate::kernels::levels_launch::Levels;
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, TensorType};

/// `(x integers or small floats, scale float, zero like x?) → y`. The scale is one number, or one along a dimension, or
/// one for each block of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Dequantize {
    /// The dimension that has scales of its own; negative ones count from the end.
    pub axis: i64,
    /// How many elements share a scale, where that is a block; as few as there must be where it is left out.
    pub block: Option<usize>,
    /// The dtype of the output; the scale's where it is left out.
    pub dtype: Option<DType>,
}

impl Dequantize {
    /// With scales along a dimension, to their dtype.
    pub fn along(axis: i64) -> Self {
        Self { axis, block: None, dtype: None }
    }
}

/// Whether levels may have that dtype.
pub(super) fn is_level(dtype: DType) -> bool {
    dtype.int_range().is_some() || dtype.is_small_float()
}

/// Whether zeros are those of these scales: of their shape, or one of one.
pub(super) fn zeros_fit(zero: Option<&TensorType>, scale: &TensorType) -> bool {
    let one = |ty: &TensorType| ty.shape.rank() < 2 && ty.shape.0.iter().all(|dim| dim.known() == Some(1));
    zero.is_none_or(|zero| zero.shape == scale.shape || one(zero) && one(scale))
}

/// Which of the scales each element has: the scales' shape is `[]`, `[1]`, `[n]` of the axis, or that of `x` with the axis
/// cut into blocks.
pub(super) fn scale_of(x: &[usize], scale: &[usize], axis: i64, block: Option<usize>) -> Result<Vec<usize>> {
    let n: usize = x.iter().product();
    if scale.iter().product::<usize>() == 1 && scale.len() < 2 {
        return Ok(vec![0; n]);
    }
    let axis = super::axis_of(axis, x.len())?;
    let inner: usize = x[axis + 1..].iter().product();
    if scale == [x[axis]] {
        return Ok((0..n).map(|i| i / inner % x[axis]).collect());
    }
    let blocked = scale.len() == x.len()
        && (0..x.len()).all(|i| scale[i] == x[i] || i == axis && scale[i] > 0 && scale[i] <= x[i]);
    ensure!(blocked, ShapeMismatch, "scales {scale:?} do not fit {x:?} along dimension {axis}");
    let block = block.unwrap_or(x[axis].div_ceil(scale[axis]));
    ensure!(
        block > 0 && x[axis].div_ceil(block) == scale[axis],
        ShapeMismatch,
        "{} scales do not fit blocks of {block} of {}",
        scale[axis],
        x[axis]
    );
    let of =
        |i: usize| (i / (inner * x[axis]) * scale[axis] + i / inner % x[axis] / block) * inner + i % inner;
    Ok((0..n).map(of).collect())
}

impl OpDef for Dequantize {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, scale) = (inputs.ty(0)?, inputs.ty(1)?);
        let zero = inputs.optional(2);
        let fits = zeros_fit(zero, scale) && zero.is_none_or(|zero| zero.dtype == x.dtype);
        ensure!(
            fits && is_level(x.dtype) && scale.dtype.is_float(),
            ShapeMismatch,
            "{x} with scales {scale}"
        );
        Ok(vec![TensorType { dtype: self.dtype.unwrap_or(scale.dtype), shape: x.shape.clone() }])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, scale) = (inputs[0].tensor()?, inputs[1].tensor()?);
        let dtypes = (x.dtype, scale.dtype, outputs[0].dtype);
        if let ((DType::U8 | DType::I8, DType::F32, DType::F32), 1) = (dtypes, scale.len()) {
            let zero = match inputs.get(2).map_or(Ok(None), Input::optional)? {
                Some(zero) => zero.to_ints()?.first().copied().unwrap_or(0) as i32,
                None => 0,
            };
            let (scale, y) = (scale.data::<f32>()?[0], outputs[0].data::<f32>()?);
            let signed = x.dtype == DType::I8;
            let number = |x: u8| if signed { i32::from(x.cast_signed()) } else { i32::from(x) };
            y.iter_mut().zip(x.bytes).for_each(|(y, x)| *y = (number(*x) - zero) as f32 * scale);
            return Ok(());
        }
        let which = scale_of(x.shape, scale.shape, self.axis, self.block)?;
        let zero = match inputs.get(2).map_or(Ok(None), Input::optional)? {
            Some(zero) => zero.to_floats()?,
            None => vec![0.0; scale.len()],
        };
        let (x, scale) = (x.to_floats()?, scale.to_floats()?);
        let y = x.iter().zip(which).map(|(x, i)| f64::from((x - zero[i]) as f32 * scale[i] as f32));
        outputs[0].narrow(Wide::Floats(y.collect()))
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, scale) = (types.input(0)?, types.input(1)?);
        let axis = super::axis_of(self.axis, x.len()).ok();
        let floats = types.dtype(1) == Some(DType::F32) && types.outputs[0].dtype == DType::F32;
        let (Some(scales), Some(dtype), true) = (Levels::scales(&x, &scale, axis), types.dtype(0), floats)
        else {
            return Lowered::not_on_gpu("no kernel has scales of blocks, or of this dtype");
        };
        let zero = types.has(2).then_some(Operand::Input(2));
        let operands = (Operand::Input(0), Operand::Input(1), zero, Operand::Output(0));
        match (Levels { n: types.n_out()?, scales, dtype, operands }).launch(false)? {
            Some(launch) => Lowered::one(launch),
            None => Lowered::not_on_gpu("no kernel has levels of this dtype"),
        }
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let x = || Given::fed(&[2, 3], &[1u8, 20, 255, 0, 7, 9]);
        let case = |scale: &[f32], zero: &[u8], axis: i64, of: fn(usize) -> usize| {
            let n = [scale.len()];
            let inputs = vec![x(), Given::fed(&n, scale), Given::fed(&n, zero)];
            Case::new(format!("{n:?} scales"), Dequantize::along(axis), inputs, Tolerance::of(1e-6), |x| {
                let [Some(x), Some(scale), Some(zero)] = x else { panic!("three inputs") };
                let y =
                    x.values.iter().enumerate().map(|(i, x)| (x - zero.values[of(i)]) * scale.values[of(i)]);
                vec![Array::new(&[2, 3], y.collect())]
            })
        };
        let signed = vec![
            Given::fed(&[2, 3], &[1i8, -20, 127, 0, -128, 9]),
            Given::fed(&[], &[0.5f32]),
            Given::fed(&[], &[-3i8]),
        ];
        let signed = Case::new("signed", Dequantize::along(0), signed, Tolerance::of(0.0), |_| {
            vec![Array::new(&[2, 3], vec![2.0, -8.5, 65.0, 1.5, -62.5, 6.0])]
        });
        let without = vec![x(), Given::fed(&[], &[0.25f32])];
        let without = Case::new("without a zero", Dequantize::along(0), without, Tolerance::of(0.0), |x| {
            let x = x[0].as_ref().expect("levels");
            vec![Array::new(&[2, 3], x.values.iter().map(|x| x * 0.25).collect())]
        });
        vec![
            signed,
            without,
            case(&[0.5], &[3], 1, |_| 0),
            case(&[0.5, 2.0, 3.0], &[3, 0, 255], 1, |i| i % 3),
            case(&[0.5, 2.0], &[3, 7], 0, |i| i / 3),
        ]
    }
}
