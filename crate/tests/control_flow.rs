//! Functions of a file's own, choices, loops and sparse constants, against the reference runtime
//! (`data/onnx/make_flow.py`).

use homefire::backend::cpu::CpuBackend;
use homefire::error::{Error, ErrorKind, Result};
use homefire::session::{Network, Pause};
use homefire::tensor::Tensor;
use homefire::types::DType;
use pollster::block_on;
use serde_json::Value;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

fn load(name: &str) -> Result<Network> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx/flow");
    let bytes = std::fs::read(folder.join(format!("{name}.onnx"))).expect("a network");
    Network::new(&bytes, |graph| Ok(Box::new(CpuBackend::new(graph, true)?)))
}

fn tensor(stored: &Value, ty: &str) -> Tensor {
    let shape: Vec<usize> = serde_json::from_value(stored["shape"].clone()).unwrap();
    let values: Vec<f64> = serde_json::from_value(stored["values"].clone()).unwrap();
    match ty {
        "int64" => Tensor::new(&shape, &values.iter().map(|x| *x as i64).collect::<Vec<_>>()).unwrap(),
        _ => Tensor::new(&shape, &values.iter().map(|x| *x as f32).collect::<Vec<_>>()).unwrap(),
    }
}

/// Runs every stored case of a network, twice each.
fn agrees(name: &str) {
    let cases: Value = serde_json::from_str(include_str!("data/onnx/flow.json")).unwrap();
    let mut network = load(name).unwrap();
    let cases = cases[name].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases.iter().chain(cases) {
        let inputs = case["inputs"].as_object().unwrap();
        let feeds = inputs
            .iter()
            .map(|(name, stored)| (name.as_str(), tensor(stored, case["types"][name].as_str().unwrap())));
        let feeds = feeds.collect();
        let outputs = case["outputs"].as_object().unwrap();
        let names: Vec<&str> = outputs.keys().map(String::as_str).collect();
        let got = block_on(network.run(feeds, &names)).unwrap();
        for (got, (output, want)) in got.iter().zip(outputs) {
            let want = tensor(want, "float32");
            assert_eq!(got.shape(), want.shape(), "{name}: {output}");
            let pairs = got.view().to_floats().unwrap().into_iter().zip(want.view().to_floats().unwrap());
            for (got, want) in pairs {
                assert!(
                    (got - want).abs() <= 1e-5 * want.abs().max(1.0),
                    "{name}: {output} is {got}, not {want}"
                );
            }
        }
    }
}

#[test]
fn a_loop_without_an_end_is_left_when_it_pauses() {
    let mut network = load("eternal").unwrap();
    let feeds = |more: u8| {
        let more = Tensor::new(&[], &[more]).unwrap().reinterpreted(DType::Bool, &[]).unwrap();
        vec![("x", Tensor::new(&[2], &[1.0f32, 2.0]).unwrap()), ("more", more)]
    };
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let pause: Pause = Rc::new(move || {
        count.set(count.get() + 1);
        let goes_on = count.get() < 3;
        Box::pin(
            async move { if goes_on { Ok(()) } else { Err(Error::new(ErrorKind::Cancelled, "enough")) } },
        )
    });
    network.pause_by(Some(&pause));
    let error = block_on(network.run(feeds(1), &["y"])).unwrap_err();
    assert_eq!((error.kind(), asked.get()), (ErrorKind::Cancelled, 3));
    network.pause_by(None);
    let y = block_on(network.run(feeds(0), &["y"])).unwrap();
    assert_eq!(y[0].data::<f32>().unwrap(), [1.0, 2.0]);
}

fn refused(name: &str) -> Error {
    load(name).map(|_| ()).expect_err("a network that cannot be")
}

#[test]
fn functions_take_attributes_defaults_and_absent_inputs() {
    agrees("functions");
}

#[test]
fn functions_without_an_end_are_refused() {
    assert!(refused("endless").message().contains("32 deep"), "{}", refused("endless"));
    assert!(refused("tower").message().contains("nodes"), "{}", refused("tower"));
}

#[test]
fn a_choice_runs_one_way_and_never_looks_at_the_other() {
    agrees("choice");
}

#[test]
fn loops_end_by_their_condition_or_their_limit() {
    agrees("loop");
}

#[test]
fn scans_go_backwards() {
    agrees("scan");
}

#[test]
fn a_body_that_gives_too_little_ends_the_run() {
    let mut network = load("short").unwrap();
    let (start, x) = (Tensor::zeros(DType::F32, &[3]).unwrap(), Tensor::zeros(DType::F32, &[2, 3]).unwrap());
    let error =
        block_on(network.run(vec![("start", start), ("x", x)], &["end", "sums"])).expect_err("too little");
    assert!(error.message().contains("1 of the 2 outputs"), "{error}");
}

#[test]
fn sparse_constants_are_whole() {
    agrees("sparse");
    assert!(refused("outside").message().contains("outside"), "{}", refused("outside"));
}
