//! Made-up weights: random bytes whose values are finite and of sensible size, for self-tests and parity.

use crate::types::{BlockFormat, DType};

/// Bytes of `n` values (whole blocks) of a float type.
pub fn sample(dtype: DType, n: usize, seed: u64) -> Vec<u8> {
    let mut random = oorandom::Rand32::new(seed.wrapping_mul(7919).wrapping_add(n as u64));
    let mut float = move || random.rand_float() * 2.0 - 1.0;
    match dtype {
        DType::F16 => (0..n).flat_map(|_| half::f16::from_f32(float()).to_le_bytes()).collect(),
        DType::BF16 => (0..n).flat_map(|_| half::bf16::from_f32(float()).to_le_bytes()).collect(),
        DType::Block(format) => blocks(format, n / format.block_len(), seed),
        _ => (0..n).flat_map(|_| float().to_le_bytes()).collect(),
    }
}

/// Random blocks with f16 scales of 2⁻⁷; mins of about −2⁻⁴, or 2⁻⁸ to be multiplied and taken away.
fn blocks(format: BlockFormat, n: usize, seed: u64) -> Vec<u8> {
    use BlockFormat::*;
    let mut random = oorandom::Rand32::new(seed);
    let mut bytes: Vec<u8> = (0..n * format.block_bytes()).map(|_| random.rand_u32() as u8).collect();
    let (min, factor) = (0xab80u16, 0x1c00u16);
    let (scale, min) = match format {
        Q2_K => (80, Some((82, factor))),
        Q3_K => (108, None),
        Q6_K => (208, None),
        Q4_1 | Q5_1 => (0, Some((2, min))),
        Q4_K | Q5_K => (0, Some((2, factor))),
        Q4_0 | Q5_0 | Q8_0 | IQ4_NL | IQ4_XS => (0, None),
    };
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        block[scale..scale + 2].copy_from_slice(&0x2000u16.to_le_bytes());
        if let Some((at, min)) = min {
            block[at..at + 2].copy_from_slice(&min.to_le_bytes());
        }
    }
    bytes
}
