//! A language model that is ready: its session, its tokenizer, and what its KV cache holds.

use super::generator::{Generator, Step};
use super::kv_cache::KvCache;
use super::later::{LaterLayers, Pipeline};
use super::model::{Model, NextTokens, Rows, Scores, TopScores, Want};
use crate::backend::{Pending, Profiled};
use crate::error::{Result, ensure, fail};
use crate::formats::TensorInfo;
use crate::formats::gguf::Gguf;
use crate::graph::ValueId;
use crate::session::{Given, Kind, Loaded, Session};
use crate::tensor::Tensor;
use crate::text::{Detokenizer, Tokenizer};
use crate::types::{Bindings, DType};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The most tokens that are fed in one run of the graph.
const MAX_BATCH: usize = 128;

/// The same where layers are in several parts: each waits while the first and the last chunk are elsewhere.
const MAX_BATCH_IN_PARTS: usize = 32;

/// A generation on a [`TextModel`].
pub type Generation = Generator<TextModel>;

/// A language model with its KV cache.
pub struct TextModel {
    session: Session,
    /// The layers that the session does not have.
    later: Option<Pipeline>,
    facts: Rc<TextFacts>,
    kv: KvCache,
    draft_len: usize,
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
        Self::with_later(loaded, None)
    }

    /// The same, of the first part of a model whose `later` layers are elsewhere.
    pub fn with_later(loaded: Loaded, later: Option<Box<dyn LaterLayers>>) -> Result<Self> {
        let Loaded { session, kind, tensors } = loaded;
        let Kind::Language(gguf, model, tokenizer) = kind else {
            return fail!(InvalidInput, "this model turns texts into vectors: use embed()");
        };
        ensure!(
            later.is_some() != model.part.is_whole(),
            Internal,
            "a model in {} parts was loaded, and its later layers {}",
            model.part.of,
            if later.is_some() { "are elsewhere" } else { "are missing" }
        );
        ensure!(
            tokenizer.vocabulary_size() <= model.vocabulary_size,
            Format,
            "the tokenizer has {} tokens, and the model scores {}",
            tokenizer.vocabulary_size(),
            model.vocabulary_size
        );
        let facts = TextFacts {
            tokenizer,
            gguf,
            tensors,
            context_length: model.context_length,
            trained_context_length: model.trained_context_length,
            vocabulary_size: model.vocabulary_size,
            n_layers: model.n_layers,
        };
        let later = later.map(|later| Pipeline::new(later, model.part.of));
        // Products with other weights are summed in another order where there is one row alone.
        let draft_len = if facts.is_quantized() { session.draft_len() } else { 0 };
        let (facts, kv) = (Rc::new(facts), KvCache::new());
        Ok(Self { session, later, facts, kv, draft_len, begun: VecDeque::new() })
    }

    /// What the model is. Clones of this can be read while the model runs.
    pub fn facts(&self) -> &Rc<TextFacts> {
        &self.facts
    }

    /// The session that runs the graph.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What one token launches, before and after those layers that are elsewhere.
    pub fn profile(&mut self) -> Result<[Vec<Profiled>; 2]> {
        let (s, n) = (("s".into(), 1), ("n".into(), 1));
        match self.later {
            None => Ok([self.session.profile(&["argmax"], Bindings::from([s, n]))?, Vec::new()]),
            Some(_) => {
                let before = self.session.profile(&["hidden"], Bindings::from([s]))?;
                Ok([before, self.session.profile(&["argmax"], Bindings::from([n]))?])
            }
        }
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
        let scores = only(self.run(ids, self.kv.len(), rows, &["logits"]).await?)?;
        self.kv.push(ids);
        Ok(scores)
    }

    /// Runs tokens at a position through all layers. Gives outputs for the rows wanted.
    async fn run(&mut self, ids: &[u32], start: usize, rows: Rows, outputs: &[&str]) -> Result<Vec<Tensor>> {
        if self.later.is_none() {
            return self.submit(NextTokens::Ids(ids), start, rows, outputs)?.await;
        }
        self.send(ids, start, rows).await?;
        let Some(later) = &mut self.later else { return fail!(Internal, "the later layers are gone") };
        let wanted = later.last().await?;
        self.session.submit(vec![("wanted", Given::Tensor(wanted))], outputs)?.await
    }

    /// Runs tokens at a position through the layers of the session, and sends on what comes out.
    async fn send(&mut self, ids: &[u32], start: usize, rows: Rows) -> Result<()> {
        let (tokens, n) = self.tokens(NextTokens::Ids(ids), start)?;
        let position = Given::Tensor(Tensor::new(&[1], &[start as i32])?);
        let hidden = self.session.submit(vec![("tokens", tokens), ("position", position)], &["hidden"])?;
        let hidden = only(hidden.await?)?;
        match &mut self.later {
            Some(later) => later.send(start, hidden, rows.of(n)).await,
            None => fail!(Internal, "the model has no later layers"),
        }
    }

    /// Tokens as an input, and how many. Fails for those that do not fit the vocabulary or the context.
    fn tokens(&self, tokens: NextTokens<'_>, start: usize) -> Result<(Given<'static>, usize)> {
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
        Ok((given, n))
    }

    /// Starts a run of tokens at a position, where the session has all layers.
    fn submit(
        &mut self,
        tokens: NextTokens<'_>,
        start: usize,
        rows: Rows,
        outputs: &[&str],
    ) -> Result<Pending> {
        let (tokens, n) = self.tokens(tokens, start)?;
        let position = Tensor::new(&[1], &[start as i32])?;
        let rows = rows.of(n);
        let rows = Tensor::new(&[rows.len()], &rows)?;
        let given =
            vec![("tokens", tokens), ("position", Given::Tensor(position)), ("rows", Given::Tensor(rows))];
        self.session.submit(given, outputs)
    }
}

