//! Q5_1: an f16 scale, an f16 min, the fifth bits of 32 levels, then their low nibbles, `w = d · q + m`.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::Q5_1,
    affine_layout: AffineLayout { bits: 5, group: 32, offset: None, half_factors: true },
    affine,
};

fn affine(block: &[u8], out: &mut AffineBlock) {
    out.scales[0] = half_at(block, 0);
    out.mins[0] = half_at(block, 2);
    let high = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for (i, byte) in block[8..][..16].iter().enumerate() {
        out.levels[i] = byte & 15 | ((high >> i & 1) << 4) as u8;
        out.levels[i + 16] = byte >> 4 | ((high >> (i + 16) & 1) << 4) as u8;
    }
}
