//! Architectures: one file each builds the graph of a model from its configuration.

pub mod llama;

use crate::error::{Result, fail};
use crate::formats::gguf::Gguf;
use crate::graph::Graph;

/// A language model's graph with what the token loop needs to know of it.
pub struct LanguageModel {
    /// Inputs `tokens` i32 `[s]`, `position` i32 `[1]`, `rows` i32 `[n]`. Outputs, of those rows: `logits` f32
    /// `[n, vocabulary]`, `argmax` i32 `[n]`, and the largest logits in order, `top_logits` f32 and `top_ids`
    /// i32 `[n, k]`.
    pub graph: Graph,
    /// Tokens that the KV cache holds.
    pub context_length: usize,
    /// Tokens that the model was trained to look back on.
    pub trained_context_length: usize,
    /// Tokens of the vocabulary.
    pub vocabulary_size: usize,
    /// Layers.
    pub n_layers: usize,
}

/// What the caller asks of a model's graph.
#[derive(Clone, Copy, Debug)]
pub struct ArchOptions {
    /// Tokens that the KV cache shall hold; by default what the model was trained for, up to 4,096.
    pub context_length: Option<usize>,
    /// Whether the KV cache is f32 instead of f16.
    pub exact: bool,
}

type Build = fn(&Gguf, ArchOptions) -> Result<LanguageModel>;

/// The architectures by the name that GGUF files give them.
const ARCHITECTURES: &[(&str, Build)] =
    &[("llama", llama::build), ("qwen2", llama::build), ("qwen3", llama::build), ("smollm3", llama::build)];

/// Builds the graph of the model that a GGUF file describes.
pub fn build(gguf: &Gguf, options: ArchOptions) -> Result<LanguageModel> {
    let name = gguf.str("general.architecture").unwrap_or("");
    match ARCHITECTURES.iter().find(|(known, _)| *known == name) {
        Some((_, build)) => build(gguf, options),
        None => {
            let known: Vec<&str> = ARCHITECTURES.iter().map(|(name, _)| *name).collect();
            fail!(
                UnsupportedFormat,
                "models of architecture '{name}' are not supported yet; supported are {}",
                known.join(", ")
            )
        }
    }
}
