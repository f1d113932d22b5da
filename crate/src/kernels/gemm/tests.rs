//! Packed products against naive ones, for every format and awkward shapes.

use super::activations::Block;
use super::quantized::{Bytes, Job};
use super::*;
use crate::kernels::simd::Best;
use crate::kernels::threads::{Places, Threads};
use crate::quant::{codec, decode_row};
use crate::tensor::TensorView;
use crate::types::{BlockFormat, DType};
use std::ops::Range;

/// Those that are multiplied as integers.
const FORMATS: [BlockFormat; 12] = {
    use BlockFormat::*;
    [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS]
};

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut x = seed;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / 8_388_608.0 - 1.0
    })
    .take(n)
    .collect()
}

/// Random bytes of a weight `[n, k]` whose f16 factors are all moderate: every byte pair below 0x3c00 as an
/// f16 is less than one.
fn weight_bytes(dtype: DType, n: usize, k: usize) -> Vec<u8> {
    let floats = noise(n * k, 5);
    match dtype {
        DType::F32 => floats.iter().flat_map(|x| x.to_le_bytes()).collect(),
        DType::F16 => floats.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
        DType::BF16 => floats.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect(),
        _ => {
            noise(dtype.bytes_for(n * k).unwrap(), 9).iter().map(|x| (x.abs() * 63.0) as u8 & 0x2f).collect()
        }
    }
}

