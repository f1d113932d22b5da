//! File formats: bytes to plain structs, with no notion of a graph. Files are hostile: every count and
//! offset is checked against the bytes that are there before it is trusted.

pub mod gguf;
pub mod hf_config;
pub mod onnx;
pub mod safetensors;
mod tensor_info;

pub use tensor_info::{TensorInfo, decodable};
