//! Networks that ONNX Runtime's quantiser made, in all forms that it writes, held to ONNX Runtime:
//! `data/onnx/make_quantized.py`. Their products and convolutions are those of integers.

use homefire::backend::cpu::CpuBackend;
use homefire::formats::onnx;
use homefire::graph::Graph;
use homefire::import;
use homefire::passes;
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

/// The largest difference from the reference runtime, in steps of the last quantisation; of a network without one, of which
/// 255 cover the values.
fn steps(case: &Value, graph: Graph) -> f32 {
    let (shape, x) = floats(&case["x"]);
    let (_, want) = floats(&case["y"]);
    let name = graph.outputs()[0].0.to_string();
    let backend = CpuBackend::new(&graph, true).unwrap();
    let mut session = Session::new(graph, Box::new(backend));
    let feeds = vec![("x", Tensor::new(&shape, &x).unwrap())];
    let got = block_on(session.run(feeds, &[&name])).unwrap();
    let got = got[0].data::<f32>().unwrap();
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
        let (before, after) = (steps(&case, plain), steps(&case, rewritten));
        eprintln!("{name}: {counts:?}, {before:.2} steps without rewrites, {after:.2} with them");
        let near = |steps: f32| steps < 1.01;
        if counts != wanted || !near(after) || !near(before) {
            failed.push(format!("{name}: {counts:?}, {before} and {after} steps"));
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
    assert!(steps(&case, plain) > 1.01);
}
