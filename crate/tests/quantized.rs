//! Networks that ONNX Runtime's quantiser made, in all forms that it writes, held to ONNX Runtime:
//! `data/onnx/make_quantized.py`. Their products and convolutions are those of integers.

use homefire::backend::Profiled;
use homefire::backend::cpu::CpuBackend;
use homefire::backend::gpu::{GpuBackend, GpuDevice};
use homefire::formats::onnx;
use homefire::graph::Graph;
use homefire::import;
use homefire::passes;
use homefire::plan::Crossing;
use homefire::session::Session;
use homefire::tensor::Tensor;
use pollster::block_on;
use serde_json::Value;

fn floats(stored: &Value) -> (Vec<usize>, Vec<f32>) {
    let list = |key: &str| stored[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap());
    (list("shape").map(|n| n as usize).collect(), list("data").map(|x| x as f32).collect())
}

fn graph(case: &Value) -> Graph {
    let hex = case["model"].as_str().unwrap();
    let model: Vec<u8> =
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    import::onnx::build(&onnx::parse(&model).unwrap(), &|_, _, _| unreachable!()).unwrap()
}

fn count(graph: &Graph, name: &str) -> usize {
    graph.nodes().filter(|(_, node)| node.op.name() == name).count()
}

/// What a graph makes of the case's input, on the CPU, or on a GPU with the CPU beside it; and what ran where.
fn run(case: &Value, graph: Graph, device: Option<&GpuDevice>) -> (Vec<f32>, Vec<Profiled>) {
    let (shape, x) = floats(&case["x"]);
    let name = graph.outputs()[0].0.to_string();
    let mut session = match device {
        None => {
            let backend = CpuBackend::new(&graph, true).unwrap();
            Session::new(graph, Box::new(backend))
        }
        Some(device) => {
            let gpu = Box::new(GpuBackend::new(&graph, device.clone()).unwrap());
            let cpu = Box::new(CpuBackend::beside_another(&graph).unwrap());
            Session::on_two(graph, gpu, cpu, Crossing::FREE)
        }
    };
    let feeds = vec![("x", Tensor::new(&shape, &x).unwrap())];
    let got = block_on(session.run(feeds, &[&name])).unwrap();
    (got[0].data::<f32>().unwrap().to_vec(), session.last_profile())
}

/// The largest difference from the reference runtime, in steps of the last quantisation; of a network without one, of which
/// 255 cover the values.
fn steps(case: &Value, got: &[f32]) -> f32 {
    let (_, want) = floats(&case["y"]);
    assert_eq!(got.len(), want.len());
    let range = want.iter().fold(0.0f32, |a, x| a.max(*x)) - want.iter().fold(0.0f32, |a, x| a.min(*x));
    let step = case["step"].as_f64().map_or(range / 255.0, |step| step as f32);
    got.iter().zip(&want).map(|(got, want)| (got - want).abs() / step).fold(0.0, f32::max)
}

fn cases() -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("data/onnx/quantized.json")).unwrap();
    assert!(cases.len() > 10);
    cases
}

#[test]
fn quantised_networks_compute_what_the_reference_runtime_does() {
    let mut failed = Vec::new();
    for case in cases() {
        let name = case["name"].as_str().unwrap().to_string();
        let plain = graph(&case);
        let mut rewritten = plain.clone();
        passes::optimise(&mut rewritten).unwrap();
        let counts = ["integer_conv", "integer_product", "conv", "matmul"].map(|op| count(&rewritten, op));
        // All convolutions, the last product; all products with weights.
        let wanted = if name.starts_with("convnet") { [4, 1, 0, 0] } else { [0, 6, 0, 0] };
        let [before, after] = [plain, rewritten].map(|graph| steps(&case, &run(&case, graph, None).0));
        eprintln!("{name}: {counts:?}, {before:.2} steps without rewrites, {after:.2} with them");
        let near = |steps: f32| steps < 1.01;
        if counts != wanted || !near(after) || !near(before) {
            failed.push(format!("{name}: {counts:?}, {before} and {after} steps"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn quantised_networks_stay_on_the_gpu() {
    let Ok(device) = block_on(GpuDevice::request()) else {
        return eprintln!("SKIPPED: no GPU adapter, so no quantised network ran on one");
    };
    let mut failed = Vec::new();
    for case in cases() {
        let name = case["name"].as_str().unwrap().to_string();
        let mut graph = graph(&case);
        passes::optimise(&mut graph).unwrap();
        let (got, ran) = run(&case, graph, Some(&device));
        let left: Vec<_> = ran.iter().filter(|node| node.device == "cpu").collect();
        let kernels = ran.iter().filter(|node| node.kernel.starts_with("integer_")).count();
        let off = steps(&case, &got);
        eprintln!(
            "{name}: {off:.2} steps, {} launches, {kernels} of integers, on the CPU {left:?}",
            ran.len()
        );
        if off > 1.01 || kernels == 0 || !left.is_empty() {
            failed.push(format!("{name}: {off} steps, {kernels} launches of integers, on the CPU {left:?}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_wrong_number_is_seen() {
    let mut case = cases().swap_remove(0);
    let wrong = case["y"]["data"][1].as_f64().unwrap() + 2.2 * case["step"].as_f64().unwrap();
    case["y"]["data"][1] = wrong.into();
    let plain = graph(&case);
    assert!(steps(&case, &run(&case, plain, None).0) > 1.01);
}
