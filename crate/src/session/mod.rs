//! A session: a model loaded from a file's bytes as they come, optimised, planned, and run.

mod loader;
mod session;

pub use loader::{Loaded, Loader, LoaderOptions, Progress};
pub use session::{Given, Session};
