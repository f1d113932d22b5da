//! The choice of a token from scores.
//!
//! The order is llama.cpp's default: penalties → top-k → top-p → min-p → temperature → draw. So top-p and
//! min-p look at the distribution before the temperature flattens it, and top-p at the renormalised top-k.
//! Log-probabilities are the model's own: of the scores before penalties, filters and temperature.
//!
//! A seed gives the same tokens for the same scores everywhere: the generator is PCG32, weights are made of products and sums
//! that round the same everywhere, and summed in double precision in one order.

use super::logits::{
    Candidate, Penalties, better, largest, log_sum_exp, max, min_p, top_k, top_p, top_p_of, weights,
};
use super::model::{Scores, Want};
use crate::error::{Result, ensure, fail};
use std::borrow::Cow;
use std::collections::VecDeque;

/// The most alternatives that log-probabilities may be asked for.
const MAX_LOGPROBS: usize = 100;

/// How to choose tokens. The default is greedy.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerOptions {
    /// Divides the logits; 0 always takes the most probable token. At least 0.
    pub temperature: f32,
    /// Keep so many of the most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the most probable tokens up to this share of the probability, in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this many times as probable as the best, in [0, 1]; 0 keeps all.
    pub min_p: f32,
    /// Divides the positive logits of tokens that occurred and multiplies the negative ones. Above 0.
    pub repetition_penalty: f32,
    /// Subtracted from a token's logit for each occurrence.
    pub frequency_penalty: f32,
    /// Subtracted from the logit of a token that occurred.
    pub presence_penalty: f32,
    /// How many of the last tokens, prompt included, the penalties look at.
    pub penalty_window: usize,
    /// Where the random numbers begin.
    pub seed: u64,
    /// `Some(n)` asks for the chosen token's log-probability and those of the `n` most probable; at most 100.
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

impl SamplerOptions {
    /// Whether every option is in its range; the error names the one that is not, as JavaScript spells it.
    pub fn check(&self) -> Result<()> {
        let check = |ok: bool, name: &str, value: f32, range: &str| {
            ensure!(ok, InvalidInput, "{name} is {value}; give a number {range}");
            Ok(())
        };
        let t = self.temperature;
        check(t.is_finite() && t >= 0.0, "temperature", t, "of at least 0, where 0 is greedy")?;
        check(self.top_p > 0.0 && self.top_p <= 1.0, "topP", self.top_p, "above 0 and at most 1")?;
        check((0.0..=1.0).contains(&self.min_p), "minP", self.min_p, "from 0 to 1")?;
        let r = self.repetition_penalty;
        check(r.is_finite() && r > 0.0, "repetitionPenalty", r, "above 0, where 1 is no penalty")?;
        for (name, x) in
            [("frequencyPenalty", self.frequency_penalty), ("presencePenalty", self.presence_penalty)]
        {
            check(x.is_finite(), name, x, "that is finite, where 0 is no penalty")?;
        }
        let n = self.logprobs.unwrap_or(0);
        ensure!(n <= MAX_LOGPROBS, InvalidInput, "logprobs is {n}; give at most {MAX_LOGPROBS}");
        Ok(())
    }
}

/// A chosen token's log-probability, and those of the most probable tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The chosen token.
    pub id: u32,
    /// The natural logarithm of its probability.
    pub logprob: f32,
    /// The most probable tokens with theirs, the best first.
    pub top: Vec<(u32, f32)>,
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// Its id.
    pub id: u32,
    /// Its log-probability, if asked for.
    pub logprob: Option<TokenLogprobs>,
}

/// Chooses one token after another.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplerOptions,
    random: oorandom::Rand32,
    /// The last tokens, for the penalties; empty where there are none.
    window: VecDeque<u32>,
}

impl Sampler {
    /// A sampler at the start of its seed's sequence. Fails if an option is out of range.
    pub fn new(options: SamplerOptions) -> Result<Self> {
        options.check()?;
        let random = oorandom::Rand32::new(options.seed);
        Ok(Self { options, random, window: VecDeque::new() })
    }

    fn penalties(&self) -> Penalties {
        Penalties {
            repetition: self.options.repetition_penalty,
            frequency: self.options.frequency_penalty,
            presence: self.options.presence_penalty,
        }
    }

    /// Whether chance has no part in it.
    fn is_greedy(&self) -> bool {
        self.options.temperature == 0.0 || self.options.top_k == 1
    }

    /// Notes a token of the prompt or the answer, for the penalties.
    pub fn accept(&mut self, id: u32) {
        if self.options.penalty_window == 0 || self.penalties().are_neutral() {
            return;
        }
        if self.window.len() == self.options.penalty_window {
            self.window.pop_front();
        }
        self.window.push_back(id);
    }

    /// Whether every step wants the argmax alone, whatever came before.
    pub fn wants_only_argmax(&self) -> bool {
        let unpenalised = self.options.penalty_window == 0 || self.penalties().are_neutral();
        self.is_greedy() && unpenalised && self.options.logprobs.is_none()
    }

