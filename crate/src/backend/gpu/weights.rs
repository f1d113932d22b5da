//! Weights on their way into GPU buffers. A chunk of the file goes as it is into a staging buffer on the device,
//! where a shader takes its blocks apart into planes or widens its values to f32; f32 values go straight to
//! their place. Only what would split a block or a word between two chunks passes through this program.

use super::device::GpuDevice;
use super::recording::{Launch, Recording};
use crate::error::{Result, ensure, fail};
use crate::kernels::dispatch::{Operand, spread};
use crate::kernels::planes::Planes;
use crate::tensor::Chunk;
use crate::types::DType;

/// Bytes of a chunk that are staged at once.
const SEGMENT: usize = 1 << 20;

/// Bytes of the staging buffer: a segment, and a block that began before it.
pub(super) const STAGING: usize = SEGMENT + 1024;

/// A weight's buffers, and the bytes of a block that is not whole yet.
pub(super) struct GpuWeight {
    dtype: DType,
    planes: Planes,
    /// Values in a row.
    columns: usize,
    n_values: usize,
    /// Levels, scales and mins; of a dense weight only the first, its values.
    buffers: Vec<wgpu::Buffer>,
    pending: Vec<u8>,
    /// The value that comes next.
    next: usize,
}

impl GpuWeight {
    /// Buffers for a weight of those dimensions. Fails when its type has no layout on the GPU.
    pub(super) fn new(device: &GpuDevice, name: &str, dtype: DType, shape: &[usize]) -> Result<Self> {
        let n_values: usize = shape.iter().product();
        let Some(planes) = Planes::of(dtype) else {
            return fail!(UnsupportedOp, "weights of type {dtype} have no layout on the GPU: use the CPU");
        };
        let mut sizes = vec![n_values / planes.values_per_word() * 4];
        if let Planes::Affine(layout) = planes {
            let groups = n_values / planes.group() * 4;
            sizes.extend(std::iter::repeat_n(groups, if layout.offset.is_none() { 2 } else { 1 }));
        }
        Ok(Self {
            dtype,
            planes,
            columns: n_values / shape.first().copied().unwrap_or(1).max(1),
            n_values,
            buffers: sizes.into_iter().map(|bytes| device.buffer(name, bytes)).collect(),
            pending: Vec::new(),
            next: 0,
        })
    }

    /// The buffer that an operand means.
    pub(super) fn buffer(&self, operand: Operand) -> Option<&wgpu::Buffer> {
        match operand {
            Operand::Input(_) if self.planes == Planes::Dense => self.buffers.first(),
            Operand::Levels(_) => self.buffers.first(),
            Operand::Scales(_) => self.buffers.get(1),
            Operand::Mins(_) => self.buffers.get(2),
            Operand::Input(_) | Operand::Output(_) | Operand::Scratch(..) => None,
        }
    }

    /// Bytes of all buffers.
    pub(super) fn bytes(&self) -> usize {
        self.buffers.iter().map(|buffer| buffer.size() as usize).sum()
    }

    /// Frees all buffers.
    pub(super) fn destroy(&self) {
        self.buffers.iter().for_each(wgpu::Buffer::destroy);
    }

    /// Takes the next bytes of a part that begins at `first_row`; `offset` is 0 for its first bytes.
    pub(super) fn push(
        &mut self,
        device: &GpuDevice,
        first_row: usize,
        offset: usize,
        chunk: &Chunk,
    ) -> Result<()> {
        if offset == 0 {
            self.pending.clear();
            self.next = first_row * self.columns;
        }
        for start in (0..chunk.len()).step_by(SEGMENT) {
            self.push_segment(device, &chunk.slice(start..chunk.len().min(start + SEGMENT)))?;
        }
        Ok(())
    }

