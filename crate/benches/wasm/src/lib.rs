//! Kernel workloads behind plain C exports, so that a page runs them without any glue. The page
//! (`../kernels.mjs`) does the timing.

use homefire::kernels::gemm::tile::Epilogue;
use homefire::kernels::gemm::{PackedMatrix, Packer};
use homefire::kernels::threads::Threads;
use homefire::types::{BlockFormat, DType};
use std::cell::RefCell;

struct Work {
    weights: Vec<PackedMatrix>,
    m: usize,
    a: Vec<f32>,
    out: Vec<f32>,
}

thread_local! {
    static WORK: RefCell<Option<Work>> = const { RefCell::new(None) };
}

fn noise(n: usize, seed: u32) -> impl Iterator<Item = u32> {
    let mut x = seed;
    std::iter::repeat_with(move || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x >> 8
    })
    .take(n)
}

fn dtype(format: u32) -> DType {
    match format {
        0 => DType::Block(BlockFormat::Q4_1),
        1 => DType::Block(BlockFormat::Q8_0),
        2 => DType::F32,
        3 => DType::Block(BlockFormat::Q4_0),
        _ => DType::Block(BlockFormat::Q6_K),
    }
}

fn activations(len: usize) -> Vec<f32> {
    noise(len, 7).map(|x| x as f32 / 8_388_608.0 - 1.0).collect()
}

/// Packs `count` weights `[n, k]` for products with `m` rows; returns the packed bytes of all, 0 on failure.
#[unsafe(no_mangle)]
pub extern "C" fn prepare(format: u32, count: usize, n: usize, k: usize, m: usize) -> usize {
    let dtype = dtype(format);
    WORK.with(|work| *work.borrow_mut() = None);
    let Some(len) = dtype.bytes_for(n * k) else { return 0 };
    // As f16 factors and as f32 values these bytes are moderate numbers.
    let bytes: Vec<u8> = noise(len, 1).map(|x| (x & 0x0b) as u8 | 0x30).collect();
    let mut weights = Vec::new();
    for _ in 0..count {
        let Ok(mut matrix) = PackedMatrix::new(dtype, n, k) else { return 0 };
        if Packer::new(dtype, k).push(&mut matrix, &bytes).is_err() {
            return 0;
        }
        weights.push(matrix);
    }
    let total = weights.iter().map(PackedMatrix::memory_bytes).sum::<usize>();
    let state = Work { weights, m, a: activations(m * k), out: vec![0.0; m * n] };
    WORK.with(|work| *work.borrow_mut() = Some(state));
    total
}

/// Multiplies with each prepared weight once; returns a digest of the last result.
#[unsafe(no_mangle)]
pub extern "C" fn multiply(exact: u32) -> f32 {
    WORK.with(|work| {
        let mut work = work.borrow_mut();
        let Some(Work { weights, m, a, out }) = work.as_mut() else { return f32::NAN };
        for weight in weights.iter() {
            weight.matmul(Threads::single(), a, *m, out, &Epilogue::default(), exact != 0);
        }
        out.iter().sum()
    })
}
