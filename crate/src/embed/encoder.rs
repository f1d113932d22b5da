//! A model that turns texts into vectors: its session, its tokenizer, and how tokens become one vector.

use super::batches::{Batch, batches};
use crate::error::{Result, ensure, fail};
use crate::formats::TensorInfo;
use crate::formats::hf_config::{HfConfig, Pooling};
use crate::import::arch::{EncoderModel, RelativePositions};
use crate::session::{Kind, Loaded, Session};
use crate::tensor::Tensor;
use crate::text::Tokenizer;
use std::rc::Rc;

/// What is added to the score of a position behind a text's end: its share is then 0.
const MASKED: f32 = -1e9;

/// How a caller wants vectors made, where not as the model's files say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbedOptions {
    /// How the vectors of tokens become one.
    pub pooling: Option<Pooling>,
    /// Whether vectors get the length 1.
    pub normalize: Option<bool>,
}

/// An encoder that is ready.
pub struct Encoder {
    session: Session,
    facts: Rc<EncoderFacts>,
}

/// What an encoder is, whatever it is doing.
pub struct EncoderFacts {
    tokenizer: Tokenizer,
    config: HfConfig,
    tensors: Vec<TensorInfo>,
    model: EncoderModel,
    max_tokens: usize,
}

/// Texts on their way to vectors.
pub struct Embedding {
    ids: Vec<Vec<u32>>,
    batches: std::vec::IntoIter<Batch>,
    pooling: Pooling,
    normalize: bool,
    /// `[texts, hidden_dim]`.
    vectors: Vec<f32>,
}

impl Embedding {
    /// The vectors, f32 `[texts, hidden_dim]`: zeros where a text's turn has not come.
    pub fn into_vectors(self) -> Vec<f32> {
        self.vectors
    }
}

impl Encoder {
    /// The encoder that was loaded. Fails for a model of another kind.
    pub fn new(loaded: Loaded) -> Result<Self> {
        let Loaded { session, kind, tensors } = loaded;
        let Kind::Encoder(config, model, tokenizer) = kind else {
            return fail!(InvalidInput, "this is a language model: it is used by chat() and complete()");
        };
        let around = tokenizer.prefix().len() + tokenizer.suffix().len();
        let max_tokens = config.max_tokens().unwrap_or(model.max_tokens).min(model.max_tokens);
        ensure!(
            max_tokens > around,
            Format,
            "the model takes {max_tokens} tokens, which leaves none for a text"
        );
        let facts = EncoderFacts { tokenizer, config, tensors, model, max_tokens };
        Ok(Self { session, facts: Rc::new(facts) })
    }

    /// What the model is. Clones of this can be read while the model runs.
    pub fn facts(&self) -> &Rc<EncoderFacts> {
        &self.facts
    }

