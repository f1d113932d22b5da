//! Operators on integers of few bits.

use super::{Use, unsupported};
use crate::error::Result;
use crate::graph::ValueId;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::dequantize::Dequantize;
use crate::ops::integer_product::IntegerProduct;
use crate::ops::product::Product;
use crate::ops::quantize::Quantize;
use crate::types::DType;

pub(super) fn dequantize(of: &mut Use) -> Result<Vec<ValueId>> {
    if of.node.int("output_dtype")?.is_some_and(|dtype| dtype != 0) {
        return unsupported("an output of another dtype than the scale's");
    }
    let axis = of.node.int("axis")?.unwrap_or(1);
    of.as_is(Dequantize { axis })
}

pub(super) fn quantize(of: &mut Use) -> Result<Vec<ValueId>> {
    if of.node.int("precision")?.is_some_and(|dtype| dtype != 0) {
        return unsupported("a division of another precision than the scale's");
    }
    let named = of.node.int("output_dtype")?.is_some_and(|dtype| dtype != 0);
    let dtype = if named { of.dtype("output_dtype")? } else { DType::U8 };
    let axis = of.node.int("axis")?.unwrap_or(1);
    of.as_is(Quantize::Given { axis, dtype })
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
        let mut x = of.step(name, Cast { to: Some(DType::I32) }, &[Some(x)]);
        if let Some(zero) = of.optional(2 + i) {
            let zero = of.step(&format!("{name}_zero"), Cast { to: Some(DType::I32) }, &[Some(zero)]);
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
