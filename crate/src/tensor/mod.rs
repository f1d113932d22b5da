//! Tensors with data: contiguous, row-major, in memory of the CPU.

mod tensor;
mod view;

pub use tensor::Tensor;
pub use view::{Element, TensorView, TensorViewMut};
