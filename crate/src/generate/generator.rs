//! The token loop. A [`Generator`] has the tokens of prompt and answer; the model's [`KvCache`] says which
//! of them were run. Each call of [`step`](Generator::step) runs one chunk of those that were not. The
//! chunk that reaches the end gives scores, and a token is chosen; so prefill, decode, the rerun after a
//! context shift, and taking the cache back from another generation are one rule.
//!
//! Where only the argmax matters and the model can run ahead, steps are submitted before those they follow
//! are read; what ran past the end is dead by the cache's bookkeeping. Where a model takes a [draft](super::draft)
//! along, the steps that follow may find their scores there already.

use super::draft::Drafts;
use super::kv_cache::{KvCache, OnContextFull, check_prompt, shift_range};
use super::model::{Model, NextTokens, Rows, Scores, Want};
use super::sampler::{Sampled, Sampler, SamplerOptions, TokenLogprobs};
use super::stop::StopStrings;
use crate::error::{Result, ensure, fail};
use crate::kernels::clock;
use std::collections::VecDeque;

/// What to generate, and when to stop.
#[derive(Clone, Debug)]
pub struct GenerationOptions {
    /// How to choose tokens.
    pub sampler: SamplerOptions,
    /// The most tokens to generate; `None` has no bound. 0 only runs the prompt into the cache.
    pub max_tokens: Option<usize>,
    /// Stop before any of these strings; none may be empty.
    pub stop: Vec<String>,
    /// Take the tokens that end a text as any others.
    pub ignore_eos: bool,
    /// Keep what the cache already holds of the prompt.
    pub reuse_prefix: bool,
    /// What to do when the context is full.
    pub on_context_full: OnContextFull,
}

impl Default for GenerationOptions {
    fn default() -> Self {
        Self {
            sampler: SamplerOptions::default(),
            max_tokens: None,
            stop: Vec::new(),
            ignore_eos: false,
            reuse_prefix: true,
            on_context_full: OnContextFull::Stop,
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

/// How a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Why.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, how many were in the cache already.
    pub reused_tokens: usize,
    /// Tokens of the answer, the one that ends it not counted.
    pub completion_tokens: usize,
    /// Of those, how many a draft had right, which took no run of their own.
    pub drafted_tokens: usize,
}

/// What one call of [`Generator::step`] brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// New text: whole characters, often none. It may lag behind the tokens, where a character or a possible
    /// stop string is not complete.
    pub text: String,
    /// The new token of the answer; none while the prompt runs.
    pub id: Option<u32>,
    /// Its log-probabilities, if asked for.
    pub logprobs: Option<TokenLogprobs>,
    /// Set by the last step.
    pub done: Option<Done>,
}

/// One generation: see the [module](self).
pub struct Generator<M: Model> {
    options: GenerationOptions,
    sampler: Sampler,
    stop: StopStrings,
    text: M::Text,
    /// Prompt and answer, less what a shift forgot. The cache holds a prefix of it.
    tokens: Vec<u32>,
    /// This generation's claim on the cache.
    ticket: Option<u64>,
    /// Lengths of the runs that were begun and not taken, oldest first.
    in_flight: VecDeque<usize>,
    drafts: Drafts,
    cancelled: bool,
    prompt_tokens: usize,
    reused_tokens: usize,
    completion_tokens: usize,
    done: Option<Done>,
}

impl<M: Model> Generator<M> {
    /// An answer to `prompt` that has yet to begin.
    ///
    /// # Errors
    /// `InvalidInput` for an empty prompt, an id outside the vocabulary, or an option out of range;
    /// `ContextFull` for a prompt longer than the context.
    pub fn new(model: &M, prompt: &[u32], options: GenerationOptions) -> Result<Self> {
        check_prompt(prompt, model.context_len(), model.vocab_size())?;
        let mut sampler = Sampler::new(options.sampler.clone())?;
        prompt.iter().for_each(|&id| sampler.accept(id));
        let stop = StopStrings::new(options.stop.clone())?;
        Ok(Self {
            sampler,
            stop,
            text: M::Text::default(),
            prompt_tokens: prompt.len(),
            reused_tokens: 0,
            completion_tokens: 0,
            tokens: prompt.to_vec(),
            options,
            ticket: None,
            in_flight: VecDeque::new(),
            drafts: Drafts::new(),
            cancelled: false,
            done: None,
        })
    }

