//! A language model that is ready: its session, its tokenizer, and what its KV cache holds.

use super::generator::{Generator, Step};
use super::kv_cache::KvCache;
use super::logits::{Candidate, top_k};
use super::model::{Model, Scores, TopScores, Want};
use super::sampler::finite_best;
use crate::error::{Result, ensure, fail};
use crate::formats::gguf::Gguf;
use crate::import::arch::LanguageModel;
use crate::session::Session;
use crate::tensor::Tensor;
use crate::text::{Detokenizer, Tokenizer};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The most tokens that are fed in one run of the graph.
const MAX_BATCH: usize = 128;

/// Of which tokens a feed brings back the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The last.
    Last,
    /// Every one.
    All,
}

/// A generation on a [`TextModel`].
pub type Generation = Generator<TextModel>;

/// A language model with its KV cache.
pub struct TextModel {
    session: Session,
    tokenizer: Tokenizer,
    gguf: Gguf,
    kv: KvCache,
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
            kv: KvCache::new(),
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
        self.kv.tokens()
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.kv.truncate(len);
    }

    /// Feeds tokens after those in the cache, at most [`Model::max_batch`]. Returns the scores wanted, f32
    /// `[rows, vocabulary]`.
    pub fn feed_rows(&mut self, ids: &[u32], rows: Rows) -> Result<Tensor> {
        let scores = self.run(ids, self.kv.len(), rows)?;
        self.kv.push(ids);
        Ok(scores)
    }

    /// Runs tokens at a position.
    fn run(&mut self, ids: &[u32], start: usize, rows: Rows) -> Result<Tensor> {
        let end = start + ids.len();
        ensure!(
            end <= self.context_length,
            ContextFull,
            "{end} tokens do not fit a context of {}; load the model with a larger contextLength",
            self.context_length
        );
        ensure!(!ids.is_empty(), InvalidInput, "no tokens were fed; feed at least one");
        let foreign = ids.iter().find(|&&id| id as usize >= self.vocabulary_size);
        if let Some(id) = foreign {
            return fail!(
                InvalidInput,
                "token id {id} is outside the vocabulary of {}",
                self.vocabulary_size
            );
        }
        let tokens: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let last = ids.len() as i32 - 1;
        let rows: Vec<i32> = match rows {
            Rows::Last => vec![last],
            Rows::All => (0..=last).collect(),
        };
        let feeds = vec![
            ("tokens", Tensor::new(&[tokens.len()], &tokens)?),
            ("position", Tensor::new(&[1], &[start as i32])?),
            ("rows", Tensor::new(&[rows.len()], &rows)?),
        ];
        match self.session.run(feeds, &["logits"])?.into_iter().next() {
            Some(scores) => Ok(scores),
            None => fail!(Internal, "the graph gave no logits; please report the model"),
        }
    }
}

impl Model for TextModel {
    type Text = Detokenizer;

    fn push_text(&self, text: &mut Detokenizer, id: u32) -> Result<String> {
        Ok(text.push(self.tokenizer.token_bytes(id)))
    }

    fn finish_text(&self, text: &mut Detokenizer) -> String {
        text.finish()
    }

    fn ends_text(&self, id: u32) -> bool {
        self.tokenizer.ends_text(id)
    }

    fn vocab_size(&self) -> usize {
        self.vocabulary_size
    }

    fn context_len(&self) -> usize {
        self.context_length
    }

    fn max_batch(&self) -> usize {
        MAX_BATCH
    }

    fn kv(&self) -> &KvCache {
        &self.kv
    }

    fn kv_mut(&mut self) -> &mut KvCache {
        &mut self.kv
    }

    async fn feed(&mut self, ids: &[u32], start: usize, want: Want) -> Result<Scores> {
        let scores = self.run(ids, start, Rows::Last)?;
        let logits = scores.data::<f32>()?;
        let all = || (0..).zip(logits.iter().copied()).collect::<Vec<Candidate>>();
        Ok(match want {
            Want::Nothing => Scores::Nothing,
            Want::Argmax => Scores::Argmax(finite_best(&all())?.0),
            Want::TopK(k) => {
                let mut best = all();
                top_k(&mut best, k);
                let (ids, logits) = best.into_iter().unzip();
                Scores::TopK(TopScores { ids, logits })
            }
            Want::Logits => Scores::Logits(logits.to_vec()),
        })
    }
}

impl Generation {
    /// [`step`](Self::step) without waiting, for a session on the CPU never waits.
    pub fn next(&mut self, model: &mut TextModel) -> Result<Step> {
        match pin!(self.step(model)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(step) => step,
            Poll::Pending => fail!(Internal, "the model waits for its device: use step, which can wait"),
        }
    }
}
