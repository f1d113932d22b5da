//! Q5_K: as Q4_K, with a fifth bit for each level.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::Q5_K,
    affine_layout: AffineLayout { bits: 5, group: 32, offset: None, half_factors: false },
    affine,
};

fn affine(block: &[u8], out: &mut AffineBlock) {
    let (d, min) = (half_at(block, 0), half_at(block, 2));
    for group in 0..8 {
        let (scale, offset) = super::q4_k::scale_and_min(&block[4..16], group);
        out.scales[group] = d * f32::from(scale);
        out.mins[group] = -(min * f32::from(offset));
    }
    for (i, level) in out.levels.iter_mut().enumerate() {
        let low = block[48 + i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
        let high = block[16 + i % 32] >> (i / 32) & 1;
        *level = low | high << 4;
    }
}
