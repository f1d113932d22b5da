//! Weights on their way into GPU buffers: block formats are taken apart into planes, other floats become
//! f32, a bounded piece at a time.

use super::device::GpuDevice;
use crate::error::{Result, ensure, fail};
use crate::kernels::dispatch::Operand;
use crate::kernels::planes::Planes;
use crate::quant::{AffineBlock, codec};
use crate::types::{BlockFormat, DType};

/// A weight's buffers, and the bytes of a block that is not whole yet.
pub(super) struct GpuWeight {
    dtype: DType,
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
            Operand::Input(_) if Planes::of(self.dtype) == Some(Planes::Dense) => self.buffers.first(),
            Operand::Levels(_) => self.buffers.first(),
            Operand::Scales(_) => self.buffers.get(1),
            Operand::Mins(_) => self.buffers.get(2),
            Operand::Input(_) | Operand::Output(_) => None,
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
        bytes: &[u8],
    ) -> Result<()> {
        if offset == 0 {
            self.pending.clear();
            self.next = first_row * self.columns;
        }
        let block_bytes = self.dtype.block_bytes();
        let mut rest = bytes;
        if !self.pending.is_empty() {
            let (head, tail) = rest.split_at((block_bytes - self.pending.len()).min(rest.len()));
            self.pending.extend_from_slice(head);
            rest = tail;
            if self.pending.len() < block_bytes {
                return Ok(());
            }
            let whole = std::mem::take(&mut self.pending);
            self.write(device, &whole)?;
        }
        let (whole, tail) = rest.split_at(rest.len() - rest.len() % block_bytes);
        self.write(device, whole)?;
        self.pending.extend_from_slice(tail);
        Ok(())
    }

    /// Writes whole blocks to where the next values are.
    fn write(&mut self, device: &GpuDevice, bytes: &[u8]) -> Result<()> {
        let n = bytes.len() / self.dtype.block_bytes() * self.dtype.block_len();
        ensure!(self.next + n <= self.n_values, Format, "a tensor has more bytes than its shape");
        match self.dtype {
            DType::Block(format) => self.write_blocks(device, format, bytes),
            DType::F32 => device.write(&self.buffers[0], self.next as u64 * 4, bytes),
            dtype => {
                let (halves, _) = bytes.as_chunks::<2>();
                let wide = |half: &[u8; 2]| match dtype {
                    DType::F16 => half::f16::from_le_bytes(*half).to_f32(),
                    _ => half::bf16::from_le_bytes(*half).to_f32(),
                };
                let values: Vec<f32> = halves.iter().map(wide).collect();
                device.write(&self.buffers[0], self.next as u64 * 4, bytemuck::cast_slice(&values));
            }
        }
        self.next += n;
        Ok(())
    }

    fn write_blocks(&self, device: &GpuDevice, format: BlockFormat, bytes: &[u8]) {
        let codec = codec(format);
        let layout = codec.affine_layout;
        let (block_len, group) = (format.block_len(), usize::from(layout.group));
        let n_blocks = bytes.len() / format.block_bytes();
        let groups = block_len / group;
        let mut levels = Vec::with_capacity(n_blocks * block_len * usize::from(layout.bits) / 8);
        let mut scales = Vec::with_capacity(n_blocks * groups);
        let mut mins = Vec::with_capacity(n_blocks * groups);
        let mut block = AffineBlock::default();
        for bytes in bytes.chunks_exact(format.block_bytes()) {
            (codec.affine)(bytes, &mut block);
            if layout.bits == 4 {
                levels.extend(block.levels[..block_len].chunks_exact(2).map(|pair| pair[0] | pair[1] << 4));
            } else {
                levels.extend_from_slice(&block.levels[..block_len]);
            }
            scales.extend_from_slice(&block.scales[..groups]);
            mins.extend_from_slice(&block.mins[..groups]);
        }
        let at_level = (self.next * usize::from(layout.bits) / 8) as u64;
        let at_group = (self.next / group * 4) as u64;
        device.write(&self.buffers[0], at_level, &levels);
        device.write(&self.buffers[1], at_group, bytemuck::cast_slice(&scales));
        if let Some(buffer) = self.buffers.get(2) {
            device.write(buffer, at_group, bytemuck::cast_slice(&mins));
        }
    }
}
