//! The way back: copies into a buffer that can be mapped, and a future of its bytes that never blocks a page.

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

/// Bytes of some buffers that are being copied back.
pub struct ReadBack {
    staging: wgpu::Buffer,
    mapped: Arc<Mutex<Mapped>>,
}

impl ReadBack {
    /// Encodes copies of the first bytes of each buffer, one after the other; every count is a multiple of 4.
    pub fn encode(
        device: &GpuDevice,
        encoder: &mut wgpu::CommandEncoder,
        parts: &[(&wgpu::Buffer, usize)],
    ) -> Self {
        let all = parts.iter().map(|(_, bytes)| bytes).sum();
        device.count(0, all);
        let staging = device.staging(all);
        let mut at = 0;
        for &(buffer, bytes) in parts {
            encoder.copy_buffer_to_buffer(buffer, 0, &staging, at, bytes as u64);
            at += bytes as u64;
        }
        Self { staging, mapped: Arc::default() }
    }

    /// Asks for the bytes, once the commands were submitted.
    pub fn request(&self) {
        let done = Arc::clone(&self.mapped);
        self.staging.map_async(wgpu::MapMode::Read, .., move |result| {
            let mut state = done.lock().unwrap_or_else(PoisonError::into_inner);
            state.result = Some(result.is_ok());
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        });
    }

    /// The bytes. Fails with what the device reported, if it did.
    pub async fn take(self, device: &GpuDevice) -> Result<Vec<u8>> {
        // Natively nothing moves unless it is polled; in a browser the event loop does it.
        #[cfg(not(target_arch = "wasm32"))]
        (device.device.poll(wgpu::PollType::wait_indefinitely()))
            .map_err(|e| Error::new(ErrorKind::Internal, format!("waiting for the GPU: {e}")))?;
        let mapped_well = poll_fn(|cx| {
            let mut state = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
            state.waker = Some(cx.waker().clone());
            state.result.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        device.check()?;
        if !mapped_well {
            return fail!(DeviceLost, "a result could not be read back from the GPU. Load the model again");
        }
        let view = (self.staging.get_mapped_range(..))
            .map_err(|e| Error::new(ErrorKind::Internal, format!("reading a mapped buffer: {e}")))?;
        let out = view.to_vec();
        drop(view);
        self.staging.unmap();
        device.keep_staging(self.staging);
        Ok(out)
    }
}