fn decode(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::Block(format) => {
            let mut out = vec![0.0; bytes.len() / format.block_bytes() * format.block_len()];
            decode_row(format, bytes, &mut out);
            out
        }
        DType::F16 => bytes.chunks(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        DType::BF16 => bytes.chunks(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        _ => bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    }
}

fn reference_matmul(a: &[f32], w: &[f32], m: usize, n: usize, k: usize) -> Vec<f64> {
    let dot = |i: usize, j: usize| (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(w[j * k + p])).sum();
    (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| dot(i, j)).collect()
}

/// The error of `got`, relative to the root mean square of `want`.
fn error(got: &[f32], want: &[f64]) -> f64 {
    let square = |x: f64| x * x;
    let difference: f64 = got.iter().zip(want).map(|(a, b)| square(f64::from(*a) - b)).sum();
    (difference / want.iter().map(|b| square(*b)).sum::<f64>()).sqrt()
}

#[test]
fn every_format_multiplies_as_the_reference_does() {
    let dtypes = FORMATS.into_iter().map(DType::Block).chain([DType::F32, DType::F16, DType::BF16]);
    for dtype in dtypes {
        let k = dtype.block_len().max(32) * 2;
        for (m, n) in [(1, 8), (1, 3), (2, 9), (4, 16), (5, 17), (7, 1)] {
            let bytes = weight_bytes(dtype, n, k);
            let decoded = decode(dtype, &bytes);
            let mut weight = PackedMatrix::new(dtype, n, k).unwrap();
            let mut packer = Packer::new(dtype, k);
            packer.start(0);
            // Uneven chunks, as a network gives them.
            for chunk in bytes.chunks(37) {
                packer.push(&mut weight, chunk).unwrap();
            }
            assert!(packer.push(&mut weight, &bytes).is_err(), "{dtype}: rows past the end were taken");
            for row in 0..n {
                let mut out = vec![0.0; k];
                weight.decode_row(row, &mut out);
                assert_eq!(out, decoded[row * k..][..k], "{dtype} row {row}");
            }
            let a = noise(m * k, 3);
            let want = reference_matmul(&a, &decoded, m, n, k);
            let mut out = vec![f32::NAN; m * n];
            weight.matmul(Threads::single(), &a, m, &mut out, &tile::Epilogue::default(), true);
            assert!(error(&out, &want) < 1e-5, "{dtype} {m}×{n}, exact: {}", error(&out, &want));
            // Against the same eight-bit activations the integer kernels lose only f32 rounding.
            let back = a.as_chunks().0.iter().flat_map(|x| {
                let block = Block::of(x);
                block.levels.map(|level| f32::from(level) * block.scale)
            });
            let back: Vec<f32> = back.collect();
            weight.matmul(Threads::single(), &a, m, &mut out, &tile::Epilogue::default(), false);
            let want = match dtype {
                DType::Block(format) => {
                    // As other machines do it, and vectors that multiply no bytes: the same integers.
                    let affine = codec(format).affine_layout;
                    for bytes in [None, Some(Bytes::Pairs), Some(Bytes::Fours { signed: false })] {
                        let mut same = vec![f32::NAN; m * n];
                        let threads = Threads::single();
                        let multiply = match bytes {
                            None => quantized::matmul::<Best, false>,
                            Some(_) => quantized::matmul::<Best, true>,
                        };
                        let bytes = bytes.unwrap_or(Bytes::Pairs);
                        let job = Job { threads, weight: &weight, affine, bytes, a: &a, m, halves: false };
                        // SAFETY: nobody else has these places.
                        unsafe { multiply(job, &Places::new(&mut same), &|_| ()) };
                        assert_eq!(out, same, "{dtype} {m}×{n} {bytes:?}");
                    }
                    reference_matmul(&back, &decoded, m, n, k)
                }
                _ => want,
            };
            assert!(error(&out, &want) < 1e-4, "{dtype} {m}×{n}: {}", error(&out, &want));
            out[0] += 0.3 * want.iter().map(|x| x.abs()).fold(0.0, f64::max) as f32;
            assert!(error(&out, &want) > 1e-4, "the canary passed");
        }
    }
}

/// Bytes that are the same signed as unsigned, once the offset is off: there is no machine here that takes them as signed.
#[test]
fn signed_bytes_are_less_by_their_offset() {
    let (dtype, n, k) = (DType::Block(BlockFormat::Q8_0), 19, 96);
    let mut bytes = weight_bytes(dtype, n, k);
    for large in [false, true] {
        if large {
            // Factors that 16 bits do not hold.
            bytes[..2].copy_from_slice(&half::f16::from_f32(300.0).to_le_bytes());
        }
        let weight = PackedMatrix::of(TensorView { dtype, shape: &[n, k], bytes: &bytes }).unwrap();
        let pack::Layout::Affine(affine) = weight.layout else { panic!("{dtype} is floats") };
        for m in [1, 4, 7] {
            let a = noise(m * k, 3);
            let product = |bytes| {
                let mut out = vec![f32::NAN; m * n];
                let threads = Threads::single();
                let job = Job { threads, weight: &weight, affine, bytes, a: &a, m, halves: false };
                // SAFETY: nobody else has these places.
                unsafe { quantized::matmul::<Best, true>(job, &Places::new(&mut out), &|_| ()) };
                out
            };
            assert_eq!(product(Bytes::Fours { signed: true }), product(Bytes::Pairs), "{large} {m}");
        }
    }
}

/// What drafts rely on: see `Backend::draft_len`.
#[test]
fn a_row_has_the_same_sums_whatever_rows_come_with_it() {
    for dtype in FORMATS.map(DType::Block) {
        let (n, k) = (37, dtype.block_len().max(32) * 3);
        let bytes = weight_bytes(dtype, n, k);
        let weight = PackedMatrix::of(TensorView { dtype, shape: &[n, k], bytes: &bytes }).unwrap();
        let a = noise(9 * k, 5);
        let product = |rows: Range<usize>| {
            let mut out = vec![f32::NAN; rows.len() * n];
            let a = &a[rows.start * k..rows.end * k];
            weight.matmul(Threads::single(), a, rows.len(), &mut out, &tile::Epilogue::default(), false);
            out
        };
        let alone: Vec<f32> = (0..9).flat_map(|row| product(row..row + 1)).collect();
        for rows in [0..2, 1..4, 2..6, 3..8, 0..9] {
            assert_eq!(product(rows.clone()), alone[rows.start * n..rows.end * n], "{dtype} {rows:?}");
        }
    }
}

#[test]
fn scales_that_16_bits_do_not_hold_take_more() {
    for (format, block) in [(BlockFormat::Q8_0, 34), (BlockFormat::Q4_1, 20)] {
        let (dtype, n, k) = (DType::Block(format), 19, 96);
        let mut bytes = weight_bytes(dtype, n, k);
        let narrow = PackedMatrix::of(TensorView { dtype, shape: &[n, k], bytes: &bytes }).unwrap();
        // 300, in the last block of row 10.
        bytes[block * 32..][..2].copy_from_slice(&half::f16::from_f32(300.0).to_le_bytes());
        let wide = PackedMatrix::of(TensorView { dtype, shape: &[n, k], bytes: &bytes }).unwrap();
        assert!(wide.memory_bytes() > narrow.memory_bytes());
        let decoded = decode(dtype, &bytes);
        for row in 0..n {
            let mut out = vec![0.0; k];
            wide.decode_row(row, &mut out);
            assert_eq!(out, decoded[row * k..][..k], "row {row}");
        }
        for m in [1, 5] {
            let a = noise(m * k, 3);
            let want = reference_matmul(&a, &decoded, m, n, k);
            let mut out = vec![f32::NAN; m * n];
            wide.matmul(Threads::single(), &a, m, &mut out, &tile::Epilogue::default(), false);
            assert!(error(&out, &want) < 2e-2, "{format:?} {m}: {}", error(&out, &want));
        }
    }
}

#[test]
fn quantised_activations_keep_sums() {
    for x in noise(96, 8).as_chunks().0 {
        let block = Block::of(x);
        for (x, level) in x.iter().zip(block.levels) {
            let back = f32::from(level) * block.scale;
            assert!((x - back).abs() <= block.scale * 0.501, "{x} {back}");
        }
        for (half, sum) in block.sums.iter().enumerate() {
            assert_eq!(*sum, block.levels[half * 16..][..16].iter().map(|&l| i32::from(l)).sum::<i32>());
        }
    }
}