    fn push_segment(&mut self, device: &GpuDevice, segment: &Chunk) -> Result<()> {
        let block = self.dtype.block_bytes();
        let n_blocks = (self.pending.len() + segment.len()) / block;
        if n_blocks == 0 {
            self.pending.extend_from_slice(&segment.read());
            return Ok(());
        }
        let n_values = n_blocks * self.dtype.block_len();
        ensure!(self.next + n_values <= self.n_values, Format, "a tensor has more bytes than its shape");
        let used = n_blocks * block - self.pending.len();
        let (buffer, at) = match self.dtype {
            DType::F32 => (&self.buffers[0], self.next as u64 * 4),
            _ => (device.staging_for_weights(), 0),
        };
        // Whole words straight from the chunk; what does not fill one before and after them from here.
        let ahead = (self.pending.len().next_multiple_of(4) - self.pending.len()).min(used);
        let mut head = std::mem::take(&mut self.pending);
        head.extend_from_slice(&segment.slice(0..ahead).read());
        let end = ahead + (used - ahead) / 4 * 4;
        let mut tail = segment.slice(end..used).read().into_owned();
        for bytes in [&mut head, &mut tail] {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let middle = at + head.len() as u64;
        device.write(buffer, at, &head);
        device.write_chunk(buffer, middle, &segment.slice(ahead..end))?;
        device.write(buffer, middle + (end - ahead) as u64, &tail);
        self.take_apart(device, n_values)?;
        self.pending.extend_from_slice(&segment.slice(used..segment.len()).read());
        self.next += n_values;
        Ok(())
    }

    /// Brings the staged values to their place.
    fn take_apart(&self, device: &GpuDevice, n_values: usize) -> Result<()> {
        let staging = device.staging_for_weights();
        let group = self.planes.group();
        let (kernel, first, n, invocations) = match self.dtype {
            DType::F32 => return Ok(()),
            DType::Block(_) => ("repack", self.next / group, n_values / group, n_values / group),
            _ => ("widen", self.next, n_values, n_values.div_ceil(2)),
        };
        let mins = if self.buffers.len() == 3 { "-mins" } else { "" };
        let mut buffers = vec![(0, staging)];
        buffers.extend((1..).zip(&self.buffers));
        let (x, z) = spread(invocations.div_ceil(64));
        let launch = Launch {
            shader: &format!("{kernel}-{}{mins}", self.dtype),
            buffers,
            params: bytemuck::cast_slice(&[first as u32, n as u32]).to_vec(),
            groups: [x as u32, 1, z as u32],
        };
        let mut encoder = device.device.create_command_encoder(&Default::default());
        Recording::new(device, &[launch])?.encode(&mut encoder);
        device.queue.submit([encoder.finish()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::gpu::ReadBack;
    use crate::quant::{AffineBlock, codec};
    use crate::types::BlockFormat::*;

    fn read(device: &GpuDevice, buffer: &wgpu::Buffer, n_bytes: usize) -> Vec<u8> {
        let mut encoder = device.device.create_command_encoder(&Default::default());
        let read = ReadBack::encode(device, &mut encoder, &[(buffer, n_bytes)]);
        device.queue.submit([encoder.finish()]);
        read.request();
        pollster::block_on(read.take(device)).unwrap()[..n_bytes].to_vec()
    }

    /// Bytes of a weight whose floats are all finite.
    fn random_bytes(dtype: DType, n: usize) -> Vec<u8> {
        let mut random = oorandom::Rand32::new(n as u64);
        let mut bytes: Vec<u8> = (0..n).map(|_| random.rand_u32() as u8).collect();
        let halves: &[usize] = match dtype {
            DType::Block(Q2_K) => &[80, 82],
            DType::Block(Q3_K) => &[108],
            DType::Block(Q6_K) => &[208],
            DType::Block(_) => &[0, 2],
            _ => &[0],
        };
        for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
            for &at in halves {
                // An exponent that is neither all ones nor all zeros, for f16 and bf16.
                block[at + 1] = block[at + 1] & 0xb3 | 0x20;
            }
        }
        bytes
    }

    #[test]
    fn every_format_is_taken_apart_as_its_codec_does_it() {
        let Ok(device) = pollster::block_on(GpuDevice::request()) else {
            return eprintln!("SKIPPED: no GPU adapter, so no weight was taken apart");
        };
        for format in [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS] {
            let (rows, columns) = (5, 768);
            let codec = codec(format);
            let group = usize::from(codec.affine_layout.group);
            let bytes = random_bytes(
                DType::Block(format),
                rows * columns / format.block_len() * format.block_bytes(),
            );
            let (mut levels, mut scales, mut mins) = (Vec::new(), Vec::new(), Vec::new());
            let mut block = AffineBlock::default();
            for bytes in bytes.chunks_exact(format.block_bytes()) {
                (codec.affine)(bytes, &mut block);
                let own = &block.levels[..format.block_len()];
                match codec.affine_layout.stored_bits() {
                    4 => levels.extend(own.chunks_exact(2).map(|pair| pair[0] | pair[1] << 4)),
                    _ => levels.extend_from_slice(own),
                }
                scales.extend_from_slice(&block.scales[..own.len() / group]);
                mins.extend_from_slice(&block.mins[..own.len() / group]);
            }
            for chunk in [1, 7, 1000, bytes.len()] {
                let mut weight =
                    GpuWeight::new(&device, "w", DType::Block(format), &[rows, columns]).unwrap();
                for (i, part) in bytes.chunks(chunk).enumerate() {
                    weight.push(&device, 0, i * chunk, &part.into()).unwrap();
                }
                assert!(
                    read(&device, &weight.buffers[0], levels.len()) == levels,
                    "{format:?} in {chunk}: levels"
                );
                for (buffer, want) in weight.buffers[1..].iter().zip([&scales, &mins]) {
                    let got: Vec<f32> = bytemuck::pod_collect_to_vec(&read(&device, buffer, want.len() * 4));
                    assert_eq!(&got, want, "{format:?} in {chunk}");
                }
                let more = weight.push(&device, 4, 0, &bytes[..].into());
                assert!(more.is_err(), "{format:?}: bytes past the end were taken");
                weight.destroy();
            }
        }
    }

    #[test]
    fn other_floats_become_f32_and_parts_go_to_their_rows() {
        let Ok(device) = pollster::block_on(GpuDevice::request()) else {
            return eprintln!("SKIPPED: no GPU adapter, so no weight was widened");
        };
        let wide = |dtype, bytes: &[u8]| -> Vec<f32> {
            match dtype {
                DType::F32 => bytemuck::pod_collect_to_vec(bytes),
                DType::F16 => {
                    bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect()
                }
                _ => bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
            }
        };
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let parts = [3usize, 4].map(|rows| {
                let mut bytes = random_bytes(dtype, rows * 13 * dtype.block_bytes());
                if dtype == DType::F32 {
                    bytes.as_chunks_mut::<4>().0.iter_mut().for_each(|b| b[3] = b[3] & 0xbe | 0x20);
                }
                bytes
            });
            let mut weight = GpuWeight::new(&device, "w", dtype, &[7, 13]).unwrap();
            for (first_row, bytes) in [(3, &parts[1]), (0, &parts[0])] {
                for (i, part) in bytes.chunks(17).enumerate() {
                    weight.push(&device, first_row, i * 17, &part.into()).unwrap();
                }
            }
            let got: Vec<f32> = bytemuck::pod_collect_to_vec(&read(&device, &weight.buffers[0], 7 * 13 * 4));
            assert_eq!(got, [wide(dtype, &parts[0]), wide(dtype, &parts[1])].concat(), "{dtype}");
        }
    }
}
