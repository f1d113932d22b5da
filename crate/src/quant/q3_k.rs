//! Q3_K: 256 levels of 3 bits (the high bits apart) in 16 groups with 6-bit scales of one f16 scale:
//! `w = d · (sc − 32) · (q − 4)`.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::Q3_K,
    affine_layout: AffineLayout { bits: 4, group: 16, offset: Some(4), half_factors: false },
    affine,
};

fn affine(block: &[u8], out: &mut AffineBlock) {
    let d = half_at(block, 108);
    let packed = &block[96..108];
    for (group, scale) in out.scales.iter_mut().enumerate() {
        let low = packed[group % 8] >> (group / 8 * 4) & 15;
        let high = packed[8 + group % 4] >> (group / 4 * 2) & 3;
        *scale = d * f32::from((low | high << 4) as i8 - 32);
        out.mins[group] = -4.0 * *scale;
    }
    for (i, level) in out.levels.iter_mut().enumerate() {
        let low = block[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        let high = block[i % 32] >> (i / 32) & 1;
        *level = low | high << 2;
    }
}
