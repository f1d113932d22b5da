//! ONNX files whose tensors lie in other files: constants of the graph, of a node, and of a graph within one.

mod proto;

use homefire::backend::cpu::CpuBackend;
use homefire::error::{Error, ErrorKind, Result};
use homefire::formats::onnx::{self, DataFiles};
use homefire::session::{Network, NetworkFile};
use homefire::tensor::Tensor;
use pollster::block_on;
use proto::{graph, int, node, part, port};

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

/// `y = x + w + (more ? w2 : w)`, and `bits`, of tensors in "../weights/model.data" and "bits.bin".
fn model() -> Vec<u8> {
    let w2 = outside("w2", 1, 3, "../weights/model.data", 16, None);
    let then = [node("Identity", &["w2"], "t", &[]), part(5, &[&w2]), port(12, "t", 1, Some(3))];
    let or = [node("Identity", &["w"], "e", &[]), port(12, "e", 1, Some(3))];
    let bits = outside("", 22, 4, "bits.bin", 1, Some(2));
    let bits = [part(1, &[b"value"]), part(5, &[&bits]), int(20, 4)].concat();
    let main = [
        node("Add", &["x", "w"], "sum", &[]),
        node("If", &["more"], "chosen", &[graph("then_branch", &then), graph("else_branch", &or)]),
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
    [int(1, 10), part(7, &[&main.concat()]), part(8, &[&int(2, 21)])].concat()
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
