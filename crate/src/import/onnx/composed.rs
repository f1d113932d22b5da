//! Operators that are made of several of the catalogue, or are one there under another name.

use super::attention::count;
use super::signal::dtype;
use super::vision::{sizes, sliding};
use super::{Use, unsupported};
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::affine_grid::AffineGrid;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::bit_cast::BitCast;
use crate::ops::cast::Cast;
use crate::ops::center_crop_pad::CenterCropPad;
use crate::ops::col2im::Col2Im;
use crate::ops::deform_conv::DeformConv;
use crate::ops::det::Det;
use crate::ops::einsum::Einsum;
use crate::ops::eye::Eye;
use crate::ops::grid_sample::{Beyond, GridSample, Interpolation};
use crate::ops::lrn::Lrn;
use crate::ops::max_unpool::MaxUnpool;
use crate::ops::nll_loss::{LossReduction, NllLoss};
use crate::ops::non_max_suppression::NonMaxSuppression;
use crate::ops::non_zero::NonZero;
use crate::ops::reduce::{Reduce, ReduceAxes, ReduceFunction};
use crate::ops::reshape::Reshape;
use crate::ops::reverse_sequence::ReverseSequence;
use crate::ops::roi_pool::{RoiMethod, RoiPool};
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::take::Take;
use crate::ops::unary::UnaryFunction;
use crate::ops::unique::Unique;

/// `x / |x|`; zeros stay zeros.
pub(super) fn lp_norm(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = of.input(0)?;
    let function = if of.node.int("p")? == Some(1) { ReduceFunction::L1 } else { ReduceFunction::L2 };
    let axis = of.node.int("axis")?.unwrap_or(-1);
    let norm = reduce(of, "norm", function, x, &[axis])?;
    let zero = of.number("zero", 0.0, x)?;
    let is_zero = of.binary("is_zero", BinaryFunction::Equal, norm, zero);
    let is_zero = of.step("one", Cast::like(), &[Some(is_zero), Some(x)]);
    let norm = of.binary("divisor", BinaryFunction::Add, norm, is_zero);
    of.outputs(Binary { function: BinaryFunction::Div }, &[Some(x), Some(norm)])
}

fn reduce(of: &mut Use, part: &str, function: ReduceFunction, x: ValueId, axes: &[i64]) -> Result<ValueId> {
    let axes = of.list(&format!("{part}.axes"), axes)?;
    Ok(of.step(
        part,
        Reduce { function, axes: ReduceAxes::Given { none_is_none: false }, keep: true },
        &[Some(x), Some(axes)],
    ))
}

/// `(x - mean) / (deviation + 1e-9)`.
pub(super) fn mean_variance(of: &mut Use) -> Result<Vec<ValueId>> {
    let x = of.input(0)?;
    let axes = of.node.ints("axes")?.unwrap_or(&[0, 2, 3]).to_vec();
    let mean = reduce(of, "mean", ReduceFunction::Mean, x, &axes)?;
    let centred = of.binary("centred", BinaryFunction::Sub, x, mean);
    let squares = of.binary("squares", BinaryFunction::Mul, centred, centred);
    let variance = reduce(of, "variance", ReduceFunction::Mean, squares, &axes)?;
    let deviation = of.unary("deviation", UnaryFunction::Sqrt, variance);
    let epsilon = of.number("epsilon", 1e-9, x)?;
    let deviation = of.binary("divisor", BinaryFunction::Add, deviation, epsilon);
    of.outputs(Binary { function: BinaryFunction::Div }, &[Some(centred), Some(deviation)])
}

pub(super) fn swiglu(of: &mut Use) -> Result<Vec<ValueId>> {
    let (a, b) = (of.input(0)?, of.input(1)?);
    let alpha = of.node.float("alpha")?.unwrap_or(1.0);
    let gate = of.unary("gate", UnaryFunction::Swish { alpha }, a);
    of.outputs(Binary { function: BinaryFunction::Mul }, &[Some(gate), Some(b)])
}

/// The places where the condition holds are taken.
pub(super) fn compress(of: &mut Use) -> Result<Vec<ValueId>> {
    let (mut x, condition) = (of.input(0)?, of.input(1)?);
    let list = of.list("all", &[-1])?;
    let to_list = Reshape::To { allow_zero: false };
    let places = of.step("places", NonZero, &[Some(condition)]);
    let places = of.step("list", to_list.clone(), &[Some(places), Some(list)]);
    let axis = of.node.int("axis")?;
    if axis.is_none() {
        x = of.step("elements", to_list, &[Some(x), Some(list)]);
    }
    of.outputs(Take { axis: axis.unwrap_or(0) }, &[Some(x), Some(places)])
}

pub(super) fn nll_loss(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = loss(of)?;
    of.as_is(op)
}

fn loss(of: &Use) -> Result<NllLoss> {
    let reduction = match of.node.string("reduction")?.unwrap_or("mean") {
        "none" => LossReduction::None,
        "sum" => LossReduction::Sum,
        "mean" => LossReduction::Mean,
        other => return unsupported(format!("the reduction {other}")),
    };
    Ok(NllLoss { reduction, ignored: of.node.int("ignore_index")? })
}

