//! Block-quantised weights, one file per format: how its bytes are laid out, what they decode to, and how
//! values are encoded. All formats share one *affine* form that kernels and packers work on:
//!
//! `w[i] = scales[i / group] * levels[i] + mins[i / group]`, with unsigned levels of 4 to 8 bits and groups
//! of 16 or 32 values. Where every min is the same multiple of its scale (`offset`), none need be stored.

use crate::types::BlockFormat;

pub mod encode;
mod iq4_nl;
mod iq4_xs;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod sample;

pub use sample::sample;

/// The most values in one block of any format.
pub const MAX_BLOCK: usize = 256;

/// The most groups in one block of any format.
pub const MAX_GROUPS: usize = 16;

/// How a format looks in affine form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AffineLayout {
    /// Bits that hold any level: 4, 5, 6 or 8.
    pub bits: u8,
    /// Values that share a scale and a min: 16 or 32.
    pub group: u8,
    /// `Some(c)`: every min is `-c * scale`.
    pub offset: Option<u8>,
    /// Whether scales and mins are f16 in the file.
    pub half_factors: bool,
}

impl AffineLayout {
    /// Bits in which a packed level is stored: 4 or 8.
    pub fn stored_bits(self) -> u8 {
        if self.bits == 4 { 4 } else { 8 }
    }
}

/// One block in affine form. Only the first `block_len` levels and `block_len / group` scales and mins count.
#[derive(Clone, Debug)]
pub struct AffineBlock {
    /// Unsigned levels, below `1 << bits`, in the order of the values.
    pub levels: [u8; MAX_BLOCK],
    /// One scale per group.
    pub scales: [f32; MAX_GROUPS],
    /// One min per group, filled in also where the layout has an offset.
    pub mins: [f32; MAX_GROUPS],
}

impl Default for AffineBlock {
    fn default() -> Self {
        Self { levels: [0; MAX_BLOCK], scales: [0.0; MAX_GROUPS], mins: [0.0; MAX_GROUPS] }
    }
}

/// One row of the format table.
#[derive(Clone, Copy)]
pub struct Codec {
    /// The format.
    pub format: BlockFormat,
    /// Its affine form.
    pub affine_layout: AffineLayout,
    /// Writes one block (`block_bytes` bytes) in affine form; mins only where the layout has no offset.
    pub affine: fn(&[u8], &mut AffineBlock),
}

/// The formats.
const CODECS: [Codec; 12] = [
    q4_0::CODEC,
    q4_1::CODEC,
    q5_0::CODEC,
    q5_1::CODEC,
    q8_0::CODEC,
    q2_k::CODEC,
    q3_k::CODEC,
    q4_k::CODEC,
    q5_k::CODEC,
    q6_k::CODEC,
    iq4_nl::CODEC,
    iq4_xs::CODEC,
];

/// The codec of `format`.
pub fn codec(format: BlockFormat) -> &'static Codec {
    // The table is in the order of the enum, which a test holds.
    &CODECS[format as usize]
}

/// Decodes whole blocks of `format` to f32, to the bit as the reference implementation does.
pub fn decode_row(format: BlockFormat, bytes: &[u8], out: &mut [f32]) {
    let codec = codec(format);
    let group = usize::from(codec.affine_layout.group);
    let mut block = AffineBlock::default();
    for (bytes, out) in bytes.chunks_exact(format.block_bytes()).zip(out.chunks_exact_mut(format.block_len()))
    {
        (codec.affine)(bytes, &mut block);
        for (i, (x, level)) in out.iter_mut().zip(&block.levels).enumerate() {
            let scale = block.scales[i / group];
            *x = match codec.affine_layout.offset {
                Some(offset) => scale * (f32::from(*level) - f32::from(offset)),
                None => scale * f32::from(*level) + block.mins[i / group],
            };
        }
    }
}

/// The f16 at byte `at`.
fn half_at(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of random bytes and what the `gguf` Python package decodes them to
    /// (`tests/data/make_quant_golden.py`): per format the blocks' bytes, then the values as f32.
    const GOLDEN: &[u8] = include_bytes!("../../tests/data/quant_golden.bin");

    #[test]
    fn decodes_as_the_reference_does_to_the_bit() {
        let mut rest = GOLDEN;
        for codec in &CODECS {
            assert_eq!(super::codec(codec.format).format, codec.format);
            let n_blocks = 4;
            let (bytes, after) = rest.split_at(n_blocks * codec.format.block_bytes());
            let (want, after) = after.split_at(n_blocks * codec.format.block_len() * 4);
            rest = after;
            let mut got = vec![0.0; n_blocks * codec.format.block_len()];
            decode_row(codec.format, bytes, &mut got);
            let want: Vec<f32> =
                want.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!(got == want, "{:?} value {i}: {got}, not {want}", codec.format);
            }
        }
        assert!(rest.is_empty());
    }
}
