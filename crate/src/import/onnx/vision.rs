//! Convolutions, poolings and the norms of images.

use super::{Use, unsupported};
use crate::error::Result;
use crate::graph::ValueId;
use crate::kernels::resize::{Coordinates, Method, Nearest};
use crate::kernels::window::{Padding, Sliding};
use crate::ops::batch_norm::BatchNorm;
use crate::ops::conv::{Conv, Transposed};
use crate::ops::group_norm::GroupNorm;
use crate::ops::pool::{Pool, PoolFunction};
use crate::ops::resize::{Resize, SizePolicy};

/// Sizes of an attribute.
pub(super) fn sizes(of: &Use, name: &str) -> Result<Option<Vec<usize>>> {
    let sizes = |ints: &[i64]| ints.iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect();
    Ok(of.node.ints(name)?.map(sizes))
}

pub(super) fn sliding(of: &Use) -> Result<Sliding> {
    if of.node.ints("pads")?.is_some_and(|pads| pads.iter().any(|pad| *pad < 0)) {
        return unsupported("negative padding of a window");
    }
    let padding = match (of.node.string("auto_pad")?.unwrap_or("NOTSET"), sizes(of, "pads")?) {
        ("SAME_UPPER", ..) => Padding::SameUpper,
        ("SAME_LOWER", ..) => Padding::SameLower,
        ("VALID", ..) => Padding::Valid,
        (_, Some(pads)) => Padding::Given(pads),
        _ => Padding::Valid,
    };
    Ok(Sliding { strides: sizes(of, "strides")?, dilations: sizes(of, "dilations")?, padding })
}

pub(super) fn conv(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = convolution(of)?;
    of.as_is(op)
}

pub(super) fn convolution(of: &Use) -> Result<Conv> {
    let transposed = match of.node.op_type {
        "ConvTranspose" => Some(Transposed {
            output_padding: sizes(of, "output_padding")?,
            output_shape: sizes(of, "output_shape")?,
        }),
        _ => None,
    };
    let groups = of.node.int("group")?.unwrap_or(1).max(0) as usize;
    Ok(Conv { sliding: sliding(of)?, groups, transposed, activation: None })
}

pub(super) fn pool(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = pooling(of)?;
    of.as_is(op)
}

/// The pooling that a node's name says, whatever stands before it.
pub(super) fn pooling(of: &Use) -> Result<Pool> {
    let name = of.node.op_type.trim_start_matches("QLinear");
    let global = name.starts_with("Global");
    let function = match name.trim_start_matches("Global") {
        "MaxPool" => PoolFunction::Max { by_columns: of.flag("storage_order")? },
        "AveragePool" => PoolFunction::Average { count_pads: of.flag("count_include_pad")? },
        _ => PoolFunction::Lp { p: of.node.int("p")?.unwrap_or(2) as f64 },
    };
    let kernel = sizes(of, "kernel_shape")?.filter(|_| !global);
    let sliding = sliding(of)?;
    Ok(Pool { function, kernel, sliding, ceil: of.flag("ceil_mode")?, outputs: of.node.outputs.len() })
}

pub(super) fn batch_norm(of: &mut Use) -> Result<Vec<ValueId>> {
    if of.flag("training_mode")? || of.node.outputs.len() > 1 {
        return unsupported("a batch normalisation in training");
    }
    of.as_is(BatchNorm { epsilon: of.node.float("epsilon")?.unwrap_or(1e-5) })
}

/// Scales are by group in opset 18, by channel since 21.
pub(super) fn group_norm(of: &mut Use) -> Result<Vec<ValueId>> {
    let groups = of.node.int("num_groups")?.map(|n| n.max(0) as usize);
    of.as_is(GroupNorm { groups, epsilon: of.node.float("epsilon")?.unwrap_or(1e-5) })
}

/// Upsample has no region, and its scales are an attribute before opset 9.
pub(super) fn resize(of: &mut Use) -> Result<Vec<ValueId>> {
    let node = of.node;
    let upsample = node.op_type == "Upsample";
    let method = match node.string("mode")?.unwrap_or("nearest") {
        "linear" => Method::Linear,
        "cubic" => Method::Cubic { a: node.float("cubic_coeff_a")?.unwrap_or(-0.75) },
        _ if upsample || of.import.opset < 11 => Method::Nearest(Nearest::Floor),
        _ => Method::Nearest(match node.string("nearest_mode")?.unwrap_or("round_prefer_floor") {
            "round_prefer_ceil" => Nearest::RoundPreferCeil,
            "floor" => Nearest::Floor,
            "ceil" => Nearest::Ceil,
            _ => Nearest::RoundPreferFloor,
        }),
    };
    let coordinates = match node.string("coordinate_transformation_mode")?.unwrap_or("half_pixel") {
        _ if upsample || of.import.opset < 11 => Coordinates::Asymmetric,
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNn,
        "tf_crop_and_resize" => Coordinates::TfCropAndResize,
        other => return unsupported(format!("the coordinates {other}")),
    };
    let policy = match node.string("keep_aspect_ratio_policy")?.unwrap_or("stretch") {
        "not_larger" => SizePolicy::NotLarger,
        "not_smaller" => SizePolicy::NotSmaller,
        _ => SizePolicy::Stretch,
    };
    let op = Resize {
        method,
        coordinates,
        axes: node.ints("axes")?.map(<[i64]>::to_vec),
        policy,
        exclude_outside: of.flag("exclude_outside")?,
        antialias: of.flag("antialias")?,
        outside: node.float("extrapolation_value")?.unwrap_or(0.0),
    };
    let x = of.input(0)?;
    let scales_first = upsample || of.import.opset < 11;
    let mut inputs = if scales_first {
        [Some(x), None, of.optional(1), None]
    } else {
        let region = of.optional(1).filter(|_| op.coordinates == Coordinates::TfCropAndResize);
        [Some(x), region, of.optional(2), of.optional(3)]
    };
    if let (None, Some(scales)) = (inputs[2], node.floats("scales")?) {
        let scales = crate::tensor::Tensor::new(&[scales.len()], scales)?;
        inputs[2] = Some(of.constant("scales", scales));
    }
    of.outputs(op, &inputs)
}
