//! What JavaScript sees of the wasm: [`loader::Loader`] takes a file's bytes, [`model::Model`] is the model
//! they made, or [`network::Network`] where they were an ONNX file, [`generation::Generation`] an answer under way. Errors are `Error` objects with a `kind` and a
//! `node`. The TypeScript twins of these exports are in `js/glue.ts`.
//!
//! | file | what |
//! | --- | --- |
//! | `loader` | bytes in, a model out |
//! | `model` | tokens, templates, generations of a loaded model |
//! | `layers` | layers of a language model in another worker |
//! | `network` | runs of a loaded ONNX model |
//! | `generation` | one answer, step by step |
//! | `encoder` | texts to vectors, batch by batch |
//! | `options` | reading the options objects of JavaScript, checked |
//! | `object` | making the objects that JavaScript gets |
//! | `parity` | the parity suite, in builds for tests |
//! | `error` | errors on their way to JavaScript |

mod encoder;
mod error;
mod generation;
mod layers;
mod loader;
mod model;
mod network;
mod object;
mod options;
#[cfg(feature = "parity")]
mod parity;

use wasm_bindgen::prelude::*;

/// Runs once when the module is loaded: a panic prints its message before it traps.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// Counts a thread that is about to [`serve`].
#[cfg(target_feature = "atomics")]
#[wasm_bindgen(js_name = enterThread)]
pub fn enter_thread() {
    crate::kernels::threads::enter();
}

/// Makes the calling worker a thread of the pool; it does not return.
#[cfg(target_feature = "atomics")]
#[wasm_bindgen]
pub fn serve() {
    crate::kernels::threads::serve()
}

/// Says that the thread of this worker ended by a trap: the loop that it was in fails, instead of waiting for it.
#[cfg(target_feature = "atomics")]
#[wasm_bindgen(js_name = threadEnded)]
pub fn thread_ended() {
    crate::kernels::threads::ended();
}

#[wasm_bindgen]
extern "C" {
    /// Milliseconds since the worker started.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}
