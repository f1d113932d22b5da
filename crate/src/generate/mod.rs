//! The token loop: a model with its KV cache, sampling, stop strings, and the generation that ties them.

mod generation;
mod model;
mod sampler;
mod stop;

pub use generation::{Done, FinishReason, Generation, GenerationOptions, OnContextFull, Step};
pub use model::{TextModel, Want};
pub use sampler::{Sampler, SamplerOptions, TokenLogprobs};
