//! `Loader`: bytes in, a model out.

use wasm_bindgen::prelude::*;

use crate::error::Result;
use crate::error::fail;

/// Reads a model file as it streams in.
#[wasm_bindgen]
pub struct Loader {}

#[wasm_bindgen]
impl Loader {
    /// A loader for the options that JavaScript gives.
    #[wasm_bindgen(constructor)]
    pub fn new(_options: JsValue) -> Result<Loader> {
        fail!(UnsupportedFormat, "this build cannot load a model yet")
    }
}
