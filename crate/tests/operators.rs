//! Operators of the domains com.microsoft and ai.onnx.ml, each a model of its own, held to ONNX Runtime:
//! `data/onnx/make_operators.py`.

use homefire::backend::cpu::CpuBackend;
use homefire::session::Network;
use homefire::tensor::{Tensor, Wide};
use homefire::types::DType;
use serde_json::Value;

fn tensor(stored: &Value) -> Tensor {
    let shape: Vec<usize> =
        stored["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
    let dtype = match stored["dtype"].as_str().unwrap() {
        "float32" => DType::F32,
        "int64" => DType::I64,
        "int32" => DType::I32,
        "uint8" => DType::U8,
        "int8" => DType::I8,
        other => panic!("no case has {other}"),
    };
    let data = stored["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::NAN));
    let mut tensor = Tensor::zeros(dtype, &shape).unwrap();
    tensor.view_mut().narrow(Wide::Floats(data.collect())).unwrap();
    tensor
}

/// Runs a case: how it differs, where it does.
fn difference(case: &Value) -> Option<String> {
    let hex = case["model"].as_str().unwrap();
    let model: Vec<u8> =
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    let network = Network::new(&model, |graph| Ok(Box::new(CpuBackend::new(graph, true)?)));
    let mut network = match network {
        Ok(network) => network,
        Err(error) => return Some(error.to_string()),
    };
    let (inputs, outputs) = (case["inputs"].as_object().unwrap(), case["outputs"].as_object().unwrap());
    let feeds = inputs.iter().map(|(name, stored)| (name.as_str(), tensor(stored))).collect();
    let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
    let got = match pollster::block_on(network.run(feeds, &names)) {
        Ok(got) => got,
        Err(error) => return Some(error.to_string()),
    };
    for ((name, stored), got) in outputs.iter().zip(&got) {
        let want = tensor(stored);
        let dtype = want.dtype();
        if got.ty() != want.ty() {
            return Some(format!("{name} is {got:?}, not {want:?}"));
        }
        // ONNX Runtime rounds halves of a level as its kernels come to them: one level is let pass.
        let near = |want: f64| if dtype == DType::U8 { 1.0 } else { 2e-5 * want.abs().max(1.0) };
        let (got, want) = (got.view().to_floats().unwrap(), want.view().to_floats().unwrap());
        let far =
            |(got, want): (&f64, &f64)| (got - want).abs() > near(*want) || got.is_nan() != want.is_nan();
        if let Some(i) = got.iter().zip(&want).position(far) {
            return Some(format!("value {i} of {name} is {}, not {}", got[i], want[i]));
        }
    }
    None
}

#[test]
fn operators_compute_what_the_reference_runtime_does() {
    let cases: Value = serde_json::from_str(include_str!("data/onnx/operators.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 60);
    let failed: Vec<_> =
        cases.iter().filter_map(|case| Some(format!("{}: {}", case["name"], difference(case)?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_wrong_number_is_seen() {
    let cases: Value = serde_json::from_str(include_str!("data/onnx/operators.json")).unwrap();
    let mut case = cases[0].clone();
    let value = &mut case["outputs"]["y0"]["data"][3];
    *value = (value.as_f64().unwrap() + 1e-3).into();
    assert!(difference(&case).is_some_and(|difference| difference.starts_with("value 3")));
}
