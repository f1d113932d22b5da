//! The token loop. A [`Generator`] has the tokens of prompt and answer; the model's [`KvCache`] says which
//! of them were run. Each call of [`next`](Generator::next) runs one chunk of those that were not. The
//! chunk that reaches the end gives scores, and a token is chosen; so prefill, decode, the rerun after a
//! context shift, and taking the cache back from another generation are one rule.
//!
//! Where only the argmax matters and the model can run ahead, steps are submitted before those they follow
//! are read; what ran past the end is dead by the cache's bookkeeping.

use super::kv_cache::{ContextPolicy, KvCache, check_prompt, shift_range};
use super::model::{Model, NextTokens, Scores, Want};
use super::sampler::{Sampled, Sampler, SamplerOptions, TokenLogprob};
use super::stop::StopStrings;
use crate::error::{Result, ensure};
use std::collections::VecDeque;

/// Turns tokens into text as they come, never half a character.
pub trait TokenText {
    /// The text that `id` completes.
    fn push(&mut self, id: u32) -> String;
    /// What is left, when no more will come.
    fn finish(&mut self) -> String;
}

/// What to generate, and when to stop.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// How to choose tokens.
    pub sampler: SamplerOptions,
    /// The most tokens to generate; `None` has no bound. 0 only runs the prompt into the cache.
    pub max_tokens: Option<usize>,
    /// Stop before any of these strings; none may be empty.
    pub stop: Vec<String>,
    /// Stop at any of these tokens, which are not part of the answer: end of text, end of turn.
    pub stop_ids: Vec<u32>,
    /// Take the tokens of `stop_ids` as any others.
    pub ignore_eos: bool,
    /// Keep what the cache already holds of the prompt.
    pub reuse_prefix: bool,
    /// What to do when the context is full.
    pub on_context_full: ContextPolicy,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            sampler: SamplerOptions::default(),
            max_tokens: None,
            stop: Vec::new(),
            stop_ids: Vec::new(),
            ignore_eos: false,
            reuse_prefix: true,
            on_context_full: ContextPolicy::Stop,
        }
    }
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token or a stop string.
    Stop,
    /// `max_tokens`.
    Length,
    /// The context is full.
    Context,
    /// The caller cancelled.
    Cancelled,
}

impl FinishReason {
    /// The name that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Context => "context",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How many tokens there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, how many were in the cache already.
    pub reused_tokens: usize,
    /// Tokens of the answer, the stop token not counted.
    pub completion_tokens: usize,
}

/// How long it took, by the caller's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Milliseconds that the prompt took, up to its scores and the choice of the first token.
    pub prompt_ms: f64,
    /// Milliseconds from the first call of `next` to the first token; 0 if none came.
    pub first_token_ms: f64,
    /// Milliseconds from the first token to the last.
    pub decode_ms: f64,
    /// Tokens of the prompt that were run, per second; 0 if none was.
    pub prompt_tokens_per_second: f64,
    /// Tokens after the first, per second; 0 if there was none.
    pub decode_tokens_per_second: f64,
}

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// Why.
    pub finish_reason: FinishReason,
    /// How many tokens.
    pub usage: Usage,
    /// How long.
    pub timings: Timings,
}

/// What one call of [`Generator::next`] brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// New text: whole characters, often none. It may lag behind `ids`, where a character or a possible
    /// stop string is not complete.
    pub text: String,
    /// New tokens of the answer: one, or none while the prompt runs.
    pub ids: Vec<u32>,
    /// One for each of `ids`, if asked for, else empty.
    pub logprobs: Vec<TokenLogprob>,
    /// Set by the last step.
    pub done: Option<Done>,
}

/// One generation: see the [module](self).
pub struct Generator<T> {
    options: GenerateOptions,
    sampler: Sampler,
    stop: StopStrings,
    text: T,
    clock: Box<dyn Fn() -> f64>,
    /// Prompt and answer, less what a shift forgot. The cache holds a prefix of it.
    tokens: Vec<u32>,
    /// This generation's claim on the cache.
    ticket: Option<u64>,
    /// Lengths of the runs that were begun and not taken, oldest first.
    in_flight: VecDeque<usize>,
    cancelled: bool,
    usage: Usage,
    started: Option<f64>,
    /// When the prompt was done, and when the last token came.
    prompt_done: Option<f64>,
    last_token: f64,
    done: Option<Done>,
}

