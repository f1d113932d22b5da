//! Where a model under test runs.

use homefire::backend::gpu::GpuDevice;
use homefire::error::Result;
use homefire::generate::TextModel;
use homefire::session::{Loader, LoaderOptions};
use pollster::block_on;

/// A device of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    Cpu,
    Gpu,
}

/// The devices there are: says loudly when there is no GPU, so that nothing is tested on one.
pub fn devices() -> Vec<Device> {
    match block_on(GpuDevice::request()) {
        Ok(_) => vec![Device::Cpu, Device::Gpu],
        Err(error) => {
            eprintln!("SKIPPED on the GPU: there is none here ({error})");
            vec![Device::Cpu]
        }
    }
}

/// Loads a model from a file's bytes in chunks of `chunk`.
pub fn load(bytes: &[u8], chunk: usize, options: LoaderOptions, device: Device) -> Result<TextModel> {
    let mut loader = Loader::new(options);
    if device == Device::Gpu {
        loader.use_gpu(block_on(GpuDevice::request())?);
    }
    for chunk in bytes.chunks(chunk) {
        loader.push(chunk)?;
    }
    assert_eq!(loader.gpu_obstacle(), None);
    TextModel::new(loader.finish()?)
}
