//! GGUF, versions 2 and 3, little-endian: a header of metadata and tensor descriptions, then the tensors'
//! bytes, aligned. <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
//!
//! [`header`] parses from however many of the file's first bytes have come; when they do not suffice it says
//! so, and the loader calls again with more. [`reader`] takes numbers and strings and holds every count to the
//! bytes that the file can have, so that no allocation is larger than what it was read from.

mod header;
mod reader;
mod shards;
mod tensors;
#[cfg(test)]
mod tests;
mod values;

pub use shards::Shard;
pub use values::{Numbers, Strings, Value};

use super::TensorInfo;
use std::collections::HashMap;

/// The header of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gguf {
    /// Metadata by key.
    pub metadata: HashMap<Box<str>, Value>,
    /// Tensors, in the order of the header.
    pub tensors: Vec<TensorInfo>,
    /// Where the tensors' bytes begin.
    pub data_start: u64,
}

/// What parsing the first bytes gave.
#[derive(Debug)]
pub enum Parsed {
    /// The header.
    Complete(Box<Gguf>),
    /// The header is longer than the bytes so far.
    NeedMore,
}

impl Gguf {
    /// A string of the metadata.
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::String(s)) => Some(s),
            _ => None,
        }
    }

    /// An unsigned number of the metadata, of any width.
    pub fn uint(&self, key: &str) -> Option<usize> {
        match self.metadata.get(key) {
            Some(Value::Unsigned(n)) => usize::try_from(*n).ok(),
            Some(Value::Signed(n)) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// A float of the metadata.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.metadata.get(key) {
            Some(Value::Float(x)) => Some(*x),
            _ => None,
        }
    }

    /// A truth value of the metadata.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key) {
            Some(Value::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    /// A list of strings of the metadata.
    pub fn strings(&self, key: &str) -> Option<&Strings> {
        match self.metadata.get(key) {
            Some(Value::Strings(list)) => Some(list),
            _ => None,
        }
    }

    /// A list of numbers of the metadata, of any type.
    pub fn numbers(&self, key: &str) -> Option<&Numbers> {
        match self.metadata.get(key) {
            Some(Value::Numbers(list)) => Some(list),
            _ => None,
        }
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|t| &*t.name == name)
    }
}
