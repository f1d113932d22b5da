//! Architectures without a full-size model here: tiny random-weight models whose logits were computed by the
//! `transformers` Python package (`data/make_tiny_models.py`).

mod device;

use device::{Device, devices};
use homefire::error::{ErrorKind, Result};
use homefire::generate::{Model, Rows, Scoring, TextModel};
use homefire::session::LoaderOptions;
use pollster::block_on;
use serde_json::Value;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny")).join(name)
}

fn load(name: &str, exact: bool, device: Device) -> Result<TextModel> {
    load_bytes(&std::fs::read(path(&format!("{name}.gguf"))).unwrap(), exact, device)
}

fn load_bytes(bytes: &[u8], exact: bool, device: Device) -> Result<TextModel> {
    device::load(
        bytes,
        10_007,
        LoaderOptions { context_length: Some(64), exact, ..Default::default() },
        device,
    )
}

/// The largest difference to the reference logits, with the tokens fed `batch` at a time.
fn largest_error(model: &mut TextModel, name: &str, batch: usize) -> f64 {
    let reference: Value =
        serde_json::from_str(&std::fs::read_to_string(path(&format!("{name}.json"))).unwrap()).unwrap();
    let tokens: Vec<u32> =
        reference["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    model.truncate(0);
    let mut rows = Vec::new();
    for chunk in tokens.chunks(batch) {
        let scores = block_on(model.feed_rows(chunk, Rows::All)).unwrap();
        let scores = scores.data::<f32>().unwrap();
        rows.extend(scores.chunks_exact(model.facts().vocabulary_size()).map(<[f32]>::to_vec));
    }
    assert_eq!(rows.len(), tokens.len());
    let mut largest = 0.0f64;
    for (position, want) in reference["logits"].as_object().unwrap() {
        let got = &rows[position.parse::<usize>().unwrap()];
        let want = want.as_array().unwrap();
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            largest = largest.max((f64::from(*got) - want.as_f64().unwrap()).abs());
        }
    }
    largest
}

fn agrees(name: &str) {
    for device in devices() {
        let mut model = load(name, true, device).unwrap();
        for batch in [24, 5, 1] {
            let error = largest_error(&mut model, name, batch);
            eprintln!("{name} on the {device:?}, {batch} tokens at a time: within {error:.2e}");
            assert!(error < 1e-3, "{name} on the {device:?} in batches of {batch}: off by {error}");
        }
    }
}

#[test]
fn llama_has_the_reference_logits() {
    agrees("llama-f32");
}

#[test]
fn qwen2_with_biases_and_its_own_head_has_the_reference_logits() {
    agrees("qwen2-f16");
}

#[test]
fn qwen3_with_norms_of_queries_and_keys_has_the_reference_logits() {
    agrees("qwen3-f16");
}

#[test]
fn qwen3_in_q8_0_has_the_reference_logits() {
    agrees("qwen3-q8_0");
}

#[test]
fn smollm3_with_layers_without_rope_has_the_reference_logits() {
    agrees("smollm3-f16");
}

#[test]
fn quantised_activations_stay_near_the_reference() {
    let mut model = load("qwen3-q8_0", false, Device::Cpu).unwrap();
    let error = largest_error(&mut model, "qwen3-q8_0", 24);
    assert!(error < 0.15, "off by {error}");
}

/// Drafts change nothing but the time: scores are those of tokens run one by one. Where they might not be there are none.
#[test]
fn tokens_that_run_along_change_no_bit_of_quantised_models() {
    let mut model = load("qwen3-q8_0", false, Device::Cpu).unwrap();
    assert_eq!(model.draft_len(), 3);
    let tokens = [5, 9, 70, 3, 11, 5, 9, 70, 4];
    let mut scores = |batch: usize| -> Vec<f32> {
        model.truncate(0);
        let mut feed =
            |ids| block_on(model.feed_rows(ids, Rows::All)).unwrap().data::<f32>().unwrap().to_vec();
        tokens.chunks(batch).flat_map(&mut feed).collect()
    };
    let one_by_one = scores(1);
    for batch in [2, 3, 4, 9] {
        assert_eq!(scores(batch), one_by_one, "{batch} at a time");
    }
    assert_eq!(load("qwen3-q8_0", true, Device::Cpu).unwrap().draft_len(), 0);
    assert_eq!(load("qwen3-f16", false, Device::Cpu).unwrap().draft_len(), 0);
}