    /// The session that runs the graph.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Begins to make vectors of texts; a text longer than the model takes is cut.
    pub fn begin(&self, texts: &[String], options: EmbedOptions) -> Embedding {
        let facts = &self.facts;
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| facts.ids(text)).collect();
        let lens: Vec<usize> = ids.iter().map(Vec::len).collect();
        Embedding {
            vectors: vec![0.0; ids.len() * facts.model.hidden_dim],
            ids,
            batches: batches(&lens).into_iter(),
            pooling: options.pooling.unwrap_or(facts.config.pooling()),
            normalize: options.normalize.unwrap_or(facts.config.normalizes()),
        }
    }

    /// Runs the next batch and says whether there was one.
    pub async fn step(&mut self, work: &mut Embedding) -> Result<bool> {
        let Some(batch) = work.batches.next() else { return Ok(false) };
        let (n, len) = (batch.texts.len(), batch.len);
        let mut tokens = vec![0i32; n * len];
        let (mut mask, mut weights) = (vec![MASKED; n * len], vec![0.0f32; n * len]);
        for (row, &text) in batch.texts.iter().enumerate() {
            let ids = &work.ids[text];
            let own = row * len..row * len + ids.len();
            tokens[own.clone()].iter_mut().zip(ids).for_each(|(token, id)| *token = *id as i32);
            mask[own.clone()].fill(0.0);
            let weights = &mut weights[own];
            match work.pooling {
                Pooling::Mean => weights.fill(1.0 / ids.len() as f32),
                Pooling::MeanSqrt => weights.fill(1.0 / (ids.len() as f32).sqrt()),
                Pooling::Cls => weights[0] = 1.0,
                Pooling::Last => weights[ids.len() - 1] = 1.0,
            }
        }
        let first = self.facts.model.first_position;
        let positions: Vec<i32> = (first..first + len).map(|position| position as i32).collect();
        let mut feeds = vec![
            ("tokens", Tensor::new(&[n, len], &tokens)?),
            ("positions", Tensor::new(&[len], &positions)?),
            ("mask", Tensor::new(&[n, 1, 1, len], &mask)?),
            ("weights", Tensor::new(&[n, 1, len], &weights)?),
        ];
        if let Some(relative) = self.facts.model.relative {
            feeds.push(("buckets", Tensor::new(&[len, len], &relative.buckets(len))?));
        }
        let pooled = self.session.run(feeds, &["pooled"]).await?;
        let dim = self.facts.model.hidden_dim;
        let pooled = match &pooled[..] {
            [pooled] => pooled.data::<f32>()?,
            _ => return fail!(Internal, "the encoder gave {} outputs", pooled.len()),
        };
        for (&text, vector) in batch.texts.iter().zip(pooled.chunks_exact(dim)) {
            let out = &mut work.vectors[text * dim..][..dim];
            out.copy_from_slice(vector);
            if work.normalize {
                let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
                out.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
            }
        }
        Ok(true)
    }

    /// The vectors of texts, f32 `[texts, hidden_dim]`.
    pub async fn embed(&mut self, texts: &[String], options: EmbedOptions) -> Result<Vec<f32>> {
        let mut work = self.begin(texts, options);
        while self.step(&mut work).await? {}
        Ok(work.into_vectors())
    }
}

impl EncoderFacts {
    /// The ids of a text between those that the model wants around it, cut to what the model takes.
    fn ids(&self, text: &str) -> Vec<u32> {
        let (prefix, suffix) = (self.tokenizer.prefix(), self.tokenizer.suffix());
        let mut ids = prefix.to_vec();
        ids.extend(self.tokenizer.encode(text, true));
        ids.truncate(self.max_tokens - suffix.len());
        ids.extend(suffix);
        if ids.is_empty() {
            // A tokenizer that puts nothing around an empty text leaves nothing to run on.
            ids.push(self.tokenizer.pad().or(self.tokenizer.unk()).unwrap_or(0));
        }
        ids
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The kind of encoder: the `model_type` of its config.json.
    pub fn architecture(&self) -> &str {
        self.config.str(&["model_type"]).unwrap_or("")
    }

    /// The name that its config.json has.
    pub fn name(&self) -> &str {
        self.config.str(&["_name_or_path"]).unwrap_or("")
    }

    /// Elements of a vector.
    pub fn hidden_dim(&self) -> usize {
        self.model.hidden_dim
    }

    /// Layers.
    pub fn n_layers(&self) -> usize {
        self.model.n_layers
    }

    /// Tokens of a text at most, those around it included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Tokens that there are positions for.
    pub fn trained_max_tokens(&self) -> usize {
        self.model.max_tokens
    }

    /// Tokens of the vocabulary.
    pub fn vocabulary_size(&self) -> usize {
        self.model.vocabulary_size
    }

    /// The weights, as the files have them.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }
}

impl RelativePositions {
    /// The buckets of all pairs of `len` positions, `[len, len]`: of what row looks at column.
    fn buckets(&self, len: usize) -> Vec<i32> {
        let half = self.n_buckets / 2;
        let exact = (half / 2).max(1);
        let of = |row: usize, column: usize| {
            let distance = row.abs_diff(column);
            let bucket = if distance < exact {
                distance
            } else {
                let along =
                    (distance as f64 / exact as f64).ln() / (self.max_distance as f64 / exact as f64).ln();
                (exact + (along * (half - exact.min(half)) as f64) as usize).min(half.max(1) - 1)
            };
            (bucket + if column > row { half } else { 0 }) as i32
        };
        (0..len * len).map(|i| of(i / len, i % len)).collect()
    }
}
