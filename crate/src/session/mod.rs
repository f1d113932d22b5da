//! A session: a model loaded from a file's bytes as they come, optimised, planned, and run.

mod loader;
mod network;
mod session;

pub use loader::{Loaded, Loader, LoaderOptions, Progress};
pub use network::{Network, Port, PortDim};
pub use session::{Given, Session};
