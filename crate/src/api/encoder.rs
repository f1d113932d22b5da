//! `Encoder`: a loaded model that turns texts into vectors.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::prelude::*;

use super::loader::Device;
use super::model::busy;
use super::object::{Object, array};
use super::options::Options;
use crate::embed::{self, EmbedOptions, EncoderFacts};
use crate::error::{Error, fail};
use crate::formats::hf_config::Pooling;

/// A model that is ready to make vectors.
#[wasm_bindgen]
pub struct Encoder {
    inner: Rc<RefCell<embed::Encoder>>,
    /// Readable at any time.
    facts: Rc<EncoderFacts>,
    device: Device,
}

impl Encoder {
    pub(super) fn new(inner: embed::Encoder, device: Device) -> Self {
        Self { facts: Rc::clone(inner.facts()), inner: Rc::new(RefCell::new(inner)), device }
    }
}

#[wasm_bindgen]
impl Encoder {
    /// What the model is and where it runs: `ModelInfo` of `js/types.ts`.
    pub fn info(&self) -> JsValue {
        let facts = &self.facts;
        let elements = |shape: &[usize]| shape.iter().map(|&n| n as u64).product::<u64>();
        Object::new()
            .with("kind", "encoder")
            .with("name", facts.name())
            .with("architecture", facts.architecture())
            .count("parameters", facts.tensors().iter().map(|tensor| elements(&tensor.shape)).sum())
            .count("contextLength", facts.max_tokens() as u64)
            .count("trainedContextLength", facts.trained_max_tokens() as u64)
            .count("vocabularySize", facts.vocabulary_size() as u64)
            .count("embeddingLength", facts.hidden_dim() as u64)
            .count("layers", facts.n_layers() as u64)
            .count("bytes", facts.tensors().iter().map(|tensor| tensor.n_bytes).sum())
            .with("device", self.device.object())
            .into()
    }

    /// The ids of a text, without those around it. With `special`, special tokens that stand in it count as such.
    pub fn tokenize(&self, text: &str, special: bool) -> Vec<u32> {
        self.facts.tokenizer().encode(text, special)
    }

    /// The text of some ids.
    pub fn detokenize(&self, ids: &[u32]) -> String {
        self.facts.tokenizer().decode(ids)
    }

    /// Begins to make vectors of texts under `{ pooling?, normalize? }`.
    pub fn begin(&self, texts: Vec<String>, options: &JsValue) -> Result<Embedding, Error> {
        let options = Options(options);
        let pooling = match options.text("pooling")? {
            None => None,
            Some(name) => match Pooling::named(&name) {
                Some(pooling) => Some(pooling),
                None => {
                    return fail!(
                        InvalidInput,
                        "pooling is '{name}'; it may be 'mean', 'cls', 'last' or 'mean-sqrt'"
                    );
                }
            },
        };
        let normalize = options.optional_flag("normalize")?;
        let encoder = self.inner.try_borrow().map_err(|_| busy())?;
        let work = encoder.begin(&texts, EmbedOptions { pooling, normalize });
        Ok(Embedding { encoder: Rc::clone(&self.inner), work: Some(work) })
    }

    /// What the last run launched: `Profile` of `js/types.ts`.
    pub fn profile(&self) -> Result<JsValue, Error> {
        let encoder = self.inner.try_borrow().map_err(|_| busy())?;
        let nodes = encoder.session().last_profile();
        let nodes = nodes.iter().map(|launch| {
            Object::new().with("node", launch.node.as_str()).with("kernel", launch.kernel.as_str()).into()
        });
        Ok(Object::new().with("device", self.device.object()).with("nodes", array(nodes)).into())
    }
}

/// Texts that are on their way to vectors.
#[wasm_bindgen]
pub struct Embedding {
    encoder: Rc<RefCell<embed::Encoder>>,
    work: Option<embed::Embedding>,
}

#[wasm_bindgen]
impl Embedding {
    /// Runs one batch. Gives nothing while there are more, and then all vectors, one after the other.
    #[allow(
        clippy::await_holding_refcell_ref,
        reason = "all others that borrow the model fail, and say it is busy"
    )]
    pub async fn next(&mut self) -> Result<Option<Vec<f32>>, Error> {
        let mut encoder = self.encoder.try_borrow_mut().map_err(|_| busy())?;
        let Some(work) = &mut self.work else { return fail!(Internal, "the vectors were taken already") };
        if encoder.step(work).await? {
            return Ok(None);
        }
        Ok(self.work.take().map(embed::Embedding::into_vectors))
    }
}
