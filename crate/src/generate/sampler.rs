//! From scores to a token. In this order: penalties on what was said, the `top_k` best, the smallest set of
//! probability `top_p`, those at least `min_p` times as likely as the best, then a draw at `temperature`.
//! Temperature zero takes the best, the lowest id on a tie.

#![forbid(unsafe_code)]

use crate::error::{Result, ensure};

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerOptions {
    /// What scores are divided by; 0 takes the best.
    pub temperature: f32,
    /// How many of the best are kept; 0 for all.
    pub top_k: usize,
    /// The probability that the kept ones have together; 1 for all.
    pub top_p: f32,
    /// The least probability relative to the best's; 0 for all.
    pub min_p: f32,
    /// Divides positive scores of what was said and multiplies negative ones; 1 for none.
    pub repetition_penalty: f32,
    /// Taken from a score for each time its token was said.
    pub frequency_penalty: f32,
    /// Taken from a score once its token was said.
    pub presence_penalty: f32,
    /// How many of the last tokens the penalties look at.
    pub penalty_window: usize,
    /// The seed of the draws.
    pub seed: u64,
    /// How many alternatives to report with log-probabilities; `None` for no report.
    pub logprobs: Option<usize>,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_window: 64,
            seed: 0,
            logprobs: None,
        }
    }
}

/// The log-probability of the chosen token and of the likeliest, before penalties and temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// Of the chosen token.
    pub logprob: f32,
    /// The likeliest tokens, best first.
    pub top: Vec<(u32, f32)>,
}

/// Draws tokens.
pub struct Sampler {
    options: SamplerOptions,
    random: oorandom::Rand64,
}

impl Sampler {
    /// A sampler. Fails, naming the option, when one is out of its range.
    pub fn new(options: SamplerOptions) -> Result<Self> {
        let o = &options;
        let finite = |x: f32| x.is_finite();
        ensure!(
            finite(o.temperature) && o.temperature >= 0.0,
            InvalidInput,
            "temperature is {}, and must be 0 or more",
            o.temperature
        );
        ensure!(o.top_p > 0.0 && o.top_p <= 1.0, InvalidInput, "topP is {}, and must be in (0, 1]", o.top_p);
        ensure!((0.0..=1.0).contains(&o.min_p), InvalidInput, "minP is {}, and must be in [0, 1]", o.min_p);
        ensure!(
            finite(o.repetition_penalty) && o.repetition_penalty > 0.0,
            InvalidInput,
            "repetitionPenalty is {}, and must be more than 0 (1 for none)",
            o.repetition_penalty
        );
        ensure!(
            finite(o.frequency_penalty) && finite(o.presence_penalty),
            InvalidInput,
            "frequencyPenalty and presencePenalty must be finite numbers"
        );
        let random = oorandom::Rand64::new(u128::from(options.seed));
        Ok(Self { options, random })
    }

    /// The next token, given its scores and what was said before.
    pub fn sample(&mut self, scores: &[f32], said: &[u32]) -> (u32, Option<TokenLogprobs>) {
        let mut adjusted;
        let window = &said[said.len().saturating_sub(self.options.penalty_window)..];
        let penalised = self.has_penalties() && !window.is_empty();
        let used = if penalised {
            adjusted = scores.to_vec();
            self.penalise(&mut adjusted, window);
            &adjusted[..]
        } else {
            scores
        };
        let id = if self.options.temperature == 0.0 { best(used) } else { self.draw(used) };
        (id, self.options.logprobs.map(|n| logprobs(scores, id, n)))
    }

    fn has_penalties(&self) -> bool {
        let o = &self.options;
        o.repetition_penalty != 1.0 || o.frequency_penalty != 0.0 || o.presence_penalty != 0.0
    }

    fn penalise(&self, scores: &mut [f32], window: &[u32]) {
        let mut sorted = window.to_vec();
        sorted.sort_unstable();
        for same in sorted.chunk_by(|a, b| a == b) {
            let Some(score) = scores.get_mut(same[0] as usize) else { continue };
            let o = &self.options;
            *score = if *score > 0.0 { *score / o.repetition_penalty } else { *score * o.repetition_penalty };
            *score -= o.frequency_penalty * same.len() as f32 + o.presence_penalty;
        }
    }

    fn draw(&mut self, scores: &[f32]) -> u32 {
        let o = &self.options;
        let mut kept: Vec<(u32, f32)> =
            (0..).zip(scores.iter().copied()).filter(|(_, s)| !s.is_nan()).collect();
        let descending = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if o.top_k > 0 && o.top_k < kept.len() {
            kept.select_nth_unstable_by(o.top_k - 1, descending);
            kept.truncate(o.top_k);
        }
        kept.sort_unstable_by(descending);
        let Some(&(fallback, largest)) = kept.first() else { return 0 };
        if o.top_p < 1.0 {
            let total: f64 = kept.iter().map(|(_, s)| f64::from(s - largest).exp()).sum();
            let mut sum = 0.0;
            let enough = kept.iter().position(|(_, s)| {
                sum += f64::from(s - largest).exp() / total;
                sum >= f64::from(o.top_p)
            });
            kept.truncate(enough.map_or(kept.len(), |last| last + 1));
        }
        if o.min_p > 0.0 {
            kept.retain(|(_, s)| (s - largest).exp() >= o.min_p);
        }
        let weight = |s: f32| f64::from((s - largest) / o.temperature).exp();
        let total: f64 = kept.iter().map(|(_, s)| weight(*s)).sum();
        let mut left = self.random.rand_float() * total;
        for &(id, score) in &kept {
            left -= weight(score);
            if left < 0.0 {
                return id;
            }
        }
        fallback
    }
}

