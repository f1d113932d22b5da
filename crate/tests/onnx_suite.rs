//! The backend tests of the ONNX project: `HOMEFIRE_ONNX_SUITE` names the folder that `pkg-tests/onnx/generate.py`
//! wrote. Prints what passes; a case whose operators are all supported must. They run on the CPU, and with
//! `HOMEFIRE_ONNX_DEVICE=gpu` on the GPU as far as it has kernels, on the CPU else.

use homefire::backend::cpu::CpuBackend;
use homefire::backend::gpu::GpuDevice;
use homefire::error::{ErrorKind, Result};
use homefire::formats::onnx;
use homefire::plan::Crossing;
use homefire::session::Network;
use homefire::tensor::Tensor;
use homefire::types::DType;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn tensor(path: &Path) -> Result<Tensor> {
    onnx::parse_tensor(&fs::read(path).expect("a stored tensor"))?
        .decode(&|_, _, _| panic!("a tensor has its data inside"))
}

/// Runs a case: what it lacks, where it lacks something, or how it differs.
fn run(suite: &Path, case: &Value, device: Option<&GpuDevice>, on_gpu: &mut usize) -> Result<Option<String>> {
    let folder =
        suite.join(case["kind"].as_str().expect("a kind")).join(case["name"].as_str().expect("a name"));
    let bytes = fs::read(folder.join("model.onnx")).expect("a model");
    let mut network = match device {
        Some(device) => Network::on_gpu(&bytes, device.clone(), Crossing::FREE)?,
        None => Network::new(&bytes, |graph| Ok(Box::new(CpuBackend::new(graph, true)?)))?,
    };
    let names = |list: &str| -> Vec<String> {
        case[list]
            .as_array()
            .expect("names")
            .iter()
            .map(|pair| pair[0].as_str().expect("a name").to_string())
            .collect()
    };
    let (inputs, outputs) = (names("inputs"), names("outputs"));
    let (rtol, atol) = (case["rtol"].as_f64().expect("rtol"), case["atol"].as_f64().expect("atol"));
    for (set, _) in case["sets"].as_array().expect("sets").iter().enumerate() {
        let data = folder.join(format!("test_data_set_{set}"));
        let mut feeds = Vec::new();
        for (i, name) in inputs.iter().enumerate() {
            let path = data.join(format!("input_{i}.pb"));
            if path.exists() {
                feeds.push((name.as_str(), tensor(&path)?));
            }
        }
        let wanted: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let got = pollster::block_on(network.run(feeds, &wanted))?;
        *on_gpu += usize::from(network.profile().iter().any(|node| node.device == "webgpu"));
        for (i, got) in got.iter().enumerate() {
            // What is rounded to 16 bits may be a neighbour when it was computed on another device.
            let step = match got.dtype() {
                DType::BF16 if device.is_some() => 0.016,
                DType::F16 if device.is_some() => 0.002,
                _ => 0.0,
            };
            let want = tensor(&data.join(format!("output_{i}.pb")))?;
            if let Some(difference) = differs(got, &want, rtol.max(step), atol) {
                return Ok(Some(difference));
            }
        }
    }
    Ok(None)
}

fn differs(got: &Tensor, want: &Tensor, rtol: f64, atol: f64) -> Option<String> {
    if got.ty() != want.ty() {
        return Some(format!("{got:?} is not {want:?}"));
    }
    // Of few bits, what was rounded on the way is off by more than the tolerance: two of its steps are let pass.
    let rtol = match got.dtype() {
        DType::F16 => rtol.max(2f64.powi(-9)),
        DType::BF16 => rtol.max(2f64.powi(-6)),
        _ => rtol,
    };
    let (got, want) = (got.view().to_floats().ok()?, want.view().to_floats().ok()?);
    let far = |(got, want): (&f64, &f64)| {
        let near = (got - want).abs() <= atol + rtol * want.abs();
        !(near || got == want || got.is_nan() && want.is_nan())
    };
    let i = got.iter().zip(&want).position(far)?;
    Some(format!("value {i} is {}, not {}", got[i], want[i]))
}

#[test]
fn supported_operators_pass_their_cases() {
    let Ok(suite) = std::env::var("HOMEFIRE_ONNX_SUITE") else {
        return eprintln!(
            "SKIPPED: HOMEFIRE_ONNX_SUITE names no folder with the ONNX project's backend tests"
        );
    };
    let device = match std::env::var("HOMEFIRE_ONNX_DEVICE").as_deref() {
        Ok("gpu") => Some(pollster::block_on(GpuDevice::request()).expect("a GPU was asked for")),
        _ => None,
    };
    let mut on_gpu = 0;
    let only = std::env::var("HOMEFIRE_ONNX_ONLY").unwrap_or_default();
    let suite = Path::new(&suite);
    let listed: Value =
        serde_json::from_slice(&fs::read(suite.join("cases.json")).expect("cases.json")).expect("JSON");
    let (mut passed, mut unsupported, mut failed) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    for case in listed["cases"].as_array().expect("cases") {
        let name = case["name"].as_str().expect("a name");
        if !name.contains(&only) {
            continue;
        }
        match catch_unwind(AssertUnwindSafe(|| run(suite, case, device.as_ref(), &mut on_gpu))) {
            Ok(Ok(None)) => passed += 1,
            Ok(Ok(Some(difference))) => failed.push(format!("{name}: {difference}")),
            Ok(Err(e)) if matches!(e.kind(), ErrorKind::UnsupportedOp | ErrorKind::UnsupportedFormat) => {
                if std::env::var("HOMEFIRE_ONNX_NAMES").is_ok() {
                    eprintln!("LACKS {name}: {}", e.message().chars().take(150).collect::<String>());
                }
                *unsupported.entry(e.message().chars().take(110).collect()).or_default() += 1;
            }
            Ok(Err(e)) => failed.push(format!("{name}: {e}")),
            Err(_) => failed.push(format!("{name}: PANIC")),
        }
    }
    let mut lacking: Vec<_> = unsupported.into_iter().collect();
    lacking.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    for (why, n) in &lacking {
        eprintln!("{n:5} {why}");
    }
    failed.iter().for_each(|failure| eprintln!("FAILED {failure}"));
    let left_out: usize = lacking.iter().map(|(_, n)| n).sum();
    eprintln!("{passed} passed, {} failed, {left_out} not supported", failed.len());
    if device.is_some() {
        eprintln!("{on_gpu} ran on the GPU, in part or wholly");
        assert!(on_gpu > 0, "no case had a node on the GPU");
    }
    assert!(failed.is_empty());
}
