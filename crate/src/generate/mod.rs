//! From a language model's scores to text: the token loop, one bounded piece of work at a time.
//!
//! | file | what |
//! | --- | --- |
//! | `model` | what the loop needs of a language model |
//! | `kv_cache` | which tokens the cache holds, reuse of a prefix, what happens when it is full |
//! | `logits` | filters on scores: penalties, top-k, top-p, min-p |
//! | `sampler` | options, their checks, and the choice of a token |
//! | `draft` | guesses of the next tokens, which are run along |
//! | `stop` | stop strings in streamed text |
//! | `generator` | the loop |
//! | `text_model` | a session with its tokenizer, as the loop's model |
//! | `score` | how likely a given text is |
//! | `later` | the layers of a model that are elsewhere |
#![forbid(unsafe_code)]

mod draft;
mod generator;
mod kv_cache;
mod later;
mod logits;
mod model;
mod sampler;
mod score;
mod stop;
mod text_model;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod generator_tests;
#[cfg(test)]
mod sampler_tests;

pub use generator::{Done, FinishReason, GenerationOptions, Generator, Step};
pub use kv_cache::{KvCache, OnContextFull};
pub use later::{LaterLayers, Layers, PendingRows};
pub use model::{Model, NextTokens, Rows, Scores, TopScores, Want};
pub use sampler::{Sampled, Sampler, SamplerOptions, TokenLogprobs};
pub use score::Scoring;
pub use stop::{StopStrings, Stopped};
pub use text_model::{Generation, TextFacts, TextModel};
