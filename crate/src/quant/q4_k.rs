//! Q4_K: 256 levels of 4 bits in 8 groups; each group has a 6-bit scale and a 6-bit min, of an f16 scale and an
//! f16 min: `w = d · sc · q − dmin · m`.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::Q4_K,
    affine_layout: AffineLayout { bits: 4, group: 32, offset: None, half_factors: false },
    affine,
};

/// The 6-bit scale and min of a group, from their 12 packed bytes.
pub(super) fn scale_and_min(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    let low = packed[group + 4];
    (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
}

fn affine(block: &[u8], out: &mut AffineBlock) {
    let (d, min) = (half_at(block, 0), half_at(block, 2));
    for group in 0..8 {
        let (scale, offset) = scale_and_min(&block[4..16], group);
        out.scales[group] = d * f32::from(scale);
        out.mins[group] = -(min * f32::from(offset));
    }
    for (i, level) in out.levels.iter_mut().enumerate() {
        *level = block[16 + i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
    }
}
