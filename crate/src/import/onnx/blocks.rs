//! Constant matrices of few bits, in blocks that have a scale and a zero each. What a [block format](crate::quant) holds stays
//! in it, so that a product is that of quantised weights; all others become f32. Formats keep scales, and their products with
//! zeros, in 16 bits: a level may be off by 2⁻¹¹ of itself.

use super::attention::count;
use super::{Use, unsupported};
use crate::error::{Result, ensure};
use crate::graph::ValueId;
use crate::ops::cast::Cast;
use crate::ops::gather::Gather;
use crate::ops::matmul::MatMul;
use crate::ops::take::Take;
use crate::quant::encode::Levels;
use crate::tensor::Tensor;
use crate::types::DType;

/// Packed levels `[n, k]`, with inputs for scales, and perhaps zeros.
struct Packed {
    size: (usize, usize),
    bits: usize,
    block: usize,
    /// Bytes of a row of levels.
    row: usize,
    inputs: [usize; 3],
    /// Taken away from levels that are signed.
    signed: bool,
    /// Whether levels lie one a byte.
    apart: bool,
    /// The zero of all, where no input has one each.
    zero: Option<f64>,
    /// Whether a block format may hold it.
    compact: bool,
}

/// The matrix as a constant: of blocks, where a format holds them and they are wanted.
fn matrix(of: &mut Use, packed: &Packed) -> Result<ValueId> {
    let Packed { size: (n, k), bits, block, row, inputs: [at, scales_at, zeros_at], .. } = *packed;
    let (Some(levels), Some(scales)) = (of.known(at), of.known(scales_at)) else {
        return unsupported("a matrix of few bits that is not constant");
    };
    let zeros = of.known(zeros_at);
    if !matches!(bits, 2 | 4 | 8) || of.optional(zeros_at).is_some() != zeros.is_some() {
        return unsupported(format!("a matrix of {bits} bits, or of zeros that are not constant"));
    }
    let (per_byte, blocks) = (if packed.apart { 1 } else { 8 / bits }, k.div_ceil(block.max(1)));
    let scales = scales.view().to_floats()?;
    let unpacked = |bytes: &[u8], i: usize| match per_byte {
        1 => bytes[i],
        _ => bytes[i / per_byte] >> (bits * (i % per_byte)) & (255 >> (8 - bits)) as u8,
    };
    // What is signed is moved up by half of the range.
    let half = 1i16 << (bits - 1);
    let raise = |x: u8| if packed.signed { (i16::from(x.cast_signed()) + half) as u8 } else { x };
    let all_scales = n.checked_mul(blocks);
    let zeros = match &zeros {
        None => packed.zero.map(|zero| vec![zero; scales.len()]),
        Some(zeros) if zeros.dtype().is_float() || packed.apart => {
            let by = if packed.signed { f64::from(half) } else { 0.0 };
            Some(zeros.view().to_floats()?.into_iter().map(|x| x + by).collect())
        }
        Some(zeros) => {
            let own = blocks.div_ceil(per_byte);
            ensure!(
                Some(zeros.len()) == n.checked_mul(own),
                InvalidGraph,
                "{zeros:?} for {n} rows of {blocks}"
            );
            let rows = zeros.bytes().chunks_exact(own.max(1));
            Some(rows.flat_map(|row| (0..blocks).map(|i| f64::from(unpacked(row, i)))).collect())
        }
    };
    let fits = block > 0
        && row >= k.div_ceil(per_byte)
        && Some(levels.bytes().len()) == n.checked_mul(row)
        && Some(scales.len()) == all_scales
        && zeros.as_ref().is_none_or(|zeros| Some(zeros.len()) == all_scales);
    ensure!(fits, InvalidGraph, "{n} rows of {k} elements in blocks of {block} do not fit their scales");
    let bytes = levels.bytes();
    let level = |r: usize, i: usize| raise(unpacked(&bytes[r * row..][..row], i));
    let all = Levels { bits, size: (n, k), block, level: &level, scales: &scales, zeros: zeros.as_deref() };
    let compact = if packed.compact { all.blocks() } else { None };
    let weight = match compact {
        Some((format, blocks)) => {
            let mut weight = Tensor::zeros(DType::Block(format), &[n, k])?;
            weight.view_mut().bytes.copy_from_slice(&blocks);
            weight
        }
        None => {
            let mut weight = Tensor::zeros(DType::F32, &[n, k])?;
            for (r, values) in weight.data_mut::<f32>()?.chunks_exact_mut(k.max(1)).enumerate() {
                values.iter_mut().enumerate().for_each(|(i, x)| *x = all.value(r, i));
            }
            weight
        }
    };
    Ok(of.constant("weight", weight))
}

