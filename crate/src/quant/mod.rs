//! Block-quantised weights, one file per format: how its bytes are laid out, what they decode to, and how
//! values are encoded. All formats share one *affine* form that kernels and packers work on:
//!
//! `w[i] = scales[i / group] * levels[i] + mins[i / group]`, with unsigned levels of 4 or 8 bits and groups
//! of 16 or 32 values. Where every min is the same multiple of its scale (`offset`), none need be stored.

use crate::types::BlockFormat;

/// The most values in one block of any format.
pub const MAX_BLOCK: usize = 256;

/// The most groups in one block of any format.
pub const MAX_GROUPS: usize = 16;

/// How a format looks in affine form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AffineLayout {
    /// Bits that hold any level: 4 or 8.
    pub bits: u8,
    /// Values that share a scale and a min: 16 or 32.
    pub group: u8,
    /// `Some(c)`: every min is `-c * scale`.
    pub offset: Option<u8>,
}

/// One block in affine form. Only the first `block_len` levels and `block_len / group` scales and mins count.
#[derive(Clone, Debug)]
pub struct AffineBlock {
    /// Unsigned levels, below `1 << bits`, in the order of the values.
    pub levels: [u8; MAX_BLOCK],
    /// One scale per group.
    pub scales: [f32; MAX_GROUPS],
    /// One min per group, filled in also where the layout has an offset.
    pub mins: [f32; MAX_GROUPS],
}

impl Default for AffineBlock {
    fn default() -> Self {
        Self { levels: [0; MAX_BLOCK], scales: [0.0; MAX_GROUPS], mins: [0.0; MAX_GROUPS] }
    }
}

/// One row of the format table.
#[derive(Clone, Copy)]
pub struct Codec {
    /// The format.
    pub format: BlockFormat,
    /// Its affine form.
    pub affine_layout: AffineLayout,
    /// Decodes one block (`block_bytes` bytes) to `block_len` values, exactly as the reference does.
    pub decode: fn(&[u8], &mut [f32]),
    /// Writes one block in affine form.
    pub affine: fn(&[u8], &mut AffineBlock),
}

/// The codec of `format`.
pub fn codec(format: BlockFormat) -> &'static Codec {
    todo!("the table of formats: {format:?}")
}
