//! Files that the `onnx` package wrote, and what it reads from them: the reader must find the same.
//! `tests/data/onnx/make.py` made both.

use super::*;
use crate::types::DType;
use serde_json::{Value, json};
use std::path::Path;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx");

fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(FOLDER).join(name)).unwrap()
}

fn dump_of(name: &str) -> Value {
    serde_json::from_slice(&bytes_of(name)).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn each<T>(list: &[T], dump: impl Fn(&T) -> Value) -> Value {
    list.iter().map(dump).collect()
}

fn external(location: &str, offset: u64, n_bytes: usize) -> Result<crate::tensor::Tensor> {
    crate::tensor::Tensor::new(&[n_bytes], &bytes_of(location)[offset as usize..][..n_bytes])
}

/// The elements, read one by one from their bytes.
fn elements(tensor: &crate::tensor::Tensor) -> Value {
    let dtype = tensor.dtype();
    let number = |bytes: &[u8]| {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(wide);
        match dtype {
            DType::F32 => json!(f32::from_bits(bits as u32)),
            DType::F64 => json!(f64::from_bits(bits)),
            DType::F16 => json!(half::f16::from_bits(bits as u16).to_f64()),
            DType::BF16 => json!(half::bf16::from_bits(bits as u16).to_f64()),
            DType::I8 | DType::I4 | DType::I2 => json!(bits as i8),
            DType::I16 => json!(bits as i16),
            DType::I32 => json!(bits as i32),
            DType::I64 => json!(bits as i64),
            DType::Bool => json!(bits == 1),
            _ => json!(bits),
        }
    };
    match tensor.texts() {
        Ok(texts) => texts.iter().map(|text| json!(**text)).collect(),
        Err(_) => tensor.bytes().chunks_exact(dtype.block_bytes()).map(number).collect(),
    }
}

fn tensor(t: &Tensor) -> Value {
    let mut out = json!({"name": t.name, "dims": t.dims, "type": t.data_type.to_string()});
    let (key, data) = match &t.data {
        TensorData::Raw(bytes) => ("raw", json!(hex(bytes))),
        TensorData::Floats(list) => ("numbers", json!(list)),
        TensorData::Ints(list) => ("numbers", json!(list)),
        TensorData::Longs(list) => ("numbers", json!(list)),
        TensorData::Doubles(list) => ("numbers", json!(list)),
        TensorData::Unsigned(list) => ("numbers", json!(list)),
        TensorData::Strings(list) => ("strings", each(list, |s| json!(hex(s)))),
        TensorData::External { location, offset, length } => ("external", json!([location, offset, length])),
    };
    out[key] = data;
    match t.decode(&external) {
        Ok(decoded) => {
            assert_eq!((decoded.shape(), Some(decoded.dtype())), (&t.dims[..], t.data_type.dtype()));
            out["values"] = elements(&decoded);
        }
        Err(error) => {
            assert_eq!(error.kind(), crate::error::ErrorKind::UnsupportedFormat, "{error}");
            assert!(
                error.node() == Some(t.name) && error.message().contains(&t.data_type.to_string()),
                "{error}"
            );
        }
    }
    out
}

fn sparse(t: &SparseTensor) -> Value {
    json!({"values": tensor(&t.values), "indices": tensor(&t.indices), "dims": t.dims})
}

fn value_type(ty: &ValueType) -> Value {
    let of_tensor = |kind: &str, elem: &Option<ElementType>, shape: &Option<Vec<DimInfo>>| {
        let dim = |dim: &DimInfo| match dim {
            DimInfo::Known(n) => json!(n),
            DimInfo::Named(name) => json!(name),
            DimInfo::Unknown => Value::Null,
        };
        json!([kind, elem.map(|elem| elem.to_string()), shape.as_ref().map(|shape| each(shape, dim))])
    };
    match ty {
        ValueType::Tensor { elem, shape } => of_tensor("tensor", elem, shape),
        ValueType::SparseTensor { elem, shape } => of_tensor("sparse_tensor", elem, shape),
        ValueType::Sequence(element) => json!(["sequence", value_type(element)]),
        ValueType::Optional(element) => json!(["optional", value_type(element)]),
        ValueType::Map { key, value } => json!(["map", key.to_string(), value_type(value)]),
        ValueType::Opaque { domain, name } => json!(["opaque", domain, name]),
    }
}

fn info(value: &ValueInfo) -> Value {
    json!([value.name, value.ty.as_ref().map(value_type)])
}

fn attribute(a: &Attribute) -> Value {
    use AttributeValue as V;
    let (kind, value) = match &a.value {
        V::None => ("undefined", Value::Null),
        V::Float(x) => ("float", json!(x)),
        V::Int(x) => ("int", json!(x)),
        V::Str(s) => ("string", json!(hex(s))),
        V::Tensor(t) => ("tensor", tensor(t)),
        V::Graph(g) => ("graph", graph(g)),
        V::SparseTensor(t) => ("sparse_tensor", sparse(t)),
        V::Type(ty) => ("type_proto", value_type(ty)),
        V::Floats(list) => ("floats", json!(list)),
        V::Ints(list) => ("ints", json!(list)),
        V::Strs(list) => ("strings", each(list, |s| json!(hex(s)))),
        V::Tensors(list) => ("tensors", each(list, tensor)),
        V::Graphs(list) => ("graphs", each(list, graph)),
        V::SparseTensors(list) => ("sparse_tensors", each(list, sparse)),
        V::Types(list) => ("type_protos", each(list, value_type)),
    };
    json!([a.name, a.ref_attr_name, kind, value])
}

fn node(n: &Node) -> Value {
    json!({"name": n.name, "op_type": n.op_type, "domain": n.domain, "overload": n.overload, "inputs": n.inputs,
           "outputs": n.outputs, "attributes": each(&n.attributes, attribute)})
}

fn graph(g: &Graph) -> Value {
    json!({"name": g.name, "nodes": each(&g.nodes, node), "initializers": each(&g.initializers, tensor),
           "sparse_initializers": each(&g.sparse_initializers, sparse), "inputs": each(&g.inputs, info),
           "outputs": each(&g.outputs, info), "value_info": each(&g.value_info, info)})
}

fn function(f: &Function) -> Value {
    json!({"domain": f.domain, "name": f.name, "overload": f.overload, "inputs": f.inputs, "outputs": f.outputs,
           "attributes": f.attributes, "attribute_defaults": each(&f.attribute_defaults, attribute),
           "nodes": each(&f.nodes, node), "opsets": f.opsets})
}

fn model(m: &Model) -> Value {
    json!({"ir_version": m.ir_version, "opsets": m.opsets, "producer": m.producer, "graph": graph(&m.graph),
           "functions": each(&m.functions, function), "metadata": m.metadata})
}

fn stored(value: &Stored) -> Value {
    match value {
        Stored::Tensor(t) => json!(["tensor", tensor(t)]),
        Stored::SparseTensor(t) => json!(["sparse", sparse(t)]),
        Stored::Sequence(s) => json!(["sequence", sequence(s)]),
        Stored::Optional(o) => json!(["optional", optional(o)]),
        Stored::Map(m) => {
            let keys = match &m.keys {
                MapKeys::Ints(keys) => json!(keys),
                MapKeys::Strings(keys) => each(keys, |key| json!(hex(key))),
            };
            json!(["map", {"name": m.name, "keys": keys, "values": sequence(&m.values)}])
        }
    }
}

fn sequence(s: &Sequence) -> Value {
    json!({"name": s.name, "values": each(&s.values, stored)})
}

fn optional(o: &Optional) -> Value {
    json!({"name": o.name, "value": o.value.as_ref().map(|value| stored(value))})
}

#[test]
fn models_hold_what_the_reference_finds() {
    for name in ["graph", "tensors"] {
        let bytes = bytes_of(&format!("{name}.onnx"));
        let (found, dump) = (model(&parse(&bytes).unwrap()), dump_of(&format!("{name}.json")));
        for (key, part) in dump["graph"].as_object().unwrap() {
            for (index, expected) in part.as_array().into_iter().flatten().enumerate() {
                assert_eq!(&found["graph"][key][index], expected, "{name}: {key} {index}");
            }
        }
        assert_eq!(found, dump, "{name}");
    }
}

#[test]
fn stored_values_hold_what_the_reference_finds() {
    assert_eq!(tensor(&parse_tensor(&bytes_of("tensor.pb")).unwrap()), dump_of("tensor.json"));
    assert_eq!(sequence(&parse_sequence(&bytes_of("sequence.pb")).unwrap()), dump_of("sequence.json"));
    for name in ["optional", "nothing"] {
        let bytes = bytes_of(&format!("{name}.pb"));
        assert_eq!(optional(&parse_optional(&bytes).unwrap()), dump_of(&format!("{name}.json")), "{name}");
    }
}
