//! The reader against messages made here field by field, as other writers lay them out and as none may.

use super::wire::{Field, Wire};
use super::*;
use crate::error::{Error, ErrorKind};
use crate::types::DType;

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 128 {
        out.push(n as u8 | 128);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A field that is a number.
fn int(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value as u64)].concat()
}

/// A field that is bytes, a string, packed numbers or a message of fields.
fn part(number: u64, content: &[u8]) -> Vec<u8> {
    [&varint(number << 3 | 2)[..], &varint(content.len() as u64), content].concat()
}

/// A field that is an f32.
fn float(number: u64, value: f32) -> Vec<u8> {
    [&varint(number << 3 | 5)[..], &value.to_le_bytes()].concat()
}

/// A model whose graph has those fields.
fn model_of(graph: &[Vec<u8>]) -> Vec<u8> {
    part(7, &graph.concat())
}

/// A node `n` of the operator `Op` with those attributes.
fn node_of(attributes: &[Vec<u8>]) -> Vec<u8> {
    let attributes: Vec<_> = attributes.iter().map(|fields| part(5, fields)).collect();
    part(1, &[part(3, b"n"), part(4, b"Op"), attributes.concat()].concat())
}

fn attribute_of(name: &str, kind: i64, fields: &[u8]) -> Vec<u8> {
    [&part(1, name.as_bytes())[..], &int(20, kind), fields].concat()
}

/// A tensor `t` of an element type and fields besides.
fn tensor_of(dims: &[i64], data_type: i64, fields: &[u8]) -> Vec<u8> {
    let dims: Vec<_> = dims.iter().map(|&dim| int(1, dim)).collect();
    [&dims.concat()[..], &int(2, data_type), &part(8, b"t"), fields].concat()
}

fn refused(bytes: &[u8]) -> Error {
    parse(bytes).expect_err("a wrong file was accepted")
}

fn nothing_outside(_: &str, _: u64, _: usize) -> Result<crate::tensor::Tensor> {
    panic!("bytes of another file were asked for")
}

/// Decodes a tensor.
fn decode(bytes: &[u8]) -> Result<crate::tensor::Tensor> {
    parse_tensor(bytes)?.decode(&nothing_outside)
}

#[test]
fn numbers_may_be_packed_or_not() {
    let packed: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let mixed = [float(4, 0.5), part(4, &packed), part(4, b""), float(4, 4.0)].concat();
    let tensor = decode(&tensor_of(&[2, 2], 1, &mixed)).unwrap();
    assert_eq!(tensor.data::<f32>().unwrap(), [0.5, 1.5, -2.0, 4.0]);
    let ints = [int(8, -1), part(8, &[varint(300), varint(0), varint(u64::MAX)].concat())].concat();
    let bytes = model_of(&[node_of(&[attribute_of("axes", 7, &ints)])]);
    let model = parse(&bytes).unwrap();
    assert_eq!(model.graph.nodes[0].ints("axes").unwrap(), Some(&[-1, 300, 0, -1][..]));
    let dims =
        [part(1, &[varint(2), varint(3)].concat()), int(2, 9), part(9, &[1, 0, 2, 0, 0, 255])].concat();
    let tensor = decode(&dims).unwrap();
    assert_eq!(
        (tensor.shape(), tensor.dtype(), tensor.bytes()),
        (&[2, 3][..], DType::Bool, &[1, 0, 1, 0, 0, 1][..])
    );
}

#[test]
fn unknown_fields_are_skipped() {
    let unknown =
        [int(99, -1), part(1000, b"\xff\xff"), float(77, 1.0), [&varint(78 << 3 | 1)[..], &[9; 8]].concat()];
    let graph = [unknown.concat(), part(2, b"g"), unknown.concat()];
    let bytes = [unknown.concat(), model_of(&graph), unknown.concat()].concat();
    assert_eq!(parse(&bytes).unwrap().graph.name, "g");
}

