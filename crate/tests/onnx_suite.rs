//! The backend tests of the ONNX project: `HOMEFIRE_ONNX_SUITE` names the folder that `pkg-tests/onnx/generate.py`
//! wrote. Prints what passes; a case whose operators are all supported must, on the CPU, and on the GPU with the CPU for
//! what it has no kernel for.

use homefire::backend::cpu::CpuBackend;
use homefire::backend::gpu::GpuDevice;
use homefire::error::Result;
use homefire::formats::onnx;
use homefire::plan::Crossing;
use homefire::session::Network;
use homefire::tensor::Tensor;
use homefire::types::DType;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// A stored value of a type as `cases.json` names it.
fn value(path: &Path, ty: &str) -> Result<Tensor> {
    let bytes = fs::read(path).expect("a stored value");
    let outside = |_: &str, _: u64, _: usize| panic!("a value has its data inside");
    match ty.split('(').next() {
        Some("sequence") => onnx::parse_sequence(&bytes)?.decode(&outside),
        Some("optional") => onnx::parse_optional(&bytes)?.decode(&outside),
        _ => onnx::parse_tensor(&bytes)?.decode(&outside),
    }
}

/// The names and types of a case's inputs or outputs.
fn ports(list: &Value) -> Vec<(&str, &str)> {
    let list = list.as_array().expect("ports").iter();
    list.map(|pair| (pair[0].as_str().expect("a name"), pair[1].as_str().expect("a type"))).collect()
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
    let ports = |list: &str| ports(&case[list]);
    let (inputs, outputs) = (ports("inputs"), ports("outputs"));
    let (rtol, atol) = (case["rtol"].as_f64().expect("rtol"), case["atol"].as_f64().expect("atol"));
    for (set, _) in case["sets"].as_array().expect("sets").iter().enumerate() {
        let data = folder.join(format!("test_data_set_{set}"));
        let mut feeds = Vec::new();
        for (i, &(name, ty)) in inputs.iter().enumerate() {
            let path = data.join(format!("input_{i}.pb"));
            if path.exists() {
                feeds.push((name, value(&path, ty)?));
            }
        }
        let wanted: Vec<&str> = outputs.iter().map(|port| port.0).collect();
        let got = pollster::block_on(network.run(feeds, &wanted))?;
        *on_gpu += usize::from(network.profile().iter().any(|node| node.device == "webgpu"));
        for (i, (got, &(_, ty))) in got.iter().zip(&outputs).enumerate() {
            let want = value(&data.join(format!("output_{i}.pb")), ty)?;
            if let Some(difference) = differs(got, &want, rtol, atol) {
                return Ok(Some(difference));
            }
        }
    }
    Ok(None)
}

fn floats(tensor: &Tensor) -> Vec<f64> {
    tensor.view().to_floats().expect("numbers")
}

fn differs(got: &Tensor, want: &Tensor, rtol: f64, atol: f64) -> Option<String> {
    if got.ty() != want.ty() {
        return Some(format!("{got:?} is not {want:?}"));
    }
    if let (Ok(got), Ok(want)) = (got.items(), want.items()) {
        return got.iter().zip(want).find_map(|(got, want)| differs(got, want, rtol, atol));
    }
    if !got.dtype().has_bytes() {
        return (got != want).then(|| format!("{:?} is not {:?}", got.texts(), want.texts()));
    }
    // Of few bits, what was rounded on the way is off by more than the tolerance: two of its steps are let pass.
    let rtol = match got.dtype() {
        DType::F16 => rtol.max(2f64.powi(-9)),
        DType::BF16 => rtol.max(2f64.powi(-6)),
        _ => rtol,
    };
    let (got, want) = (floats(got), floats(want));
    let far = |(got, want): (&f64, &f64)| {
        let near = (got - want).abs() <= atol + rtol * want.abs();
        !(near || got == want || got.is_nan() && want.is_nan())
    };
    let i = got.iter().zip(&want).position(far)?;
    Some(format!("value {i} is {}, not {}", got[i], want[i]))
}

