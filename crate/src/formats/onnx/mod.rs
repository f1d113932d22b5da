//! ONNX: a model as one protobuf message, read into plain structs that borrow from its bytes.
//! <https://github.com/onnx/onnx/blob/main/docs/IR.md>, and the numbers of the fields from `onnx/onnx.proto` there.
//!
//! [`parse`] reads a model; [`parse_tensor`], [`parse_sequence`] and [`parse_optional`] read values that are stored on
//! their own. [`Tensor::decode`] makes elements of what a tensor has. `wire` knows protobuf and nothing of ONNX;
//! each other file reads the messages that it is named after, and skips the fields that nothing here needs.

#![forbid(unsafe_code)]

mod attribute;
mod data_files;
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
pub use data_files::DataFiles;
pub use element::ElementType;
pub use model::{Function, Graph, Model};
pub use node::Node;
pub use stored::{Map, MapKeys, Optional, Sequence, Stored};
pub use tensor::{Outside, ReadExternal, SparseTensor, Tensor, TensorData};
pub use value::{DimInfo, ValueInfo, ValueType};

use crate::error::Result;
use wire::Wire;

/// Whether the first bytes of a file are those of a model: fields that it may have, one after the other. Of the other
/// formats only safetensors may begin so, and shows itself further on.
pub fn looks_like_onnx(first: &[u8]) -> bool {
    let mut at = 0;
    let varint = |at: &mut usize| {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = *first.get(*at)?;
            *at += 1;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        Some(u64::MAX)
    };
    while at < first.len() {
        let Some(key) = varint(&mut at) else { break };
        let is_number = match (key >> 3, key & 7) {
            (1 | 5 | 9..=63, 0) => true,
            (2..=4 | 6..=63, 2) => false,
            _ => return false,
        };
        match varint(&mut at) {
            Some(n) if !is_number => at = at.saturating_add(usize::try_from(n).unwrap_or(usize::MAX)),
            Some(_) => {}
            None => break,
        }
    }
    !first.is_empty() && !super::safetensors::looks_like_safetensors(first)
}

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
