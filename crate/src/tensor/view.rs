//! Borrowed tensors: an element type, a concrete shape and the bytes.

use crate::error::{Result, fail};
use crate::types::DType;

/// A Rust type that is the element type of some dtype.
pub trait Element: bytemuck::Pod {
    /// The dtype whose elements these are.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),+) => { $(impl Element for $rust { const DTYPE: DType = DType::$dtype; })+ };
}
elements!(f32 => F32, f64 => F64, i64 => I64, i32 => I32, i16 => I16, i8 => I8, u64 => U64, u32 => U32, u16 => U16, u8 => U8,
    half::f16 => F16, half::bf16 => BF16);

/// A tensor that is read.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// The element type.
    pub dtype: DType,
    /// The shape, outermost first.
    pub shape: &'a [usize],
    /// The elements, row-major.
    pub bytes: &'a [u8],
}

/// A tensor that is written.
#[derive(Debug)]
pub struct TensorViewMut<'a> {
    /// The element type.
    pub dtype: DType,
    /// The shape, outermost first.
    pub shape: &'a [usize],
    /// The elements, row-major.
    pub bytes: &'a mut [u8],
}

impl<'a> TensorView<'a> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements. Fails when the dtype is another.
    pub fn data<T: Element>(&self) -> Result<&'a [T]> {
        match bytemuck::try_cast_slice(self.bytes) {
            Ok(data) if T::DTYPE == self.dtype => Ok(data),
            _ => fail!(ShapeMismatch, "a tensor of {} was read as {}", self.dtype, T::DTYPE),
        }
    }

    /// Rows and columns when all dimensions but the last are taken as one: `[rows, columns]`.
    pub fn as_rows(&self) -> (usize, usize) {
        as_rows(self.shape)
    }
}

impl TensorViewMut<'_> {
    /// The same, to be read.
    pub fn as_view(&self) -> TensorView<'_> {
        TensorView { dtype: self.dtype, shape: self.shape, bytes: self.bytes }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements. Fails when the dtype is another.
    pub fn data<T: Element>(&mut self) -> Result<&mut [T]> {
        match bytemuck::try_cast_slice_mut(self.bytes) {
            Ok(data) if T::DTYPE == self.dtype => Ok(data),
            _ => fail!(ShapeMismatch, "a tensor of {} was written as {}", self.dtype, T::DTYPE),
        }
    }

    /// Rows and columns when all dimensions but the last are taken as one: `[rows, columns]`.
    pub fn as_rows(&self) -> (usize, usize) {
        as_rows(self.shape)
    }
}

fn as_rows(shape: &[usize]) -> (usize, usize) {
    match shape.split_last() {
        Some((columns, outer)) => (outer.iter().product(), *columns),
        None => (1, 1),
    }
}
