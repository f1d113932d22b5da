//! IQ4_NL: an f16 scale and 32 indices of 4 bits into a fixed table of signed levels, `w = d · table[q]`.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::IQ4_NL,
    affine_layout: AffineLayout { bits: 8, group: 32, offset: Some(128), half_factors: true },
    affine,
};

/// The table, each entry plus 128.
pub(super) const LEVELS: [u8; 16] = [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];

fn affine(block: &[u8], out: &mut AffineBlock) {
    out.scales[0] = half_at(block, 0);
    for (i, byte) in block[2..18].iter().enumerate() {
        out.levels[i] = LEVELS[usize::from(byte & 15)];
        out.levels[i + 16] = LEVELS[usize::from(byte >> 4)];
    }
}
