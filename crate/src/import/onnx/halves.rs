//! Models of 16-bit floats are computed in f32: neither back end has kernels for 16 bits, f32 is at hand everywhere, and
//! what comes out is rounded once. Inputs are widened, constants too, and outputs narrowed to what the file declares.

use super::Import;
use crate::error::Result;
use crate::formats::onnx::{AttributeValue, Graph as Subgraph, Model, Node, ValueInfo, ValueType};
use crate::graph::ValueId;
use crate::ops::cast::Cast;
use crate::tensor::Tensor;
use crate::types::DType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// The number of texts among element types.
const TEXT: i64 = 8;

/// Whether no operator of a file and no value that it takes or gives would tell an f32 from a float of 16 bits.
pub(super) fn can_widen(model: &Model) -> bool {
    let of_functions = model.functions.iter().flat_map(|function| &function.nodes);
    let is_tensor = |info: &ValueInfo| matches!(info.ty, Some(ValueType::Tensor { .. }));
    model.graph.nodes.iter().chain(of_functions).all(is_blind)
        && model.graph.inputs.iter().chain(&model.graph.outputs).all(is_tensor)
}

fn is_blind(node: &Node) -> bool {
    let inner = |graph: &Subgraph| graph.nodes.iter().all(is_blind);
    let shows_bits = match node.op_type {
        "BitCast" => true,
        "Cast" => node.int("to").is_ok_and(|to| to == Some(TEXT)),
        _ => false,
    };
    !shows_bits
        && node.attributes.iter().all(|attribute| match &attribute.value {
            AttributeValue::Graph(graph) => inner(graph),
            AttributeValue::Graphs(graphs) => graphs.iter().all(inner),
            _ => true,
        })
}

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

impl<'a> Import<'a> {
    /// The dtype that stands for one of the file.
    pub(super) fn dtype(&self, dtype: DType) -> DType {
        if self.widens && is_half(dtype) { DType::F32 } else { dtype }
    }

    /// The tensor that stands for one of the file.
    pub(super) fn elements(&self, tensor: Tensor) -> Result<Tensor> {
        if !self.widens || !is_half(tensor.dtype()) {
            return Ok(tensor);
        }
        let mut wide = Tensor::zeros(DType::F32, tensor.shape())?;
        widen(tensor.dtype(), tensor.bytes(), wide.data_mut()?);
        Ok(wide)
    }

    /// The value that stands for an input of the file.
    pub(super) fn given(&mut self, name: &str, id: ValueId) -> ValueId {
        let dtype = self.graph.value(id).ty.as_ref().map(|ty| ty.dtype);
        match dtype.filter(|dtype| self.widens && is_half(*dtype)) {
            Some(_) => self.graph.defer(name, Cast::to(DType::F32), &[Some(id)], &[name])[0],
            None => id,
        }
    }

    /// A value as the output that the file declares.
    pub(super) fn wanted(&mut self, info: &ValueInfo, id: ValueId) -> ValueId {
        let Some(ValueType::Tensor { elem, .. }) = &info.ty else { return id };
        match elem.and_then(|elem| elem.dtype()).filter(|dtype| self.widens && is_half(*dtype)) {
            Some(dtype) => self.graph.defer(info.name, Cast::to(dtype), &[Some(id)], &[info.name])[0],
            None => id,
        }
    }
}

/// Floats of 16 bits as f32.
fn widen(dtype: DType, bytes: &[u8], y: &mut [f32]) {
    match dtype {
        DType::BF16 => bytemuck::cast_slice::<u8, bf16>(bytes).convert_to_f32_slice(y),
        _ => bytemuck::cast_slice::<u8, f16>(bytes).convert_to_f32_slice(y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_of_16_bits_keep_their_values() {
        let values = [1.5f32, -2.0, 65504.0, 0.0];
        let mut y = [0.0; 4];
        widen(DType::F16, bytemuck::cast_slice(&values.map(f16::from_f32)), &mut y);
        assert_eq!(y, values);
        widen(DType::BF16, bytemuck::cast_slice(&[1.5, -2.0, 3e38, 0.0].map(bf16::from_f32)), &mut y);
        assert!(y[0] == 1.5 && (y[2] / 3e38 - 1.0).abs() < 0.01);
    }

    #[test]
    fn what_shows_bits_keeps_them() {
        let node = |op_type| Node { op_type, outputs: vec!["y"], ..Node::default() };
        assert!(is_blind(&node("Conv")) && !is_blind(&node("BitCast")));
    }
}
