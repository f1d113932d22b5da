//! A language model that is ready: its session, its tokenizer, and what its KV cache holds.

#![forbid(unsafe_code)]

use crate::error::{Result, ensure, fail};
use crate::formats::gguf::Gguf;
use crate::import::arch::LanguageModel;
use crate::session::Session;
use crate::tensor::Tensor;
use crate::text::Tokenizer;
use std::collections::BTreeMap;

/// The most tokens that are fed in one run of the graph.
const MAX_BATCH: usize = 128;

/// Which scores a feed brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// None: the tokens only go into the cache.
    Nothing,
    /// Those after the last token.
    Last,
    /// Those after every token.
    All,
}

/// A language model with its KV cache.
pub struct TextModel {
    session: Session,
    tokenizer: Tokenizer,
    gguf: Gguf,
    /// The tokens that the KV cache holds, in order.
    cached: Vec<u32>,
    context_length: usize,
    trained_context_length: usize,
    vocabulary_size: usize,
    n_layers: usize,
}

impl TextModel {
    /// A model of its parts. Fails when the tokenizer has more tokens than the graph has scores.
    pub fn new(
        session: Session,
        tokenizer: Tokenizer,
        mut gguf: Gguf,
        model: &LanguageModel,
    ) -> Result<Self> {
        ensure!(
            tokenizer.vocabulary_size() <= model.vocabulary_size,
            Format,
            "the tokenizer has {} tokens, and the model scores {}",
            tokenizer.vocabulary_size(),
            model.vocabulary_size
        );
        // The tokenizer has taken these over; they are the bulk of the metadata.
        gguf.metadata.retain(|key, _| !key.starts_with("tokenizer.ggml.") || key.ends_with("_id"));
        Ok(Self {
            session,
            tokenizer,
            gguf,
            cached: Vec::new(),
            context_length: model.context_length,
            trained_context_length: model.trained_context_length,
            vocabulary_size: model.vocabulary_size,
            n_layers: model.n_layers,
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The session that runs the graph.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The file's header, less what the tokenizer was made of.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// Tokens that the KV cache holds at most.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// Tokens that the model was trained to look back on.
    pub fn trained_context_length(&self) -> usize {
        self.trained_context_length
    }

    /// Scores per token.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// Layers.
    pub fn n_layers(&self) -> usize {
        self.n_layers
    }

    /// The weights' values, counted.
    pub fn n_parameters(&self) -> u64 {
        self.gguf.tensors.iter().map(|t| t.shape.iter().map(|&d| d as u64).product::<u64>()).sum()
    }

    /// The name of the type that most of the weights' bytes have: `q4_1`.
    pub fn quantization(&self) -> String {
        let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
        for tensor in &self.gguf.tensors {
            let name = tensor.dtype.map_or_else(str::to_lowercase, |dtype| dtype.to_string());
            *bytes.entry(name).or_default() += tensor.n_bytes;
        }
        bytes.into_iter().max_by_key(|(_, n)| *n).map(|(name, _)| name).unwrap_or_default()
    }

    /// The tokens in the KV cache.
    pub fn cached(&self) -> &[u32] {
        &self.cached
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.cached.truncate(len);
    }

    /// Feeds tokens after those in the cache, at most [`Self::max_batch`]. Returns the scores wanted, f32
    /// `[rows, vocabulary]`.
    pub fn feed(&mut self, ids: &[u32], want: Want) -> Result<Option<Tensor>> {
        let position = self.cached.len();
        ensure!(
            position + ids.len() <= self.context_length,
            ContextFull,
            "{} tokens do not fit a context of {}",
            position + ids.len(),
            self.context_length
        );
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.vocabulary_size) {
            return fail!(
                InvalidInput,
                "the token {id} is outside the vocabulary of {}",
                self.vocabulary_size
            );
        }
        if ids.is_empty() {
            return fail!(InvalidInput, "no tokens were fed");
        }
        let tokens: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let last = ids.len() as i32 - 1;
        let rows: Vec<i32> = match want {
            Want::Nothing | Want::Last => vec![last],
            Want::All => (0..=last).collect(),
        };
        let feeds = vec![
            ("tokens", Tensor::new(&[tokens.len()], &tokens)?),
            ("position", Tensor::new(&[1], &[position as i32])?),
            ("rows", Tensor::new(&[rows.len()], &rows)?),
        ];
        let scores = self.session.run(feeds, &["logits"])?;
        self.cached.extend_from_slice(ids);
        Ok(scores.into_iter().next().filter(|_| want != Want::Nothing))
    }

    /// The most tokens of one feed.
    pub fn max_batch(&self) -> usize {
        MAX_BATCH
    }
}
