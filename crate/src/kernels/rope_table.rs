//! The angles of rotary position embedding (Su et al. 2021, arXiv:2104.09864): position `p` turns pair `i` of a
//! head by `p · base^(-2i / head_dim)`. Models that were stretched to longer texts divide each pair's frequency by
//! a factor; Llama 3.1's come with the file, as the tensor `rope_freqs.weight`.

use crate::error::{Result, ensure};
use crate::tensor::Tensor;
use crate::types::DType;

/// The angles of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeTable {
    /// Positions that the table has.
    pub positions: usize,
    /// Elements of a head, all of which turn.
    pub head_dim: usize,
    /// The base of the frequencies.
    pub base: f64,
    /// What every frequency is divided by; 1 for a model that was not stretched.
    pub factor: f64,
}

impl RopeTable {
    /// The shape of the table: `[positions, head_dim / 2, 2]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.positions, self.head_dim / 2, 2]
    }

    /// Cosine and sine of each angle, f32 of [`Self::shape`], computed in f64. `factors`, f32 `[head_dim / 2]`,
    /// divide the frequencies; none for all 1. Fails when there are not so many, or one is not positive.
    pub fn compute(&self, factors: Option<&[f32]>) -> Result<Tensor> {
        let half = self.head_dim / 2;
        let count = factors.map_or(half, <[f32]>::len);
        ensure!(count == half, Format, "{count} RoPE factors do not fit heads of {} elements", self.head_dim);
        let mut frequencies = Vec::with_capacity(half);
        for i in 0..half {
            let factor = factors.map_or(1.0, |factors| f64::from(factors[i]));
            ensure!(factor.is_finite() && factor > 0.0, Format, "the RoPE factor {i} is {factor}");
            let frequency = self.base.powf(-2.0 * i as f64 / self.head_dim as f64);
            frequencies.push(frequency / self.factor / factor);
        }
        let mut table = Tensor::zeros(DType::F32, &self.shape())?;
        let (pairs, _) = table.data_mut::<f32>()?.as_chunks_mut::<2>();
        for (position, row) in pairs.chunks_exact_mut(half.max(1)).enumerate() {
            for (pair, frequency) in row.iter_mut().zip(&frequencies) {
                let angle = position as f64 * frequency;
                *pair = [angle.cos() as f32, angle.sin() as f32];
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_slow_their_pair_down() {
        let table = RopeTable { positions: 9, head_dim: 4, base: 100.0, factor: 1.0 };
        let plain = table.compute(None).unwrap();
        let scaled = table.compute(Some(&[1.0, 8.0])).unwrap();
        let at = |t: &Tensor, position: usize, pair: usize| {
            t.data::<f32>().unwrap()[(position * 2 + pair) * 2 + 1]
        };
        for position in 0..9 {
            let angles = [position as f64, position as f64 * 0.1];
            assert!((f64::from(at(&plain, position, 0)) - angles[0].sin()).abs() < 1e-6);
            assert!((f64::from(at(&plain, position, 1)) - angles[1].sin()).abs() < 1e-6);
            assert_eq!(at(&scaled, position, 0), at(&plain, position, 0));
            assert!((f64::from(at(&scaled, position, 1)) - (angles[1] / 8.0).sin()).abs() < 1e-6);
        }
        let everywhere = RopeTable { factor: 8.0, ..table }.compute(None).unwrap();
        assert_eq!(at(&everywhere, 8, 1), at(&scaled, 8, 1));
    }

    #[test]
    fn factors_that_do_not_fit_are_refused() {
        let table = RopeTable { positions: 2, head_dim: 4, base: 100.0, factor: 1.0 };
        for wrong in [&[1.0][..], &[1.0, 0.0], &[1.0, f32::NAN], &[-1.0, 1.0]] {
            assert!(table.compute(Some(wrong)).is_err(), "{wrong:?}");
        }
    }
}
