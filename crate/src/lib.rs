//! Homefire runs machine-learning models inside the web page.
//!
//! Data goes one way, and so do the modules, each using only those before it:
//! bytes → [`formats`] → [`import`] → [`graph`] → [`passes`] → [`plan`] → [`backend`] → [`session`] →
//! [`generate`] or [`embed`] → `api` → JavaScript. `ARCHITECTURE.md` walks through one request.

pub mod backend;
pub mod embed;
pub mod error;
pub mod formats;
pub mod generate;
pub mod graph;
pub mod import;
pub mod kernels;
pub mod ops;
#[cfg(any(test, feature = "parity"))]
pub mod parity;
pub mod passes;
pub mod plan;
pub mod quant;
pub mod session;
pub mod tensor;
pub mod text;
pub mod types;

#[cfg(target_arch = "wasm32")]
mod api;
