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

/// The best candidate. (What is mostly not better is seen at one comparison.)
pub(super) fn best(candidates: &[Candidate]) -> Option<Candidate> {
    let (first, rest) = candidates.split_first()?;
    Some(rest.iter().fold(
        *first,
        |best, one| {
            if one.1 < best.1 || better(one, &best).is_gt() { best } else { *one }
        },
    ))
}

/// How many best are found faster by going through all once than by parting them.
const FEW: usize = 128;

/// Brings the best `k` to the front, in order.
fn sort_best(candidates: &mut [Candidate], k: usize) {
    if k == 0 {
        return;
    }
    let k = k.min(candidates.len());
    if k < candidates.len() && k <= FEW {
        return sort_few(candidates, k);
    }
    if k < candidates.len() {
        candidates.select_nth_unstable_by(k - 1, better);
    }
    candidates[..k].sort_unstable_by(better);
}

/// The same for few, of many: most are seen at one comparison not to be among them.
fn sort_few(candidates: &mut [Candidate], k: usize) {
    let (best, others) = candidates.split_at_mut(k);
    best.sort_unstable_by(better);
    for one in others {
        let last = best[k - 1];
        if one.1 < last.1 || better(one, &last).is_gt() {
            continue;
        }
        // The last one goes, and those that are worse move up.
        let at = best.partition_point(|kept| better(kept, one).is_lt());
        std::mem::swap(one, &mut best[k - 1]);
        best[at..].rotate_right(1);
    }
}

/// Keeps the best `k`, in order.
pub(super) fn top_k(candidates: &mut Vec<Candidate>, k: usize) {
    sort_best(candidates, k);
    candidates.truncate(k);
}

/// `exp((x - max) / temperature)` of each candidate, to about three parts in ten million; 0 for what is no number.
pub(super) fn weights(candidates: &[Candidate], max: f32, temperature: f32) -> Vec<f32> {
    let mut weights: Vec<f32> = candidates.iter().map(|&(_, x)| x).collect();
    for x in &mut weights {
        let lower = (*x - max) / temperature;
        // So far below, a weight is 0; and no number is below.
        *x = exp(if lower > -100.0 { lower } else { -100.0 });
    }
    weights
}

/// Keeps the smallest number of best candidates whose probabilities add up to at least `p`, in order.
pub(super) fn top_p(candidates: &mut Vec<Candidate>, p: f32) {
    let Some((_, max)) = best(candidates) else { return };
    let total: f64 = weights(candidates, max, 1.0).into_iter().map(f64::from).sum();
    let enough = f64::from(p) * total;
    // Few candidates hold most of the mass, so all of them are sorted only if they must be.
    let mut sorted = 64;
    loop {
        sort_best(candidates, sorted);
        let mut sum = 0.0;
        let kept = weights(&candidates[..sorted.min(candidates.len())], max, 1.0).into_iter().position(|w| {
            sum += f64::from(w);
            sum >= enough
        });
        match kept {
            Some(last) => return candidates.truncate(last + 1),
            None if sorted >= candidates.len() => return,
            None => sorted *= 8,
        }
    }
}

