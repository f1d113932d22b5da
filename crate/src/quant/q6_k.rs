//! Q6_K: 256 levels of 6 bits (4 and 2 apart) in 16 groups with signed 8-bit scales of one f16 scale:
//! `w = d · sc · (q − 32)`.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::Q6_K,
    affine_layout: AffineLayout { bits: 6, group: 16, offset: Some(32), half_factors: false },
    affine,
};

fn affine(block: &[u8], out: &mut AffineBlock) {
    let d = half_at(block, 208);
    for (group, byte) in block[192..208].iter().enumerate() {
        out.scales[group] = d * f32::from(*byte as i8);
        out.mins[group] = -32.0 * out.scales[group];
    }
    for (i, level) in out.levels.iter_mut().enumerate() {
        let (half, quarter, column) = (i / 128, i % 128 / 32, i % 32);
        let low = block[half * 64 + quarter % 2 * 32 + column] >> (quarter / 2 * 4) & 15;
        let high = block[128 + half * 32 + column] >> (quarter * 2) & 3;
        *level = low | high << 4;
    }
}
