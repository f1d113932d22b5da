//! What becomes of sums of products of 8-bit integers, of matrices and convolutions alike. Their inputs from the fourth on
//! are `scale f32, one or [n]?, bias f32 [n]?, y_scale f32, one?, y_zero u8 or i8, one?`: without a scale the sums are the
//! result, i32; with one, `sum · scale + bias`, f32, or a function of that; with a scale of the result too, its levels, of the
//! dtype of their zero.

use super::unary::UnaryFunction;
use super::{GpuCaps, Input, Known, Lowered, Types, optional};
use crate::error::{Result, ensure, fail};
use crate::kernels::dispatch::{Dispatch, Operand};
use crate::kernels::integer_launch::ByteSums;
use crate::kernels::levels::Levels;
use crate::kernels::levels_launch;
use crate::types::{DType, TensorType};

/// Whether a dtype is that of levels of 8 bits.
pub(super) fn is_byte(dtype: DType) -> bool {
    matches!(dtype, DType::U8 | DType::I8)
}

/// How many elements a type has, where that is known.
fn count(ty: &TensorType) -> Option<usize> {
    ty.shape.to_known().map(|dims| dims.iter().product())
}

/// Fails unless input `index` is absent, or of that dtype and of one element or `many`, as far as they are known.
pub(super) fn expect_each(inputs: &Known, index: usize, dtype: DType, many: Option<usize>) -> Result<()> {
    let Some(ty) = inputs.optional(index) else { return Ok(()) };
    let number = count(ty);
    let fits = number.is_none() || many.is_none() || number == Some(1) || number == many;
    ensure!(
        ty.dtype == dtype && fits,
        ShapeMismatch,
        "input {index}, {ty}, does not go with {} and {}",
        inputs.ty(0)?,
        inputs.ty(1)?
    );
    Ok(())
}

/// The dtype of the result of `n` columns or filters. Fails where the inputs do not fit each other.
pub(super) fn dtype_of(inputs: &Known, n: Option<usize>, activation: Option<UnaryFunction>) -> Result<DType> {
    expect_each(inputs, 4, DType::F32, n)?;
    let [scale, bias, y_scale, y_zero] = [4, 5, 6, 7].map(|i| inputs.optional(i));
    if let Some(bias) = bias {
        let fits = bias.dtype == DType::F32 && bias.shape.rank() == 1;
        let fits = fits && (count(bias).is_none() || n.is_none() || count(bias) == n);
        ensure!(fits, ShapeMismatch, "a bias {bias} does not go with {}", inputs.ty(1)?);
    }
    let one = |ty: &TensorType| count(ty).is_none_or(|n| n == 1);
    match (scale, y_scale, y_zero) {
        (None, None, None) if bias.is_none() && activation.is_none() => Ok(DType::I32),
        (Some(_), None, None) => Ok(DType::F32),
        (Some(_), Some(scale), Some(zero)) if scale.dtype == DType::F32 && is_byte(zero.dtype) => {
            ensure!(one(scale) && one(zero), ShapeMismatch, "a result of several scales {scale}");
            Ok(zero.dtype)
        }
        _ => fail!(ShapeMismatch, "sums with a bias or levels of a result, but no scale"),
    }
}

/// The same of the inputs at hand.
pub(super) struct Finish {
    /// One a column or filter, or one for all; none where sums stay integers.
    pub scales: Option<Vec<f32>>,
    pub bias: Option<Vec<f32>>,
    activation: Option<UnaryFunction>,
    pub levels: Option<Levels>,
}

impl Finish {
    pub(super) fn of(inputs: &[Input], activation: Option<UnaryFunction>) -> Result<Self> {
        let floats = |i: usize| -> Result<Option<Vec<f32>>> {
            Ok(optional(inputs, i)?.map(|values| values.data::<f32>()).transpose()?.map(<[f32]>::to_vec))
        };
        let levels = match (floats(6)?.as_deref(), optional(inputs, 7)?) {
            (Some(&[scale]), Some(zero)) => {
                let signed = zero.dtype == DType::I8;
                Some(Levels { scale, zero: ints(inputs, 7)?.map_or(0, |zero| zero[0]), signed })
            }
            _ => None,
        };
        Ok(Self { scales: floats(4)?, bias: floats(5)?, activation, levels })
    }

