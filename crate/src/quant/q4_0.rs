//! Q4_0: an f16 scale and 32 levels of 4 bits, `w = d · (q − 8)`; column `i` in a low nibble, `i + 16` in the high one.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::Q4_0,
    affine_layout: AffineLayout { bits: 4, group: 32, offset: Some(8), half_factors: true },
    affine,
};

fn affine(block: &[u8], out: &mut AffineBlock) {
    out.scales[0] = half_at(block, 0);
    for (i, byte) in block[2..][..16].iter().enumerate() {
        out.levels[i] = byte & 15;
        out.levels[i + 16] = byte >> 4;
    }
}
