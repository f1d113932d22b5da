//! A list of launches with everything made once: pipelines, bind groups, and one uniform buffer that holds
//! all parameters at dynamic offsets. Replaying it is one compute pass and one submit.

use super::device::{GpuDevice, Pipeline};
use super::timer::Timer;
use crate::error::{Result, ensure, fail};
use std::rc::Rc;

/// A launch with its buffers. What is computed per run is in buffers; `params` never change.
pub struct Launch<'a> {
    /// The variant of the shader, by name.
    pub shader: &'a str,
    /// The buffers, by the number of the shader's binding. One that is only read may be left out.
    pub buffers: Vec<(u32, &'a wgpu::Buffer)>,
    /// The uniform block.
    pub params: Vec<u8>,
    /// Workgroups in each dimension.
    pub groups: [u32; 3],
}

struct Recorded {
    pipeline: Rc<Pipeline>,
    bind_group: wgpu::BindGroup,
    params_at: u32,
    groups: [u32; 3],
}

impl Recorded {
    fn encode(&self, pass: &mut wgpu::ComputePass) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[self.params_at]);
        let [x, y, z] = self.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Launches that are ready to replay.
pub struct Recording {
    launches: Vec<Recorded>,
}

impl Recording {
    /// Makes what the launches need. Fails when a launch names no shader, exceeds the groups of a
    /// dimension, leaves out a buffer that its shader writes, or binds one buffer to be written twice or
    /// read and written.
    pub fn new(device: &GpuDevice, launches: &[Launch]) -> Result<Self> {
        let stride = device.device.limits().min_uniform_buffer_offset_alignment.max(16) as usize;
        let mut params = Vec::new();
        let mut offsets = Vec::new();
        for launch in launches {
            offsets.push((params.len(), launch.params.len().next_multiple_of(16).max(16)));
            params.extend_from_slice(&launch.params);
            params.resize(params.len().next_multiple_of(stride), 0);
        }
        let uniforms = device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: params.len().max(stride) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        device.write(&uniforms, 0, &params);
        let mut recorded = Vec::with_capacity(launches.len());
        for (launch, (params_at, params_size)) in launches.iter().zip(offsets) {
            let pipeline = device.pipeline(launch.shader)?;
            let most = device.device.limits().max_compute_workgroups_per_dimension;
            ensure!(
                launch.groups.iter().all(|&g| g <= most),
                Internal,
                "{} wants {:?} workgroups, and the device allows {most} in a dimension",
                launch.shader,
                launch.groups
            );
            let mut entries = Vec::new();
            for &(binding, kind) in pipeline.shader.bindings {
                let bound = launch.buffers.iter().find(|(number, _)| *number == binding);
                let resource = match (kind, bound) {
                    (0, _) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &uniforms,
                        offset: 0,
                        size: std::num::NonZeroU64::new(params_size as u64),
                    }),
                    (2, None) => {
                        return fail!(Internal, "{} has no buffer to write at {binding}", launch.shader);
                    }
                    (_, Some((_, buffer))) => buffer.as_entire_binding(),
                    (_, None) => device.zeros.as_entire_binding(),
                };
                if let (2, Some((_, written))) = (kind, bound) {
                    let twice = launch.buffers.iter().filter(|(_, buffer)| buffer == written).count();
                    ensure!(twice == 1, Internal, "{} binds twice a buffer that it writes", launch.shader);
                }
                entries.push(wgpu::BindGroupEntry { binding, resource });
            }
            let bind_group = device.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(launch.shader),
                layout: &pipeline.layout,
                entries: &entries,
            });
            recorded.push(Recorded {
                pipeline,
                bind_group,
                params_at: params_at as u32,
                groups: launch.groups,
            });
        }
        Ok(Self { launches: recorded })
    }

    /// The number of launches.
    pub fn len(&self) -> usize {
        self.launches.len()
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.launches.is_empty()
    }

    /// Encodes all launches, in order, as one pass.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.launches.iter().for_each(|launch| launch.encode(&mut pass));
    }

    /// Encodes all launches, in order, each as a pass that is timed.
    pub(super) fn encode_timed(&self, encoder: &mut wgpu::CommandEncoder, timer: &Timer) {
        for (i, launch) in self.launches.iter().enumerate() {
            let timestamp_writes = timer.of_launch(i);
            let mut pass =
                encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
            launch.encode(&mut pass);
        }
    }
}