    /// The result of sums of one filter, as bytes of its dtype; the sums are lost.
    pub(super) fn filter(&self, sums: &mut [f32], filter: usize, y: &mut [u8]) {
        let of = |values: &Option<Vec<f32>>, otherwise: f32| match values.as_deref() {
            Some(&[one]) => one,
            Some(many) => many[filter],
            None => otherwise,
        };
        let (scale, bias) = (of(&self.scales, 1.0), of(&self.bias, 0.0));
        sums.iter_mut().for_each(|y| *y = *y * scale + bias);
        self.apply(sums, y);
    }

    /// What comes after scales and biases.
    pub(super) fn apply(&self, values: &mut [f32], y: &mut [u8]) {
        if let Some(activation) = self.activation {
            activation.apply_all(values);
        }
        match &self.levels {
            Some(levels) => levels.of(values, y),
            None => y.copy_from_slice(bytemuck::cast_slice(values)),
        }
    }

    /// Whether scales and biases are all, so that the result can be written as it is computed.
    pub(super) fn is_plain(&self) -> bool {
        self.activation.is_none() && self.levels.is_none()
    }
}

/// The launches of sums on the GPU. `launch` makes levels too where it makes whole `words` of them; where it does not, or
/// the scale of the result is computed, it makes numbers that another launch makes levels of.
pub(super) fn lower(
    caps: &GpuCaps,
    types: &Types,
    activation: Option<UnaryFunction>,
    words: bool,
    launch: &dyn Fn(&ByteSums) -> Result<Dispatch>,
) -> Result<Lowered> {
    let Some(function) = UnaryFunction::code_of(activation) else {
        return Lowered::not_on_gpu("no kernel applies the function");
    };
    let count = |index: usize| types.input(index).map_or(0, |shape| shape.iter().product::<usize>());
    let sums = ByteSums {
        signed: [0, 1].map(|i| types.dtype(i) == Some(DType::I8)),
        zeros: [2, 3].map(count),
        scales: types.has(4).then(|| (count(4), types.has(5))),
        function,
        levels: None,
    };
    if !types.has(6) {
        return Lowered::one(launch(&sums)?);
    }
    let dtype = types.outputs[0].dtype;
    if let (true, &[scale], Some(&[zero])) = (words, &types.floats(6)?[..], types.ints(7)?.as_deref()) {
        let levels = Levels { scale: scale as f32, zero: zero as i32, signed: dtype == DType::I8 };
        return Lowered::one(launch(&ByteSums { levels: Some(levels), ..sums })?);
    }
    let n = types.n_out()?;
    if 4 * n as u64 > caps.max_binding_bytes {
        return Lowered::not_on_gpu("the numbers that levels are made of are larger than the GPU's bindings");
    }
    let numbers = Operand::Scratch(0, 4 * n);
    let operands = (numbers, Operand::Input(6), Some(Operand::Input(7)), Operand::Output(0));
    let levels = levels_launch::Levels { n, scales: [1, 1], dtype, operands }.launch(true)?;
    let first = launch(&sums)?.rebound(Operand::Output(0), numbers);
    Ok(Lowered::Dispatches([first].into_iter().chain(levels).collect()))
}

/// The elements of an input of integers; at least one.
pub(super) fn ints(inputs: &[Input], index: usize) -> Result<Option<Vec<i32>>> {
    let ints = optional(inputs, index)?.map(|zero| zero.to_ints()).transpose()?;
    let ints = ints.map(|ints| ints.into_iter().map(|x| x as i32).collect::<Vec<_>>());
    Ok(ints.filter(|ints| !ints.is_empty()))
}

/// Whether one of the numbers is not 0.
pub(super) fn nonzero(ints: Option<Vec<i32>>) -> Option<Vec<i32>> {
    ints.filter(|ints| ints.iter().any(|x| *x != 0))
}
