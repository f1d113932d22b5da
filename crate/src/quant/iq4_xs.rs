//! IQ4_XS: 256 indices of 4 bits into the table of IQ4_NL in 8 groups with 6-bit scales of one f16 scale:
//! `w = d · (sc − 32) · table[q]`.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::IQ4_XS,
    affine_layout: AffineLayout { bits: 8, group: 32, offset: Some(128), half_factors: false },
    affine,
};

fn affine(block: &[u8], out: &mut AffineBlock) {
    let d = half_at(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    for group in 0..8 {
        let low = block[4 + group / 2] >> (group % 2 * 4) & 15;
        let scale = low | ((high >> (2 * group) & 3) << 4) as u8;
        out.scales[group] = d * f32::from(scale as i8 - 32);
    }
    for (i, level) in out.levels.iter_mut().enumerate() {
        let byte = block[8 + i / 32 * 16 + i % 16];
        *level = super::iq4_nl::LEVELS[usize::from(byte >> (i % 32 / 16 * 4) & 15)];
    }
}
