//! Every kind of tokenizer against the ids that the reference package gives for tiny vocabularies and nasty
//! strings (`tests/data/tokenizers/golden.json`, made by the script beside it).

use proptest::prelude::*;
use serde_json::Value;

use super::from_gguf::bert_words;
use super::normalize::{Found, Normalizer};
use super::pre_tokenize::{PreTokenizer, Prepend, named, pre_tokenize};
use super::{AddedToken, DecodeStep, ModelSpec, TokenKind, Tokenizer, TokenizerSpec};

const BYTE_LEVEL: [&str; 8] =
    ["gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o", "tekken", "qwen35", "deepseek-v3"];

fn golden() -> Value {
    serde_json::from_str(include_str!("../../tests/data/tokenizers/golden.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn token(value: &Value) -> Box<str> {
    value.as_str().unwrap().into()
}

fn tokens(model: &Value) -> Vec<Box<str>> {
    if let Some(list) = model["vocab"].as_array() {
        return list.iter().map(|pair| token(&pair[0])).collect();
    }
    let mut pairs: Vec<_> = model["vocab"].as_object().unwrap().iter().collect();
    pairs.sort_by_key(|(_, id)| id.as_u64());
    pairs.into_iter().map(|(token, _)| token.as_str().into()).collect()
}

fn merges(model: &Value) -> Vec<(Box<str>, Box<str>)> {
    model["merges"].as_array().unwrap().iter().map(|pair| (token(&pair[0]), token(&pair[1]))).collect()
}

fn bpe(model: &Value) -> ModelSpec {
    let flag = |key: &str| model[key].as_bool().unwrap();
    ModelSpec::Bpe {
        merges: merges(model),
        ignore_merges: false,
        byte_fallback: flag("byte_fallback"),
        fuse_unk: flag("fuse_unk"),
        prefix: "".into(),
        suffix: "".into(),
    }
}

fn special(spec: &mut TokenizerSpec, names: &[&str]) {
    spec.kinds = vec![TokenKind::Normal; spec.tokens.len()];
    for (id, content) in names.iter().enumerate() {
        spec.kinds[id] = TokenKind::Control;
        let content = (*content).into();
        let (id, special) = (id as u32, true);
        let (lstrip, rstrip, single_word, normalized) = (false, false, false, false);
        spec.added.push(AddedToken { id, content, special, lstrip, rstrip, single_word, normalized });
    }
    spec.unk = Some(0);
}

fn byte_level(name: &str, model: &Value) -> TokenizerSpec {
    let mut spec = TokenizerSpec::new(tokens(model), bpe(model));
    spec.byte_level = true;
    spec.pre_tokenizers = named(name).unwrap();
    spec.decoders = vec![DecodeStep::ByteLevel];
    spec
}

fn space_marks(spec: &mut TokenizerSpec) {
    spec.normalizers = vec![
        Normalizer::Prepend("▁".into()),
        Normalizer::Replace { from: Found::Literal(" ".into()), to: "▁".into() },
    ];
    spec.decoders = vec![
        DecodeStep::Replace { from: "▁".into(), to: " ".into() },
        DecodeStep::ByteFallback,
        DecodeStep::Strip { content: ' ', start: 1 },
    ];
}

#[track_caller]
fn check(name: &str, golden: &Value, tokenizer: &Tokenizer) {
    let strings = golden["strings"].as_array().unwrap();
    assert!(strings.len() > 40);
    let wrong: Vec<String> = strings
        .iter()
        .filter_map(|string| {
            let (text, want) = (string[0].as_str().unwrap(), ids(&string[1]));
            let got = tokenizer.encode(text, true);
            (got != want).then(|| format!("{text:?}: {got:?}, not {want:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{name}: {} of {}\n{}", wrong.len(), strings.len(), wrong.join("\n"));
}

#[test]
fn byte_level_pieces_and_ids_are_the_references() {
    let golden = golden();
    for name in BYTE_LEVEL {
        let golden = &golden[name];
        let cuts = golden["cuts"].as_array().unwrap();
        for (string, cuts) in golden["strings"].as_array().unwrap().iter().zip(cuts) {
            let text = string[0].as_str().unwrap();
            let pieces = pre_tokenize(&named(name).unwrap(), text.into(), true);
            let ends: Vec<u32> =
                pieces.ranges.iter().map(|range| text[..range.end].chars().count() as u32).collect();
            assert_eq!(ends, ids(cuts), "{name}: {text:?}");
        }
        let tokenizer = Tokenizer::new(byte_level(name, &golden["model"])).unwrap();
        check(name, golden, &tokenizer);
        for string in golden["strings"].as_array().unwrap() {
            assert_eq!(tokenizer.decode(&ids(&string[1])), string[0].as_str().unwrap());
        }
    }
}

#[test]
fn the_pieces_of_another_family_are_noticed() {
    let golden = golden();
    for (name, other) in
        [("llama-bpe", "qwen2"), ("gpt-4o", "tekken"), ("smollm", "gpt-2"), ("qwen35", "qwen2")]
    {
        let cuts = |name: &str| golden[name]["cuts"].clone();
        assert_ne!(cuts(name), cuts(other), "the strings do not tell {name} from {other}");
    }
}

#[test]
fn merges_with_byte_fallback_and_scores_give_the_same_ids() {
    let golden = &golden()["sentencepiece"];
    let model = &golden["model"];
    let mut spec = TokenizerSpec::new(tokens(model), bpe(model));
    special(&mut spec, &["<unk>"]);
    space_marks(&mut spec);
    let tokenizer = Tokenizer::new(spec.clone()).unwrap();
    check("merges", golden, &tokenizer);
    let text = "naïve 中 😀  x";
    assert_eq!(tokenizer.decode(&tokenizer.encode(text, false)), text);

    // A score that falls with the rank of the merge that makes the token says the same as the merges.
    let mut scores = vec![f32::NEG_INFINITY; spec.tokens.len()];
    for (rank, (left, right)) in merges(model).iter().enumerate() {
        let made = spec.tokens.iter().position(|token| **token == format!("{left}{right}")).unwrap();
        scores[made] = scores[made].max(-(rank as f32));
    }
    spec.model = ModelSpec::SentencePiece { scores };
    check("scores", golden, &Tokenizer::new(spec).unwrap());
}

#[test]
fn unigram_ids_are_the_references() {
    let golden = &golden()["unigram"];
    let scores = golden["model"]["vocab"].as_array().unwrap();
    let scores = scores.iter().map(|pair| pair[1].as_f64().unwrap()).collect();
    let model = ModelSpec::Unigram { scores, byte_fallback: false };
    let mut spec = TokenizerSpec::new(tokens(&golden["model"]), model);
    special(&mut spec, &["<unk>"]);
    let prepend = Prepend::Always;
    spec.pre_tokenizers = vec![PreTokenizer::Metaspace { replacement: '▁', prepend, split: true }];
    check("unigram", golden, &Tokenizer::new(spec).unwrap());
}

#[test]
fn word_piece_ids_are_the_references() {
    let golden = &golden()["wordpiece"];
    let model = ModelSpec::WordPiece { prefix: "##".into(), max_chars: 100 };
    let mut spec = TokenizerSpec::new(tokens(&golden["model"]), model);
    special(&mut spec, &["[UNK]", "[CLS]"]);
    let (clean_text, chinese_chars, strip_accents, lowercase) = (true, true, true, true);
    spec.normalizers = vec![Normalizer::Bert { clean_text, chinese_chars, strip_accents, lowercase }];
    spec.pre_tokenizers = bert_words();
    spec.decoders = vec![DecodeStep::WordPiece { prefix: "##".into(), cleanup: true }];
    let tokenizer = Tokenizer::new(spec).unwrap();
    check("wordpiece", golden, &tokenizer);
    assert_eq!(tokenizer.decode(&tokenizer.encode("The license, it is", false)), "the license, it is");
}

#[test]
fn a_vocabulary_that_contradicts_itself_is_an_error() {
    let golden = golden();
    let spec = || byte_level("gpt-2", &golden["gpt-2"]["model"]);
    let refused = |change: &dyn Fn(&mut TokenizerSpec)| {
        let mut spec = spec();
        change(&mut spec);
        Tokenizer::new(spec).unwrap_err().to_string()
    };
    assert!(Tokenizer::new(spec()).is_ok());
    let merge = |spec: &mut TokenizerSpec| {
        if let ModelSpec::Bpe { merges, .. } = &mut spec.model {
            merges.push(("a".into(), "no such token".into()));
        }
    };
    assert!(refused(&merge).contains("'no such token'"));
    assert!(refused(&|spec| spec.bos = Some(u32::MAX)).contains("4294967295"));
    assert!(refused(&|spec| spec.kinds = vec![TokenKind::Normal]).contains("token types"));
    assert!(refused(&|spec| spec.tokens.clear()).contains("no tokens"));
    assert!(refused(&|spec| spec.model = ModelSpec::SentencePiece { scores: vec![0.0] }).contains("scores"));
    let nan = vec![f64::NAN; spec().tokens.len()];
    let unigram = ModelSpec::Unigram { scores: nan, byte_fallback: false };
    assert!(refused(&|spec| spec.model = unigram.clone()).contains("not a number"));
    let word_piece = ModelSpec::WordPiece { prefix: "##".into(), max_chars: 9 };
    assert!(refused(&|spec| spec.model = word_piece.clone()).contains("unknown token"));
}

proptest! {
    #[test]
    fn byte_level_text_comes_back(text in any::<String>(), spaced in r"[ \n\ta-c'1é。]{0,40}") {
        let golden = golden();
        for name in ["gpt-2", "llama-bpe", "deepseek-v3"] {
            let tokenizer = Tokenizer::new(byte_level(name, &golden[name]["model"])).unwrap();
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&text, true)), &text);
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&spaced, false)), &spaced);
        }
    }
}
