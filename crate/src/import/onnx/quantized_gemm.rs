//! com.microsoft QGemm: `alpha·A·B + C` of matrices that integers stand for, as numbers or as integers again.

use super::Use;
use super::quantized::{integers, numbers};
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::binary::BinaryFunction;
use crate::ops::cast::Cast;
use crate::ops::product::Product;
use crate::types::DType;

/// Inputs are A, its scale and zero, B, its scales by column and zeros, C, and the scale and zero of the result, which is
/// numbers without them. C is integers, by the scales of A and B and by `alpha`.
pub(super) fn qgemm(of: &mut Use) -> Result<Vec<ValueId>> {
    let transposed = [of.flag("transA")?, of.flag("transB")?];
    let a = numbers(of, "a", 0, 0)?;
    let b = numbers(of, "b", 3, if transposed[1] { 0 } else { 1 })?;
    let alpha = of.node.float("alpha")?.unwrap_or(1.0);
    let mut y = of.step("product", Product { transposed, scale: alpha }, &[Some(a), Some(b)]);
    if let Some(c) = of.optional(6) {
        let (a_scale, b_scale) = (of.input(1)?, of.input(4)?);
        let mut c = of.step("c_levels", Cast::to(DType::F32), &[Some(c)]);
        for (part, scale) in [("c_by_a", a_scale), ("c_by_b", b_scale)] {
            let scale = of.step(&format!("{part}.scale"), Cast::to(DType::F32), &[Some(scale)]);
            c = of.binary(part, BinaryFunction::Mul, c, scale);
        }
        if alpha != 1.0 {
            let alpha = of.number("alpha", alpha, c)?;
            c = of.binary("c", BinaryFunction::Mul, c, alpha);
        }
        y = of.binary("sum", BinaryFunction::Add, y, c);
    }
    if of.optional(7).is_some() { integers(of, y, 7, 0) } else { Ok(vec![y]) }
}
