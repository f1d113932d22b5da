//! ONNX files whose tensors lie in other files: constants of the graph, of a node, and of a graph within one.

use homefire::backend::cpu::CpuBackend;
use homefire::error::{Error, ErrorKind, Result};
use homefire::formats::onnx::{self, DataFiles};
use homefire::session::{Network, NetworkFile};
use homefire::tensor::Tensor;
use pollster::block_on;

fn varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 128 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

fn part(number: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let mut out = vec![number << 3 | 2];
    varint(&mut out, content.len());
    out.extend(content);
    out
}

fn int(number: u8, value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, usize::from(number) << 3);
    varint(&mut out, value);
    out
}

/// A tensor `[n]` of an element type whose bytes are elsewhere.
fn outside(name: &str, ty: usize, n: usize, location: &str, offset: usize, length: Option<usize>) -> Vec<u8> {
    let entry =
        |key: &str, value: &str| part(13, &[&part(1, &[key.as_bytes()]), &part(2, &[value.as_bytes()])]);
    let length = length.map_or(Vec::new(), |length| entry("length", &length.to_string()));
    [
        int(1, n),
        int(2, ty),
        part(8, &[name.as_bytes()]),
        entry("location", location),
        entry("offset", &offset.to_string()),
        entry("checksum", "none"),
        length,
        int(14, 1),
    ]
    .concat()
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| part(1, &[name.as_bytes()])).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(|attribute| part(5, &[attribute])).collect();
    part(
        1,
        &[
            &inputs,
            &part(2, &[output.as_bytes()]),
            &part(3, &[op.as_bytes()]),
            &part(4, &[op.as_bytes()]),
            &attributes,
        ],
    )
}

fn port(number: u8, name: &str, ty: usize, n: Option<usize>) -> Vec<u8> {
    let dims = n.map_or(Vec::new(), |n| part(1, &[&int(1, n)]));
    let ty = part(1, &[&int(1, ty), &part(2, &[&dims])]);
    part(number, &[&part(1, &[name.as_bytes()]), &part(2, &[&ty])])
}

/// `y = x + w + (more ? w2 : w)`, and `bits`, of tensors in "../weights/model.data" and "bits.bin".
fn model() -> Vec<u8> {
    let w2 = outside("w2", 1, 3, "../weights/model.data", 16, None);
    let branch = |body: &[u8], output: &str| {
        let graph = [body, &part(2, &[b"branch"]), &port(12, output, 1, Some(3))].concat();
        [part(6, &[&graph]), int(20, 5)].concat()
    };
    let then = branch(&[node("Identity", &["w2"], "t", &[]), part(5, &[&w2])].concat(), "t");
    let or = branch(&node("Identity", &["w"], "e", &[]), "e");
    let bits = outside("", 22, 4, "bits.bin", 1, Some(2));
    let bits = [part(1, &[b"value"]), part(5, &[&bits]), int(20, 4)].concat();
    let graph = [
        node("Add", &["x", "w"], "sum", &[]),
        node(
            "If",
            &["more"],
            "chosen",
            &[[part(1, &[b"then_branch"]), then].concat(), [part(1, &[b"else_branch"]), or].concat()],
        ),
        node("Add", &["sum", "chosen"], "y", &[]),
        node("Constant", &[], "nibbles", &[bits]),
        node("Cast", &["nibbles"], "bits", &[[part(1, &[b"to"]), int(3, 6), int(20, 2)].concat()]),
        part(2, &[b"graph"]),
        part(5, &[&outside("w", 1, 3, "../weights/model.data", 4, Some(12))]),
        port(11, "x", 1, Some(3)),
        port(11, "more", 9, None),
        port(12, "y", 1, Some(3)),
        port(12, "bits", 6, Some(4)),
    ];
    [int(1, 10), part(7, &[&graph.concat()]), part(8, &[&int(2, 21)])].concat()
}

fn weights() -> Vec<u8> {
    [9.0f32, 1.0, 2.0, 3.0, 10.0, 20.0, 30.0].iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn load(files: &[(&str, &[u8])]) -> Result<Network> {
    let bytes = model();
    let mut data = DataFiles::of(&onnx::parse(&bytes)?)?;
    for (name, bytes) in files {
        if data.wants(Some(name))? {
            data.begin(Some(name), Some(bytes.len() as u64))?;
            bytes.chunks(5).try_for_each(|piece| data.push(&piece.into()))?;
            data.end()?;
        }
    }
    let file = NetworkFile { bytes: &bytes, data: Some(data) };
    Network::new(file, |graph| Ok(Box::new(CpuBackend::new(graph, true)?)))
}

fn refused(files: &[(&str, &[u8])]) -> Error {
    load(files).map(|_| ()).expect_err("data that are not whole")
}

#[test]
fn tensors_are_read_from_the_files_beside_the_model() {
    let (data, bits) = (weights(), [0xff, 0x21, 0xf8, 0xff]);
    let mut network =
        load(&[("bits.bin", &bits), ("notes.txt", b"?"), ("/models/v1/model.data", &data)]).unwrap();
    for (more, want) in [(1u8, [12.0f32, 24.0, 36.0]), (0, [3.0, 6.0, 9.0])] {
        let x = Tensor::new(&[3], &[1.0f32, 2.0, 3.0]).unwrap();
        let more = Tensor::new(&[], &[more]).unwrap();
        let more = more.reinterpreted(homefire::types::DType::Bool, &[]).unwrap();
        let got = block_on(network.run(vec![("x", x), ("more", more)], &["y", "bits"])).unwrap();
        assert_eq!(got[0].data::<f32>().unwrap(), want);
        assert_eq!(got[1].data::<i32>().unwrap(), [1, 2, -8, -1]);
    }
}

#[test]
fn files_that_are_missing_or_short_are_named() {
    let (data, bits) = (weights(), [0xff, 0x21, 0xf8]);
    let bytes = model();
    let alone = Network::new(&bytes, |graph| Ok(Box::new(CpuBackend::new(graph, true)?)));
    for error in [alone.map(|_| ()).unwrap_err(), refused(&[("weights", &data)])] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        for text in
            ["'../weights/model.data'", "'bits.bin'", "[\"model.onnx\", \"model.data\", \"bits.bin\"]"]
        {
            assert!(error.message().contains(text), "{error}");
        }
    }
    let error = refused(&[("bits.bin", &bits), ("other.data", &data)]);
    assert!(
        error.message().contains("'../weights/model.data' did not come")
            && error.message().contains("'other.data'")
    );
    let error = refused(&[("model.data", &data[..27]), ("bits.bin", &bits)]);
    assert_eq!((error.kind(), error.node()), (ErrorKind::Format, Some("w2")));
    assert!(
        error.message().contains("12 bytes from byte 16") && error.message().contains("27 bytes"),
        "{error}"
    );
}
