//! From what a format holds to a graph.

pub mod arch;
pub mod onnx;
