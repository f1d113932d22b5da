//! Outputs that stay on the device: each in a buffer of its own, which is used anew once nobody holds it.

use super::device::GpuDevice;
use super::read_back::ReadBack;
use crate::backend::Resident;
use crate::error::{Result, ensure};
use crate::tensor::Tensor;
use crate::types::{Shape, TensorType};
use std::any::Any;
use std::pin::Pin;
use std::rc::Rc;

/// A buffer that goes back to its device's store with its last holder.
struct Lent {
    device: GpuDevice,
    buffer: wgpu::Buffer,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.device.give_back(self.buffer.clone());
    }
}

/// A tensor in a buffer of the device.
pub(super) struct GpuTensor {
    lent: Rc<Lent>,
    ty: TensorType,
    bytes: usize,
}

impl GpuTensor {
    /// Encodes a copy of the first bytes of a buffer, which are a tensor of that type.
    pub(super) fn copied(
        device: &GpuDevice,
        encoder: &mut wgpu::CommandEncoder,
        from: &wgpu::Buffer,
        ty: &TensorType,
    ) -> Result<Self> {
        let bytes = ty.n_bytes()?.next_multiple_of(4);
        let buffer = device.lend(bytes);
        encoder.copy_buffer_to_buffer(from, 0, &buffer, 0, bytes as u64);
        Ok(Self { lent: Rc::new(Lent { device: device.clone(), buffer }), ty: ty.clone(), bytes })
    }

    /// Whether it lies on that device.
    pub(super) fn is_on(&self, device: &GpuDevice) -> bool {
        self.lent.device.device == device.device
    }

    /// Its buffer, and how many of its bytes are the tensor, a multiple of 4.
    pub(super) fn buffer(&self) -> (&wgpu::Buffer, usize) {
        (&self.lent.buffer, self.bytes)
    }
}

impl Resident for GpuTensor {
    fn ty(&self) -> &TensorType {
        &self.ty
    }

    fn reshaped(&self, shape: &[usize]) -> Result<Rc<dyn Resident>> {
        let ty = TensorType::new(self.ty.dtype, Shape::known(shape));
        ensure!(ty.n_bytes()? == self.ty.n_bytes()?, ShapeMismatch, "{} is not reshaped to {ty}", self.ty);
        Ok(Rc::new(Self { lent: Rc::clone(&self.lent), ty, bytes: self.bytes }))
    }

    fn read(&self) -> Pin<Box<dyn Future<Output = Result<Tensor>>>> {
        let (lent, ty, bytes) = (Rc::clone(&self.lent), self.ty.clone(), self.bytes);
        Box::pin(async move {
            let device = &lent.device;
            device.check()?;
            let mut encoder = device.device.create_command_encoder(&Default::default());
            let read = ReadBack::encode(device, &mut encoder, &[(&lent.buffer, bytes)]);
            device.queue.submit([encoder.finish()]);
            read.request();
            tensor_of(&ty, &mut &read.take(device).await?[..])
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A tensor of that type from the first of these bytes, which then are those behind it and what fills its last word.
pub(super) fn tensor_of(ty: &TensorType, bytes: &mut &[u8]) -> Result<Tensor> {
    let mut tensor = Tensor::zeros(ty.dtype, &ty.known_shape()?)?;
    let view = tensor.view_mut();
    let (own, after) = bytes.split_at(view.bytes.len().next_multiple_of(4));
    view.bytes.copy_from_slice(&own[..view.bytes.len()]);
    *bytes = after;
    Ok(tensor)
}
