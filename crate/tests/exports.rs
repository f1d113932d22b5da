//! Small networks of random weights as exporters write them, held to ONNX Runtime, and to the operators that are to be seen in
//! them: `data/onnx/make_exports.py` writes them. Those in a folder that `HOMEFIRE_EXPORTS` names are held to its
//! `exports.json`.

use homefire::backend::cpu::CpuBackend;
use homefire::session::Network;
use homefire::tensor::{Tensor, Wide};
use homefire::types::DType;
use homefire::{formats, import, passes};
use serde_json::Value;
use std::path::PathBuf;

fn folder() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx");
    std::env::var("HOMEFIRE_EXPORTS").unwrap_or(default.into()).into()
}

fn tensor(stored: &Value) -> Tensor {
    let shape: Vec<usize> = serde_json::from_value(stored["shape"].clone()).unwrap();
    let data: Vec<f64> = serde_json::from_value(stored["data"].clone()).unwrap();
    let dtype = match stored["dtype"].as_str().unwrap() {
        "float32" => DType::F32,
        "int64" => DType::I64,
        "bool" => DType::Bool,
        other => panic!("no case has {other}"),
    };
    let mut tensor = Tensor::zeros(dtype, &shape).unwrap();
    let wide = if dtype == DType::F32 {
        Wide::Floats(data)
    } else {
        Wide::Ints(data.iter().map(|x| *x as i128).collect())
    };
    tensor.view_mut().narrow(wide).unwrap();
    tensor
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join("exports").join(format!("{name}.onnx"))).unwrap()
}

/// How a network differs, where it does.
fn difference(name: &str, case: &Value) -> Option<String> {
    let network = Network::new(&file(name), |graph| Ok(Box::new(CpuBackend::new(graph, true)?)));
    let mut network = match network {
        Ok(network) => network,
        Err(error) => return Some(error.to_string()),
    };
    let feeds =
        case["inputs"].as_object().unwrap().iter().map(|(name, x)| (name.as_str(), tensor(x))).collect();
    let got = match pollster::block_on(network.run(feeds, &["y"])) {
        Ok(mut got) => got.swap_remove(0),
        Err(error) => return Some(error.to_string()),
    };
    let want = tensor(&case["outputs"]["y"]);
    if got.shape() != want.shape() {
        return Some(format!("{:?}, not {:?}", got.shape(), want.shape()));
    }
    let (got, want) = (got.view().to_floats().unwrap(), want.view().to_floats().unwrap());
    let largest = want.iter().fold(1.0f64, |a, b| a.max(b.abs()));
    let far = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let is_near = far <= 2e-5 * largest && got.iter().all(|x| x.is_finite());
    (!is_near).then(|| format!("off by {far} of {largest}"))
}

fn cases() -> serde_json::Map<String, Value> {
    serde_json::from_slice(&std::fs::read(folder().join("exports.json")).unwrap()).unwrap()
}

/// How many operators of a kind a network is left with.
fn count(name: &str, op: &str) -> usize {
    let bytes = file(name);
    let model = formats::onnx::parse(&bytes).unwrap();
    let mut graph = import::onnx::build(&model, &|_, _, _| unreachable!()).unwrap();
    passes::optimise(&mut graph).unwrap();
    graph.nodes().filter(|(_, node)| node.op.name() == op).count()
}

#[test]
fn attention_is_seen_in_its_spellings() {
    let seen = [
        "sdpa-mask-dynamo18",
        "sdpa-causal-dynamo18",
        "sdpa-mask-legacy17",
        "mha-dynamo18",
        "distilbert-legacy17",
        "t5-legacy17",
        "vit-dynamo18",
        "whisper-legacy17",
    ];
    let missed: Vec<_> = seen.iter().filter(|name| count(name, "full_attention") != 1).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn exported_networks_compute_what_the_reference_runtime_does() {
    let failed: Vec<_> = cases()
        .iter()
        .filter_map(|(name, case)| Some(format!("{name}: {}", difference(name, case)?)))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
