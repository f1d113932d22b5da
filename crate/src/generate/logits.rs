//! Filters on scores. A candidate is a token id with its logit; candidates are ordered by logit, the
//! largest first, and of equal ones the lowest id first, so every filter has one right answer.

use crate::kernels::math::exp_scalar as exp;
use std::cmp::Ordering;

/// A token id and its logit.
pub(super) type Candidate = (u32, f32);

/// The better candidate first; NaN counts as minus infinity.
pub(super) fn better(a: &Candidate, b: &Candidate) -> Ordering {
    let value = |x: f32| if x.is_nan() { f32::NEG_INFINITY } else { x };
    value(b.1).partial_cmp(&value(a.1)).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0))
}

/// How many best are found faster by going through all once than by parting them.
const FEW: usize = 128;

/// Elements of which it is seen together whether any is among the best.
const BLOCK: usize = 64;

/// The best `k`, in order.
pub(super) fn largest(logits: &[f32], k: usize) -> Vec<Candidate> {
    if k > FEW {
        let mut all: Vec<Candidate> = (0..).zip(logits.iter().copied()).collect();
        top_k(&mut all, k);
        return all;
    }
    let (first, rest) = logits.split_at(k.min(logits.len()));
    let mut kept: Vec<Candidate> = (0..).zip(first.iter().copied()).collect();
    kept.sort_unstable_by(better);
    let Some(mut last) = kept.last().copied() else { return kept };
    for (block, x) in rest.chunks(BLOCK).enumerate() {
        // No id behind is lower, so what is not larger is not better.
        let beats = |x: f32| x > last.1 || last.1.is_nan();
        if !beats(max(x)) {
            continue;
        }
        for (i, &x) in x.iter().enumerate() {
            let one = ((first.len() + block * BLOCK + i) as u32, x);
            if better(&one, &last).is_lt() {
                let at = kept.partition_point(|kept| better(kept, &one).is_lt());
                kept.pop();
                kept.insert(at, one);
                last = kept[kept.len() - 1];
            }
        }
    }
    kept
}

