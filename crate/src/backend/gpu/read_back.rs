//! The way back: a copy to a buffer that can be mapped, and a future of its bytes that never blocks a page.

use super::device::GpuDevice;
use crate::error::{Error, ErrorKind, Result, fail};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

#[derive(Default)]
struct Mapped {
    result: Option<bool>,
    waker: Option<Waker>,
}

/// The first `bytes` bytes of a buffer, a multiple of 4, after all that was submitted before.
pub async fn read_back(device: &GpuDevice, buffer: &wgpu::Buffer, bytes: usize) -> Result<Vec<u8>> {
    let staging = device.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("read_back"),
        size: bytes as u64,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = device.device.create_command_encoder(&Default::default());
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, bytes as u64);
    device.queue.submit([encoder.finish()]);
    let mapped = Arc::new(Mutex::new(Mapped::default()));
    let done = Arc::clone(&mapped);
    staging.map_async(wgpu::MapMode::Read, .., move |result| {
        let mut state = done.lock().unwrap_or_else(PoisonError::into_inner);
        state.result = Some(result.is_ok());
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    });
    // Natively nothing moves unless it is polled; in a browser the event loop does it.
    #[cfg(not(target_arch = "wasm32"))]
    device
        .device
        .poll(wgpu::PollType::wait_indefinitely())
        .map_err(|e| Error::new(ErrorKind::Internal, format!("waiting for the GPU: {e}")))?;
    let mapped_well = poll_fn(|cx| {
        let mut state = mapped.lock().unwrap_or_else(PoisonError::into_inner);
        state.waker = Some(cx.waker().clone());
        state.result.map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    device.check()?;
    if !mapped_well {
        return fail!(DeviceLost, "a result could not be read back from the GPU. Load the model again");
    }
    let view = staging
        .get_mapped_range(..)
        .map_err(|e| Error::new(ErrorKind::Internal, format!("reading a mapped buffer: {e}")))?;
    let out = view.to_vec();
    drop(view);
    staging.unmap();
    Ok(out)
}
