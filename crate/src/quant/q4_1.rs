//! Q4_1: an f16 scale, an f16 min and 32 levels of 4 bits, `w = d · q + m`.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::Q4_1,
    affine_layout: AffineLayout { bits: 4, group: 32, offset: None, half_factors: true },
    affine,
};

fn affine(block: &[u8], out: &mut AffineBlock) {
    out.scales[0] = half_at(block, 0);
    out.mins[0] = half_at(block, 2);
    for (i, byte) in block[4..][..16].iter().enumerate() {
        out.levels[i] = byte & 15;
        out.levels[i + 16] = byte >> 4;
    }
}
