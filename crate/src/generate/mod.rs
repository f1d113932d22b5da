//! From a language model's scores to text: the token loop, one bounded piece of work at a time.
//!
//! | file | what |
//! | --- | --- |
//! | `model` | what the loop needs of a language model |
//! | `kv_cache` | which tokens the cache holds, reuse of a prefix, what happens when it is full |
//! | `logits` | filters on scores: penalties, top-k, top-p, min-p |
//! | `sampler` | options, their checks, and the choice of a token |
//! | `stop` | stop strings in streamed text |
//! | `generator` | the loop |
#![forbid(unsafe_code)]

mod generator;
mod kv_cache;
mod logits;
mod model;
mod sampler;
mod stop;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod generator_tests;
#[cfg(test)]
mod sampler_tests;

pub use generator::{Done, FinishReason, GenerateOptions, Generator, Step, Timings, TokenText, Usage};
pub use kv_cache::{ContextPolicy, KvCache};
pub use model::{Model, NextTokens, Scores, TopScores, Want};
pub use sampler::{Sampled, Sampler, SamplerOptions, TokenLogprob};
pub use stop::{StopStrings, Stopped};
