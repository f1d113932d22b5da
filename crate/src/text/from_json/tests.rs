//! Small files of every kind of part against the ids and texts of the reference package
//! (`tests/data/tokenizers/json_golden.json`, made by the script beside it), and files that are wrong.

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind};
use crate::text::Tokenizer;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../tests/data/tokenizers/json_golden.json")).unwrap()
}

fn read(file: &Value) -> Result<Tokenizer, Error> {
    Tokenizer::from_json(&serde_json::to_vec(file).unwrap())
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// What differs from the reference's ids and texts.
fn differences(tokenizer: &Tokenizer, strings: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for string in strings.as_array().unwrap() {
        let (text, want, whole) = (string[0].as_str().unwrap(), ids(&string[1]), ids(&string[2]));
        let got = tokenizer.encode(text, true);
        if got != want {
            wrong.push(format!("{text:?}: {got:?}, not {want:?}"));
        }
        if [tokenizer.prefix(), &want, tokenizer.suffix()].concat() != whole {
            wrong.push(format!("{text:?}: with what goes around it not {whole:?}"));
        }
        // A text that begins inside a word keeps the mark of that in the reference.
        let said = tokenizer.decode_plain(&want);
        if said != string[3].as_str().unwrap().trim_start_matches("##") {
            wrong.push(format!("{want:?} says {said:?}, not {}", string[3]));
        }
    }
    wrong
}

#[test]
fn every_kind_of_file_gives_the_references_ids_and_texts() {
    let golden = golden();
    let mut wrong = Vec::new();
    for (name, case) in golden.as_object().unwrap() {
        let Some(file) = case.get("file") else { continue };
        let tokenizer = read(file).unwrap_or_else(|e| panic!("{name}: {e}"));
        let differences = differences(&tokenizer, &case["strings"]);
        wrong.extend(differences.into_iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(golden.as_object().unwrap().len() > 15);
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_real_file_gives_the_references_ids() {
    let folder =
        std::env::var("HOMEFIRE_MODELS").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../models").into());
    let path = std::path::PathBuf::from(folder).join("minilm.tokenizer.json");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("SKIPPED: {} is not there", path.display());
        return;
    };
    let tokenizer = Tokenizer::from_json(&bytes).unwrap();
    let wrong = differences(&tokenizer, &golden()["minilm"]["strings"]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The comparison notices a file that is another.
#[test]
fn the_ids_of_another_file_are_noticed() {
    let golden = golden();
    for (name, other) in
        [("gpt2", "roberta"), ("metaspace-never", "llama2"), ("bert", "bert-cased"), ("t5", "xlm-r")]
    {
        let tokenizer = read(&golden[name]["file"]).unwrap();
        assert!(differences(&tokenizer, &golden[other]["strings"]).len() > 5, "{name} passes for {other}");
    }
}

#[test]
fn old_spellings_mean_the_same() {
    let golden = golden();
    let mut file = golden["gpt2"]["file"].clone();
    file["model"].as_object_mut().unwrap().remove("type");
    for merge in file["model"]["merges"].as_array_mut().unwrap() {
        *merge = format!("{} {}", merge[0].as_str().unwrap(), merge[1].as_str().unwrap()).into();
    }
    assert!(differences(&read(&file).unwrap(), &golden["gpt2"]["strings"]).is_empty());
    let mut file = golden["xlm-r"]["file"].clone();
    let metaspace =
        json!({ "type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": true });
    file["pre_tokenizer"]["pretokenizers"][1] = metaspace.clone();
    file["decoder"] = metaspace;
    assert!(differences(&read(&file).unwrap(), &golden["xlm-r"]["strings"]).is_empty());
}

#[test]
fn what_is_not_known_is_named() {
    let golden = golden();
    let refused = |name: &str, key: &str, part: Value| {
        let mut file = golden[name]["file"].clone();
        file[key] = part;
        read(&file).expect_err("it was accepted")
    };
    for (key, part) in [
        ("model", json!({ "type": "WordLevel", "vocab": {} })),
        ("normalizer", json!({ "type": "Nmt" })),
        ("normalizer", json!({ "type": "Sequence", "normalizers": [{ "type": "ByteLevel" }] })),
        ("pre_tokenizer", json!({ "type": "UnicodeScripts" })),
        ("post_processor", json!({ "type": "Sequence", "processors": [{ "type": "Odd" }] })),
        ("decoder", json!({ "type": "CTC" })),
    ] {
        let error = refused("gpt2", key, part.clone());
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{error}");
        let name = ["normalizers", "processors"].iter().find_map(|list| part[list][0]["type"].as_str());
        assert!(error.message().contains(name.unwrap_or(part["type"].as_str().unwrap())), "{error}");
    }
    let regex =
        json!({ "type": "Split", "pattern": { "Regex": "a+b" }, "behavior": "Isolated", "invert": false });
    assert!(refused("gpt2", "pre_tokenizer", regex).message().contains("'a+b'"));
    let regex = json!({ "type": "Replace", "pattern": { "Regex": "[ab]" }, "content": "" });
    assert!(refused("gpt2", "normalizer", regex.clone()).message().contains("'[ab]'"));
    assert!(refused("gpt2", "decoder", regex).message().contains("'[ab]'"));
}

#[test]
fn files_that_are_wrong_are_refused() {
    let golden = golden();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut file = golden["llama2"]["file"].clone();
        change(&mut file);
        let error = read(&file).expect_err("it was accepted");
        assert_eq!(error.kind(), ErrorKind::Format, "{error}");
        error.to_string()
    };
    assert!(
        refused(&|file| file["model"]["merges"][0] = json!(["a", "no such token"])).contains("no such token")
    );
    assert!(refused(&|file| file["model"]["merges"][0] = json!("alone")).contains("merge 0"));
    assert!(refused(&|file| file["model"]["vocab"]["far"] = json!(4_000_000_000u32)).contains("4000000000"));
    assert!(refused(&|file| file["model"]["vocab"]["twice"] = json!(300)).contains("share the id 300"));
    assert!(refused(&|file| file["added_tokens"][0]["content"] = json!("other")).contains("'other'"));
    assert!(refused(&|file| file["added_tokens"][0]["special"] = json!(7)).contains("'special'"));
    assert!(refused(&|file| file["post_processor"]["special_tokens"] = json!({})).contains("'<s>'"));
    assert!(refused(&|file| file["post_processor"]["single"] = json!([])).contains("no place for the text"));
    assert!(refused(&|file| file["normalizer"] = json!({ "type": "Prepend" })).contains("'prepend'"));
    for bytes in [&b""[..], b"{", b"[]", b"null", b"{\"model\":{}}", b"\xff", "[".repeat(100_000).as_bytes()]
    {
        assert_eq!(Tokenizer::from_json(bytes).unwrap_err().kind(), ErrorKind::Format);
    }
}

/// Bytes changed, cut and moved: a tokenizer or an error, and texts go through what loads.
#[test]
fn mutated_files_do_no_harm() {
    let golden = golden();
    let files: Vec<Vec<u8>> = (golden.as_object().unwrap().values())
        .filter_map(|case| case.get("file"))
        .map(|file| serde_json::to_vec(file).unwrap())
        .collect();
    let mut seed = 1u64;
    let mut random = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n.max(1)
    };
    let (mut loaded, mut refused) = (0, 0);
    for round in 0..6_000 {
        let mut bytes = files[round % files.len()].clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(5) {
                0 => bytes[at] = b"0123456789\"[]{},:"[random(17)],
                1 => bytes.truncate(at.max(1)),
                2 => {
                    let from = random(bytes.len());
                    let piece: Vec<u8> = bytes[from..].iter().take(12).copied().collect();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    // A digit more or another one, which is what gets past the JSON parser.
                    if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                        bytes[at + digit] = b'0' + random(10) as u8;
                    }
                }
            }
        }
        match Tokenizer::from_json(&bytes) {
            Ok(tokenizer) => {
                loaded += 1;
                let ids = tokenizer.encode("It's 12° in Zürich,  中文 <s>", true);
                tokenizer.decode(&ids);
            }
            Err(_) => refused += 1,
        }
    }
    eprintln!("{loaded} loaded, {refused} refused");
    assert!(loaded > 100 && refused > 1_000, "{loaded} loaded, {refused} refused: the mutations do not bite");
}
