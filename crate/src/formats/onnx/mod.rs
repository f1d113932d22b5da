//! ONNX files: a model, its graph, its weights, as the file has them.

mod attribute;
mod model;
mod tensor;
mod wire;

pub use attribute::Attribute;
pub use model::{DimInfo, Function, Graph, Model, Node, TensorInfo, ValueInfo, parse};
pub use tensor::{Tensor, dtype_of};

use crate::error::Result;

/// Reads a tensor that is a file of its own, as ONNX's stored test data are.
pub fn parse_tensor(bytes: &[u8]) -> Result<Tensor<'_>> {
    Tensor::parse(wire::Message::new(bytes))
}