/// The best token, the lowest id on a tie.
fn best(scores: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, &score) in (0..).zip(scores) {
        if score > best.1 {
            best = (id, score);
        }
    }
    best.0
}

fn logprobs(scores: &[f32], id: u32, n: usize) -> TokenLogprobs {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = scores.iter().map(|s| f64::from(s - largest).exp()).sum();
    let of = |score: f32| (f64::from(score - largest) - sum.ln()) as f32;
    let mut top: Vec<(u32, f32)> = (0..).zip(scores.iter().copied()).collect();
    top.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    top.truncate(n);
    TokenLogprobs {
        logprob: scores.get(id as usize).map_or(f32::NEG_INFINITY, |s| of(*s)),
        top: top.into_iter().map(|(id, score)| (id, of(score))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -1.0];

    fn draws(options: SamplerOptions, n: usize) -> [f64; 5] {
        let mut sampler = Sampler::new(options).unwrap();
        let mut counts = [0.0; 5];
        (0..n).for_each(|_| counts[sampler.sample(&SCORES, &[]).0 as usize] += 1.0 / n as f64);
        counts
    }

    fn probabilities(temperature: f64) -> [f64; 5] {
        let weights = SCORES.map(|s| (f64::from(s) / temperature).exp());
        weights.map(|w| w / weights.iter().sum::<f64>())
    }

    fn distance(a: &[f64; 5], b: &[f64; 5]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum()
    }

    #[test]
    fn greedy_takes_the_lowest_id_on_a_tie() {
        assert!(draws(SamplerOptions::default(), 10)[1] > 0.99);
    }

    #[test]
    fn draws_follow_the_softmax() {
        for temperature in [0.5, 1.0, 2.0] {
            let options = SamplerOptions { temperature, seed: 3, ..Default::default() };
            let counts = draws(options, 20_000);
            assert!(distance(&counts, &probabilities(f64::from(temperature))) < 0.03);
            assert!(
                distance(&counts, &probabilities(f64::from(temperature) * 1.5)) > 0.05,
                "the canary passed"
            );
        }
    }

    #[test]
    fn filters_keep_what_they_say() {
        let at = |options: SamplerOptions| draws(SamplerOptions { temperature: 1.0, ..options }, 2000);
        let kept = |counts: [f64; 5]| counts.map(|c| c > 0.0);
        let top_k = at(SamplerOptions { top_k: 2, ..Default::default() });
        assert_eq!(kept(top_k), [false, true, false, true, false]);
        // The two best have 0.4 each, so that three are needed for 0.85.
        let top_p = at(SamplerOptions { top_p: 0.85, ..Default::default() });
        assert_eq!(kept(top_p), [false, true, true, true, false]);
        let min_p = at(SamplerOptions { min_p: 0.3, ..Default::default() });
        assert_eq!(kept(min_p), [false, true, true, true, false]);
    }

    #[test]
    fn penalties_lower_what_was_said() {
        let next =
            |options: SamplerOptions, said: &[u32]| Sampler::new(options).unwrap().sample(&SCORES, said).0;
        let repetition = SamplerOptions { repetition_penalty: 1.6, ..Default::default() };
        assert_eq!(next(repetition.clone(), &[1]), 3);
        assert_eq!(next(repetition.clone(), &[1, 3]), 2);
        assert_eq!(next(SamplerOptions { penalty_window: 1, ..repetition }, &[1, 3]), 1);
        let frequency = SamplerOptions { frequency_penalty: 0.6, ..Default::default() };
        assert_eq!(next(frequency, &[1, 1, 3]), 3);
        let presence = SamplerOptions { presence_penalty: 1.5, ..Default::default() };
        assert_eq!(next(presence, &[1, 3]), 2);
    }

    #[test]
    fn one_seed_is_one_sequence() {
        let sequence = |seed| {
            let options = SamplerOptions { temperature: 1.0, seed, ..Default::default() };
            let mut sampler = Sampler::new(options).unwrap();
            (0..50).map(|_| sampler.sample(&SCORES, &[]).0).collect::<Vec<_>>()
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
    }

    #[test]
    fn logprobs_are_of_the_scores() {
        let options = SamplerOptions { logprobs: Some(2), ..Default::default() };
        let (id, report) = Sampler::new(options).unwrap().sample(&SCORES, &[]);
        let report = report.unwrap();
        assert_eq!((id, report.top.iter().map(|t| t.0).collect::<Vec<_>>()), (1, vec![1, 3]));
        assert!((f64::from(report.logprob).exp() - probabilities(1.0)[1]).abs() < 1e-6);
    }

    #[test]
    fn options_out_of_range_are_named() {
        let refused =
            |options| Sampler::new(options).err().map(|e| e.message().to_string()).unwrap_or_default();
        assert!(refused(SamplerOptions { temperature: -1.0, ..Default::default() }).contains("temperature"));
        assert!(
            refused(SamplerOptions { temperature: f32::NAN, ..Default::default() }).contains("temperature")
        );
        assert!(refused(SamplerOptions { top_p: 0.0, ..Default::default() }).contains("topP"));
        assert!(refused(SamplerOptions { min_p: 2.0, ..Default::default() }).contains("minP"));
        assert!(
            refused(SamplerOptions { repetition_penalty: 0.0, ..Default::default() }).contains("repetition")
        );
    }
}
