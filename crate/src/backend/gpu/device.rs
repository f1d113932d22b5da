//! The device, its compiled pipelines, and the first error it reported.

use super::weights::STAGING;
use crate::backend::Traffic;
use crate::error::{Error, ErrorKind, Result, fail};
use crate::kernels::shaders::{Shader, shader};
use crate::ops::GpuCaps;
use crate::tensor::Chunk;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

/// A compiled shader with the layout of its bindings.
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) shader: &'static Shader,
}

/// A GPU device at the limits of its adapter. Clones share it.
#[derive(Clone)]
pub struct GpuDevice {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// Sixteen zero bytes, for bindings that a launch leaves out.
    pub(super) zeros: wgpu::Buffer,
    /// Where pieces of weights lie until a shader has brought them to their place.
    weight_staging: wgpu::Buffer,
    name: Option<String>,
    software: bool,
    caps: GpuCaps,
    pipelines: Rc<RefCell<HashMap<&'static str, Rc<Pipeline>>>>,
    /// Buffers for reading back that are not in use.
    staging: Rc<RefCell<Vec<wgpu::Buffer>>>,
    /// Buffers for outputs that stay here, not in use.
    spare: Rc<RefCell<Vec<wgpu::Buffer>>>,
    traffic: Rc<Cell<Traffic>>,
    failure: Arc<Mutex<Option<Error>>>,
}