/// What comes without waiting, as all that a session on the CPU computes.
pub(super) fn ready<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => fail!(Internal, "the model waits for its device: use step, which can wait"),
    }
}

/// The output of a run that has one.
pub(super) fn only(outputs: Vec<Tensor>) -> Result<Tensor> {
    match outputs.into_iter().next() {
        Some(output) => Ok(output),
        None => fail!(Internal, "the graph gave no output; please report the model"),
    }
}

impl TextFacts {
    /// Fails for no tokens, and for one that is outside the vocabulary.
    pub(super) fn check(&self, ids: &[u32]) -> Result<()> {
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

    /// Whether all matrices are in blocks of integers.
    fn is_quantized(&self) -> bool {
        let mut matrices = self.tensors.iter().filter(|tensor| tensor.shape.len() > 1);
        matrices.all(|tensor| matches!(tensor.dtype, Ok(DType::Block(_))))
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
        let most = pending.min(if self.later.is_some() { MAX_BATCH_IN_PARTS } else { MAX_BATCH });
        // Where runs are recorded, few sizes: the powers of two.
        if self.session.pipeline_depth() > 1 { 1 << most.ilog2() } else { most }
    }

    async fn feed(&mut self, ids: &[u32], start: usize, want: Want, rows: Rows) -> Result<Vec<Scores>> {
        let outputs: &[&str] = match want {
            Want::Argmax => &["argmax"],
            Want::TopK(_) => &["top_logits", "top_ids"],
            Want::Nothing => &["hidden"],
            Want::Logits => &["logits"],
        };
        if want == Want::Nothing && self.later.is_some() {
            self.send(ids, start, rows).await?;
            return Ok(vec![Scores::Nothing]);
        }
        let scores = self.run(ids, start, rows, outputs).await?;
        let n = rows.of(ids.len()).len();
        Ok(match (want, &scores[..]) {
            (Want::Nothing, _) => vec![Scores::Nothing],
            (Want::Argmax, [best]) => {
                best.data::<i32>()?.iter().map(|&id| Scores::Argmax(id as u32)).collect()
            }
            (Want::TopK(k), [logits, ids]) => {
                let (logits, ids) = (logits.data::<f32>()?, ids.data::<i32>()?);
                let each = (ids.len() / n).max(1);
                let rows = logits.chunks_exact(each).zip(ids.chunks_exact(each));
                let top = rows.map(|(logits, ids)| TopScores {
                    ids: ids.iter().take(k).map(|&id| id as u32).collect(),
                    logits: logits.iter().take(k).copied().collect(),
                });
                top.map(Scores::TopK).collect()
            }
            (Want::Logits, [logits]) => {
                let rows = logits.data::<f32>()?.chunks_exact(self.facts.vocabulary_size);
                rows.map(|row| Scores::Logits(row.to_vec())).collect()
            }
            _ => return fail!(Internal, "the graph gave {} outputs for {want:?}", scores.len()),
        })
    }

    fn draft_len(&self) -> usize {
        self.draft_len
    }

    async fn settle(&mut self) -> Result<()> {
        match &mut self.later {
            Some(later) => later.settle().await,
            None => Ok(()),
        }
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
        ready(self.step(model))
    }
}