impl<T: TokenText> Generator<T> {
    /// A generation that has yet to begin. `clock` gives milliseconds from any fixed moment.
    ///
    /// # Errors
    /// `InvalidInput` for an empty prompt, an id outside the vocabulary, or an option out of range;
    /// `ContextFull` for a prompt longer than the context.
    pub fn new(
        model: &impl Model,
        prompt: Vec<u32>,
        options: GenerateOptions,
        text: T,
        clock: Box<dyn Fn() -> f64>,
    ) -> Result<Self> {
        check_prompt(&prompt, model.context_len(), model.vocab_size())?;
        let mut sampler = Sampler::new(options.sampler.clone())?;
        prompt.iter().for_each(|&id| sampler.accept(id));
        let stop = StopStrings::new(options.stop.clone())?;
        Ok(Self {
            sampler,
            stop,
            text,
            clock,
            usage: Usage { prompt_tokens: prompt.len(), ..Usage::default() },
            tokens: prompt,
            options,
            ticket: None,
            in_flight: VecDeque::new(),
            cancelled: false,
            started: None,
            prompt_done: None,
            last_token: 0.0,
            done: None,
        })
    }

    /// Makes the next call of `next` the last, with the finish reason "cancelled". Dropping the generator
    /// cancels as well; either way the cache keeps what was run.
    pub fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Does one bounded piece of work: a chunk of the prompt, or one token. After the end it gives the end
    /// again. `model` is the one that the generator was made for.
    ///
    /// An error ends the generation as the model ends it, and empties the cache. A future that is dropped
    /// before it is done costs nothing but the work.
    pub async fn next<M: Model>(&mut self, model: &mut M) -> Result<Step> {
        if self.done.is_some() {
            return Ok(Step { done: self.done, ..Step::default() });
        }
        let now = (self.clock)();
        self.started.get_or_insert(now);
        if self.cancelled {
            return Ok(self.finish(model, FinishReason::Cancelled, Step::default()));
        }
        let step = self.advance(model).await;
        if step.is_err() {
            self.in_flight.clear();
            model.drop_pending();
            model.kv_mut().clear();
        }
        step
    }

    async fn advance<M: Model>(&mut self, model: &mut M) -> Result<Step> {
        self.hold_cache(model);
        if self.tokens.len() > model.context_len() {
            self.shift(model)?;
        }
        let start = model.kv().len();
        let pending = self.tokens.len() - start;
        if pending == 0 {
            // Only a prompt that is run for the cache alone can be there whole.
            return Ok(self.finish(model, FinishReason::Length, Step::default()));
        }
        let take = model.chunk_len(pending).clamp(1, pending);
        let last = take == pending;
        let choose = last && self.options.max_tokens != Some(0);
        if choose && model.pipeline_depth() > 1 && self.sampler.wants_only_argmax() {
            let id = self.run_ahead(model, take).await?;
            return self.accept(model, Sampled { id, logprob: None });
        }
        let want = match choose {
            true => self.sampler.want(model.vocab_size(), model.max_top_k()),
            false => Want::Nothing,
        };
        let chunk = &self.tokens[start..start + take];
        let scores = model.feed(chunk, start, want).await?;
        check_scores(&scores, want, model.vocab_size())?;
        model.kv_mut().push(chunk);
        if choose {
            let sampled = self.sampler.sample(&scores)?;
            return self.accept(model, sampled);
        }
        if last {
            self.prompt_done = Some((self.clock)());
            return Ok(self.finish(model, FinishReason::Length, Step::default()));
        }
        Ok(Step::default())
    }

    /// Makes the cache hold a prefix of this generation's tokens and nothing else, which it does unless
    /// this is the first step, or another generation came between.
    fn hold_cache<M: Model>(&mut self, model: &mut M) {
        let first = self.ticket.is_none();
        if !self.ticket.is_some_and(|ticket| model.kv().holds(ticket)) {
            self.in_flight.clear();
            let kv: &mut KvCache = model.kv_mut();
            self.ticket = Some(kv.claim());
            let reused = match !first || self.options.reuse_prefix {
                true => kv.common_prefix(&self.tokens),
                false => 0,
            };
            // The last token must run again unless its scores are of no use.
            let most = self.tokens.len() - usize::from(self.options.max_tokens != Some(0));
            kv.truncate(reused.min(most));
            if first {
                self.usage.reused_tokens = kv.len();
            }
        }
        if self.in_flight.is_empty() {
            model.drop_pending();
        }
    }

    /// Forgets the older half of a full context.
    fn shift<M: Model>(&mut self, model: &mut M) -> Result<()> {
        let ContextPolicy::Shift { keep } = self.options.on_context_full else { return Ok(()) };
        let range = shift_range(model.context_len(), keep);
        self.tokens.drain(range.clone());
        if model.kv().len() >= range.end && model.shift(range.start, range.len())? {
            model.kv_mut().remove(range);
        } else {
            model.kv_mut().truncate(range.start);
        }
        Ok(())
    }

