//! Encoders against the `transformers` Python package: tiny random-weight ones of each architecture
//! (`data/make_tiny_encoders.py`), and MiniLM with stored vectors of the reference runtime. MiniLM is found in
//! `models/` or where `HOMEFIRE_MODELS` says; without it its test says so and does nothing.

use homefire::embed::{EmbedOptions, Encoder};
use homefire::error::{ErrorKind, Result};
use homefire::formats::hf_config::Pooling;
use homefire::session::{HeaderState, Loader, LoaderOptions};
use pollster::block_on;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Loads files in chunks of `chunk` bytes: all headers first, then each file.
fn load(files: &[Vec<u8>], chunk: usize) -> Result<Encoder> {
    let mut loader = Loader::new(LoaderOptions { context_length: None, exact: true, ..Default::default() });
    for file in files {
        loader.begin_file(Some(file.len() as u64));
        for chunk in file.chunks(chunk) {
            if loader.push_header(chunk)? != HeaderState::More {
                break;
            }
        }
    }
    for file in files {
        loader.begin_file(Some(file.len() as u64));
        // A file that its header was all of need not come again.
        for chunk in file.chunks(chunk).filter(|_| !file.starts_with(b"{") && !file.starts_with(b"[")) {
            loader.push(chunk)?;
        }
        loader.end_file()?;
    }
    Encoder::new(loader.finish()?)
}

fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/encoders").join(name)
}

/// The files of a tiny model, those that it has.
fn files(name: &str) -> Vec<Vec<u8>> {
    let names = [
        "pooling.json",
        "config.json",
        "tokenizer.json",
        "modules.json",
        "sentence_bert_config.json",
        "model.safetensors",
    ];
    names.iter().filter_map(|file| std::fs::read(tiny(name).join(file)).ok()).collect()
}

fn vectors(json: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(json.clone()).unwrap()
}

/// The largest difference between vectors, in parts of the largest element.
fn error(got: &[f32], want: &[Vec<f64>]) -> f64 {
    let want: Vec<f64> = want.concat();
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0f64, |a, x| a.max(x.abs()));
    got.iter().zip(&want).map(|(got, want)| (f64::from(*got) - want).abs() / largest).fold(0.0, f64::max)
}

fn agrees(name: &str) {
    let reference: Value =
        serde_json::from_slice(&std::fs::read(tiny(name).join("vectors.json")).unwrap()).unwrap();
    let texts: Vec<String> = serde_json::from_value(reference["texts"].clone()).unwrap();
    let (wanted, means) = (vectors(&reference["vectors"]), vectors(&reference["mean"]));
    for chunk in [7, 4096, 1 << 20] {
        let mut encoder = load(&files(name), chunk).unwrap();
        let own = block_on(encoder.embed(&texts, EmbedOptions::default())).unwrap();
        let off = error(&own, &wanted);
        assert!(off < 2e-5, "{name}: off by {off}");
        let plain = EmbedOptions { pooling: Some(Pooling::Mean), normalize: Some(false) };
        assert!(error(&block_on(encoder.embed(&texts, plain)).unwrap(), &means) < 2e-5);
        // One by one, no text is padded.
        for (text, want) in texts.iter().zip(&wanted) {
            let alone = block_on(encoder.embed(std::slice::from_ref(text), EmbedOptions::default())).unwrap();
            assert!(error(&alone, std::slice::from_ref(want)) < 5e-5, "{name}: {text:?} alone");
        }
    }
}

#[test]
fn bert_is_cut_at_its_length_and_normalised() {
    agrees("bert");
}

#[test]
fn bert_with_a_head_in_f16_by_its_first_token() {
    agrees("bert-head-f16");
}

#[test]
fn distilbert_without_files_of_sentences() {
    agrees("distilbert");
}

#[test]
fn roberta_begins_after_the_padding_position() {
    agrees("roberta");
}

#[test]
fn mpnet_looks_at_distances() {
    agrees("mpnet");
}

#[test]
fn a_wrong_vector_is_seen() {
    assert!(error(&[1.0, 0.5], &[vec![1.0, 0.51]]) > 5e-3);
}

