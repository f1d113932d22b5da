//! An owned tensor.

use super::{Element, TensorView, TensorViewMut};
use crate::error::{Result, ensure};
use crate::types::{DType, Shape, TensorType};
use std::sync::Arc;

/// A tensor that owns its elements, aligned to 16 bytes. A clone shares them until one of the two is written.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    /// Sixteen bytes each, so that any element type and any vector is aligned.
    storage: Arc<Vec<u128>>,
    n_bytes: usize,
}

impl Tensor {
    /// A tensor of zeros. Fails when its size does not fit, or is not a whole number of blocks.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        let len = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        let n_bytes = len.and_then(|len| dtype.bytes_for(len));
        ensure!(n_bytes.is_some(), ShapeMismatch, "a {dtype} tensor cannot have the shape {shape:?}");
        let n_bytes = n_bytes.unwrap_or_default();
        let mut storage = Vec::new();
        let words = n_bytes.div_ceil(16);
        ensure!(
            storage.try_reserve_exact(words).is_ok(),
            OutOfMemory,
            "no memory for a {dtype} tensor of shape {shape:?} ({n_bytes} bytes): use a smaller context or model"
        );
        storage.resize(words, 0);
        Ok(Self { dtype, shape: shape.to_vec(), storage: Arc::new(storage), n_bytes })
    }

    /// A tensor of those elements. Fails when their number is not the shape's.
    pub fn new<T: Element>(shape: &[usize], data: &[T]) -> Result<Self> {
        let mut tensor = Self::zeros(T::DTYPE, shape)?;
        let elements = tensor.data_mut::<T>()?;
        ensure!(
            elements.len() == data.len(),
            ShapeMismatch,
            "{} elements were given for the shape {shape:?}",
            data.len()
        );
        elements.copy_from_slice(data);
        Ok(tensor)
    }

    /// A copy of what is borrowed.
    pub fn copied(view: TensorView) -> Result<Self> {
        let TensorView { dtype, shape, bytes } = view;
        if let Ok(units) = bytemuck::try_cast_slice::<u8, u128>(bytes) {
            let mut storage = Vec::new();
            let fits = storage.try_reserve_exact(units.len()).is_ok();
            ensure!(fits, OutOfMemory, "no memory for {} bytes of results: use a smaller input", bytes.len());
            storage.extend_from_slice(units);
            return Ok(Self {
                dtype,
                shape: shape.to_vec(),
                storage: Arc::new(storage),
                n_bytes: bytes.len(),
            });
        }
        let mut tensor = Self::zeros(dtype, shape)?;
        tensor.view_mut().bytes.copy_from_slice(bytes);
        Ok(tensor)
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type.
    pub fn ty(&self) -> TensorType {
        TensorType::new(self.dtype, Shape::known(&self.shape))
    }

    /// The same elements in another shape. Fails when their number differs.
    pub fn reshaped(mut self, shape: &[usize]) -> Result<Self> {
        let (had, wanted) = (self.shape.iter().product::<usize>(), shape.iter().product::<usize>());
        ensure!(had == wanted, ShapeMismatch, "{self:?} cannot take the shape {shape:?}");
        self.shape = shape.to_vec();
        Ok(self)
    }

    /// The bytes of the elements.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.storage[..])[..self.n_bytes]
    }

    /// The elements. Fails when the dtype is another.
    pub fn data<T: Element>(&self) -> Result<&[T]> {
        self.view().data()
    }

    /// The elements, to be written. Fails when the dtype is another.
    pub fn data_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let n_bytes = self.n_bytes;
        ensure!(self.dtype == T::DTYPE, ShapeMismatch, "a {} tensor was written as {}", self.dtype, T::DTYPE);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(Arc::make_mut(&mut self.storage).as_mut_slice());
        Ok(bytemuck::cast_slice_mut(&mut bytes[..n_bytes]))
    }

    /// The tensor, borrowed.
    pub fn view(&self) -> TensorView<'_> {
        TensorView { dtype: self.dtype, shape: &self.shape, bytes: self.bytes() }
    }

    /// The tensor, borrowed to be written.
    pub fn view_mut(&mut self) -> TensorViewMut<'_> {
        let bytes =
            &mut bytemuck::cast_slice_mut(Arc::make_mut(&mut self.storage).as_mut_slice())[..self.n_bytes];
        TensorViewMut { dtype: self.dtype, shape: &self.shape, bytes }
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}
