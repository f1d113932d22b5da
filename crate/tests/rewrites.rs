//! Rewrites of real networks: each computes the same with all passes as with none, and is made of few operators. The models
//! are found in `models/` or where `HOMEFIRE_MODELS` says; those that are not there are named and left out. The graph of the
//! model that `HOMEFIRE_SHOW` names is printed.

use homefire::backend::cpu::CpuBackend;
use homefire::formats::onnx;
use homefire::graph::Graph;
use homefire::import;
use homefire::passes;
use homefire::session::Session;
use homefire::tensor::Tensor;
use pollster::block_on;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Numbers in [0, 1) from a seed.
fn numbers(seed: u64, n: usize) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    })
}

fn floats(dims: &[usize], low: f32, high: f32) -> Tensor {
    let values: Vec<f32> = numbers(7, dims.iter().product()).map(|x| low + (high - low) * x).collect();
    Tensor::new(dims, &values).unwrap()
}

fn ids(dims: &[usize], below: f32) -> Tensor {
    let values: Vec<i64> = numbers(11, dims.iter().product()).map(|x| (x * below) as i64).collect();
    Tensor::new(dims, &values).unwrap()
}

fn filled(dims: &[usize], value: i64) -> Tensor {
    Tensor::new(dims, &vec![value; dims.iter().product()]).unwrap()
}

fn graph(name: &str) -> Option<Graph> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    let folder = std::env::var("HOMEFIRE_MODELS").unwrap_or(default.into());
    let path = PathBuf::from(folder).join(format!("{name}.onnx"));
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: {} is not there; `npm test` downloads it", path.display());
        return None;
    };
    Some(import::onnx::build(&onnx::parse(&bytes).unwrap(), &|_, _, _| unreachable!()).unwrap())
}

fn counts(graph: &Graph) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    graph.nodes().for_each(|(_, node)| *counts.entry(node.op.name()).or_default() += 1);
    counts
}

fn run(graph: &Graph, feeds: &[(&str, Tensor)]) -> Vec<Tensor> {
    let backend = CpuBackend::new(graph, true).unwrap();
    let mut session = Session::new(graph.clone(), Box::new(backend));
    let names: Vec<String> = graph.outputs().iter().map(|(name, _)| name.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    block_on(session.run(feeds.to_vec(), &names)).unwrap()
}

/// The operators after all passes, once the outputs are found to be near those without any: within `tolerance` of the
/// largest.
fn rewritten(name: &str, feeds: &[(&str, Tensor)], tolerance: f64) -> Option<BTreeMap<&'static str, usize>> {
    let plain = graph(name)?;
    let mut rewritten = plain.clone();
    passes::optimise(&mut rewritten).unwrap();
    eprintln!(
        "{name}: {} nodes become {}: {:?}",
        plain.nodes().count(),
        rewritten.nodes().count(),
        counts(&rewritten)
    );
    if std::env::var("HOMEFIRE_SHOW").is_ok_and(|shown| shown == name) {
        eprintln!("{rewritten}");
    }
    for (i, (got, want)) in run(&rewritten, feeds).iter().zip(run(&plain, feeds)).enumerate() {
        assert_eq!(got.ty(), want.ty(), "{name}");
        let (got, want) = (got.view().to_floats().unwrap(), want.view().to_floats().unwrap());
        let largest = want.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        let far = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        eprintln!("  output {i}: {far:e} of {largest:e}");
        assert!(far <= tolerance * largest, "{name}: output {i} is off by {far} of {largest}");
    }
    Some(counts(&rewritten))
}

/// How many operators there are that are none of these.
fn others(counts: &BTreeMap<&'static str, usize>, known: &[&str]) -> usize {
    counts.iter().filter(|(name, _)| !known.contains(name)).map(|(_, n)| n).sum()
}

#[test]
fn readers_of_text_in_images_are_convolutions_and_little_else() {
    if let Some(counts) = rewritten("ocr-det", &[("x", floats(&[1, 3, 96, 128], -1.0, 1.0))], 1e-4) {
        assert!(
            others(&counts, &["conv", "pool", "resize", "concat", "binary", "batch_norm"]) == 0,
            "{counts:?}"
        );
    }
    if let Some(counts) = rewritten("ocr-cls", &[("x", floats(&[1, 3, 48, 192], -1.0, 1.0))], 1e-4) {
        assert!(counts.values().sum::<usize>() < 100, "{counts:?}");
    }
    if let Some(counts) = rewritten("ocr-rec", &[("x", floats(&[2, 3, 48, 96], -1.0, 1.0))], 1e-3) {
        assert!(counts.values().sum::<usize>() < 150, "{counts:?}");
    }
}

#[test]
fn an_encoder_is_ten_operators_a_layer() {
    let feeds = |b: usize, s: usize| {
        [
            ("input_ids", ids(&[b, s], 30000.0)),
            ("attention_mask", filled(&[b, s], 1)),
            ("token_type_ids", filled(&[b, s], 0)),
        ]
    };
    if let Some(counts) = rewritten("minilm-f32", &feeds(2, 9), 1e-4) {
        assert!(counts["full_attention"] == 6 && counts["layer_norm"] == 13, "{counts:?}");
        assert!(counts.values().sum::<usize>() <= 85, "{counts:?}");
    }
    rewritten("minilm-int8", &feeds(1, 7), 2e-2);
}

#[test]
fn other_networks_compute_what_they_did() {
    rewritten(
        "magika",
        &[(
            "bytes",
            Tensor::new(&[1, 2048], &numbers(5, 2048).map(|x| (x * 256.0) as i32).collect::<Vec<_>>())
                .unwrap(),
        )],
        1e-4,
    );
    rewritten("ddddocr-det", &[("images", floats(&[1, 3, 416, 416], 0.0, 255.0))], 1e-4);
    rewritten("basic-pitch", &[("serving_default_input_2:0", floats(&[1, 43844, 1], -0.3, 0.3))], 1e-3);
}
