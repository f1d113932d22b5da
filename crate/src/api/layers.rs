//! `Layers`: the layers that another worker has of a language model, and the way to them.

use std::cell::RefCell;

use js_sys::{Float32Array, Function, Int32Array, Promise};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::error::thrown;
use super::model::profiled;
use super::object::array;
use crate::error::{Error, Result, ensure};
use crate::generate::{self, LaterLayers, PendingRows};
use crate::kernels::trial;
use crate::tensor::Tensor;

/// How fast this worker computes for so many milliseconds, in a unit of its own.
#[wasm_bindgen(js_name = tryRate)]
pub fn try_rate(ms: f64) -> std::result::Result<f64, Error> {
    trial::rate(ms)
}

/// Layers of a language model that are not its first.
#[wasm_bindgen]
pub struct Layers {
    inner: RefCell<generate::Layers>,
}

impl Layers {
    pub(super) fn new(inner: generate::Layers) -> Self {
        Self { inner: RefCell::new(inner) }
    }
}

#[wasm_bindgen]
impl Layers {
    /// Runs activations `[tokens, n]`, of which the first are at `position`. Gives those for the next layers, or,
    /// behind the last one, those of `rows`.
    pub fn run(
        &self,
        position: usize,
        hidden: &Float32Array,
        rows: Vec<i32>,
    ) -> std::result::Result<Float32Array, Error> {
        let mut layers = self.inner.borrow_mut();
        let hidden = rows_of(hidden, layers.hidden_dim())?;
        Ok(Float32Array::from(layers.run(position, hidden, &rows)?.data::<f32>()?))
    }

    /// What one token launches: the nodes of a `Profile`.
    pub fn profile(&self) -> std::result::Result<JsValue, Error> {
        Ok(array(profiled(&self.inner.borrow_mut().profile()?)))
    }
}

/// Layers that are reached by a function of JavaScript, which takes what [`Layers::run`] takes and promises rows.
pub(super) struct Elsewhere {
    pub(super) send: Function,
    pub(super) hidden_dim: usize,
}

impl LaterLayers for Elsewhere {
    fn send(&mut self, position: usize, hidden: Tensor, rows: Vec<i32>) -> Result<PendingRows> {
        let hidden = Float32Array::from(hidden.data::<f32>()?);
        let rows = Int32Array::from(&rows[..]);
        let promise = self.send.call3(&JsValue::NULL, &position.into(), &hidden, &rows);
        let promise: Promise = promise.and_then(JsCast::dyn_into).map_err(thrown)?;
        let hidden_dim = self.hidden_dim;
        Ok(Box::pin(async move {
            let rows = JsFuture::from(promise).await.and_then(JsCast::dyn_into).map_err(thrown)?;
            rows_of(&rows, hidden_dim)
        }))
    }
}

/// Activations `[rows, hidden_dim]`.
fn rows_of(values: &Float32Array, hidden_dim: usize) -> Result<Tensor> {
    let n = values.length() as usize / hidden_dim;
    ensure!(
        values.length() as usize == n * hidden_dim,
        ShapeMismatch,
        "{} activations are no whole rows of {hidden_dim}",
        values.length()
    );
    Tensor::new(&[n, hidden_dim], &values.to_vec())
}
