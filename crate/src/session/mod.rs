//! A session: a model loaded from a file's bytes as they come, optimised, planned, and run.

mod check_feeds;
mod headers;
mod iterate;
mod loader;
mod network;
mod plans;
mod session;

pub use headers::HeaderState;
pub use iterate::Pause;
pub use loader::{Kind, Loaded, Loader, LoaderOptions, Progress};
pub use network::{Comparison, Network, NetworkFile, Port, PortDim, PortKind};
pub use session::{Given, Session};
