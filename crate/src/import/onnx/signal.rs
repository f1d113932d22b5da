//! Sound: transforms, windows and filters; numbers drawn at random.

use super::Use;
use super::attention::count;
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::dft::Dft;
use crate::ops::filter::{Filter, FilterShape};
use crate::ops::random::{Draw, Random};
use crate::ops::stft::Stft;
use crate::types::DType;

/// The dimension is an attribute before opset 20, and 1 where it is left out; an input since, and -2.
pub(super) fn dft(of: &mut Use) -> Result<Vec<ValueId>> {
    let axis = of.node.int("axis")?.unwrap_or(if of.import.opset < 20 { 1 } else { -2 });
    of.as_is(Dft { axis, inverse: of.flag("inverse")?, half: of.flag("onesided")? })
}

pub(super) fn stft(of: &mut Use) -> Result<Vec<ValueId>> {
    let half = of.node.int("onesided")?.unwrap_or(1) != 0;
    of.as_is(Stft { half })
}

pub(super) fn filter(of: &mut Use) -> Result<Vec<ValueId>> {
    let periodic = of.node.int("periodic")?.unwrap_or(1) != 0;
    let shape = match of.node.op_type {
        "HannWindow" => FilterShape::Cosines { factors: [0.5, -0.5, 0.0], periodic },
        "HammingWindow" => FilterShape::Cosines { factors: [25.0 / 46.0, -21.0 / 46.0, 0.0], periodic },
        "BlackmanWindow" => FilterShape::Cosines { factors: [0.42, -0.5, 0.08], periodic },
        _ => FilterShape::Mel,
    };
    let dtype = dtype(of, "output_datatype")?.unwrap_or(DType::F32);
    of.as_is(Filter { shape, dtype })
}

/// The dtype that an attribute names, where it is there.
pub(super) fn dtype(of: &Use, name: &str) -> Result<Option<DType>> {
    Ok(match of.node.int(name)? {
        Some(0) | None => None,
        Some(_) => Some(of.dtype(name)?),
    })
}

pub(super) fn random(of: &mut Use) -> Result<Vec<ValueId>> {
    let float = |of: &Use, name: &str, default: f32| {
        Ok::<_, crate::error::Error>(of.node.float(name)?.unwrap_or(default))
    };
    let (draw, own) = match of.node.op_type {
        "RandomUniform" | "RandomUniformLike" => {
            (Draw::Uniform { low: float(of, "low", 0.0)?, high: float(of, "high", 1.0)? }, DType::F32)
        }
        "RandomNormal" | "RandomNormalLike" => {
            (Draw::Normal { mean: float(of, "mean", 0.0)?, scale: float(of, "scale", 1.0)? }, DType::F32)
        }
        "Multinomial" => (Draw::Classes { n: count(of, "sample_size", 1)? }, DType::I32),
        _ => (Draw::Bernoulli, DType::F32),
    };
    let shape =
        of.node.ints("shape")?.map(|shape| shape.iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect());
    let like = shape.is_none() && !matches!(draw, Draw::Classes { .. });
    let dtype = dtype(of, "dtype")?.or(if like { None } else { Some(own) });
    of.as_is(Random { draw, shape, dtype, seed: of.node.float("seed")?, outputs: 1 })
}
