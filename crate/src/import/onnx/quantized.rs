//! Operators on integers of few bits.

use super::Use;
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::dequantize::Dequantize;
use crate::ops::integer_product::IntegerProduct;
use crate::ops::product::Product;
use crate::ops::quantize::Quantize;
use crate::types::DType;

/// The dtype that an attribute names, where it does.
fn named(of: &Use, attribute: &str) -> Result<Option<DType>> {
    match of.node.int(attribute)? {
        None | Some(0) => Ok(None),
        _ => of.dtype(attribute).map(Some),
    }
}

fn block_size(of: &Use) -> Result<Option<usize>> {
    Ok(of.node.int("block_size")?.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0))
}

pub(super) fn dequantize(of: &mut Use) -> Result<Vec<ValueId>> {
    let axis = of.node.int("axis")?.unwrap_or(1);
    let (dtype, block) = (named(of, "output_dtype")?, block_size(of)?);
    of.as_is(Dequantize { axis, block, dtype })
}

pub(super) fn quantize(of: &mut Use) -> Result<Vec<ValueId>> {
    let axis = of.node.int("axis")?.unwrap_or(1);
    let (dtype, precision) = (named(of, "output_dtype")?.unwrap_or(DType::U8), named(of, "precision")?);
    let saturate = of.node.int("saturate")?.unwrap_or(1) != 0;
    let block = block_size(of)?;
    of.as_is(Quantize::Given { axis, block, dtype, precision, saturate })
}

pub(super) fn quantize_dynamic(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(Quantize::Dynamic)
}

/// The product of what two integer matrices stand for, but for scales: `(a - zero) · (b - zero)` in i32.
pub(super) fn matmul_integer(of: &mut Use) -> Result<Vec<ValueId>> {
    let is_one = |of: &Use, i: usize| {
        of.optional(i).is_none() || of.known(i).is_some_and(|zero| zero.shape().len() < 2)
    };
    if of.known(1).is_some_and(|b| b.shape().len() == 2) && is_one(of, 3) {
        return of.as_is(IntegerProduct);
    }
    let mut sides = [0; 2].map(|_| None);
    for (i, side) in sides.iter_mut().enumerate() {
        let name = ["a", "b"][i];
        let x = of.input(i)?;
        let mut x = of.step(name, Cast::to(DType::I32), &[Some(x)]);
        if let Some(zero) = of.optional(2 + i) {
            let zero = of.step(&format!("{name}_zero"), Cast::to(DType::I32), &[Some(zero)]);
            x = of.step(
                &format!("{name}_shifted"),
                Binary { function: BinaryFunction::Sub },
                &[Some(x), Some(zero)],
            );
        }
        *side = Some(x);
    }
    of.outputs(Product::default(), &sides)
}
