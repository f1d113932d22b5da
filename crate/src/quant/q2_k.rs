//! Q2_K: 256 levels of 2 bits in 16 groups; each group has a 4-bit scale and a 4-bit min, of an f16 scale and an
//! f16 min: `w = d · sc · q − dmin · m`.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::Q2_K,
    affine_layout: AffineLayout { bits: 4, group: 16, offset: None, half_factors: false },
    affine,
};

fn affine(block: &[u8], out: &mut AffineBlock) {
    let (d, min) = (half_at(block, 80), half_at(block, 82));
    for (group, byte) in block[..16].iter().enumerate() {
        out.scales[group] = d * f32::from(byte & 15);
        out.mins[group] = -(min * f32::from(byte >> 4));
    }
    for (i, level) in out.levels.iter_mut().enumerate() {
        *level = block[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    }
}