/// The largest number; minus infinity where there is none. (In lanes, of which the compiler makes vectors.)
pub(super) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (eights, rest) = x.as_chunks::<8>();
    let mut lanes = [f32::NEG_INFINITY; 8];
    for eight in eights {
        lanes.iter_mut().zip(eight).for_each(|(lane, x)| *lane = larger(*lane, *x));
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

/// Keeps the best `k`, in order.
pub(super) fn top_k(candidates: &mut Vec<Candidate>, k: usize) {
    if 0 < k && k < candidates.len() {
        candidates.select_nth_unstable_by(k - 1, better);
    }
    candidates.truncate(k);
    candidates.sort_unstable_by(better);
}

/// `exp((x - max) / temperature)` of each logit, to about three parts in ten million; 0 for what is no number.
pub(super) fn weights(mut logits: Vec<f32>, max: f32, temperature: f32) -> Weights {
    for x in &mut logits {
        let lower = (*x - max) / temperature;
        // So far below, a weight is 0; and no number is below.
        *x = exp(if lower > -100.0 { lower } else { -100.0 });
    }
    let sums = logits.chunks(BLOCK).map(sum).collect();
    Weights { weights: logits, sums }
}

/// What tokens count for, and the sums of every [`BLOCK`] of them.
pub(super) struct Weights {
    pub weights: Vec<f32>,
    sums: Vec<f64>,
}

impl Weights {
    /// The sum of all.
    pub fn total(&self) -> f64 {
        self.sums.iter().sum()
    }

    /// The first up to which they add up to more than `share` of all, below 1.
    pub fn at(&self, share: f64) -> Option<usize> {
        let mut left = share * self.total();
        let block = self.sums.iter().position(|&sum| {
            left < sum || {
                left -= sum;
                false
            }
        })?;
        let inside = self.weights[block * BLOCK..].iter().position(|&weight| {
            let here = left < f64::from(weight);
            left -= f64::from(weight);
            here
        });
        inside.map(|at| block * BLOCK + at)
    }
}

/// The sum, in four lanes.
fn sum(x: &[f32]) -> f64 {
    let (fours, rest) = x.as_chunks::<4>();
    let mut lanes = [0.0; 4];
    for four in fours {
        lanes.iter_mut().zip(four).for_each(|(lane, x)| *lane += f64::from(*x));
    }
    lanes.into_iter().chain(rest.iter().map(|&x| f64::from(x))).sum()
}

/// The smallest number of best candidates whose probabilities add up to at least `p`, in order.
pub(super) fn top_p(logits: &[f32], p: f32) -> Vec<Candidate> {
    let max = max(logits);
    let enough = f64::from(p) * weights(logits.to_vec(), max, 1.0).total();
    // Few candidates hold most of the mass, so all of them are sorted only if they must be.
    let mut sorted = 64;
    loop {
        let mut best = largest(logits, sorted);
        let found = least(&best, max, enough);
        if found.is_some() || best.len() == logits.len() {
            best.truncate(found.unwrap_or(best.len()));
            return best;
        }
        sorted *= 8;
    }
}

/// The same of candidates that are all there are, in order.
pub(super) fn top_p_of(best: &mut Vec<Candidate>, p: f32) {
    let Some(&(_, max)) = best.first() else { return };
    let total = weights(best.iter().map(|one| one.1).collect(), max, 1.0).total();
    best.truncate(least(best, max, f64::from(p) * total).unwrap_or(best.len()));
}

/// How many of the best weigh at least `enough` together.
fn least(best: &[Candidate], max: f32, enough: f64) -> Option<usize> {
    let weights = weights(best.iter().map(|one| one.1).collect(), max, 1.0).weights;
    let mut sum = 0.0;
    let last = weights.into_iter().position(|w| {
        sum += f64::from(w);
        sum >= enough
    });
    last.map(|last| last + 1)
}

/// The least logit of what is at least `p` times as probable as the best.
pub(super) fn min_p(max: f32, p: f32) -> f32 {
    max + p.ln()
}

/// The penalties on a token that already occurred.
#[derive(Clone, Copy, Debug)]
pub(super) struct Penalties {
    /// Divides a positive logit and multiplies a negative one.
    pub repetition: f32,
    /// Subtracted once for each occurrence.
    pub frequency: f32,
    /// Subtracted once.
    pub presence: f32,
}

impl Penalties {
    /// Whether they change nothing.
    pub fn are_neutral(self) -> bool {
        self.repetition == 1.0 && self.frequency == 0.0 && self.presence == 0.0
    }

    /// Whether no logit can rise.
    pub fn only_lower(self) -> bool {
        self.repetition >= 1.0 && self.frequency >= 0.0 && self.presence >= 0.0
    }

    /// The logit of a token that occurred `count` times, at least once.
    pub fn on(self, logit: f32, count: u32) -> f32 {
        let scaled = if logit > 0.0 { logit / self.repetition } else { logit * self.repetition };
        scaled - count as f32 * self.frequency - self.presence
    }
}

/// `ln Σ exp(x)`, in double precision.
pub(super) fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !max.is_finite() {
        return f64::from(max);
    }
    f64::from(max)
        + logits.iter().filter(|x| !x.is_nan()).map(|&x| f64::from(x - max).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_go_by_id_and_nan_comes_last() {
        let logits = [f32::NAN, 2.0, 3.0, 2.0, 3.0];
        let mut x: Vec<Candidate> = (0..).zip(logits).collect();
        top_k(&mut x, 3);
        assert_eq!(x, [(2, 3.0), (4, 3.0), (1, 2.0)]);
        assert_eq!(largest(&logits, 3), x);
        assert_eq!(largest(&[f32::NAN, f32::NEG_INFINITY, f32::NAN], 1)[0].0, 0);
    }

    #[test]
    fn few_are_found_as_many_are() {
        let mut state = 7u32;
        let logits = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // With ties, and some that are no numbers.
            if state >> 28 == 3 { f32::NAN } else { (state >> 20) as f32 }
        });
        let logits: Vec<f32> = logits.take(3000).collect();
        let mut sorted: Vec<Candidate> = (0..).zip(logits.iter().copied()).collect();
        sorted.sort_by(better);
        for k in [0, 1, 2, 40, FEW, FEW + 1, 2999, 3000, 4000] {
            let ids = |all: &[Candidate]| all.iter().map(|x| x.0).collect::<Vec<_>>();
            assert_eq!(ids(&largest(&logits, k)), ids(&sorted[..k.min(3000)]), "{k}");
        }
    }

    #[test]
    fn top_p_keeps_the_smallest_sufficient_set() {
        let logits = [0.5f32, 0.3, 0.15, 0.05].map(f32::ln);
        for (p, n) in [(0.01, 1), (0.49, 1), (0.6, 2), (0.9, 3), (0.97, 4), (1.0, 4)] {
            let ids = |all: &[Candidate]| all.iter().map(|c| c.0).collect::<Vec<_>>();
            assert_eq!(ids(&top_p(&logits, p)), (0..n).collect::<Vec<_>>(), "p = {p}");
            let mut all = largest(&logits, 4);
            top_p_of(&mut all, p);
            assert_eq!(ids(&all), (0..n).collect::<Vec<_>>(), "p = {p} of four");
        }
        // A flat distribution needs more than the first sorted stretch.
        let flat = top_p(&[1.0; 5000], 0.4999);
        assert_eq!(flat.len(), 2500);
        assert!(flat.iter().map(|c| c.0).eq(0..2500));
    }

    #[test]
    fn weights_fall_with_the_logits_to_nothing() {
        let logits = [2.0, 1.0, f32::NAN, f32::NEG_INFINITY, -300.0, 2.0];
        let got = weights(logits.to_vec(), 2.0, 0.5).weights;
        assert!((f64::from(got[1]) - (-2f64).exp()).abs() < 1e-7);
        assert_eq!((got[0], &got[2..]), (1.0, &[0.0, 0.0, 0.0, 1.0][..]));
        assert_eq!(weights(logits.to_vec(), f32::NAN, 1.0).weights, [0.0; 6]);
    }

    #[test]
    fn a_share_is_found_where_the_weights_have_come_to_it() {
        // Quarters, and nothing between them, over several blocks.
        let quarters = [3, 70, 71, 199];
        let mut logits = vec![f32::NEG_INFINITY; 200];
        quarters.into_iter().for_each(|at| logits[at] = 1.0);
        let weights = weights(logits, 1.0, 1.0);
        for (share, at) in
            [(0.0, 3), (0.2499, 3), (0.25, 70), (0.5, 71), (0.7499, 71), (0.75, 199), (0.9999, 199)]
        {
            assert_eq!(weights.at(share), Some(at), "{share}");
        }
        assert_eq!(weights.total(), 4.0);
    }

    #[test]
    fn log_sum_exp_does_not_overflow() {
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-9);
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 3]), f64::NEG_INFINITY);
    }
}
