//! ONNX files, and values that are stored on their own; tensors are decoded too.
#![no_main]

use homefire::error::Result;
use homefire::formats::onnx;
use homefire::tensor::Tensor;
use homefire::types::DType;
use libfuzzer_sys::fuzz_target;

/// Stands for a file of 4 KiB of zeros.
fn outside(_: &str, offset: u64, n_bytes: usize) -> Result<Tensor> {
    Tensor::zeros(DType::U8, &[n_bytes.min(4096 - offset.min(4096) as usize)])
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = onnx::parse(bytes) {
        for tensor in &model.graph.initializers {
            let _ = tensor.decode(&outside);
        }
        for node in &model.graph.nodes {
            for attribute in &node.attributes {
                let _ = (node.label(), node.string(attribute.name), node.strings(attribute.name));
            }
        }
    }
    if let Ok(tensor) = onnx::parse_tensor(bytes) {
        let _ = tensor.decode(&outside);
    }
    let _ = (onnx::parse_sequence(bytes), onnx::parse_optional(bytes));
});
