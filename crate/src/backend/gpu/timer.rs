//! How long each launch of a run takes: by timestamps around passes of one launch each, where the device has them, else
//! of all together by the clock.

use super::device::GpuDevice;
use crate::kernels::clock;

/// Timestamps that a query set may have.
const MAX_QUERIES: usize = 4096;

/// The timestamps of one run.
pub(super) struct Timer {
    queries: Option<(wgpu::QuerySet, wgpu::Buffer)>,
    launches: usize,
    start: f64,
}

impl Timer {
    /// For a run of that many launches, which begins now.
    pub(super) fn new(device: &GpuDevice, launches: usize) -> Self {
        let has = device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let fits = has && launches > 0 && 2 * launches <= MAX_QUERIES;
        let queries = fits.then(|| {
            let count = 2 * launches as u32;
            let (label, ty) = (Some("timestamps"), wgpu::QueryType::Timestamp);
            let set = device.device.create_query_set(&wgpu::QuerySetDescriptor { label, ty, count });
            let buffer = device.device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size: u64::from(count) * 8,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            (set, buffer)
        });
        Self { queries, launches, start: clock::now() }
    }

    /// What the pass of a launch writes.
    pub(super) fn of_launch(&self, launch: usize) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let (query_set, _) = self.queries.as_ref()?;
        let first = 2 * launch as u32;
        Some(wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    /// Whether each launch has a time of its own.
    pub(super) fn separates(&self) -> bool {
        self.queries.is_some()
    }

    /// Encodes what brings the timestamps into a buffer, and gives that with its bytes.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) -> Option<(wgpu::Buffer, usize)> {
        let (set, buffer) = self.queries.as_ref()?;
        encoder.resolve_query_set(set, 0..2 * self.launches as u32, buffer, 0);
        Some((buffer.clone(), 16 * self.launches))
    }

    /// Milliseconds by launch, of the timestamps read back, each of `period` nanoseconds. Without any, the first has
    /// the time of all.
    pub(super) fn times(&self, timestamps: &[u8], period: f32) -> Vec<f64> {
        if !self.separates() {
            return vec![clock::now() - self.start];
        }
        let stamps: Vec<u64> = timestamps.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        let ms = |pair: &[u64]| pair[1].saturating_sub(pair[0]) as f64 * f64::from(period) / 1e6;
        stamps.chunks_exact(2).map(ms).collect()
    }
}
