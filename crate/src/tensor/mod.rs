//! Tensors with data: contiguous, row-major, in memory of the CPU.

mod buffer;
mod chunk;
mod parts;
mod small_float;
mod tensor;
mod view;
mod wide;

pub use buffer::Buffer;
pub use chunk::Chunk;
pub use small_float::{Narrowing, Round};
pub use tensor::Tensor;
pub use view::{Element, TensorView, TensorViewMut};
pub use wide::Wide;
