//! Q8_0: an f16 scale and 32 signed bytes, `w = d · q`; as levels, `q + 128`.

use super::{AffineBlock, AffineLayout, Codec, half_at};
use crate::types::BlockFormat;

pub(super) const CODEC: Codec = Codec {
    format: BlockFormat::Q8_0,
    affine_layout: AffineLayout { bits: 8, group: 32, offset: Some(128), half_factors: true },
    affine,
};

fn affine(block: &[u8], out: &mut AffineBlock) {
    out.scales[0] = half_at(block, 0);
    for (level, byte) in out.levels.iter_mut().zip(&block[2..34]) {
        *level = byte ^ 128;
    }
}