    /// Makes the next call of `step` the last, with the finish reason "cancelled". Dropping the generator
    /// cancels as well; either way the cache keeps what was run.
    pub fn cancel(&mut self) {
        self.cancelled = true;
    }

    /// Does one bounded piece of work: a chunk of the prompt, or one token. After the end it gives the end
    /// again. `model` is the one that the generator was made for.
    ///
    /// An error ends the generation as the model ends it, and empties the cache. A future that is dropped
    /// before it is done costs nothing but the work.
    pub async fn step(&mut self, model: &mut M) -> Result<Step> {
        if self.done.is_some() {
            return Ok(Step { done: self.done, ..Step::default() });
        }
        if self.cancelled {
            return Ok(self.finish(model, FinishReason::Cancelled, Step::default()));
        }
        let step = self.advance(model).await;
        if step.is_err() {
            self.in_flight.clear();
            self.drafts.forget();
            model.drop_pending();
            model.kv_mut().clear();
        }
        step
    }

    async fn advance(&mut self, model: &mut M) -> Result<Step> {
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
        let last_id = self.tokens[self.tokens.len() - 1];
        if let Some(scores) = self.drafts.next(last_id) {
            model.kv_mut().push(&[last_id]);
            let sampled = self.sampler.sample(&scores)?;
            return self.accept(model, sampled);
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
        if choose && take == 1 {
            let sampled = self.run_with_draft(model, want).await?;
            return self.accept(model, sampled);
        }
        let chunk = &self.tokens[start..start + take];
        let scores = model.feed(chunk, start, want, Rows::Last).await?;
        check_scores(&scores, want, 1, model.vocab_size())?;
        model.kv_mut().push(chunk);
        if choose {
            let sampled = self.sampler.sample(&scores[0])?;
            return self.accept(model, sampled);
        }
        if last {
            model.settle().await?;
            return Ok(self.finish(model, FinishReason::Length, Step::default()));
        }
        Ok(Step::default())
    }

    /// Makes the cache hold a prefix of this generation's tokens and nothing else, which it does unless
    /// this is the first step, or another generation came between.
    fn hold_cache(&mut self, model: &mut M) {
        let first = self.ticket.is_none();
        if !self.ticket.is_some_and(|ticket| model.kv().holds(ticket)) {
            self.in_flight.clear();
            self.drafts.forget();
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
                self.reused_tokens = kv.len();
            }
        }
        if self.in_flight.is_empty() {
            model.drop_pending();
        }
    }

    /// Forgets the older half of a full context.
    fn shift(&mut self, model: &mut M) -> Result<()> {
        if self.options.on_context_full == OnContextFull::Stop {
            return Ok(());
        }
        let range = shift_range(model.context_len());
        self.tokens.drain(range.clone());
        if model.kv().len() >= range.end && model.shift(range.start, range.len())? {
            model.kv_mut().remove(range);
        } else {
            model.kv_mut().truncate(range.start);
        }
        Ok(())
    }

    /// Runs the last token, and a draft of what may follow.
    async fn run_with_draft(&mut self, model: &mut M, want: Want) -> Result<Sampled> {
        let start = model.kv().len();
        let wanted = self.options.max_tokens.map_or(usize::MAX, |max| max - self.completion_tokens - 1);
        let most = match want {
            // How many of the best must be known depends on what was chosen before.
            Want::TopK(_) => 0,
            _ => model.draft_len().min(model.context_len() - start - 1).min(wanted),
        };
        let draft = self.drafts.draft(&self.tokens, most);
        let mut chunk = self.tokens[start..].to_vec();
        chunk.extend(&draft);
        let begun = clock::now();
        let scores = model.feed(&chunk, start, want, Rows::All).await?;
        check_scores(&scores, want, chunk.len(), model.vocab_size())?;
        model.kv_mut().push(&chunk[..1]);
        let mut scores = scores.into_iter();
        let Some(first) = scores.next() else { return fail!(Internal, "a run gave no scores") };
        self.drafts.ran(draft, scores, clock::now() - begun);
        self.sampler.sample(&first)
    }