/// Keeps the candidates at least `p` times as probable as the best one, in the order they had.
pub(super) fn min_p(candidates: &mut Vec<Candidate>, p: f32) {
    let Some((_, max)) = best(candidates) else { return };
    let least = max + p.ln();
    candidates.retain(|&(_, x)| x >= least);
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
    fn on(self, logit: f32, count: u32) -> f32 {
        let scaled = if logit > 0.0 { logit / self.repetition } else { logit * self.repetition };
        scaled - count as f32 * self.frequency - self.presence
    }

    /// Penalises the tokens of `occurred`, which has each id once, in rising order, with its count.
    pub fn apply(self, candidates: &mut [Candidate], occurred: &[(u32, u32)]) {
        for &(id, count) in occurred {
            // Where all tokens are candidates, each is at its place.
            let found = match candidates.get(id as usize) {
                Some(one) if one.0 == id => Some(id as usize),
                _ => candidates.iter().position(|one| one.0 == id),
            };
            if let Some((_, logit)) = found.map(|at| &mut candidates[at]) {
                *logit = self.on(*logit, count);
            }
        }
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
        let mut x = vec![(0, f32::NAN), (1, 2.0), (2, 3.0), (3, 2.0), (4, 3.0)];
        assert_eq!(best(&x), Some((2, 3.0)));
        top_k(&mut x, 3);
        assert_eq!(x, [(2, 3.0), (4, 3.0), (1, 2.0)]);
    }

    #[test]
    fn few_are_found_as_many_are() {
        let mut state = 7u32;
        let logits = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // With ties, and some that are no numbers.
            if state >> 28 == 3 { f32::NAN } else { (state >> 20) as f32 }
        });
        let all: Vec<Candidate> = (0..).zip(logits.take(3000)).collect();
        let mut sorted = all.clone();
        sorted.sort_by(better);
        let same = |a: &[Candidate], b: &[Candidate]| a.iter().map(|x| x.0).eq(b.iter().map(|x| x.0));
        for k in [1, 2, 40, FEW, FEW + 1, 2999, 3000, 4000] {
            let mut some = all.clone();
            sort_best(&mut some, k);
            assert!(same(&some[..k.min(3000)], &sorted[..k.min(3000)]), "{k}");
            some.sort_by_key(|x| x.0);
            assert!(same(&some, &all), "{k}: some are lost");
        }
    }

    #[test]
    fn top_p_keeps_the_smallest_sufficient_set() {
        let logits = [0.5f32, 0.3, 0.15, 0.05].map(f32::ln);
        for (p, n) in [(0.01, 1), (0.49, 1), (0.6, 2), (0.9, 3), (0.97, 4), (1.0, 4)] {
            let mut x: Vec<Candidate> = (0..4).rev().map(|i| (i as u32, logits[i])).collect();
            top_p(&mut x, p);
            assert_eq!(x.iter().map(|c| c.0).collect::<Vec<_>>(), (0..n).collect::<Vec<_>>(), "p = {p}");
        }
        // A flat distribution needs more than the first sorted stretch.
        let mut flat: Vec<Candidate> = (0..5000).map(|i| (i, 1.0)).collect();
        top_p(&mut flat, 0.4999);
        assert_eq!(flat.len(), 2500);
        assert!(flat.iter().map(|c| c.0).eq(0..2500));
    }

    #[test]
    fn min_p_is_relative_to_the_best() {
        let mut x: Vec<Candidate> =
            [0.5f32, 0.3, 0.04, 0.16].iter().zip(0..).map(|(p, i)| (i, p.ln())).collect();
        min_p(&mut x, 0.1);
        assert_eq!(x.iter().map(|c| c.0).collect::<Vec<_>>(), [0, 1, 3]);
    }

    #[test]
    fn weights_fall_with_the_logits_to_nothing() {
        let logits = [2.0, 1.0, f32::NAN, f32::NEG_INFINITY, -300.0, 2.0];
        let candidates: Vec<Candidate> = (0..).zip(logits).collect();
        let got = weights(&candidates, 2.0, 0.5);
        assert!((f64::from(got[1]) - (-2f64).exp()).abs() < 1e-7);
        assert_eq!((got[0], &got[2..]), (1.0, &[0.0, 0.0, 0.0, 1.0][..]));
        assert_eq!(weights(&candidates, f32::NAN, 1.0), [0.0; 6]);
    }

    #[test]
    fn log_sum_exp_does_not_overflow() {
        assert!((log_sum_exp(&[1000.0, 1000.0]) - (1000.0 + 2f64.ln())).abs() < 1e-9);
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY; 3]), f64::NEG_INFINITY);
    }
}