    /// Submits steps up to the model's depth, the first of `take` tokens, and reads the oldest.
    async fn run_ahead<M: Model>(&mut self, model: &mut M, take: usize) -> Result<u32> {
        // Out of `self` for as long as the count may be wrong: if this future is dropped, what is in flight
        // is forgotten.
        let mut in_flight = std::mem::take(&mut self.in_flight);
        let start = model.kv().len();
        if in_flight.is_empty() {
            model.begin(NextTokens::Ids(&self.tokens[start..start + take]), start)?;
            in_flight.push_back(take);
        }
        let wanted = self.options.max_tokens.map_or(usize::MAX, |max| max - self.usage.completion_tokens);
        while in_flight.len() < model.pipeline_depth().min(wanted) {
            let at = start + in_flight.iter().sum::<usize>();
            if at >= model.context_len() {
                break;
            }
            model.begin(NextTokens::Previous, at)?;
            in_flight.push_back(1);
        }
        let id = model.take_argmax().await?;
        check_scores(&Scores::Argmax(id), Want::Argmax, model.vocab_size())?;
        let ran = in_flight.pop_front().unwrap_or(0);
        model.kv_mut().push(&self.tokens[start..start + ran]);
        self.in_flight = in_flight;
        Ok(id)
    }

    /// Takes a chosen token into the answer.
    fn accept<M: Model>(&mut self, model: &mut M, sampled: Sampled) -> Result<Step> {
        let id = sampled.id;
        self.last_token = (self.clock)();
        self.prompt_done.get_or_insert(self.last_token);
        if !self.options.ignore_eos && self.options.stop_ids.contains(&id) {
            return Ok(self.finish(model, FinishReason::Stop, Step::default()));
        }
        self.tokens.push(id);
        self.sampler.accept(id);
        self.usage.completion_tokens += 1;
        let passed = self.stop.push(&self.text.push(id));
        let step = Step {
            text: passed.text,
            ids: vec![id],
            logprobs: sampled.logprob.into_iter().collect(),
            done: None,
        };
        if passed.stopped {
            return Ok(self.end(model, FinishReason::Stop, step));
        }
        if self.options.max_tokens.is_some_and(|max| self.usage.completion_tokens >= max) {
            return Ok(self.finish(model, FinishReason::Length, step));
        }
        let full = self.tokens.len() > model.context_len();
        if full && self.options.on_context_full == ContextPolicy::Stop {
            return Ok(self.finish(model, FinishReason::Context, step));
        }
        Ok(step)
    }

    /// The last step, with the text that was held back.
    fn finish<M: Model>(&mut self, model: &mut M, mut reason: FinishReason, mut step: Step) -> Step {
        let passed = self.stop.push(&self.text.finish());
        step.text += &passed.text;
        if passed.stopped {
            reason = FinishReason::Stop;
        } else {
            step.text += &self.stop.finish();
        }
        self.end(model, reason, step)
    }

    fn end<M: Model>(&mut self, model: &mut M, finish_reason: FinishReason, mut step: Step) -> Step {
        // Another generation's steps are not this one's to drop.
        if self.ticket.is_some_and(|ticket| model.kv().holds(ticket)) {
            model.drop_pending();
        }
        self.in_flight.clear();
        self.done = Some(Done { finish_reason, usage: self.usage, timings: self.timings() });
        step.done = self.done;
        step
    }

    fn timings(&self) -> Timings {
        let (Some(started), Some(prompt_done)) = (self.started, self.prompt_done) else {
            return Timings::default();
        };
        let rate = |tokens: usize, ms: f64| if ms > 0.0 { tokens as f64 * 1e3 / ms } else { 0.0 };
        let prompt_ms = prompt_done - started;
        let decode_ms = (self.last_token - prompt_done).max(0.0);
        let completed = self.usage.completion_tokens;
        Timings {
            prompt_ms,
            first_token_ms: if completed > 0 { prompt_ms } else { 0.0 },
            decode_ms,
            prompt_tokens_per_second: rate(self.usage.prompt_tokens - self.usage.reused_tokens, prompt_ms),
            decode_tokens_per_second: rate(completed.saturating_sub(1), decode_ms),
        }
    }
}

/// Whether the scores are of the kind that was wanted and name only tokens there are.
fn check_scores(scores: &Scores, want: Want, vocab_size: usize) -> Result<()> {
    let inside = |id: u32| (id as usize) < vocab_size;
    let right = match (scores, want) {
        (Scores::Nothing, Want::Nothing) => true,
        (Scores::Argmax(id), Want::Argmax) => inside(*id),
        (Scores::TopK(top), Want::TopK(k)) => {
            top.ids.len() == k && top.logits.len() == k && top.ids.iter().all(|&id| inside(id))
        }
        (Scores::Logits(logits), Want::Logits) => logits.len() == vocab_size,
        _ => false,
    };
    ensure!(
        right,
        Internal,
        "the model was asked for {want:?} of {vocab_size} tokens and gave something else"
    );
    Ok(())
}