#[test]
fn attributes_come_back_by_kind_and_wrong_kinds_are_named() {
    let attributes = [
        attribute_of("i", 2, &int(3, 7)),
        attribute_of("f", 1, &float(2, 0.5)),
        attribute_of("s", 3, &part(4, "ü".as_bytes())),
        attribute_of("latin", 3, &part(4, b"\xfc")),
        attribute_of("fs", 6, &float(7, 1.0)),
        attribute_of("ss", 8, &[part(9, b"a"), part(9, b"")].concat()),
        attribute_of("t", 4, &part(5, &tensor_of(&[], 7, &int(7, 3)))),
        attribute_of("g", 5, &part(6, &part(2, b"inner"))),
        // Of a writer that leaves out zeros, and of a time before attributes had a type.
        attribute_of("zero", 2, b""),
        attribute_of("untyped", 0, &[int(8, 1), int(8, 2)].concat()),
    ];
    let bytes = model_of(&[node_of(&attributes)]);
    let model = parse(&bytes).unwrap();
    let node = &model.graph.nodes[0];
    assert_eq!(
        (node.int("i").unwrap(), node.int("zero").unwrap(), node.int("none").unwrap()),
        (Some(7), Some(0), None)
    );
    assert_eq!((node.float("f").unwrap(), node.string("s").unwrap()), (Some(0.5), Some("ü")));
    assert_eq!(node.floats("fs").unwrap(), Some(&[1.0][..]));
    assert_eq!(node.strings("ss").unwrap(), Some(vec!["a", ""]));
    assert_eq!(node.tensor("t").unwrap().unwrap().data, TensorData::Longs(vec![3]));
    assert_eq!(node.graph("g").unwrap().unwrap().name, "inner");
    assert_eq!(node.ints("untyped").unwrap(), Some(&[1, 2][..]));
    let errors = [
        node.int("f").unwrap_err(),
        node.ints("i").unwrap_err(),
        node.float("i").unwrap_err(),
        node.floats("f").unwrap_err(),
        node.string("latin").unwrap_err(),
        node.strings("s").unwrap_err(),
        node.tensor("g").unwrap_err(),
        node.graph("t").unwrap_err(),
    ];
    for (error, name) in errors.iter().zip(["f", "i", "i", "f", "latin", "s", "g", "t"]) {
        assert_eq!((error.kind(), error.node()), (ErrorKind::InvalidGraph, Some("n")));
        assert!(error.message().contains(&format!("'{name}' of Op")), "{error}");
    }
}

#[test]
fn nesting_has_an_end() {
    let nested = |levels: usize| {
        let mut graph = part(2, b"g");
        for _ in 0..levels {
            graph = node_of(&[attribute_of("body", 5, &part(6, &graph))]);
        }
        part(7, &graph)
    };
    // A graph is three messages below the one around it, and that of the model the first.
    assert!(parse(&nested(20)).is_ok());
    let error = refused(&nested(21));
    assert!(error.kind() == ErrorKind::Format && error.message().contains("64 messages deep"), "{error}");
    assert!(parse(&nested(3_000)).is_err());
    let mut optional = Vec::new();
    for _ in 0..5_000 {
        optional = part(7, &optional);
    }
    assert!(parse_optional(&optional).is_err());
}

#[test]
fn every_prefix_of_a_graph_is_cut_off() {
    let bytes = include_bytes!("../../../tests/data/onnx/graph.onnx");
    let mut wire = Wire::new(bytes, "ModelProto");
    let mut end = 0;
    while let Some(field) = wire.field().unwrap() {
        let inside = |field: &Field| {
            field.bytes().map_or(0, |b| b.as_ptr_range().end as usize - bytes.as_ptr() as usize)
        };
        if field.number == 7 {
            end = inside(&field);
        }
    }
    assert!(end > bytes.len() / 2 && end < bytes.len());
    for len in 0..end {
        let error = refused(&bytes[..len]);
        assert_eq!(error.kind(), ErrorKind::Format, "{len}: {error}");
    }
    assert!(parse(&bytes[..end]).is_ok());
}

