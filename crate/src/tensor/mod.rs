//! Tensors with data: contiguous, row-major, in memory of the CPU.

mod buffer;
mod chunk;
mod tensor;
mod view;
mod wide;

pub use buffer::Buffer;
pub use chunk::Chunk;
pub use tensor::Tensor;
pub use view::{Element, TensorView, TensorViewMut};
pub use wide::Wide;
