//! A language model that is ready: its session, its tokenizer, and what its KV cache holds.

use super::generator::{Generator, Step};
use super::kv_cache::KvCache;
use super::model::{Model, NextTokens, Scores, TopScores, Want};
use crate::backend::{Pending, Profiled};
use crate::error::{Result, ensure, fail};
use crate::formats::TensorInfo;
use crate::formats::gguf::Gguf;
use crate::graph::ValueId;
use crate::session::{Given, Kind, Loaded, Session};
use crate::tensor::Tensor;
use crate::text::{Detokenizer, Tokenizer};
use crate::types::Bindings;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
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
    facts: Rc<TextFacts>,
    kv: KvCache,
    /// Steps that were begun and not taken, oldest first.
    begun: VecDeque<Pending>,
}

/// What a language model is, whatever it is doing.
pub struct TextFacts {
    tokenizer: Tokenizer,
    gguf: Gguf,
    tensors: Vec<TensorInfo>,
    context_length: usize,
    trained_context_length: usize,
    vocabulary_size: usize,
    n_layers: usize,
}

impl TextModel {
    /// The model that was loaded. Fails when its tokenizer has more tokens than its graph has scores.
    pub fn new(loaded: Loaded) -> Result<Self> {
        let Loaded { session, tokenizer, kind, tensors } = loaded;
        let Kind::Language(mut gguf, model) = kind else {
            return fail!(InvalidInput, "this model turns texts into vectors: use embed()");
        };
        ensure!(
            tokenizer.vocabulary_size() <= model.vocabulary_size,
            Format,
            "the tokenizer has {} tokens, and the model scores {}",
            tokenizer.vocabulary_size(),
            model.vocabulary_size
        );
        // The tokenizer has taken these over; they are the bulk of the metadata.
        gguf.metadata.retain(|key, _| !key.starts_with("tokenizer.ggml.") || key.ends_with("_id"));
        let facts = TextFacts {
            tokenizer,
            gguf,
            tensors,
            context_length: model.context_length,
            trained_context_length: model.trained_context_length,
            vocabulary_size: model.vocabulary_size,
            n_layers: model.n_layers,
        };
        Ok(Self { session, facts: Rc::new(facts), kv: KvCache::new(), begun: VecDeque::new() })
    }

    /// What the model is. Clones of this can be read while the model runs.
    pub fn facts(&self) -> &Rc<TextFacts> {
        &self.facts
    }

    /// The session that runs the graph.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What one token launches.
    pub fn profile(&mut self) -> Result<Vec<Profiled>> {
        self.session.profile(&["argmax"], Bindings::from([("s".into(), 1), ("n".into(), 1)]))
    }

    /// The tokens in the KV cache.
    pub fn cached(&self) -> &[u32] {
        self.kv.tokens()
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        self.kv.truncate(len);
    }

    /// Feeds tokens after those in the cache, at most [`Model::max_batch`]. Gives the scores wanted, f32
    /// `[rows, vocabulary]`.
    pub async fn feed_rows(&mut self, ids: &[u32], rows: Rows) -> Result<Tensor> {
        let scores = self.submit(NextTokens::Ids(ids), self.kv.len(), rows, &["logits"])?;
        let scores = only(scores.await?)?;
        self.kv.push(ids);
        Ok(scores)
    }

    /// Starts a run of tokens at a position.
    fn submit(
        &mut self,
        tokens: NextTokens<'_>,
        start: usize,
        rows: Rows,
        outputs: &[&str],
    ) -> Result<Pending> {
        let (given, n) = match tokens {
            NextTokens::Ids(ids) => {
                self.facts.check(ids)?;
                let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
                (Given::Tensor(Tensor::new(&[ids.len()], &ids)?), ids.len())
            }
            NextTokens::Previous => (Given::Previous("argmax", vec![1]), 1),
        };
        let (end, context) = (start + n, self.facts.context_length);
        ensure!(
            end <= context,
            ContextFull,
            "{end} tokens do not fit a context of {context}; load the model with a larger contextLength"
        );
        let last = n as i32 - 1;
        let rows: Vec<i32> = match rows {
            Rows::Last => vec![last],
            Rows::All => (0..=last).collect(),
        };
        let position = Tensor::new(&[1], &[start as i32])?;
        let rows = Tensor::new(&[rows.len()], &rows)?;
        let given =
            vec![("tokens", given), ("position", Given::Tensor(position)), ("rows", Given::Tensor(rows))];
        self.session.submit(given, outputs)
    }
}

/// The output of a run that has one.
fn only(outputs: Vec<Tensor>) -> Result<Tensor> {
    match outputs.into_iter().next() {
        Some(output) => Ok(output),
        None => fail!(Internal, "the graph gave no output; please report the model"),
    }
}

