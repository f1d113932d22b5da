//! The GPU back end's executor, the only files that name wgpu: a device, its pipelines, and recordings of
//! dispatches that replay in one compute pass and one submit.

mod device;
mod read_back;
mod recording;
#[cfg(test)]
mod tests;

pub use device::GpuDevice;
pub use read_back::read_back;
pub use recording::{Launch, Recording};
