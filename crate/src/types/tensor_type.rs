//! What is known of a tensor before it has data.

use super::{DType, Shape};
use crate::error::{Result, fail};
use std::fmt;

/// The element type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// The element type.
    pub dtype: DType,
    /// The shape, outermost dimension first.
    pub shape: Shape,
}

impl TensorType {
    /// The type of a tensor of `dtype` elements in `shape`.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Self {
        Self { dtype, shape: shape.into() }
    }

    /// An f32 tensor of that shape.
    pub fn f32(shape: impl Into<Shape>) -> Self {
        Self::new(DType::F32, shape)
    }

    /// The dimensions. Fails when one is a symbol that was not bound.
    pub fn known_shape(&self) -> Result<Vec<usize>> {
        match self.shape.to_known() {
            Some(shape) => Ok(shape),
            None => fail!(Internal, "{self} still has a symbol in its shape"),
        }
    }

    /// The bytes of all elements. Fails past `usize`, for a shape with symbols, and when rows are not whole
    /// blocks.
    pub fn n_bytes(&self) -> Result<usize> {
        let len = self.known_shape()?.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
        match len.and_then(|len| self.dtype.bytes_for(len)) {
            Some(bytes) => Ok(bytes),
            None => fail!(ShapeMismatch, "{self} is too large, or not a whole number of blocks"),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}
