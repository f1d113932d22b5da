//! Small ONNX networks against what the reference runtime computed (`tests/data/onnx/make_networks.py`), and the errors that a
//! caller meets.

use homefire::backend::cpu::CpuBackend;
use homefire::error::{ErrorKind, Result};
use homefire::session::Network;
use homefire::tensor::Tensor;
use pollster::block_on;
use serde_json::Value;
use std::path::PathBuf;

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx").join(name);
    std::fs::read(path).expect("a file of tests/data/onnx")
}

fn network(bytes: &[u8]) -> Result<Network> {
    Network::new(bytes, |graph| Ok(Box::new(CpuBackend::new(graph, true)?)))
}

fn tensor(stored: &Value) -> Tensor {
    let dims: Vec<usize> =
        stored["dims"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let numbers = stored["data"].as_array().unwrap();
    match stored["type"].as_str().unwrap() {
        "float32" => {
            Tensor::new(&dims, &numbers.iter().map(|x| x.as_f64().unwrap() as f32).collect::<Vec<_>>())
        }
        "int64" => Tensor::new(&dims, &numbers.iter().map(|x| x.as_i64().unwrap()).collect::<Vec<_>>()),
        other => panic!("no case has {other}"),
    }
    .unwrap()
}

/// The largest difference of a stored case.
fn difference(network: &mut Network, case: &Value) -> f64 {
    let of = |list: &str| -> Vec<(String, Tensor)> {
        case[list].as_object().unwrap().iter().map(|(name, stored)| (name.clone(), tensor(stored))).collect()
    };
    let (inputs, outputs) = (of("inputs"), of("outputs"));
    let feeds = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    let wanted: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
    let got = block_on(network.run(feeds, &wanted)).unwrap();
    let mut worst = 0.0f64;
    for (got, (_, want)) in got.iter().zip(&outputs) {
        assert_eq!(got.ty(), want.ty());
        let (got, want) = (got.view().to_floats().unwrap(), want.view().to_floats().unwrap());
        worst = got.iter().zip(want).fold(worst, |worst, (got, want)| worst.max((got - want).abs()));
    }
    worst
}

#[test]
fn networks_compute_what_the_reference_runtime_does() {
    let cases: Value = serde_json::from_slice(&data("networks.json")).unwrap();
    for (name, cases) in cases.as_object().unwrap() {
        let mut network = network(&data(&format!("{name}.onnx"))).unwrap();
        for case in cases.as_array().unwrap() {
            let worst = difference(&mut network, case);
            assert!(worst < 1e-5, "{name} differs by {worst}");
        }
    }
    // The harness sees a wrong answer.
    let mut wrong = cases["classifier"][0].clone();
    wrong["inputs"]["image"]["data"][0] = 9.0.into();
    assert!(difference(&mut network(&data("classifier.onnx")).unwrap(), &wrong) > 1e-3);
}

#[test]
fn wrong_inputs_are_named() {
    let mut network = network(&data("classifier.onnx")).unwrap();
    assert_eq!(network.inputs()[0].name, "image");
    let image = || Tensor::zeros(homefire::types::DType::F32, &[1, 3, 8, 8]).unwrap();
    let mut fails = |feeds: Vec<(&str, Tensor)>, output: &str| {
        let error = block_on(network.run(feeds, &[output])).unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, message) = fails(vec![("picture", image())], "logits");
    assert!(
        kind == ErrorKind::InvalidInput && message.contains("picture") && message.contains("image"),
        "{message}"
    );
    let (kind, message) = fails(vec![], "logits");
    assert!(kind == ErrorKind::ShapeMismatch || kind == ErrorKind::InvalidInput, "{message}");
    assert!(message.contains("image"), "{message}");
    let two_dimensional = Tensor::zeros(homefire::types::DType::F32, &[8, 8]).unwrap();
    let (kind, message) = fails(vec![("image", two_dimensional)], "logits");
    assert!(
        kind == ErrorKind::ShapeMismatch && message.contains("[8, 8]") && message.contains("3"),
        "{message}"
    );
    let int = Tensor::zeros(homefire::types::DType::I32, &[1, 3, 8, 8]).unwrap();
    let (kind, message) = fails(vec![("image", int)], "logits");
    assert_eq!(kind, ErrorKind::ShapeMismatch);
    assert!(
        message.contains("int32")
            && message.contains("float32")
            && message.contains("Its only input is 'image'"),
        "{message}"
    );
    let (_, message) = fails(vec![("image", image()), ("image", image())], "logits");
    assert!(message.contains("twice"), "{message}");
    let (kind, message) = fails(vec![("image", image())], "label");
    assert!(kind == ErrorKind::InvalidInput && message.contains("label"), "{message}");
}

#[test]
fn operators_that_are_not_supported_are_all_named() {
    // Names of the same length that no operator has.
    let mut bytes = data("classifier.onnx");
    for (known, unknown) in [(&b"HardSwish"[..], &b"HardSwims"[..]), (b"Flatten", b"Fllatne")] {
        let at = bytes.windows(known.len()).position(|part| part == known).expect("the operator");
        bytes[at..at + known.len()].copy_from_slice(unknown);
    }
    let Err(error) = network(&bytes) else { panic!("unknown operators were taken") };
    assert_eq!(error.kind(), ErrorKind::UnsupportedOp);
    let message = error.to_string();
    for part in ["HardSwims", "Fllatne", "opset 17", "hard_swish", "flatten"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn sizes_of_one_name_may_differ_where_that_does_no_harm() {
    // Two inputs whose dimension has one name: what is added wants one size, or a single element.
    let sum = b"\x0a\x01a\x0a\x01b\x12\x01y\x22\x03Add";
    let message = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
    let value = |name: &str| {
        let dim = message(0x0a, &message(0x12, b"n"));
        let tensor = [b"\x08\x01".to_vec(), message(0x12, &dim)].concat();
        [message(0x0a, name.as_bytes()), message(0x12, &message(0x0a, &tensor))].concat()
    };
    let graph = [
        message(0x0a, sum),
        message(0x5a, &value("a")),
        message(0x5a, &value("b")),
        message(0x62, &value("y")),
    ];
    let bytes = [b"\x08\x08".to_vec(), message(0x3a, &graph.concat()), message(0x42, b"\x10\x11")].concat();
    let mut network = network(&bytes).unwrap();
    let ones = |n: usize| Tensor::new(&[n], &vec![1f32; n]).unwrap();
    let got = block_on(network.run(vec![("a", ones(3)), ("b", ones(1))], &["y"])).unwrap();
    assert_eq!(got[0].view().to_floats().unwrap(), [2.0; 3]);
    let error = block_on(network.run(vec![("a", ones(3)), ("b", ones(2))], &["y"])).unwrap_err();
    assert!(error.to_string().contains("n is 2 here and 3 in 'a'"), "{error}");
}
