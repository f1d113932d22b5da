//! Options objects of JavaScript, read field by field; a field of a wrong type or outside its range is an
//! error that names it.

use js_sys::{Array, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::error::{Result, ensure, fail};
use crate::generate::{GenerationOptions, OnContextFull, SamplerOptions};

/// The largest whole number that every JavaScript number up to it can hold.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// One options object.
pub(super) struct Options<'a>(pub(super) &'a JsValue);

impl Options<'_> {
    /// A field, unless it is left out.
    fn field(&self, name: &str) -> Option<JsValue> {
        let value = Reflect::get(self.0, &name.into()).ok()?;
        (!value.is_undefined() && !value.is_null()).then_some(value)
    }

    /// A finite number.
    fn number(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.field(name) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => fail!(InvalidInput, "{name} must be a finite number"),
        }
    }

    /// A number as f32, or the default.
    fn float(&self, name: &str, default: f32) -> Result<f32> {
        Ok(self.number(name)?.map_or(default, |n| n as f32))
    }

    /// A whole number of at least 0.
    fn whole(&self, name: &str) -> Result<Option<u64>> {
        let Some(number) = self.number(name)? else { return Ok(None) };
        ensure!(
            (0.0..=MAX_SAFE).contains(&number) && number.fract() == 0.0,
            InvalidInput,
            "{name} is {number}; it must be a whole number of at least 0"
        );
        Ok(Some(number as u64))
    }

    /// A whole number that counts tokens; larger ones than the address space holds are cut to it.
    pub(super) fn count(&self, name: &str) -> Result<Option<usize>> {
        Ok(self.whole(name)?.map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
    }

    /// A truth value, or the default.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.optional_flag(name)?.unwrap_or(default))
    }

    /// A truth value, unless it is left out.
    pub(super) fn optional_flag(&self, name: &str) -> Result<Option<bool>> {
        match self.field(name) {
            None => Ok(None),
            Some(value) => match value.as_bool() {
                Some(flag) => Ok(Some(flag)),
                None => fail!(InvalidInput, "{name} must be true or false"),
            },
        }
    }

    /// A string.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        match self.field(name) {
            None => Ok(None),
            Some(value) => match value.as_string() {
                Some(text) => Ok(Some(text)),
                None => fail!(InvalidInput, "{name} must be a string"),
            },
        }
    }

    /// One string or a list of them, none empty.
    fn texts(&self, name: &str) -> Result<Vec<String>> {
        let Some(value) = self.field(name) else { return Ok(Vec::new()) };
        let texts: Option<Vec<String>> = match value.dyn_ref::<Array>() {
            Some(list) => list.iter().map(|item| item.as_string()).collect(),
            None => value.as_string().map(|text| vec![text]),
        };
        match texts {
            Some(texts) if texts.iter().all(|text| !text.is_empty()) => Ok(texts),
            _ => fail!(InvalidInput, "{name} must be a string, or a list of strings, none of them empty"),
        }
    }

    /// These as the options of a generation.
    pub(super) fn generation(&self) -> Result<GenerationOptions> {
        let base = SamplerOptions::default();
        let sampler = SamplerOptions {
            temperature: self.float("temperature", base.temperature)?,
            top_k: self.count("topK")?.unwrap_or(base.top_k),
            top_p: self.float("topP", base.top_p)?,
            min_p: self.float("minP", base.min_p)?,
            repetition_penalty: self.float("repetitionPenalty", base.repetition_penalty)?,
            frequency_penalty: self.float("frequencyPenalty", base.frequency_penalty)?,
            presence_penalty: self.float("presencePenalty", base.presence_penalty)?,
            penalty_window: self.count("penaltyWindow")?.unwrap_or(base.penalty_window),
            seed: self.whole("seed")?.unwrap_or(base.seed),
            logprobs: self.count("logprobs")?,
        };
        Ok(GenerationOptions {
            sampler,
            max_tokens: self.count("maxTokens")?,
            stop: self.texts("stop")?,
            ignore_eos: self.flag("ignoreEos", false)?,
            reuse_prefix: self.flag("reusePrefix", true)?,
            on_context_full: match self.text("onContextFull")?.as_deref() {
                None | Some("stop") => OnContextFull::Stop,
                Some("shift") => OnContextFull::Shift,
                Some(other) => {
                    return fail!(
                        InvalidInput,
                        "onContextFull is \"{other}\"; it may be \"stop\" or \"shift\""
                    );
                }
            },
        })
    }
}
