//! `Model`: a loaded model, its tokens, its template, its answers.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::prelude::*;

use super::generation::Generation;
use super::loader::Device;
use super::object::{Object, array};
use super::options::Options;
use crate::backend::Profiled;
use crate::error::{Error, ErrorKind, fail};
use crate::formats::gguf::Gguf;
use crate::generate::{self, TextFacts, TextModel};

/// A model that is ready to answer.
#[wasm_bindgen]
pub struct Model {
    /// Borrowed by the generation that runs, also while it waits for its device.
    pub(super) inner: Rc<RefCell<TextModel>>,
    /// Readable at any time.
    pub(super) facts: Rc<TextFacts>,
    pub(super) device: Device,
}

#[wasm_bindgen]
impl Model {
    /// What the model is and where it runs: `ModelInfo` of `js/types.ts`.
    pub fn info(&self) -> JsValue {
        let model = &self.facts;
        let gguf = model.gguf();
        let architecture = gguf.str("general.architecture").unwrap_or("unknown");
        Object::new()
            .with("kind", "language")
            .with("name", gguf.str("general.name").unwrap_or(architecture))
            .with("architecture", architecture)
            .count("parameters", model.n_parameters())
            .with("quantization", model.quantization())
            .count("contextLength", model.context_length() as u64)
            .count("trainedContextLength", model.trained_context_length() as u64)
            .count("vocabularySize", model.vocabulary_size() as u64)
            .count("layers", model.n_layers() as u64)
            .count("bytes", model.n_bytes())
            .with("device", self.device.object())
            .with("hasChatTemplate", template(gguf).is_some())
            .into()
    }

    /// The chat template that the file carries, and the tokens that templates name.
    #[wasm_bindgen(js_name = chatTemplate)]
    pub fn chat_template(&self) -> JsValue {
        let model = &self.facts;
        let (bos, eos) = model.tokenizer().bos_and_eos();
        Object::new()
            .maybe("template", template(model.gguf()))
            .maybe("bosToken", bos)
            .maybe("eosToken", eos)
            .into()
    }

    /// The ids of a text. With `special`, special tokens that stand in it count as such.
    pub fn tokenize(&self, text: &str, special: bool) -> Vec<u32> {
        self.facts.tokenizer().encode(text, special)
    }

    /// The ids of a prompt: of its text, behind the token that the model wants at the beginning.
    #[wasm_bindgen(js_name = promptIds)]
    pub fn prompt_ids(&self, text: &str) -> Vec<u32> {
        self.facts.tokenizer().encode_prompt(text)
    }

    /// The text of some ids.
    pub fn detokenize(&self, ids: &[u32]) -> String {
        self.facts.tokenizer().decode(ids)
    }

    /// An answer to `ids` under the options of `GenerateOptions` in `js/types.ts`. Fails when the prompt is
    /// empty or longer than the context, or an option is out of its range.
    pub fn generate(&self, ids: &[u32], options: &JsValue) -> Result<Generation, Error> {
        let options = Options(options).generation()?;
        let model = self.inner.try_borrow().map_err(|_| busy())?;
        let inner = generate::Generation::new(&model, ids, options)?;
        Ok(Generation::new(Rc::clone(&self.inner), inner))
    }

    /// Begins to score `ids`. Fails for fewer than two, more than the context holds, or one outside the vocabulary.
    #[wasm_bindgen(js_name = beginScore)]
    pub fn begin_score(&self, ids: &[u32]) -> Result<Scoring, Error> {
        let model = self.inner.try_borrow().map_err(|_| busy())?;
        let work = generate::Scoring::new(&model, ids)?;
        Ok(Scoring { model: Rc::clone(&self.inner), work: Some(work) })
    }

    /// Where a token runs and what it launches: `Profile` of `js/types.ts`, with what `later` layers do for it.
    pub fn profile(&self, later: Vec<JsValue>) -> Result<JsValue, Error> {
        let mut model = self.inner.try_borrow_mut().map_err(|_| busy())?;
        let [launches, after] = model.profile()?;
        let profile = Object::new().with("device", self.device.object());
        let nodes = array(profiled(&launches).chain(later).chain(profiled(&after)));
        if self.device.kind != "webgpu" {
            return Ok(profile.with("nodes", nodes).into());
        }
        let gpu = Object::new()
            .count("dispatchesPerToken", launches.len() as u64)
            .count("dispatchesPerLayer", in_first_layer(&launches) as u64)
            .count("submitsPerToken", 1);
        Ok(profile.with("nodes", nodes).with("gpu", gpu).into())
    }
}

/// A text on its way to scores.
#[wasm_bindgen]
pub struct Scoring {
    model: Rc<RefCell<TextModel>>,
    work: Option<generate::Scoring>,
}

#[wasm_bindgen]
impl Scoring {
    /// Runs some tokens. Gives nothing while there are more, and then the log-probability of each token but the first, after
    /// those before it: f32 `[n - 1]`.
    #[allow(
        clippy::await_holding_refcell_ref,
        reason = "all others that borrow the model fail, and say it is busy"
    )]
    pub async fn next(&mut self) -> Result<Option<Vec<f32>>, Error> {
        let mut model = self.model.try_borrow_mut().map_err(|_| busy())?;
        let Some(work) = &mut self.work else { return fail!(Internal, "the scores were taken already") };
        if work.step(&mut model).await? {
            return Ok(None);
        }
        Ok(self.work.take().map(generate::Scoring::into_scores))
    }
}

/// Launches as the nodes of a `Profile`.
pub(super) fn profiled(launches: &[Profiled]) -> impl Iterator<Item = JsValue> {
    launches.iter().map(|launch| {
        let node = Object::new().with("node", launch.node.as_str()).with("kernel", launch.kernel.as_str());
        node.with("device", launch.device).maybe("ms", launch.ms).into()
    })
}

/// Launches of the nodes of the first layer, whose names begin with `blk.0.`.
fn in_first_layer(launches: &[Profiled]) -> usize {
    launches.iter().filter(|launch| launch.node.starts_with("blk.0.")).count()
}

/// The error of a call that needs the model while an answer is being computed.
pub(super) fn busy() -> Error {
    Error::new(ErrorKind::InvalidInput, "the model is busy with an answer: wait for it, or cancel it")
}

/// The chat template of a file.
fn template(gguf: &Gguf) -> Option<&str> {
    gguf.str("tokenizer.chat_template")
}
