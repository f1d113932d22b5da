//! How fast this worker computes just now: asked of several workers at once, it tells whether they have a core each.

use super::clock;
use super::gemm::PackedMatrix;
use super::gemm::tile::Epilogue;
use super::threads::Threads;
use crate::error::Result;
use crate::types::{BlockFormat, DType};

/// Rows of activations, rows of the weight, and the length of both: all stay in the nearest cache.
const SIZES: (usize, usize, usize) = (8, 64, 256);

/// Products a millisecond of a small quantised weight with some activations, repeated for `ms` milliseconds.
///
/// # Errors
/// `OutOfMemory` where not even these have room.
pub fn rate(ms: f64) -> Result<f64> {
    let (m, n, k) = SIZES;
    let weight = PackedMatrix::new(DType::Block(BlockFormat::Q8_0), n, k)?;
    let (a, mut out) = (vec![1.0; m * k], vec![0.0; m * n]);
    let start = clock::now();
    let mut products = 0.0;
    loop {
        for _ in 0..8 {
            weight.matmul(Threads::single(), &a, m, &mut out, &Epilogue::default(), false);
        }
        products += 8.0;
        let passed = clock::now() - start;
        if passed >= ms {
            return Ok(products / passed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rate;
    use crate::kernels::clock;

    #[test]
    fn a_trial_takes_its_time_and_counts() {
        let start = clock::now();
        assert!(rate(5.0).unwrap() > 1.0);
        assert!(clock::now() - start >= 5.0);
    }
}