    /// Submits steps up to the model's depth, the first of `take` tokens, and reads the oldest.
    async fn run_ahead(&mut self, model: &mut M, take: usize) -> Result<u32> {
        // Out of `self` for as long as the count may be wrong: if this future is dropped, what is in flight
        // is forgotten.
        let mut in_flight = std::mem::take(&mut self.in_flight);
        let start = model.kv().len();
        if in_flight.is_empty() {
            model.begin(NextTokens::Ids(&self.tokens[start..start + take]), start)?;
            in_flight.push_back(take);
        }
        let wanted = self.options.max_tokens.map_or(usize::MAX, |max| max - self.completion_tokens);
        while in_flight.len() < model.pipeline_depth().min(wanted) {
            let at = start + in_flight.iter().sum::<usize>();
            if at >= model.context_len() {
                break;
            }
            model.begin(NextTokens::Previous, at)?;
            in_flight.push_back(1);
        }
        let id = model.take_argmax().await?;
        check_scores(&[Scores::Argmax(id)], Want::Argmax, 1, model.vocab_size())?;
        let ran = in_flight.pop_front().unwrap_or(0);
        model.kv_mut().push(&self.tokens[start..start + ran]);
        self.in_flight = in_flight;
        Ok(id)
    }

    /// Takes a chosen token into the answer.
    fn accept(&mut self, model: &mut M, sampled: Sampled) -> Result<Step> {
        let id = sampled.id;
        if !self.options.ignore_eos && model.ends_text(id) {
            return Ok(self.finish(model, FinishReason::Stop, Step::default()));
        }
        self.tokens.push(id);
        self.sampler.accept(id);
        self.completion_tokens += 1;
        let passed = self.stop.push(&model.push_text(&mut self.text, id)?);
        let step = Step { text: passed.text, id: Some(id), logprobs: sampled.logprob, done: None };
        if passed.stopped {
            return Ok(self.end(model, FinishReason::Stop, step));
        }
        if self.options.max_tokens.is_some_and(|max| self.completion_tokens >= max) {
            return Ok(self.finish(model, FinishReason::Length, step));
        }
        let full = self.tokens.len() > model.context_len();
        if full && self.options.on_context_full == OnContextFull::Stop {
            return Ok(self.finish(model, FinishReason::Context, step));
        }
        Ok(step)
    }

    /// The last step, with the text that was held back.
    fn finish(&mut self, model: &mut M, mut reason: FinishReason, mut step: Step) -> Step {
        let passed = self.stop.push(&model.finish_text(&mut self.text));
        step.text += &passed.text;
        if passed.stopped {
            reason = FinishReason::Stop;
        } else {
            step.text += &self.stop.finish();
        }
        self.end(model, reason, step)
    }

    fn end(&mut self, model: &mut M, reason: FinishReason, mut step: Step) -> Step {
        // Another generation's steps are not this one's to drop.
        if self.ticket.is_some_and(|ticket| model.kv().holds(ticket)) {
            model.drop_pending();
        }
        self.in_flight.clear();
        self.done = Some(Done {
            reason,
            prompt_tokens: self.prompt_tokens,
            reused_tokens: self.reused_tokens,
            completion_tokens: self.completion_tokens,
            drafted_tokens: self.drafts.total(),
        });
        step.done = self.done;
        step
    }
}

/// Whether there are so many scores, of the kind that was wanted, and they name only tokens there are.
fn check_scores(scores: &[Scores], want: Want, rows: usize, vocab_size: usize) -> Result<()> {
    let inside = |id: u32| (id as usize) < vocab_size;
    let is_right = |scores: &Scores| match (scores, want) {
        (Scores::Nothing, Want::Nothing) => true,
        (Scores::Argmax(id), Want::Argmax) => inside(*id),
        (Scores::TopK(top), Want::TopK(k)) => {
            top.ids.len() == k && top.logits.len() == k && top.ids.iter().all(|&id| inside(id))
        }
        (Scores::Logits(logits), Want::Logits) => logits.len() == vocab_size,
        _ => false,
    };
    ensure!(
        scores.len() == rows && scores.iter().all(is_right),
        Internal,
        "the model was asked for {want:?} of {vocab_size} tokens, {rows} times, and gave something else"
    );
    Ok(())
}