/// What `exceptions.json` says of a case that it lists.
struct Exception {
    reason: String,
    /// Whether random numbers decide, so that the case may pass all the same.
    chance: bool,
}

fn exceptions() -> BTreeMap<String, Exception> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg-tests/onnx/exceptions.json");
    let groups: Value = serde_json::from_slice(&fs::read(path).expect("exceptions.json")).expect("JSON");
    let mut listed = BTreeMap::new();
    for group in groups.as_array().expect("groups") {
        let (reason, chance) = (group["reason"].as_str().expect("a reason"), group["chance"] == true);
        for case in group["cases"].as_array().expect("cases") {
            let id = case.as_str().expect("KIND/NAME").to_string();
            let twice = listed.insert(id, Exception { reason: reason.into(), chance });
            assert!(twice.is_none(), "exceptions.json lists {case} twice");
        }
    }
    listed
}

/// What a GPU of software, which most machines that run this have, takes a minute for. Smaller networks of these cases have
/// all of its nodes.
const LONG_ON_A_GPU: [&str; 1] = ["light/test_vgg19"];

/// Runs all cases, and holds what passes to the list of exceptions.
fn hold(on: &str, device: Option<&GpuDevice>) {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/onnx-suite");
    let suite = std::env::var("HOMEFIRE_ONNX_SUITE").map_or(made, PathBuf::from);
    let Ok(cases) = fs::read(suite.join("cases.json")) else {
        return eprintln!(
            "SKIPPED: pkg-tests/onnx/generate.py has not made the ONNX project's backend tests"
        );
    };
    let mut on_gpu = 0;
    let only = std::env::var("HOMEFIRE_ONNX_ONLY").unwrap_or_default();
    let cases: Value = serde_json::from_slice(&cases).expect("JSON");
    let mut exceptions = exceptions();
    let (mut passed, mut untrue) = (0, Vec::new());
    for case in cases["cases"].as_array().expect("cases") {
        let (kind, name) = (case["kind"].as_str().expect("a kind"), case["name"].as_str().expect("a name"));
        let id = format!("{kind}/{name}");
        let exception = exceptions.remove(&id);
        let left_out = device.is_some() && LONG_ON_A_GPU.contains(&id.as_str());
        if !name.contains(&only) || left_out {
            continue;
        }
        let outcome = match catch_unwind(AssertUnwindSafe(|| run(&suite, case, device, &mut on_gpu))) {
            Ok(Ok(difference)) => difference,
            Ok(Err(e)) => Some(format!("{:?}: {e}", e.kind())),
            Err(_) => Some("PANIC".into()),
        };
        passed += usize::from(outcome.is_none());
        match (outcome, exception) {
            (None, Some(exception)) if !exception.chance => {
                untrue.push(format!("{id} passes, and exceptions.json lists it: {}", exception.reason));
            }
            (Some(why), None) => untrue.push(format!("{id}: {why}")),
            (Some(why), _) if why == "PANIC" => untrue.push(format!("{id}: {why}")),
            _ => {}
        }
    }
    untrue.extend(exceptions.keys().map(|id| format!("exceptions.json lists {id}, which is no case")));
    untrue.iter().for_each(|line| eprintln!("UNTRUE {line}"));
    eprintln!("on {on}: {passed} passed; exceptions.json is untrue in {} cases", untrue.len());
    if device.is_some() {
        eprintln!("{on_gpu} ran on the GPU, in part or wholly");
        assert!(on_gpu > 900 || !only.is_empty(), "few cases had a node on the GPU");
    }
    assert!(untrue.is_empty());
}

#[test]
fn all_cases_pass_but_the_exceptions() {
    hold("the CPU", None);
}

#[test]
fn the_same_cases_pass_on_the_gpu() {
    match pollster::block_on(GpuDevice::request()) {
        Ok(device) => hold("the GPU", Some(&device)),
        Err(_) => eprintln!("SKIPPED: no GPU adapter, so no case ran on one"),
    }
}