pub(super) fn cross_entropy(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = loss(of)?;
    let log = Softmax { function: SoftmaxFunction::Log, axis: 1, flatten: false };
    let x = of.input(0)?;
    let log = of.step("log", log, &[Some(x)]);
    let loss = of.step("loss", op, &[Some(log), of.optional(1), of.optional(2)]);
    Ok(vec![loss, log])
}

pub(super) fn grid_sample(of: &mut Use) -> Result<Vec<ValueId>> {
    let by = match of.node.string("mode")?.unwrap_or("linear") {
        "nearest" => Interpolation::Nearest,
        "cubic" | "bicubic" => Interpolation::Cubic,
        "linear" | "bilinear" => Interpolation::Linear,
        other => return unsupported(format!("interpolation by the mode {other}")),
    };
    let beyond = match of.node.string("padding_mode")?.unwrap_or("zeros") {
        "border" => Beyond::Border,
        "reflection" => Beyond::Reflection,
        "zeros" => Beyond::Zeros,
        other => return unsupported(format!("padding in the mode {other}")),
    };
    of.as_is(GridSample { by, beyond, align_corners: of.flag("align_corners")? })
}

pub(super) fn affine_grid(of: &mut Use) -> Result<Vec<ValueId>> {
    let align_corners = of.flag("align_corners")?;
    of.as_is(AffineGrid { align_corners })
}

pub(super) fn deform_conv(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = DeformConv {
        sliding: sliding(of)?,
        groups: count(of, "group", 1)?,
        offset_groups: count(of, "offset_group", 1)?,
    };
    of.as_is(op)
}

pub(super) fn col2im(of: &mut Use) -> Result<Vec<ValueId>> {
    let sliding = sliding(of)?;
    of.as_is(Col2Im { sliding })
}

pub(super) fn max_unpool(of: &mut Use) -> Result<Vec<ValueId>> {
    let kernel = sizes(of, "kernel_shape")?.unwrap_or_default();
    let sliding = sliding(of)?;
    of.as_is(MaxUnpool { kernel, sliding })
}

/// The half pixel came with opset 16.
pub(super) fn roi_align(of: &mut Use) -> Result<Vec<ValueId>> {
    let mode = of.node.string("coordinate_transformation_mode")?;
    let half_pixel = mode.map_or(of.import.opset >= 16, |mode| mode == "half_pixel");
    let by = RoiMethod::Samples {
        each: count(of, "sampling_ratio", 0)?.min(4096),
        largest: of.node.string("mode")?.is_some_and(|mode| mode.eq_ignore_ascii_case("max")),
        half_pixel,
    };
    let size = (count(of, "output_height", 1)?, count(of, "output_width", 1)?);
    let scale = of.node.float("spatial_scale")?.unwrap_or(1.0);
    of.as_is(RoiPool { size, scale, by })
}

pub(super) fn max_roi_pool(of: &mut Use) -> Result<Vec<ValueId>> {
    let Some(&[rows, columns]) = sizes(of, "pooled_shape")?.as_deref() else {
        return unsupported("a pooled shape that is not rows and columns");
    };
    let scale = of.node.float("spatial_scale")?.unwrap_or(1.0);
    of.as_is(RoiPool { size: (rows, columns), scale, by: RoiMethod::Largest })
}

pub(super) fn lrn(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = Lrn {
        size: count(of, "size", 1)?,
        alpha: of.node.float("alpha")?.unwrap_or(1e-4),
        beta: of.node.float("beta")?.unwrap_or(0.75),
        bias: of.node.float("bias")?.unwrap_or(1.0),
    };
    of.as_is(op)
}

pub(super) fn non_max_suppression(of: &mut Use) -> Result<Vec<ValueId>> {
    let by_centre = of.flag("center_point_box")?;
    of.as_is(NonMaxSuppression { by_centre })
}

pub(super) fn einsum(of: &mut Use) -> Result<Vec<ValueId>> {
    let equation = of.node.string("equation")?.unwrap_or_default().to_string();
    of.as_is(Einsum { equation })
}

pub(super) fn unique(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = Unique {
        axis: of.node.int("axis")?,
        sorted: of.node.int("sorted")?.unwrap_or(1) != 0,
        outputs: of.node.outputs.len(),
    };
    of.as_is(op)
}

pub(super) fn bit_cast(of: &mut Use) -> Result<Vec<ValueId>> {
    let to = of.dtype("to")?;
    of.as_is(BitCast { to })
}

pub(super) fn center_crop_pad(of: &mut Use) -> Result<Vec<ValueId>> {
    let axes = of.node.ints("axes")?.map(<[i64]>::to_vec);
    of.as_is(CenterCropPad { axes })
}

pub(super) fn eye(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = Eye { above: of.node.int("k")?.unwrap_or(0), dtype: dtype(of, "dtype")? };
    of.as_is(op)
}

pub(super) fn det(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Det)
}

pub(super) fn reverse_sequence(of: &mut Use) -> Result<Vec<ValueId>> {
    let axes = (of.node.int("batch_axis")?.unwrap_or(1), of.node.int("time_axis")?.unwrap_or(0));
    let batch_first = match axes {
        (1, 0) => false,
        (0, 1) => true,
        _ => return unsupported("sequences that are not in the first two dimensions"),
    };
    of.as_is(ReverseSequence { batch_first })
}
