//! `Generation`: an answer under way, one bounded step at a time, timed.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::prelude::*;

use super::model::busy;
use super::now;
use super::object::{Object, array};
use crate::error::Error;
use crate::generate::{self, Done, TextModel, TokenLogprobs};

/// An answer that is being made.
#[wasm_bindgen]
pub struct Generation {
    model: Rc<RefCell<TextModel>>,
    inner: generate::Generation,
    started: f64,
    /// When the first token came, and the last.
    first: Option<f64>,
    last: f64,
}

impl Generation {
    pub(super) fn new(model: Rc<RefCell<TextModel>>, inner: generate::Generation) -> Self {
        let started = now();
        Self { model, inner, started, first: None, last: started }
    }

    /// The end as JavaScript sees it. Rates are tokens per second, 0 where nothing was run.
    fn ending(&self, done: &Done) -> Object {
        let first = self.first.unwrap_or(self.last);
        let (prompt_ms, decode_ms) = (first - self.started, self.last - first);
        let rate = |tokens: usize, ms: f64| if ms > 0.0 { tokens as f64 * 1000.0 / ms } else { 0.0 };
        let usage = Object::new()
            .count("promptTokens", done.prompt_tokens as u64)
            .count("reusedTokens", done.reused_tokens as u64)
            .count("completionTokens", done.completion_tokens as u64)
            .count("draftedTokens", done.drafted_tokens as u64);
        let timings = Object::new()
            .with("promptMs", prompt_ms)
            .with("firstTokenMs", prompt_ms)
            .with("decodeMs", decode_ms)
            .with("promptTokensPerSecond", rate(done.prompt_tokens - done.reused_tokens, prompt_ms))
            .with("decodeTokensPerSecond", rate(done.completion_tokens.saturating_sub(1), decode_ms));
        Object::new().with("finishReason", done.reason.as_str()).with("usage", usage).with("timings", timings)
    }
}

#[wasm_bindgen]
impl Generation {
    /// Does one bounded piece of work: `{ text, ids, logprobs?, done? }`.
    #[allow(
        clippy::await_holding_refcell_ref,
        reason = "all others that borrow the model fail, and say it is busy"
    )]
    pub async fn next(&mut self) -> Result<JsValue, Error> {
        let mut model = self.model.try_borrow_mut().map_err(|_| busy())?;
        let step = self.inner.step(&mut model).await?;
        drop(model);
        if step.id.is_some() {
            self.last = now();
            self.first.get_or_insert(self.last);
        }
        let logprobs =
            step.id.zip(step.logprobs).map(|(id, logprobs)| array([logprob(id, &logprobs).into()]));
        let done = step.done.as_ref().map(|done| self.ending(done));
        Ok(Object::new()
            .with("text", step.text)
            .with("ids", array(step.id.map(JsValue::from)))
            .maybe("logprobs", logprobs)
            .maybe("done", done)
            .into())
    }
}

/// `TokenLogprob` of `js/types.ts`.
fn logprob(id: u32, logprobs: &TokenLogprobs) -> Object {
    let top =
        logprobs.top.iter().map(|&(id, value)| Object::new().with("id", id).with("logprob", value).into());
    Object::new().with("id", id).with("logprob", logprobs.logprob).with("top", array(top))
}
