//! One generation, step by step. Each step is a bounded piece of work: one batch of the prompt, or one token.
//! The generation keeps all its tokens; a step first brings the model's KV cache up to them, so that reuse of
//! an earlier prompt, a cancelled prefill and a shifted context are all the same case.

#![forbid(unsafe_code)]

use super::model::{TextModel, Want};
use super::sampler::{Sampler, SamplerOptions, TokenLogprobs};
use super::stop::StopStrings;
use crate::error::{Result, ensure};
use crate::text::Detokenizer;

/// What happens when the context is full before the answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnContextFull {
    /// The answer ends there.
    #[default]
    Stop,
    /// The older half of what lies between the prompt's first quarter and the end is forgotten.
    Shift,
}

/// What to generate.
#[derive(Clone, Debug, Default)]
pub struct GenerationOptions {
    /// How tokens are drawn.
    pub sampler: SamplerOptions,
    /// The most tokens of the answer; `None` for as many as the context holds.
    pub max_tokens: Option<usize>,
    /// Strings that end the answer.
    pub stop: Vec<String>,
    /// Whether the model's own end is passed over.
    pub ignore_eos: bool,
    /// Whether a common beginning with the last prompt is kept in the cache.
    pub reuse_prefix: bool,
    /// What happens when the context is full.
    pub on_context_full: OnContextFull,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the API's")]
pub enum FinishReason {
    Stop,
    Length,
    Context,
}

impl FinishReason {
    /// The name that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Context => "context",
        }
    }
}

/// The end of a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them that were in the cache already.
    pub reused_tokens: usize,
    /// Tokens of the answer.
    pub completion_tokens: usize,
}

/// What one step gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Text that is whole characters and no part of a stop string.
    pub text: String,
    /// The token, where the step made one.
    pub id: Option<u32>,
    /// Its log-probabilities, where they were asked for.
    pub logprobs: Option<TokenLogprobs>,
    /// The end.
    pub done: Option<Done>,
}

/// A generation under way.
pub struct Generation {
    options: GenerationOptions,
    sampler: Sampler,
    stop: StopStrings,
    detokenizer: Detokenizer,
    /// The prompt and the answer so far, less what a shift forgot.
    ids: Vec<u32>,
    prompt_tokens: usize,
    reused_tokens: usize,
    completion_tokens: usize,
    /// What penalties look at: the prompt and the answer, whole.
    said: Vec<u32>,
    finished: bool,
}

impl Generation {
    /// Begins an answer to `prompt`. Fails when the prompt is empty or does not fit the context, or an option
    /// is out of its range.
    pub fn new(model: &mut TextModel, prompt: &[u32], options: GenerationOptions) -> Result<Self> {
        ensure!(!prompt.is_empty(), InvalidInput, "the prompt has no tokens: give at least one character");
        ensure!(
            prompt.len() < model.context_length(),
            ContextFull,
            "the prompt has {} tokens, and the context holds {} with room for one more: shorten the prompt or load \
             the model with a larger contextLength (up to {})",
            prompt.len(),
            model.context_length(),
            model.trained_context_length()
        );
        if !options.reuse_prefix {
            model.truncate(0);
        }
        // The last token is fed again in any case: its scores are wanted.
        let reused_tokens = common_prefix(model.cached(), prompt).min(prompt.len() - 1);
        model.truncate(reused_tokens);
        Ok(Self {
            sampler: Sampler::new(options.sampler.clone())?,
            stop: StopStrings::new(options.stop.clone()),
            options,
            detokenizer: Detokenizer::default(),
            ids: prompt.to_vec(),
            prompt_tokens: prompt.len(),
            reused_tokens,
            completion_tokens: 0,
            said: prompt.to_vec(),
            finished: false,
        })
    }

    /// Does the next piece of work. After the end every step is empty, with the same end.
    pub fn next(&mut self, model: &mut TextModel) -> Result<Step> {
        if self.options.max_tokens == Some(self.completion_tokens) {
            return Ok(self.end(FinishReason::Length, String::new()));
        }
        if self.finished {
            return Ok(self.end(FinishReason::Stop, String::new()));
        }
        if self.ids.len() > model.context_length() {
            match self.options.on_context_full {
                OnContextFull::Stop => return Ok(self.end(FinishReason::Context, String::new())),
                OnContextFull::Shift => self.shift(),
            }
        }
        let kept = common_prefix(model.cached(), &self.ids).min(self.ids.len() - 1);
        model.truncate(kept);
        let pending = &self.ids[kept..];
        let batch = &pending[..pending.len().min(model.max_batch())];
        if batch.len() < pending.len() {
            model.feed(batch, Want::Nothing)?;
            return Ok(Step::default());
        }
        let scores = model.feed(batch, Want::Last)?;
        let scores = scores.as_ref().map_or(Ok(&[][..]), |s| s.data::<f32>())?;
        ensure!(
            scores.iter().any(|s| s.is_finite()),
            Internal,
            "the model's scores are not numbers: load it with device \"cpu\" or exact: true, and report the model"
        );
        let (id, logprobs) = self.sampler.sample(scores, &self.said);
        if model.tokenizer().ends_text(id) && !self.options.ignore_eos {
            return Ok(self.end(FinishReason::Stop, String::new()));
        }
        self.ids.push(id);
        self.said.push(id);
        self.completion_tokens += 1;
        let text = self.detokenizer.push(model.tokenizer().token_bytes(id));
        let (text, stopped) = self.stop.push(&text);
        if stopped {
            self.finished = true;
            return Ok(Step { id: Some(id), logprobs, ..self.end(FinishReason::Stop, text) });
        }
        if self.options.max_tokens == Some(self.completion_tokens) {
            return Ok(Step { id: Some(id), logprobs, ..self.end(FinishReason::Length, text) });
        }
        Ok(Step { text, id: Some(id), logprobs, done: None })
    }

    /// Forgets the older half of what follows the first quarter.
    fn shift(&mut self) {
        let first = self.ids.len() / 4;
        let middle = first + (self.ids.len() - first) / 2;
        self.ids.drain(first..middle);
    }

    fn end(&mut self, reason: FinishReason, mut text: String) -> Step {
        if !self.finished {
            let rest = self.detokenizer.finish();
            let (shown, _) = self.stop.push(&rest);
            text.push_str(&shown);
            text.push_str(&self.stop.finish());
        }
        self.finished = true;
        let done = Done {
            reason,
            prompt_tokens: self.prompt_tokens,
            reused_tokens: self.reused_tokens,
            completion_tokens: self.completion_tokens,
        };
        Step { text, done: Some(done), ..Step::default() }
    }
}

/// How many tokens two sequences begin with alike.
fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
