//! Operators that pick, place and order elements.

use super::{Use, unsupported};
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::cumulative::Cumulative;
use crate::ops::depth_space::{DepthSpace, DepthSpaceWay};
use crate::ops::gather_nd::GatherNd;
use crate::ops::non_zero::NonZero;
use crate::ops::one_hot::OneHot;
use crate::ops::scatter::{Scatter, ScatterBy, ScatterJoin};
use crate::ops::sort_k::SortK;
use crate::ops::take_along::TakeAlong;
use crate::ops::triangle::Triangle;
use crate::tensor::Tensor;

pub(super) fn take_along(of: &mut Use) -> Result<Vec<ValueId>> {
    let axis = of.node.int("axis")?.unwrap_or(0);
    of.as_is(TakeAlong { axis })
}

pub(super) fn gather_nd(of: &mut Use) -> Result<Vec<ValueId>> {
    let batch_dims = of.node.int("batch_dims")?.unwrap_or(0).max(0) as usize;
    of.as_is(GatherNd { batch_dims })
}

fn join(of: &Use) -> Result<ScatterJoin> {
    Ok(match of.node.string("reduction")?.unwrap_or("none") {
        "none" => ScatterJoin::Replace,
        "add" => ScatterJoin::Add,
        "mul" => ScatterJoin::Mul,
        "max" => ScatterJoin::Max,
        "min" => ScatterJoin::Min,
        other => return unsupported(format!("a scatter that joins by {other}")),
    })
}

pub(super) fn scatter_elements(of: &mut Use) -> Result<Vec<ValueId>> {
    let axis = of.node.int("axis")?.unwrap_or(0);
    let join = join(of)?;
    of.as_is(Scatter { by: ScatterBy::Element { axis }, join })
}

pub(super) fn scatter_nd(of: &mut Use) -> Result<Vec<ValueId>> {
    let join = join(of)?;
    of.as_is(Scatter { by: ScatterBy::Slice, join })
}

pub(super) fn triangle(of: &mut Use) -> Result<Vec<ValueId>> {
    let upper = of.node.int("upper")?.unwrap_or(1) != 0;
    of.as_is(Triangle { upper })
}

pub(super) fn cumulative(of: &mut Use) -> Result<Vec<ValueId>> {
    let op = Cumulative {
        product: of.node.op_type == "CumProd",
        exclusive: of.flag("exclusive")?,
        reverse: of.flag("reverse")?,
    };
    of.as_is(op)
}

pub(super) fn one_hot(of: &mut Use) -> Result<Vec<ValueId>> {
    let axis = of.node.int("axis")?.unwrap_or(-1);
    of.as_is(OneHot { axis })
}

/// How many are wanted is an attribute before opset 10.
pub(super) fn sort_k(of: &mut Use) -> Result<Vec<ValueId>> {
    let (x, mut k) = (of.input(0)?, of.optional(1));
    if let (None, Some(n)) = (k, of.node.int("k")?) {
        k = Some(of.constant("k", Tensor::new(&[1], &[n])?));
    }
    let axis = of.node.int("axis")?.unwrap_or(-1);
    let largest = of.node.int("largest")?.unwrap_or(1) != 0;
    let names = [0, 1].map(|i| of.node.outputs.get(i).copied().unwrap_or_default());
    Ok(of.import.graph.defer(of.name, SortK { axis, largest }, &[Some(x), k], &names))
}

pub(super) fn depth_space(of: &mut Use) -> Result<Vec<ValueId>> {
    let way = match (of.node.op_type, of.node.string("mode")?) {
        ("SpaceToDepth", Some("CRD")) => DepthSpaceWay::ToDepthByChannel,
        ("SpaceToDepth", _) => DepthSpaceWay::ToDepth,
        (_, Some("CRD")) => DepthSpaceWay::ToSpaceByChannel,
        _ => DepthSpaceWay::ToSpace,
    };
    let block = of.node.int("blocksize")?.unwrap_or(0).max(0) as usize;
    of.as_is(DepthSpace { block, way })
}

pub(super) fn non_zero(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(NonZero)
}
