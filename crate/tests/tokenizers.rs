//! Tokenizers against the stored ids of the reference implementations: the real vocabulary of SmolLM2, where
//! the model is there, and small vocabularies trained for the purpose.

use homefire::formats::gguf::{Gguf, Parsed};
use homefire::text::{Detokenizer, Tokenizer};
use std::path::PathBuf;
use std::time::Instant;

/// The header of the model in `models/` or where `HOMEFIRE_MODELS` says, if it is there.
fn smollm2() -> Option<Gguf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    let folder = std::env::var("HOMEFIRE_MODELS").unwrap_or(default.into());
    let path = PathBuf::from(folder).join("smollm2-135m-q4_1.gguf");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: {} is not there; `npm test` downloads it", path.display());
        return None;
    };
    match Gguf::parse(&bytes, Some(bytes.len() as u64)).unwrap() {
        Parsed::Complete(gguf) => Some(*gguf),
        Parsed::NeedMore => panic!("the whole file does not suffice"),
    }
}

fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// The text of a stream of ids, piece by piece.
fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut detokenizer = Detokenizer::default();
    let mut text: String = ids.iter().map(|&id| detokenizer.push(tokenizer.token_bytes(id))).collect();
    text.push_str(&detokenizer.finish());
    text
}

#[test]
fn smollm2_gives_the_reference_ids() {
    let Some(gguf) = smollm2() else { return };
    let start = Instant::now();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    eprintln!("{} tokens loaded in {:?}", tokenizer.vocabulary_size(), start.elapsed());
    let reference: serde_json::Value =
        serde_json::from_str(include_str!("data/reference/smollm2.json")).unwrap();
    let strings = reference["tokenizer"].as_array().unwrap();
    assert!(strings.len() > 10);
    for string in strings {
        let text = string["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, true), ids(&string["ids"]), "{text:?}");
        let plain = tokenizer.encode(text, false);
        assert_eq!(plain, ids(&string["ids_no_special"]), "{text:?}");
        assert_eq!(tokenizer.decode(&plain), text);
        assert_eq!(streamed(&tokenizer, &plain), text);
    }
    for case in reference["cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, true), ids(&case["ids"]), "{text:?}");
    }
    let window = include_str!("data/reference/ppl-text.txt");
    let tokens = ids(&reference["perplexity"]["tokens"]);
    assert_eq!(tokenizer.encode(window, false)[..tokens.len()], tokens);
    assert!(tokenizer.ends_text(2) && !tokenizer.ends_text(198));
    assert_eq!(tokenizer.decode_plain(&[1, 6004, 2]), "hi");
}

#[test]
fn a_megabyte_of_one_letter_takes_no_quadratic_time() {
    let Some(gguf) = smollm2() else { return };
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    for unit in ["a", " ", "1", "\n", "<", "'", "é", "ab"] {
        let text = unit.repeat(1_000_000 / unit.len());
        let start = Instant::now();
        let ids = tokenizer.encode(&text, true);
        let took = start.elapsed();
        eprintln!("{unit:?}: {took:?}");
        // A tenth of it on an idle machine; a quadratic way would take minutes.
        assert!(took.as_secs_f64() < 10.0, "{unit:?}: {took:?}");
        assert_eq!(tokenizer.decode(&ids), text);
    }
}
