//! The GPU back end, the only files that name wgpu: a device and its pipelines, weights as planes, plans
//! recorded as launches that replay in one compute pass and one submit.

mod backend;
mod device;
mod read_back;
mod recording;
mod resident;
mod self_test;
#[cfg(test)]
mod tests;
mod timer;
mod weights;

pub use backend::GpuBackend;
pub use device::GpuDevice;
pub use read_back::ReadBack;
pub use recording::{Launch, Recording};
pub use self_test::self_test;
