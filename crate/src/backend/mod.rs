//! The back ends. Each holds weights and states and runs plans.

pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