impl GpuDevice {
    /// Requests the adapter and its device. Fails with `no-webgpu` when there is none.
    pub async fn request() -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance.request_adapter(&options).await;
        // Natively the error lists what was looked for; in a browser there is only one thing.
        let why = |e: wgpu::RequestAdapterError| match cfg!(target_arch = "wasm32") {
            true => "this browser offers no WebGPU adapter".to_string(),
            false => format!("no GPU adapter: {e}"),
        };
        let adapter = adapter.map_err(|e| Error::new(ErrorKind::NoWebgpu, why(e)))?;
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: adapter.limits(),
            required_features: adapter.features() & wgpu::Features::TIMESTAMP_QUERY,
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| Error::new(ErrorKind::NoWebgpu, format!("the GPU adapter gives no device: {e}")))?;
        let failure = Arc::new(Mutex::new(None));
        let uncaptured = Arc::clone(&failure);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let kind = match error {
                wgpu::Error::OutOfMemory { .. } => ErrorKind::OutOfMemory,
                _ => ErrorKind::Internal,
            };
            note(&uncaptured, Error::new(kind, format!("the GPU reports: {error}")));
        }));
        let lost = Arc::clone(&failure);
        device.set_device_lost_callback(move |reason, message| {
            let message = format!("the GPU device was lost ({reason:?}): {message}. Load the model again");
            note(&lost, Error::new(ErrorKind::DeviceLost, message));
        });
        let storage = |label, size| {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let zeros = storage("zeros", 16);
        let weight_staging = storage("weight_staging", STAGING as u64);
        let info = adapter.get_info();
        let limits = device.limits();
        Ok(Self {
            device,
            queue,
            zeros,
            weight_staging,
            name: Some(info.name).filter(|name| !name.is_empty()),
            software: info.device_type == wgpu::DeviceType::Cpu,
            caps: GpuCaps { subgroups: None, max_binding_bytes: limits.max_storage_buffer_binding_size },
            pipelines: Rc::default(),
            staging: Rc::default(),
            spare: Rc::default(),
            traffic: Rc::default(),
            failure,
        })
    }

    /// The adapter's name, where it tells one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether the "GPU" is a program that runs on the CPU.
    pub fn is_software(&self) -> bool {
        self.software
    }

    /// What lowering may use.
    pub fn caps(&self) -> GpuCaps {
        self.caps
    }

    /// Fails with the first error that the device reported.
    pub fn check(&self) -> Result<()> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// A storage buffer of zeros, of at least `bytes` bytes.
    pub fn buffer(&self, label: &str, bytes: usize) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes.next_multiple_of(16).max(16) as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    }

    /// Writes `bytes`, a multiple of 4 of them, at `offset`. Later submits see them.
    pub fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.queue.write_buffer(buffer, offset, bytes);
    }

    /// Writes the bytes of a chunk, a multiple of 4 of them; those of JavaScript go there directly.
    pub(super) fn write_chunk(&self, buffer: &wgpu::Buffer, offset: u64, chunk: &Chunk) -> Result<()> {
        match chunk {
            Chunk::Memory(bytes) => self.write(buffer, offset, bytes),
            #[cfg(target_arch = "wasm32")]
            Chunk::Page(array) => {
                let (Some(queue), Some(to)) = (self.queue.as_webgpu(), buffer.as_webgpu()) else {
                    return fail!(Internal, "the GPU of a page is no WebGPU");
                };
                if queue.write_buffer_with_f64_and_buffer_source(to, offset as f64, array).is_err() {
                    return fail!(Internal, "WebGPU refused {} bytes of a weight", array.length());
                }
            }
        }
        Ok(())
    }

    /// The buffer of [`STAGING`] bytes through which weights come; each submit may use it anew.
    pub(super) fn staging_for_weights(&self) -> &wgpu::Buffer {
        &self.weight_staging
    }

    /// A buffer of at least `bytes` bytes to read back through.
    pub(super) fn staging(&self, bytes: usize) -> wgpu::Buffer {
        let size = bytes.next_multiple_of(16).max(16) as u64;
        let mut free = self.staging.borrow_mut();
        if let Some(index) = free.iter().position(|buffer| buffer.size() == size) {
            return free.swap_remove(index);
        }
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read_back"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    /// Keeps an unmapped buffer for the next [`staging`](Self::staging).
    pub(super) fn keep_staging(&self, buffer: wgpu::Buffer) {
        let mut free = self.staging.borrow_mut();
        if free.len() < 8 {
            free.push(buffer);
        }
    }

    /// A buffer of at least `bytes` bytes, of which the elements are anything.
    pub(super) fn lend(&self, bytes: usize) -> wgpu::Buffer {
        let size = bytes.next_multiple_of(16).max(16) as u64;
        let mut spare = self.spare.borrow_mut();
        match spare.iter().position(|buffer| buffer.size() == size) {
            Some(index) => spare.swap_remove(index),
            None => self.buffer("kept", bytes),
        }
    }

    /// Takes back what was lent. Of many spare ones the oldest goes.
    pub(super) fn give_back(&self, buffer: wgpu::Buffer) {
        let mut spare = self.spare.borrow_mut();
        spare.push(buffer);
        if spare.len() > 8 {
            spare.remove(0).destroy();
        }
    }

    /// Bytes that runs have moved so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic.get()
    }

    /// Counts bytes that a run moves.
    pub(super) fn count(&self, written: usize, read: usize) {
        let Traffic { written: before, read: read_before } = self.traffic.get();
        self.traffic.set(Traffic { written: before + written as u64, read: read_before + read as u64 });
    }

    /// The pipeline of a shader variant, compiled on its first use.
    pub(super) fn pipeline(&self, name: &str) -> Result<Rc<Pipeline>> {
        if let Some(pipeline) = self.pipelines.borrow().get(name) {
            return Ok(Rc::clone(pipeline));
        }
        let Some(shader) = shader(name) else {
            return fail!(Internal, "there is no shader variant '{name}': add it to shaders/variants");
        };
        let entries: Vec<wgpu::BindGroupLayoutEntry> = shader
            .bindings
            .iter()
            .map(|&(binding, kind)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match kind {
                        0 => wgpu::BufferBindingType::Uniform,
                        _ => wgpu::BufferBindingType::Storage { read_only: kind == 1 },
                    },
                    has_dynamic_offset: kind == 0,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(name),
            entries: &entries,
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(name),
            source: wgpu::ShaderSource::Wgsl(shader.wgsl.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let pipeline = Rc::new(Pipeline { pipeline, layout, shader });
        self.pipelines.borrow_mut().insert(shader.name, Rc::clone(&pipeline));
        Ok(pipeline)
    }
}

/// Keeps the first error: what follows it is a consequence.
fn note(failure: &Mutex<Option<Error>>, error: Error) {
    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}
