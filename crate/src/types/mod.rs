//! What a tensor is before it has data: its element type and its shape, some of whose dimensions may be
//! symbols that a plan binds to numbers.

mod dim;
mod dtype;
mod tensor_type;

pub use dim::{Bindings, Dim, Shape};
pub use dtype::{BlockFormat, DType};
pub use tensor_type::TensorType;