impl TextFacts {
    /// Fails for no tokens, and for one that is outside the vocabulary.
    fn check(&self, ids: &[u32]) -> Result<()> {
        ensure!(!ids.is_empty(), InvalidInput, "no tokens were fed; feed at least one");
        match ids.iter().find(|&&id| id as usize >= self.vocabulary_size) {
            Some(id) => {
                fail!(InvalidInput, "token id {id} is outside the vocabulary of {}", self.vocabulary_size)
            }
            None => Ok(()),
        }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The file's header, less what the tokenizer was made of.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// Bytes of the weights, as the file has them.
    pub fn n_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.n_bytes).sum()
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
        self.tensors.iter().map(|t| t.shape.iter().map(|&d| d as u64).product::<u64>()).sum()
    }

    /// The name of the type that most of the weights' bytes have: `q4_1`.
    pub fn quantization(&self) -> String {
        let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
        for tensor in &self.tensors {
            let name = tensor.dtype.map_or_else(str::to_lowercase, |dtype| dtype.to_string());
            *bytes.entry(name).or_default() += tensor.n_bytes;
        }
        bytes.into_iter().max_by_key(|(_, n)| *n).map(|(name, _)| name).unwrap_or_default()
    }
}

impl Model for TextModel {
    type Text = Detokenizer;

    fn push_text(&self, text: &mut Detokenizer, id: u32) -> Result<String> {
        Ok(text.push(self.facts.tokenizer.token_bytes(id)))
    }

    fn finish_text(&self, text: &mut Detokenizer) -> String {
        text.finish()
    }

    fn ends_text(&self, id: u32) -> bool {
        self.facts.tokenizer.ends_text(id)
    }

    fn vocab_size(&self) -> usize {
        self.facts.vocabulary_size
    }

    fn context_len(&self) -> usize {
        self.facts.context_length
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

    fn chunk_len(&self, pending: usize) -> usize {
        let most = pending.min(MAX_BATCH);
        // Where runs are recorded, few sizes: the powers of two.
        if self.session.pipeline_depth() > 1 { 1 << most.ilog2() } else { most }
    }

    async fn feed(&mut self, ids: &[u32], start: usize, want: Want) -> Result<Scores> {
        let outputs: &[&str] = match want {
            Want::Argmax => &["argmax"],
            Want::TopK(_) => &["top_logits", "top_ids"],
            Want::Nothing | Want::Logits => &["logits"],
        };
        let scores = self.submit(NextTokens::Ids(ids), start, Rows::Last, outputs)?.await?;
        Ok(match (want, &scores[..]) {
            (Want::Nothing, _) => Scores::Nothing,
            (Want::Argmax, [best]) => Scores::Argmax(id(best)?),
            (Want::TopK(k), [logits, ids]) => Scores::TopK(TopScores {
                ids: ids.data::<i32>()?.iter().take(k).map(|&id| id as u32).collect(),
                logits: logits.data::<f32>()?.iter().take(k).copied().collect(),
            }),
            (Want::Logits, [logits]) => Scores::Logits(logits.data::<f32>()?.to_vec()),
            _ => return fail!(Internal, "the graph gave {} outputs for {want:?}", scores.len()),
        })
    }

    fn max_top_k(&self) -> usize {
        // Where nothing must come back from a device, the sampler chooses from all logits.
        let output = |(name, id): &(std::sync::Arc<str>, ValueId)| (&**name == "top_ids").then_some(*id);
        let graph = self.session.graph();
        let k =
            graph.outputs().iter().find_map(output).and_then(|id| graph.ty(id).ok()?.shape.0.last()?.known());
        if self.session.pipeline_depth() > 1 { k.unwrap_or(0) } else { 0 }
    }

    fn pipeline_depth(&self) -> usize {
        self.session.pipeline_depth()
    }

    fn begin(&mut self, tokens: NextTokens<'_>, start: usize) -> Result<()> {
        let pending = self.submit(tokens, start, Rows::Last, &["argmax"])?;
        self.begun.push_back(pending);
        Ok(())
    }

    async fn take_argmax(&mut self) -> Result<u32> {
        match self.begun.pop_front() {
            Some(pending) => id(&only(pending.await?)?),
            None => fail!(Internal, "no step was begun"),
        }
    }

    fn drop_pending(&mut self) {
        self.begun.clear();
    }
}

/// The one id that an argmax gave.
fn id(argmax: &Tensor) -> Result<u32> {
    match argmax.data::<i32>()? {
        &[id] => Ok(id as u32),
        ids => fail!(Internal, "an argmax of one row gave {} ids", ids.len()),
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
