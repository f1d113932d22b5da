//! Architectures: one file each builds the graph of a model from its configuration.

pub mod bert;
pub mod llama;

use crate::error::{Result, fail};
use crate::formats::TensorInfo;
use crate::formats::gguf::Gguf;
use crate::formats::hf_config::HfConfig;
use crate::graph::Graph;
use std::ops::Range;

/// A language model's graph with what the token loop needs to know of it.
pub struct LanguageModel {
    /// Inputs `tokens` i32 `[s]`, `position` i32 `[1]`, `rows` i32 `[n]`. Outputs, of those rows: `hidden` f32
    /// `[n, hidden_dim]`, what the last layer gives; `logits` f32 `[n, vocabulary]`, `argmax` i32 `[n]`, and the largest
    /// logits in order, `top_logits` f32 and `top_ids` i32 `[n, k]`.
    ///
    /// Of a [part](ArchOptions::part) that is not the last, `hidden` is `[s, hidden_dim]`, and the input of that name of the
    /// next part, which takes it instead of `tokens`. What the last part gives is the first one's input `wanted`, of which it
    /// makes the other outputs.
    pub graph: Graph,
    /// Tokens that the KV cache holds.
    pub context_length: usize,
    /// Tokens that the model was trained to look back on.
    pub trained_context_length: usize,
    /// Tokens of the vocabulary.
    pub vocabulary_size: usize,
    /// Layers, those of other parts included.
    pub n_layers: usize,
    /// Elements of a token's activations between layers.
    pub hidden_dim: usize,
    /// The part that the graph is.
    pub part: Part,
}

/// A part of a language model: some of its layers, in order. The first has all that is no layer as well, so that a table
/// that is embedding and head is there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which part, from 0.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Part {
    /// All of a model.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// Whether there are no others.
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// Whether it has the first layer.
    pub fn is_first(self) -> bool {
        self.index == 0
    }

    /// Whether it has the last layer.
    pub fn is_last(self) -> bool {
        self.index + 1 == self.of
    }

    /// Its layers, of a model that has `n`.
    pub fn layers(self, n: usize) -> Range<usize> {
        n * self.index / self.of..n * (self.index + 1) / self.of
    }
}

impl Default for Part {
    fn default() -> Self {
        Self::WHOLE
    }
}

/// What the caller asks of a model's graph.
#[derive(Clone, Copy, Debug)]
pub struct ArchOptions {
    /// Tokens that the KV cache shall hold; by default what the model was trained for, up to 4,096.
    pub context_length: Option<usize>,
    /// Whether the KV cache is f32 instead of f16, of which the CPU makes levels.
    pub exact: bool,
    /// The part of the model that the graph shall be.
    pub part: Part,
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

/// The graph of a model that turns texts into vectors, with what its batches need to know of it.
pub struct EncoderModel {
    /// Inputs `tokens` i32 `[b, s]`, `positions` i32 `[s]`, `mask` f32 `[b, 1, 1, s]` (0, or a large negative number
    /// where a text has ended), `weights` f32 `[b, 1, s]` of the tokens in a text's vector; of a model with
    /// [relative positions](Self::relative) also `buckets` i32 `[s, s]`. Output `pooled` f32 `[b, 1, hidden_dim]`.
    pub graph: Graph,
    /// Elements of a vector.
    pub hidden_dim: usize,
    /// Layers.
    pub n_layers: usize,
    /// Tokens of the vocabulary.
    pub vocabulary_size: usize,
    /// The position of the first token.
    pub first_position: usize,
    /// Tokens that there are positions for.
    pub max_tokens: usize,
    /// How distances between tokens fall into buckets, where the model looks at them.
    pub relative: Option<RelativePositions>,
}

/// Buckets of distances, half of them for each direction: one for each of the first distances, then ever wider ones
/// (Raffel et al. 2020, arXiv:1910.10683).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelativePositions {
    /// How many buckets there are.
    pub n_buckets: usize,
    /// The distance from which on all fall into the last.
    pub max_distance: usize,
}

type BuildEncoder = fn(&HfConfig, &[TensorInfo]) -> Result<EncoderModel>;

/// The encoders by the `model_type` of their config.json.
const ENCODERS: &[(&str, BuildEncoder)] = &[
    ("bert", bert::build),
    ("distilbert", bert::build),
    ("mpnet", bert::build),
    ("roberta", bert::build),
    ("xlm-roberta", bert::build),
];

/// Builds the graph of the encoder that a config.json describes and whose weights these are.
pub fn build_encoder(config: &HfConfig, tensors: &[TensorInfo]) -> Result<EncoderModel> {
    let name = config.str(&["model_type"]).unwrap_or("");
    match ENCODERS.iter().find(|(known, _)| *known == name) {
        Some((_, build)) => build(config, tensors),
        None => {
            let known: Vec<&str> = ENCODERS.iter().map(|(name, _)| *name).collect();
            fail!(
                UnsupportedFormat,
                "safetensors models of the type '{name}' are not supported yet; supported are {}",
                known.join(", ")
            )
        }
    }
}
