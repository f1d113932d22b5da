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
        "str" => {
            let texts = stored["data"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().into());
            return Tensor::of_texts(&shape, texts.collect()).unwrap();
        }
        "float32" => DType::F32,
        "float64" => DType::F64,
        "int64" => DType::I64,
        "int32" => DType::I32,
        "uint8" => DType::U8,
        "int8" => DType::I8,
        "bool" => DType::Bool,
        other => panic!("no case has {other}"),
    };
    let data = stored["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap_or(f64::NAN));
    let mut tensor = Tensor::zeros(dtype, &shape).unwrap();
    tensor.view_mut().narrow(Wide::Floats(data.collect())).unwrap();
    tensor
}

/// Runs a case: how it differs, where it does.
fn difference(case: &Value) -> Option<String> {
    difference_with(case, true, 2e-5)
}

/// The same with activations of 8 bits beside weights in blocks, unless `exact`. Numbers may be off by so much of the largest
/// of them, or of 1.
fn difference_with(case: &Value, exact: bool, tolerance: f64) -> Option<String> {
    let hex = case["model"].as_str().unwrap();
    let model: Vec<u8> =
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    let network = Network::new(&model, |graph| Ok(Box::new(CpuBackend::new(graph, exact)?)));
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
        if dtype == DType::Text {
            if *got != want {
                return Some(format!("{name} is {:?}, not {:?}", got.texts(), want.texts()));
            }
            continue;
        }
        // ONNX Runtime rounds halves of a level as its kernels come to them: one level is let pass.
        let (got, want) = (got.view().to_floats().unwrap(), want.view().to_floats().unwrap());
        let largest = want.iter().fold(1.0f64, |a, x| a.max(x.abs()));
        let near = |want: f64| match dtype {
            DType::U8 => 1.0,
            _ if exact => tolerance * want.abs().max(1.0),
            _ => tolerance * largest,
        };
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

/// `data/onnx/make_pipelines.py` writes these; `HOMEFIRE_PIPELINES` names another file that it wrote.
#[test]
fn pipelines_of_scikit_learn_compute_what_the_reference_runtime_does() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx/pipelines.json");
    let path = std::env::var("HOMEFIRE_PIPELINES").unwrap_or(kept.into());
    let cases: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 20);
    let failed: Vec<_> =
        cases.iter().filter_map(|case| Some(format!("{}: {}", case["name"], difference(case)?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn activations_of_8_bits_lose_little() {
    let cases: Value = serde_json::from_str(include_str!("data/onnx/operators.json")).unwrap();
    let cases = cases.as_array().unwrap().iter();
    let few_bits = cases.filter(|case| case["name"].as_str().unwrap().starts_with("MatMulNBits"));
    let few_bits: Vec<_> = few_bits.collect();
    assert!(few_bits.len() > 6);
    let failed: Vec<_> = few_bits.iter().filter_map(|case| difference_with(case, false, 1e-2)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    // They are rounded where the levels are in blocks.
    assert!(few_bits.iter().any(|case| difference_with(case, false, 1e-4).is_some()));
}

#[test]
fn a_wrong_number_is_seen() {
    let cases: Value = serde_json::from_str(include_str!("data/onnx/operators.json")).unwrap();
    let mut case = cases[0].clone();
    let value = &mut case["outputs"]["y0"]["data"][3];
    *value = (value.as_f64().unwrap() + 1e-3).into();
    assert!(difference(&case).is_some_and(|difference| difference.starts_with("value 3")));
}