#[test]
fn faults_say_what_is_wrong_and_where() {
    let graph = |fields: &[u8]| model_of(&[fields.to_vec()]);
    let cases = [
        (b"<!DOCTYPE html>".to_vec(), "at byte 0", None),
        (Vec::new(), "has no graph", None),
        (int(7, 1), "field 7 of ModelProto is Varint", None),
        ([graph(b""), graph(b"")].concat(), "field 7 of ModelProto is there twice", None),
        (vec![2], "the tag 2", None),
        (vec![255; 11], "more than 64 bits", None),
        ([&varint(99 << 3)[..], &[255; 10], &[1]].concat(), "more than 64 bits", None),
        ([varint(8), vec![128; 9], vec![2]].concat(), "more than 64 bits", None),
        ([varint(7 << 3 | 2), varint(u64::MAX)].concat(), "do not fit in ModelProto, which has 0 left", None),
        (graph(&[varint(1 << 3 | 2), varint(3), vec![0]].concat()), "3 bytes do not fit in GraphProto", None),
        (graph(&part(2, b"\xff")), "field 2 of GraphProto is not UTF-8", None),
        (graph(&part(1, &part(2, b"out"))), "no operator", Some("out")),
        (graph(&node_of(&[int(3, 1)])), "an attribute has no name", Some("n")),
        (graph(&node_of(&[attribute_of("a", 4, b"")])), "'a' says that it is a tensor", Some("n")),
        (graph(&node_of(&[attribute_of("a", 15, b"")])), "'a' is of the unknown kind 15", Some("n")),
        (graph(&part(5, &tensor_of(&[2, -1], 1, b""))), "the shape [2, -1]", Some("t")),
        (graph(&part(5, &tensor_of(&[1; 65], 1, b""))), "65 dimensions", Some("t")),
        (graph(&part(5, &tensor_of(&[], 0, b""))), "no element type", Some("t")),
        (graph(&part(5, &tensor_of(&[], 99, b""))), "the element type 99", Some("t")),
        (graph(&part(5, &tensor_of(&[], 1, &part(3, b"")))), "in segments", Some("t")),
        (graph(&part(5, &tensor_of(&[], 1, &int(14, 1)))), "no location", Some("t")),
        (graph(&part(5, &tensor_of(&[2], 1, &part(4, &[0; 6])))), "4 bytes do not fit in TensorProto", None),
        (graph(&part(15, &part(1, &tensor_of(&[], 1, b"")))), "no values or no indices", None),
    ];
    for (bytes, message, node) in cases {
        let error = refused(&bytes);
        assert!(error.message().contains(message) && error.node() == node, "{message}: {error}");
        let is_unsupported =
            ["unknown kind", "element type 99", "segments"].iter().any(|s| message.contains(s));
        let kind = if is_unsupported { ErrorKind::UnsupportedFormat } else { ErrorKind::Format };
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn elements_are_as_many_as_the_shape_has() {
    let longs = |n: usize| part(7, &vec![1; n]);
    assert_eq!(decode(&tensor_of(&[2, 3], 7, &longs(6))).unwrap().data::<i64>().unwrap(), [1; 6]);
    assert_eq!(decode(&tensor_of(&[4, 0], 7, b"")).unwrap().shape(), [4, 0]);
    let cases = [
        (tensor_of(&[2, 3], 7, &longs(5)), "5 elements instead of 6"),
        (tensor_of(&[2, 3], 7, &part(9, &[0; 49])), "49 bytes instead of 48"),
        (tensor_of(&[], 1, b""), "0 elements instead of 1"),
        (tensor_of(&[1 << 40], 1, b""), "0 elements instead of 1099511627776"),
        (tensor_of(&[1 << 40], 1, &part(9, b"")), "0 bytes instead of 4398046511104"),
        (tensor_of(&[i64::MAX, 3], 2, b""), "larger than any memory"),
        (tensor_of(&[i64::MAX, 1 << 40], 2, b""), "larger than any memory"),
    ];
    for (bytes, message) in cases {
        let error = decode(&bytes).unwrap_err();
        assert_eq!((error.kind(), error.node()), (ErrorKind::Format, Some("t")));
        assert!(error.message().contains(message), "{error}");
    }
}

#[test]
fn a_model_shows_itself_by_its_first_bytes() {
    let model = model_of(&[]);
    assert!((1..model.len()).all(|n| looks_like_onnx(&model[..n])));
    for other in
        [&b""[..], b"GGUF\x03\0\0\0", b"{\"a\": 1}", &[8, 0, 0, 0, 65], &[8, 7, 15], &[10, 200, 1], &[0; 16]]
    {
        assert!(!looks_like_onnx(other), "{other:?}");
    }
    assert!(!looks_like_onnx(b"\x12\x02\0\0\0\0\0\0{\"x\": {}}"));
}

#[test]
fn bytes_of_another_file_are_asked_for_and_measured() {
    let tensor = |length: Option<&str>| {
        let entry =
            |key: &str, value: &str| part(13, &[part(1, key.as_bytes()), part(2, value.as_bytes())].concat());
        let length = length.map_or(Vec::new(), |length| entry("length", length));
        tensor_of(&[3], 2, &[int(14, 1), entry("location", "w.bin"), entry("offset", "5"), length].concat())
    };
    let give = |n: u8| {
        move |location: &str, offset: u64, n_bytes: usize| {
            assert_eq!((location, offset, n_bytes), ("w.bin", 5, 3));
            crate::tensor::Tensor::new(&[n.into()], &(0..n).collect::<Vec<u8>>())
        }
    };
    let (stated, open) = (tensor(Some("3")), tensor(None));
    let (stated, open) = (parse_tensor(&stated).unwrap(), parse_tensor(&open).unwrap());
    assert_eq!(stated.decode(&give(3)).unwrap().bytes(), [0, 1, 2]);
    assert_eq!(open.decode(&give(3)).unwrap().bytes(), [0, 1, 2]);
    assert!(stated.decode(&give(4)).unwrap_err().message().contains("4 bytes instead of 3"));
    assert!(open.decode(&give(2)).unwrap_err().message().contains("2 bytes instead of 3"));
    let wrong = tensor(Some("4"));
    assert!(decode(&wrong).unwrap_err().message().contains("4 bytes instead of 3"));
    assert_eq!(parse_tensor(&tensor(Some("-3"))).unwrap_err().node(), Some("t"));
    let gone = |_: &str, _: u64, _: usize| crate::error::fail!(Fetch, "w.bin is not there");
    let error = stated.decode(&gone).unwrap_err();
    assert_eq!((error.kind(), error.node()), (ErrorKind::Fetch, Some("t")));
}

#[test]
fn dimensions_that_exporters_do_not_know_are_unknown() {
    let dims = [int(1, 0), int(1, 7), int(1, -1), part(2, b"n"), part(2, b""), part(2, b"?"), Vec::new()];
    let shape = dims.map(|dim| part(1, &dim)).concat();
    let ty = part(1, &[int(1, 1), part(2, &shape)].concat());
    let bytes = model_of(&[part(11, &[part(1, b"x"), part(2, &ty)].concat())]);
    let model = parse(&bytes).unwrap();
    let Some(ValueType::Tensor { elem: Some(ElementType::Float32), shape: Some(shape) }) =
        &model.graph.inputs[0].ty
    else {
        panic!("{:?}", model.graph.inputs);
    };
    use DimInfo::{Known, Named, Unknown};
    assert_eq!(shape[..], [Known(0), Known(7), Unknown, Named("n"), Unknown, Unknown, Unknown]);
}
