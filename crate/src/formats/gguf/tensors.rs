//! Tensor descriptions: their types, shapes, and places in the file.

use super::reader::{Reader, Step, fault};
use crate::error::{Error, ErrorKind};
use crate::formats::TensorInfo;
use crate::types::{BlockFormat, DType};

/// Reads the description of a tensor; its offset is still from the start of the tensors' bytes.
pub(super) fn tensor(reader: &mut Reader, alignment: u64) -> Step<TensorInfo> {
    let name = reader.str("a tensor's name")?;
    let at = reader.at;
    let rank = reader.u32("a tensor's rank")?;
    if rank > 8 {
        return Err(fault(format!("at byte {at}: the tensor '{name}' has {rank} dimensions")));
    }
    let mut shape = Vec::with_capacity(rank as usize);
    for _ in 0..rank {
        let dim = reader.u64("a tensor's dimension")?;
        shape.push(
            usize::try_from(dim)
                .map_err(|_| fault(format!("at byte {at}: '{name}' has a dimension of {dim}")))?,
        );
    }
    shape.reverse();
    let kind = reader.u32("a tensor's type")?;
    let offset = reader.u64("a tensor's offset")?;
    let Some((dtype, block_len, block_bytes)) = ggml_type(kind) else {
        let message = format!("at byte {at}: the tensor has the unknown ggml type {kind}");
        return Err(Error::new(ErrorKind::UnsupportedFormat, message).at(name).into());
    };
    let row = shape.last().copied().unwrap_or(1);
    let len = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    let n_bytes = len
        .filter(|_| row.is_multiple_of(block_len))
        .and_then(|len| (len / block_len).checked_mul(block_bytes));
    let Some(n_bytes) = n_bytes else {
        return Err(fault(format!(
            "at byte {at}: '{name}' of shape {shape:?} is too large, or not whole blocks"
        )));
    };
    if !offset.is_multiple_of(alignment) {
        return Err(fault(format!(
            "at byte {at}: '{name}' has the offset {offset}, not aligned to {alignment}"
        )));
    }
    Ok(TensorInfo { name: name.into(), dtype, shape, file: 0, offset, n_bytes: n_bytes as u64 })
}

/// A ggml type: its dtype, or its name where it cannot be decoded; values and bytes of a block.
fn ggml_type(id: u32) -> Option<(std::result::Result<DType, &'static str>, usize, usize)> {
    use BlockFormat::*;
    let dtype = match id {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Block(Q4_0),
        3 => DType::Block(Q4_1),
        6 => DType::Block(Q5_0),
        7 => DType::Block(Q5_1),
        8 => DType::Block(Q8_0),
        10 => DType::Block(Q2_K),
        11 => DType::Block(Q3_K),
        12 => DType::Block(Q4_K),
        13 => DType::Block(Q5_K),
        14 => DType::Block(Q6_K),
        20 => DType::Block(IQ4_NL),
        23 => DType::Block(IQ4_XS),
        24 => DType::I8,
        25 => DType::I16,
        26 => DType::I32,
        27 => DType::I64,
        28 => DType::F64,
        30 => DType::BF16,
        9 => return Some((Err("Q8_1"), 32, 36)),
        15 => return Some((Err("Q8_K"), 256, 292)),
        16 => return Some((Err("IQ2_XXS"), 256, 66)),
        17 => return Some((Err("IQ2_XS"), 256, 74)),
        18 => return Some((Err("IQ3_XXS"), 256, 98)),
        19 => return Some((Err("IQ1_S"), 256, 50)),
        21 => return Some((Err("IQ3_S"), 256, 110)),
        22 => return Some((Err("IQ2_S"), 256, 82)),
        29 => return Some((Err("IQ1_M"), 256, 56)),
        34 => return Some((Err("TQ1_0"), 256, 54)),
        35 => return Some((Err("TQ2_0"), 256, 66)),
        39 => return Some((Err("MXFP4"), 32, 17)),
        40 => return Some((Err("NVFP4"), 64, 36)),
        41 => return Some((Err("Q1_0"), 128, 18)),
        _ => return None,
    };
    Some((Ok(dtype), dtype.block_len(), dtype.block_bytes()))
}
