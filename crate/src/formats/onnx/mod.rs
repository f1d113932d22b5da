//! ONNX: a model as one protobuf message, read into plain structs that borrow from its bytes.
//! <https://github.com/onnx/onnx/blob/main/docs/IR.md>, and the numbers of the fields from `onnx/onnx.proto` there.
//!
//! [`parse`] reads a model; [`parse_tensor`], [`parse_sequence`] and [`parse_optional`] read values that are stored on
//! their own. [`Tensor::decode`] makes elements of what a tensor has. `wire` knows protobuf and nothing of ONNX;
//! each other file reads the messages that it is named after, and skips the fields that nothing here needs.

#![forbid(unsafe_code)]

mod attribute;
mod element;
#[cfg(test)]
mod golden;
mod model;
mod node;
mod stored;
mod tensor;
#[cfg(test)]
mod tests;
mod value;
mod wire;

pub use attribute::{Attribute, AttributeValue};
pub use element::ElementType;
pub use model::{Function, Graph, Model};
pub use node::Node;
pub use stored::{Map, MapKeys, Optional, Sequence, Stored};
pub use tensor::{ReadExternal, SparseTensor, Tensor, TensorData};
pub use value::{DimInfo, ValueInfo, ValueType};

use crate::error::Result;
use wire::Wire;

/// Reads a model.
///
/// # Errors
/// `Format`, with the offset, or the node, attribute or tensor, for bytes that are no such file or that contradict
/// themselves; `UnsupportedFormat` for an element type or kind of attribute that is not known; `OutOfMemory`.
pub fn parse(bytes: &[u8]) -> Result<Model<'_>> {
    Model::read(Wire::new(bytes, "ModelProto"))
}

/// Reads a tensor that is stored on its own. Fails as [`parse`] does.
pub fn parse_tensor(bytes: &[u8]) -> Result<Tensor<'_>> {
    Tensor::read(Wire::new(bytes, "TensorProto"))
}

/// Reads a sequence that is stored on its own. Fails as [`parse`] does.
pub fn parse_sequence(bytes: &[u8]) -> Result<Sequence<'_>> {
    Sequence::read(Wire::new(bytes, "SequenceProto"))
}

/// Reads an optional value that is stored on its own. Fails as [`parse`] does.
pub fn parse_optional(bytes: &[u8]) -> Result<Optional<'_>> {
    Optional::read(Wire::new(bytes, "OptionalProto"))
}