    /// The least that the next choice needs to be exact, from a model that brings back up to `max_top_k`.
    ///
    /// Penalties that only lower can push at most as many tokens out of the best `k` as they touch, so the
    /// best `k` and that many more hold the best `k` that remain.
    pub fn want(&self, vocab_size: usize, max_top_k: usize) -> Want {
        if self.wants_only_argmax() {
            return Want::Argmax;
        }
        let k = if self.is_greedy() { 1 } else { self.options.top_k };
        let occurred = self.occurred().len();
        let exact = occurred == 0 || self.penalties().only_lower();
        match k.checked_add(occurred) {
            Some(n)
                if k > 0 && exact && self.options.logprobs.is_none() && n <= max_top_k.min(vocab_size) =>
            {
                Want::TopK(n)
            }
            _ => Want::Logits,
        }
    }

    /// The distinct tokens of the window in rising order, with their counts.
    fn occurred(&self) -> Vec<(u32, u32)> {
        let mut ids: Vec<u32> = self.window.iter().copied().collect();
        ids.sort_unstable();
        ids.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u32)).collect()
    }

    /// Chooses from the scores that [`want`](Self::want) named. The choice is not yet accepted.
    pub fn sample(&mut self, scores: &Scores) -> Result<Sampled> {
        let (penalties, occurred) = (self.penalties(), self.occurred());
        let k = if self.is_greedy() { 1 } else { self.options.top_k };
        match scores {
            Scores::Nothing => fail!(Internal, "the model gave no scores to choose a token from"),
            Scores::Argmax(id) => Ok(Sampled { id: *id, logprob: None }),
            Scores::TopK(top) => {
                let mut best: Vec<Candidate> =
                    top.ids.iter().copied().zip(top.logits.iter().copied()).collect();
                for (id, logit) in &mut best {
                    if let Ok(at) = occurred.binary_search_by_key(id, |one| one.0) {
                        *logit = penalties.on(*logit, occurred[at].1);
                    }
                }
                top_k(&mut best, k);
                Ok(Sampled { id: self.of_best(best)?, logprob: None })
            }
            Scores::Logits(all) => {
                let mut logits = Cow::Borrowed(all);
                for (id, count) in occurred {
                    if let Some(logit) = logits.to_mut().get_mut(id as usize) {
                        *logit = penalties.on(*logit, count);
                    }
                }
                let id = if k > 0 { self.of_best(largest(&logits, k))? } else { self.of_all(&logits)? };
                Ok(Sampled { id, logprob: self.options.logprobs.map(|n| logprobs(all, id, n)) })
            }
        }
    }

    /// Chooses among the best, in order.
    fn of_best(&mut self, mut best: Vec<Candidate>) -> Result<u32> {
        let first = finite(best.first().copied())?;
        if best.len() == 1 && self.is_greedy() {
            return Ok(first.0);
        }
        if self.options.top_p < 1.0 {
            top_p_of(&mut best, self.options.top_p);
        }
        self.of_likely(best)
    }

    /// Chooses among all.
    fn of_all(&mut self, logits: &[f32]) -> Result<u32> {
        let first = finite(largest(logits, 1).first().copied())?;
        if self.options.top_p < 1.0 {
            return self.of_likely(top_p(logits, self.options.top_p));
        }
        if self.options.min_p > 0.0 {
            return self.of_likely((0..).zip(logits.iter().copied()).collect());
        }
        Ok(self.draw(logits.to_vec()).map_or(first.0, |at| at as u32))
    }

    /// Chooses among those that are likely enough beside the best.
    fn of_likely(&mut self, mut candidates: Vec<Candidate>) -> Result<u32> {
        let logits = |candidates: &[Candidate]| candidates.iter().map(|one| one.1).collect::<Vec<f32>>();
        if self.options.min_p > 0.0 {
            let least = min_p(max(&logits(&candidates)), self.options.min_p);
            candidates.retain(|one| one.1 >= least);
        }
        let drawn = self.draw(logits(&candidates)).and_then(|at| candidates.get(at));
        finite(drawn.or(candidates.iter().min_by(|a, b| better(a, b))).copied()).map(|one| one.0)
    }

    /// Draws one of these, by its place. Only rounding leads to none.
    fn draw(&mut self, logits: Vec<f32>) -> Option<usize> {
        let max = max(&logits);
        let share = f64::from(self.random.rand_u32()) / 4_294_967_296.0;
        weights(logits, max, self.options.temperature).at(share)
    }
}

/// The best score, or an error when the scores are no numbers.
fn finite(best: Option<Candidate>) -> Result<Candidate> {
    match best {
        Some(best) if best.1.is_finite() => Ok(best),
        Some((id, x)) => fail!(
            Internal,
            "the model's best score is {x}, of token {id}; its weights or the device's arithmetic are broken: \
             try device \"cpu\""
        ),
        None => fail!(Internal, "the model gave no scores to choose a token from"),
    }
}

fn logprobs(logits: &[f32], id: u32, n: usize) -> TokenLogprobs {
    let sum = log_sum_exp(logits);
    let of = |x: f32| (f64::from(x) - sum) as f32;
    let chosen = logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    TokenLogprobs {
        id,
        logprob: of(chosen),
        top: largest(logits, n).into_iter().map(|(id, x)| (id, of(x))).collect(),
    }
}
