//! Model truth: SmolLM2-135M-Instruct (Q4_1) against stored outputs of the reference implementations
//! (`data/reference/smollm2.json`). The model is found in `models/` or where `HOMEFIRE_MODELS` says; without
//! it these tests say so and do nothing.

mod device;

use device::{Device, devices};
use homefire::generate::{Generation, GenerationOptions, Rows, TextModel};
use homefire::session::LoaderOptions;
use pollster::block_on;
use serde_json::Value;
use std::path::PathBuf;

fn load(exact: bool, device: Device) -> Option<TextModel> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    let folder = std::env::var("HOMEFIRE_MODELS").unwrap_or(default.into());
    let path = PathBuf::from(folder).join("smollm2-135m-q4_1.gguf");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: {} is not there; `npm test` downloads it", path.display());
        return None;
    };
    let options = LoaderOptions { context_length: Some(1024), exact, ..Default::default() };
    Some(device::load(&bytes, 1_000_003, options, device).unwrap())
}

fn reference() -> Value {
    serde_json::from_str(include_str!("data/reference/smollm2.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn greedy(model: &mut TextModel, prompt: &[u32], n: usize) -> Vec<u32> {
    let options = GenerationOptions { max_tokens: Some(n), ignore_eos: true, ..Default::default() };
    let mut generation = Generation::new(model, prompt, options).unwrap();
    let mut out = Vec::new();
    loop {
        let step = generation.next(model).unwrap();
        out.extend(step.id);
        if step.done.is_some() {
            return out;
        }
    }
}

#[test]
fn every_string_has_the_reference_ids() {
    let Some(model) = load(false, Device::Cpu) else { return };
    let reference = reference();
    let strings = reference["tokenizer"].as_array().unwrap();
    assert!(strings.len() > 10);
    for string in strings {
        let text = string["text"].as_str().unwrap();
        assert_eq!(model.facts().tokenizer().encode(text, true), ids(&string["ids"]), "{text:?}");
        assert_eq!(model.facts().tokenizer().encode(text, false), ids(&string["ids_no_special"]), "{text:?}");
        assert_eq!(model.facts().tokenizer().decode(&ids(&string["ids_no_special"])), text);
    }
}

#[test]
fn exact_logits_and_greedy_tokens_are_the_references() {
    for device in devices() {
        // A GPU computes with f32 activations either way, so it is held to them as it is used by default.
        if let Some(model) = load(device == Device::Cpu, device) {
            holds_to_the_reference(model, device);
        }
    }
}

fn holds_to_the_reference(mut model: TextModel, device: Device) {
    // Most machines that run this have a GPU of software alone, which takes seconds for a prompt: it is asked for less.
    let (step, n_logits, most) = if device == Device::Cpu { (1, usize::MAX, usize::MAX) } else { (2, 1, 4) };
    for case in reference()["cases"].as_array().unwrap().iter().step_by(step) {
        let name = case["name"].as_str().unwrap();
        let prompt = ids(&case["ids"]);
        let said = ids(&case["llama_cpp"]["greedy"]);
        // The prompt, and then what follows it, piece by piece.
        let (whole, mut fed) = ([&prompt[..], &said].concat(), 0);
        model.truncate(0);
        for logits in case["exact"]["logits_on_llama_cpp_tokens"].as_array().unwrap().iter().take(n_logits) {
            let after = logits["after"].as_u64().unwrap() as usize;
            let piece = &whole[fed..prompt.len() + after];
            fed += piece.len();
            let scores = block_on(model.feed_rows(piece, Rows::Last)).unwrap();
            let scores = scores.data::<f32>().unwrap();
            for pair in logits["top"].as_array().unwrap() {
                let (id, want) = (pair[0].as_u64().unwrap() as usize, pair[1].as_f64().unwrap());
                let error = (f64::from(scores[id]) - want).abs();
                assert!(
                    error < 0.05,
                    "{device:?}, {name} after {after}: logit {id} is {}, not {want}",
                    scores[id]
                );
            }
        }
        let want = ids(&case["exact"]["greedy"]);
        let margins = case["exact"]["margin"].as_array().unwrap();
        let sure = margins.iter().take_while(|m| m.as_f64().unwrap() >= 0.1).count().min(most);
        let got = greedy(&mut model, &prompt, sure);
        assert_eq!(got, want[..sure], "{device:?}, {name}");
    }
}

/// The mean negative log-likelihood of a window of the reference text.
fn window_nll(model: &mut TextModel, window: &[u32]) -> f64 {
    model.truncate(0);
    let mut total = 0.0;
    for (start, chunk) in (0..).step_by(128).zip(window.chunks(128)) {
        let scores = block_on(model.feed_rows(chunk, Rows::All)).unwrap();
        let vocabulary = model.facts().vocabulary_size();
        for (i, scores) in scores.data::<f32>().unwrap().chunks_exact(vocabulary).enumerate() {
            let Some(&next) = window.get(start + i + 1) else { continue };
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = scores.iter().map(|s| f64::from(s - largest).exp()).sum();
            total += f64::from(largest - scores[next as usize]) + sum.ln();
        }
    }
    total / (window.len() - 1) as f64
}

#[test]
fn quantised_activations_cost_little_of_the_perplexity() {
    let Some(mut model) = load(false, Device::Cpu) else { return };
    let reference = reference();
    let perplexity = &reference["perplexity"];
    let tokens = ids(&perplexity["tokens"]);
    let exact = perplexity["exact"]["nll_per_window"].as_array().unwrap();
    let nll = |w: &[u32], model: &mut TextModel| window_nll(model, w);
    let mut difference = 0.0;
    // The scalar kernels are slow: one window natively unless all are asked for. The order of sums alone moves what is
    // rounded, and with it the perplexity of a window by one or two hundredths, that of all by less than one.
    let all = std::env::var("HOMEFIRE_ALL_WINDOWS").is_ok();
    let (n_windows, tolerance) = if all { (exact.len(), 0.01) } else { (1, 0.04) };
    for (window, exact) in tokens.chunks_exact(512).zip(exact).take(n_windows) {
        difference += nll(window, &mut model) - exact.as_f64().unwrap();
    }
    let ratio = (difference / n_windows as f64).exp();
    eprintln!("perplexity with quantised activations: {ratio:.5} of the exact, over {n_windows} windows");
    assert!((ratio - 1.0).abs() < tolerance, "the perplexity is {ratio} times the exact one");
}

#[test]
fn a_reused_prefix_gives_the_same_answer() {
    let Some(mut model) = load(false, Device::Cpu) else { return };
    let prompt = model.facts().tokenizer().encode("The capital of France is", false);
    let fresh = greedy(&mut model, &prompt, 12);
    let longer: Vec<u32> = prompt.iter().chain(&fresh[..6]).copied().collect();
    let options = |reuse_prefix| GenerationOptions {
        max_tokens: Some(6),
        ignore_eos: true,
        reuse_prefix,
        ..Default::default()
    };
    let mut generation = Generation::new(&model, &longer, options(true)).unwrap();
    let mut got = Vec::new();
    let done = loop {
        let step = generation.next(&mut model).unwrap();
        got.extend(step.id);
        if let Some(done) = step.done {
            break done;
        }
    };
    assert_eq!(got, fresh[6..]);
    assert_eq!(done.reused_tokens, longer.len() - 1);
}
