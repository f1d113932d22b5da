//! Element types. A quantised weight has a dtype like any other tensor: the block format it is stored in.

use std::fmt;

/// A block-quantised storage format, as the reference implementation (ggml) defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(non_camel_case_types, reason = "the field writes these names so")]
#[allow(missing_docs, reason = "each format is documented in its own file under quant/")]
pub enum BlockFormat {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
}

impl BlockFormat {
    /// Values in one block. A row of a tensor is a whole number of blocks.
    pub const fn block_len(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::IQ4_NL => 32,
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K | Self::IQ4_XS => 256,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Q4_0 | Self::IQ4_NL => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2_K => 84,
            Self::Q3_K => 110,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
            Self::IQ4_XS => 136,
        }
    }
}

/// The element type of a tensor. Elements of less than a byte take one all the same; where they are integers, it is
/// the integer of one byte that equals them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum DType {
    F32,
    F16,
    BF16,
    F64,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    I4,
    U4,
    I2,
    U2,
    F8E4M3,
    F8E4M3Fnuz,
    F8E5M2,
    F8E5M2Fnuz,
    F8E8M0,
    F4E2M1,
    Block(BlockFormat),
    /// Strings. Such elements, and the two below, are no bytes: only values that are known while planning have them.
    Text,
    /// Values of any type: a tensor of one dimension of these is a sequence.
    List,
    /// An optional value that is not there, `[]`.
    Absent,
}

impl DType {
    /// The types that weights have.
    pub const FLOATS: [Self; 15] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Block(BlockFormat::Q4_0),
        Self::Block(BlockFormat::Q4_1),
        Self::Block(BlockFormat::Q5_0),
        Self::Block(BlockFormat::Q5_1),
        Self::Block(BlockFormat::Q8_0),
        Self::Block(BlockFormat::Q2_K),
        Self::Block(BlockFormat::Q3_K),
        Self::Block(BlockFormat::Q4_K),
        Self::Block(BlockFormat::Q5_K),
        Self::Block(BlockFormat::Q6_K),
        Self::Block(BlockFormat::IQ4_NL),
        Self::Block(BlockFormat::IQ4_XS),
    ];

    /// Values that are stored together: 1, or a block's length.
    pub const fn block_len(self) -> usize {
        match self {
            Self::Block(format) => format.block_len(),
            _ => 1,
        }
    }

    /// Bytes of [`DType::block_len`] values.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool | Self::I4 | Self::U4 | Self::I2 | Self::U2 => 1,
            Self::F8E4M3
            | Self::F8E4M3Fnuz
            | Self::F8E5M2
            | Self::F8E5M2Fnuz
            | Self::F8E8M0
            | Self::F4E2M1 => 1,
            Self::Block(format) => format.block_bytes(),
            Self::Text | Self::List | Self::Absent => 0,
        }
    }

    /// Bytes of `len` values laid out in rows that are whole numbers of blocks; `None` past `usize` or
    /// when `len` is not a whole number of blocks.
    pub fn bytes_for(self, len: usize) -> Option<usize> {
        if !len.is_multiple_of(self.block_len()) {
            return None;
        }
        (len / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Whether this is one of the floating-point types, blocks included.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16 | Self::F64 | Self::Block(_))
            || self.is_small_float()
    }

    /// Whether this is a float of at most a byte.
    pub const fn is_small_float(self) -> bool {
        use DType::*;
        matches!(self, F8E4M3 | F8E4M3Fnuz | F8E5M2 | F8E5M2Fnuz | F8E8M0 | F4E2M1)
    }

    /// The least and the greatest integer of an integer type.
    pub const fn int_range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::I64 => (i64::MIN as i128, i64::MAX as i128),
            Self::I32 => (i32::MIN as i128, i32::MAX as i128),
            Self::I16 => (i16::MIN as i128, i16::MAX as i128),
            Self::I8 => (-128, 127),
            Self::I4 => (-8, 7),
            Self::I2 => (-2, 1),
            Self::U64 => (0, u64::MAX as i128),
            Self::U32 => (0, u32::MAX as i128),
            Self::U16 => (0, 65535),
            Self::U8 => (0, 255),
            Self::U4 => (0, 15),
            Self::U2 => (0, 3),
            _ => return None,
        })
    }

    /// Whether its elements are bytes, which memory of any back end can hold.
    pub const fn has_bytes(self) -> bool {
        !matches!(self, Self::Text | Self::List | Self::Absent)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(format) => write!(f, "{}", format!("{format:?}").to_lowercase()),
            other => write!(f, "{}", format!("{other:?}").to_lowercase()),
        }
    }
}