/// A product with a constant matrix. Where accuracy is not asked for (1 to 3), activations are rounded to 8 bits beside
/// the blocks of a format on the CPU, as level 4 says.
pub(super) fn matmul(of: &mut Use) -> Result<Vec<ValueId>> {
    let (k, n) = (count(of, "K", 0)?, count(of, "N", 0)?);
    let (bits, block) = (count(of, "bits", 4)?, count(of, "block_size", 0)?);
    if of.optional(4).is_some() {
        return unsupported("a matrix of few bits whose columns have an order of their own");
    }
    let compact = matches!(of.node.int("accuracy_level")?, None | Some(0 | 4));
    let row = k.div_ceil(block.max(1)).checked_mul((block * bits.min(8)).div_ceil(8)).unwrap_or(0);
    let inputs = [1, 2, 3];
    let packed =
        Packed { size: (n, k), bits, block, row, inputs, signed: false, apart: false, zero: None, compact };
    let weight = matrix(of, &packed)?;
    let x = of.input(0)?;
    let wide = |of: &mut Use, part: &str, x: ValueId| of.step(part, Cast::to(DType::F32), &[Some(x)]);
    let bias = of.optional(5).map(|bias| wide(of, "bias", bias));
    let y = wide(of, "x", x);
    let y = of.step("product", MatMul::default(), &[Some(y), Some(weight), bias]);
    of.outputs(Cast::like(), &[Some(y), Some(x)])
}

/// Rows of a constant matrix.
pub(super) fn gather(of: &mut Use) -> Result<Vec<ValueId>> {
    let Some(data) = of.known(0) else { return unsupported("a table of few bits that is not constant") };
    let along = of.node.int("quantize_axis")?.unwrap_or(1);
    let bits = count(of, "bits", 4)?;
    let (&[n, row], 0, 1 | -1) = (data.shape(), of.node.int("gather_axis")?.unwrap_or(0), along) else {
        return unsupported("a table of few bits that is no matrix, or not one of whole rows");
    };
    let apart = data.dtype() != DType::U8 || bits == 8;
    let signed = matches!(data.dtype(), DType::I4 | DType::I8);
    let k = if apart { row } else { row.checked_mul(8 / bits.clamp(1, 8)).unwrap_or(0) };
    let block = count(of, "block_size", 128)?;
    // Only packed bytes have their zero in the middle by themselves.
    let zero = match data.dtype() {
        DType::U8 => None,
        _ => Some(if signed { f64::from(1u32 << (bits.clamp(1, 16) - 1)) } else { 0.0 }),
    };
    let packed =
        Packed { size: (n, k), bits, block, row, inputs: [0, 2, 3], signed, apart, zero, compact: true };
    let table = matrix(of, &packed)?;
    let (ids, scales) = (of.input(1)?, of.input(2)?);
    let is_compact = of.import.graph.value(table).ty.as_ref().is_some_and(|ty| ty.dtype != DType::F32);
    let rows = if is_compact {
        let ids = of.step("ids", Cast::to(DType::I32), &[Some(ids)]);
        of.step("rows", Gather, &[Some(table), Some(ids)])
    } else {
        of.step("rows", Take { axis: 0 }, &[Some(table), Some(ids)])
    };
    of.outputs(Cast::like(), &[Some(rows), Some(scales)])
}
