//! `Model`: a loaded model, its tokens, its template, its answers.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::prelude::*;

use super::generation::Generation;
use super::loader::Device;
use super::object::Object;
use super::options::Options;
use crate::error::Error;
use crate::formats::gguf::Gguf;
use crate::generate::{self, TextModel};

/// A model that is ready to answer.
#[wasm_bindgen]
pub struct Model {
    pub(super) inner: Rc<RefCell<TextModel>>,
    pub(super) device: Device,
}

#[wasm_bindgen]
impl Model {
    /// What the model is and where it runs: `ModelInfo` of `js/types.ts`.
    pub fn info(&self) -> JsValue {
        let model = self.inner.borrow();
        let gguf = model.gguf();
        let architecture = gguf.str("general.architecture").unwrap_or("unknown");
        let bytes = gguf.tensors.iter().map(|tensor| tensor.n_bytes).sum();
        Object::new()
            .with("name", gguf.str("general.name").unwrap_or(architecture))
            .with("architecture", architecture)
            .count("parameters", model.n_parameters())
            .with("quantization", model.quantization())
            .count("contextLength", model.context_length() as u64)
            .count("trainedContextLength", model.trained_context_length() as u64)
            .count("vocabularySize", model.vocabulary_size() as u64)
            .count("layers", model.n_layers() as u64)
            .count("bytes", bytes)
            .with("device", self.device.object())
            .with("hasChatTemplate", template(gguf).is_some())
            .into()
    }

    /// The chat template that the file carries, and the tokens that templates name.
    #[wasm_bindgen(js_name = chatTemplate)]
    pub fn chat_template(&self) -> JsValue {
        let model = self.inner.borrow();
        let (bos, eos) = model.tokenizer().bos_and_eos();
        Object::new()
            .maybe("template", template(model.gguf()))
            .maybe("bosToken", bos)
            .maybe("eosToken", eos)
            .into()
    }

    /// The ids of a text. With `special`, special tokens that stand in it count as such.
    pub fn tokenize(&self, text: &str, special: bool) -> Vec<u32> {
        self.inner.borrow().tokenizer().encode(text, special)
    }

    /// The ids of a prompt: of its text, behind the token that the model wants at the beginning.
    #[wasm_bindgen(js_name = promptIds)]
    pub fn prompt_ids(&self, text: &str) -> Vec<u32> {
        self.inner.borrow().tokenizer().encode_prompt(text)
    }

    /// The text of some ids.
    pub fn detokenize(&self, ids: &[u32]) -> String {
        self.inner.borrow().tokenizer().decode(ids)
    }

    /// An answer to `ids` under the options of `GenerateOptions` in `js/types.ts`. Fails when the prompt is
    /// empty or longer than the context, or an option is out of its range.
    pub fn generate(&self, ids: &[u32], options: &JsValue) -> Result<Generation, Error> {
        let options = Options(options).generation()?;
        let inner = generate::Generation::new(&self.inner.borrow(), ids, options)?;
        Ok(Generation::new(Rc::clone(&self.inner), inner))
    }

    /// What a token costs.
    pub fn profile(&self) -> JsValue {
        Object::new().with("device", self.device.object()).into()
    }
}

/// The chat template of a file.
fn template(gguf: &Gguf) -> Option<&str> {
    gguf.str("tokenizer.chat_template")
}
