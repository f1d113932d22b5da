//! Activations of 8 bits: blocks of 32 values share one f32 scale, and each block knows the sum of its
//! levels, which offsets and mins of the weights are multiplied with.

/// Values that share a scale.
pub const BLOCK: usize = 32;

/// Quantised rows `[m, k]`, `k` a multiple of 32: `x[i] ≈ scale · level`, levels in -127..=127.
pub struct QuantizedRows {
    /// Levels `[m, k]`.
    pub levels: Vec<i8>,
    /// Scales `[m, k / 32]`.
    pub scales: Vec<f32>,
    /// Sums of the levels of each half block of 16, `[m, k / 16]`.
    pub sums: Vec<i32>,
}

impl QuantizedRows {
    /// Quantises `x` `[m, k]`.
    pub fn new(x: &[f32]) -> Self {
        let n_blocks = x.len() / BLOCK;
        let mut rows = Self {
            levels: vec![0; n_blocks * BLOCK],
            scales: vec![0.0; n_blocks],
            sums: vec![0; n_blocks * 2],
        };
        let (sums, _) = rows.sums.as_chunks_mut::<2>();
        let (blocks, _) = x.as_chunks::<BLOCK>();
        let (levels, _) = rows.levels.as_chunks_mut::<BLOCK>();
        for (((x, levels), scale), sums) in blocks.iter().zip(levels).zip(&mut rows.scales).zip(sums) {
            let largest = x.iter().fold(0.0f32, |a, x| if x.abs() > a { x.abs() } else { a });
            *scale = largest / 127.0;
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            for (level, x) in levels.iter_mut().zip(x) {
                // Adding and taking away 1.5 · 2²³ rounds to the nearest integer, ties to even.
                *level = ((x * inverse + 12_582_912.0) - 12_582_912.0) as i8;
            }
            for (sum, half) in sums.iter_mut().zip(levels.chunks_exact(16)) {
                *sum = half.iter().map(|&level| i32::from(level)).sum();
            }
        }
        rows
    }
}
