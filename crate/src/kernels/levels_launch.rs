//! Launches between numbers and levels, which are bytes.

use super::dispatch::{Dispatch, Operand, params};
use crate::error::Result;
use crate::types::DType;

/// Numbers, levels and what is between them: one scale and zero, or one for each part along a dimension.
pub struct Levels {
    /// Elements.
    pub n: usize,
    /// How many scales, and how far apart are neighbours along their dimension.
    pub scales: [usize; 2],
    /// The dtype of the levels.
    pub dtype: DType,
    /// What is read, the scales, the zeros where there are any, and what is written.
    pub operands: (Operand, Operand, Option<Operand>, Operand),
}

impl Levels {
    /// The scales of a tensor of shape `x`, by how they lie along `axis`. None where they are blocks.
    pub fn scales(x: &[usize], scale: &[usize], axis: Option<usize>) -> Option<[usize; 2]> {
        if scale.iter().product::<usize>() == 1 && scale.len() < 2 {
            return Some([1, 1]);
        }
        let axis = axis.filter(|&axis| scale == [x[axis]])?;
        Some([x[axis], x[axis + 1..].iter().product::<usize>().max(1)])
    }

    /// The launch from numbers to levels, else from levels to numbers; none of levels that are no bytes.
    pub fn launch(&self, quantise: bool) -> Result<Option<Dispatch>> {
        let is_signed = match self.dtype {
            DType::U8 => 0,
            DType::I8 => 1,
            _ => return Ok(None),
        };
        let (x, scale, zero, y) = self.operands;
        let [count, inner] = self.scales.map(|n| n as u32);
        let params = Params { n: self.n as u32, count, inner, is_signed, has_zero: zero.is_some().into() };
        let bindings = [(0, x), (1, scale), (3, y)].into_iter().chain(zero.map(|zero| (2, zero))).collect();
        let (kernel, threads) =
            if quantise { ("quantize", self.n.div_ceil(4)) } else { ("dequantize", self.n) };
        Dispatch::of_each(kernel, &[], bindings, params.bytes(), threads).map(Some)
    }
}

params!("quantize": n: u32, count: u32, inner: u32, is_signed: u32, has_zero: u32);

#[cfg(test)]
mod tests {
    #[test]
    fn both_ways_have_the_same_parameters() {
        let fields = ["n", "count", "inner", "is_signed", "has_zero"].map(|name| (name, "u32"));
        crate::kernels::dispatch::check_params("dequantize", &fields);
    }
}