#[test]
fn what_is_missing_or_does_not_fit_is_named() {
    let all = files("bert");
    let without = |index: usize| {
        let mut files = all.clone();
        files.remove(index);
        load(&files, 4096).map(|_| ()).expect_err("a file is missing")
    };
    // In the order of `files`.
    for (index, name) in [(1, "config.json"), (2, "tokenizer.json"), (5, "model.safetensors")] {
        let error = without(index);
        assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(name), "{error}");
    }
    let refused = |index: usize, file: Vec<u8>| {
        let mut files = all.clone();
        files[index] = file;
        load(&files, 4096).map(|_| ()).expect_err("a file of another model").to_string()
    };
    assert!(refused(2, std::fs::read(tiny("bert/vectors.json")).unwrap()).contains("leave it out"));
    assert!(refused(1, br#"{"model_type":"t5"}"#.to_vec()).contains("'t5'"));
    let cut = &all[5][..all[5].len() - 5];
    assert!(refused(5, cut.to_vec()).contains("cut off"));
    let wider =
        String::from_utf8(all[1].clone()).unwrap().replace("\"hidden_size\": 24", "\"hidden_size\": 48");
    assert!(refused(1, wider.into_bytes()).contains("not [rows, 48]"));
    let alone = load(&all[5..], 4096).map(|_| ()).expect_err("weights alone");
    assert!(alone.message().contains("config.json is missing"), "{alone}");
}

#[test]
fn mutated_files_load_or_fail_with_an_error() {
    let whole = files("bert");
    let header = 8 + u64::from_le_bytes(whole[5][..8].try_into().unwrap()) as usize;
    let mut random = oorandom::Rand32::new(11);
    let (mut loaded, mut refused) = (0, 0);
    for round in 0..3000 {
        let mut files = whole.clone();
        let index = random.rand_range(0..files.len() as u32) as usize;
        let most = if index == 5 { header } else { files[index].len() };
        let at = random.rand_range(0..most as u32) as usize;
        match round % 3 {
            0 => files[index][at] = random.rand_u32() as u8,
            1 => files[index][at] = b"0123456789-\"[]{}:,"[random.rand_range(0..18) as usize],
            _ => files[index].truncate(at),
        }
        match load(&files, 1 << 16) {
            Ok(mut encoder) => {
                loaded += 1;
                let _ = block_on(encoder.embed(&["the cat".into()], EmbedOptions::default()));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(loaded > 200 && refused > 200, "{loaded} loaded, {refused} refused");
}

#[test]
fn minilm_gives_the_reference_vectors() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    let folder = PathBuf::from(std::env::var("HOMEFIRE_MODELS").unwrap_or(default.into()));
    let named = ["minilm.config.json", "minilm.tokenizer.json", "minilm.safetensors"];
    let files: Vec<_> = named.iter().filter_map(|name| std::fs::read(folder.join(name)).ok()).collect();
    if files.len() < named.len() {
        return eprintln!("SKIPPED: MiniLM is not in {}; `npm test` downloads it", folder.display());
    }
    let mut encoder = load(&files, 1_000_003).unwrap();
    let reference: Value = serde_json::from_str(include_str!("data/reference/minilm.json")).unwrap();
    let sentences = reference["sentences"].as_array().unwrap();
    let texts: Vec<String> = sentences.iter().map(|s| s["text"].as_str().unwrap().to_string()).collect();
    let got = block_on(encoder.embed(&texts, EmbedOptions::default())).unwrap();
    for ((sentence, vector), text) in sentences.iter().zip(got.chunks_exact(384)).zip(&texts) {
        let want: Vec<f64> = serde_json::from_value(sentence["embedding"].clone()).unwrap();
        let cosine: f64 = vector.iter().zip(&want).map(|(a, b)| f64::from(*a) * b).sum();
        assert!(cosine > 0.999_99, "{text:?}: {cosine}");
        let ids: Vec<u32> = serde_json::from_value(sentence["ids"].clone()).unwrap();
        let tokenizer = encoder.facts().tokenizer();
        let own = [tokenizer.prefix(), &tokenizer.encode(text, true), tokenizer.suffix()].concat();
        assert_eq!(own, ids, "{text:?}");
    }
}