/// The comparison notices a model that is not the reference's.
#[test]
fn a_token_that_the_model_does_not_have_is_refused_wherever_it_stands() {
    let bytes = std::fs::read(path("llama-f32.gguf")).unwrap();
    let options = LoaderOptions { context_length: Some(80), ..Default::default() };
    let model = device::load(&bytes, 10_007, options, Device::Cpu).unwrap();
    for at in [0, 1, 63, 64, 65, 79] {
        let mut ids = vec![7; 80];
        ids[at] = model.facts().vocabulary_size() as u32;
        let error = Scoring::new(&model, &ids).err().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::InvalidInput), "at {at}");
    }
}

#[test]
fn a_score_that_an_answer_came_into_is_refused() {
    let mut model = load("llama-f32", false, Device::Cpu).unwrap();
    let [mut first, mut second] = [7, 9].map(|id| Scoring::new(&model, &[id; 60]).unwrap());
    assert!(!block_on(second.step(&mut model)).unwrap());
    assert!(!block_on(first.step(&mut model)).unwrap());
    assert!(block_on(second.step(&mut model)).is_err());
    assert_eq!(first.into_scores().len(), 59);
}

#[test]
fn another_models_logits_are_refused() {
    let mut model = load("qwen3-f16", true, Device::Cpu).unwrap();
    assert!(largest_error(&mut model, "qwen2-f16", 24) > 0.5);
    assert!(largest_error(&mut model, "qwen3-q8_0", 24) > 2e-3);
}

#[test]
fn a_prompt_begins_with_the_token_that_the_model_wants_once() {
    let mut bytes = std::fs::read(path("llama-f32.gguf")).unwrap();
    let plain = load_bytes(&bytes, true, Device::Cpu).unwrap();
    assert_eq!(plain.facts().tokenizer().encode_prompt("he"), plain.facts().tokenizer().encode("he", true));
    let key = b"tokenizer.ggml.add_bos_token";
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len() + 4;
    bytes[at] = 1;
    let wanting = load_bytes(&bytes, true, Device::Cpu).unwrap();
    let he = wanting.facts().tokenizer().encode("he", true);
    assert_eq!(wanting.facts().tokenizer().encode_prompt("he"), [&[262], &he[..]].concat());
    assert_eq!(wanting.facts().tokenizer().encode_prompt("<|endoftext|>he"), [&[262], &he[..]].concat());
    assert_eq!(wanting.facts().tokenizer().encode_prompt(""), [262]);
}

#[test]
fn llama_3_with_scaled_rope_has_the_reference_logits() {
    agrees("llama3-f16");
}

/// The factors matter to the logits: with other ones the comparison fails.
#[test]
fn the_factors_of_rope_are_noticed() {
    let mut bytes = std::fs::read(path("llama3-f16.gguf")).unwrap();
    let factor = |x: f32| x.to_le_bytes();
    // The last factor, that of the slowest pair.
    let at = bytes.windows(4).rposition(|w| w == factor(8.0)).unwrap();
    bytes[at..at + 4].copy_from_slice(&factor(1.0));
    let mut model = load_bytes(&bytes, true, Device::Cpu).unwrap();
    assert!(largest_error(&mut model, "llama3-f16", 24) > 2e-3);
    bytes[at..at + 4].copy_from_slice(&factor(-1.0));
    let error = load_bytes(&bytes, true, Device::Cpu).err().expect("a negative factor was taken");
    assert_eq!((error.kind(), error.node()), (ErrorKind::Format, Some("rope_freqs.weight")));
}
