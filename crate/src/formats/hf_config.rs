//! The JSON files beside a model's weights, as the `transformers` and `sentence-transformers` packages write
//! them: which one a file is shows in its keys, so that a caller may give them in any order under any name.
//! <https://huggingface.co/docs/transformers/main_classes/configuration>,
//! <https://sbert.net/docs/package_reference/sentence_transformer/models.html>

use crate::error::{Error, ErrorKind, Result, ensure, fail};
use serde_json::Value;

/// What the JSON files say of a model, as far as they were given.
#[derive(Clone, Debug, Default)]
pub struct HfConfig {
    /// `config.json`.
    model: Option<Value>,
    /// The bytes of `tokenizer.json`.
    tokenizer: Option<Vec<u8>>,
    /// Tokens to which `tokenizer.json` cuts a text.
    truncation: Option<usize>,
    /// `1_Pooling/config.json`.
    pooling: Option<Pooling>,
    /// Whether `modules.json` ends in a normalisation; `None` where the file was not given.
    normalizes: Option<bool>,
    /// Of `sentence_bert_config.json`.
    max_seq_length: Option<usize>,
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first.
    Cls,
    /// The last.
    Last,
    /// Their sum over the square root of their number.
    MeanSqrt,
}

impl Pooling {
    /// The pooling of that name, as the API writes it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "mean" => Self::Mean,
            "cls" => Self::Cls,
            "last" => Self::Last,
            "mean-sqrt" => Self::MeanSqrt,
            _ => return None,
        })
    }
}

/// Whether the first byte of a file, white space left out, begins a JSON object or list.
pub fn looks_like_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}

impl HfConfig {
    /// Takes a file.
    ///
    /// # Errors
    /// `Format` for bytes that are no JSON; `UnsupportedFormat` for a file that is none of those known, or that
    /// asks for what is not supported; `InvalidInput` for one that was given already.
    pub fn add(&mut self, bytes: Vec<u8>) -> Result<()> {
        let json: Value = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(ErrorKind::Format, format!("not valid JSON: {e}; check what the URL gives"))
        })?;
        let has = |key: &str| json.get(key).is_some();
        if json.is_array() {
            self.normalizes = Some(normalizes(&json)?);
        } else if has("model_type") || has("architectures") {
            ensure!(
                self.model.is_none(),
                InvalidInput,
                "two files are a config.json: give one model at a time"
            );
            self.model = Some(json);
        } else if has("pooling_mode_mean_tokens") || has("pooling_mode_cls_token") {
            self.pooling = Some(pooling(&json)?);
        } else if has("model") && has("added_tokens") {
            self.truncation = json["truncation"]["max_length"].as_u64().and_then(|n| usize::try_from(n).ok());
            self.tokenizer = Some(bytes);
        } else if has("max_seq_length") {
            self.max_seq_length = json["max_seq_length"].as_u64().and_then(|n| usize::try_from(n).ok());
        } else {
            // Of what else lies beside a model nothing is needed: the map of its shards, the settings of a
            // tokenizer's other form, the versions of packages.
            let known =
                ["weight_map", "tokenizer_class", "__version__", "unk_token", "cls_token", "pad_token"];
            ensure!(
                known.iter().any(|key| has(key)),
                UnsupportedFormat,
                "a JSON file is no config.json, tokenizer.json, 1_Pooling/config.json, modules.json or \
                 sentence_bert_config.json: leave it out"
            );
        }
        Ok(())
    }

    /// A number of `config.json`, by the first of these keys that it has.
    pub fn count(&self, keys: &[&str]) -> Option<usize> {
        keys.iter().find_map(|key| usize::try_from(self.model.as_ref()?.get(key)?.as_u64()?).ok())
    }

    /// A float of `config.json`.
    pub fn float(&self, key: &str) -> Option<f64> {
        self.model.as_ref()?.get(key)?.as_f64()
    }

    /// A string of `config.json`, by the first of these keys that it has.
    pub fn str(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.model.as_ref()?.get(key)?.as_str())
    }

    /// Whether `config.json` was given.
    pub fn has_model(&self) -> bool {
        self.model.is_some()
    }

    /// Whether `tokenizer.json` was given.
    pub fn has_tokenizer(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// The bytes of `tokenizer.json`, which this gives up.
    pub fn take_tokenizer(&mut self) -> Option<Vec<u8>> {
        self.tokenizer.take()
    }

    /// How tokens become one vector; the mean where no file says it.
    pub fn pooling(&self) -> Pooling {
        self.pooling.unwrap_or(Pooling::Mean)
    }

    /// Whether vectors get the length 1; they do where no `modules.json` says how the model ends.
    pub fn normalizes(&self) -> bool {
        self.normalizes.unwrap_or(true)
    }

    /// Tokens of a text at most, where a file says it: that of the sentences before that of the tokenizer.
    pub fn max_tokens(&self) -> Option<usize> {
        self.max_seq_length.or(self.truncation)
    }
}

fn normalizes(modules: &Value) -> Result<bool> {
    let kinds: Vec<&str> =
        modules.as_array().into_iter().flatten().filter_map(|m| m["type"].as_str()).collect();
    let known = |kind: &&str| ["Transformer", "Pooling", "Normalize"].iter().any(|name| kind.ends_with(name));
    if let Some(other) = kinds.iter().find(|kind| !known(kind)) {
        return fail!(UnsupportedFormat, "modules.json names the module '{other}', which is not supported");
    }
    Ok(kinds.iter().any(|kind| kind.ends_with("Normalize")))
}

fn pooling(config: &Value) -> Result<Pooling> {
    let wanted = |key: &str| config[key].as_bool() == Some(true);
    let modes = [
        ("pooling_mode_mean_tokens", Pooling::Mean),
        ("pooling_mode_cls_token", Pooling::Cls),
        ("pooling_mode_lasttoken", Pooling::Last),
        ("pooling_mode_mean_sqrt_len_tokens", Pooling::MeanSqrt),
    ];
    let other =
        ["pooling_mode_max_tokens", "pooling_mode_weightedmean_tokens"].into_iter().find(|key| wanted(key));
    ensure!(other.is_none(), UnsupportedFormat, "the model's {} is not supported", other.unwrap_or_default());
    let chosen: Vec<_> = modes.iter().filter(|(key, _)| wanted(key)).collect();
    match chosen[..] {
        [(_, pooling)] => Ok(*pooling),
        _ => fail!(UnsupportedFormat, "the model pools in {} ways at once; one is supported", chosen.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[&str]) -> Result<HfConfig> {
        let mut config = HfConfig::default();
        files.iter().try_for_each(|file| config.add(file.as_bytes().to_vec()))?;
        Ok(config)
    }

    #[test]
    fn files_are_known_by_their_keys() {
        let config = with(&[
            r#"[{"type":"sentence_transformers.models.Transformer"},{"type":"sentence_transformers.models.Pooling"}]"#,
            r#"{"model_type":"bert","hidden_size":384,"layer_norm_eps":1e-12}"#,
            r#"{"word_embedding_dimension":384,"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false}"#,
            r#"{"version":"1.0","added_tokens":[],"model":{},"truncation":{"max_length":128}}"#,
            r#"{"max_seq_length":256}"#,
            r#"{"tokenizer_class":"BertTokenizer"}"#,
        ])
        .unwrap();
        assert_eq!(config.count(&["dim", "hidden_size"]), Some(384));
        assert_eq!(config.float("layer_norm_eps"), Some(1e-12));
        assert_eq!((config.pooling(), config.normalizes()), (Pooling::Cls, false));
        assert_eq!(config.max_tokens(), Some(256));
    }

    #[test]
    fn what_no_file_says_is_the_mean_of_unit_length() {
        let config = with(&[r#"{"model_type":"bert"}"#]).unwrap();
        assert_eq!((config.pooling(), config.normalizes(), config.max_tokens()), (Pooling::Mean, true, None));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let refused = |files: &[&str]| with(files).expect_err("not supported").to_string();
        assert!(refused(&["{"]).contains("not valid JSON"));
        assert!(refused(&[r#"{"hello":1}"#]).contains("leave it out"));
        assert!(refused(&[r#"[{"type":"sentence_transformers.models.Dense"}]"#]).contains("Dense"));
        assert!(
            refused(&[r#"{"pooling_mode_cls_token":false,"pooling_mode_max_tokens":true}"#])
                .contains("max_tokens")
        );
        assert!(
            refused(&[r#"{"model_type":"bert"}"#, r#"{"model_type":"bert"}"#])
                .contains("one model at a time")
        );
    }
}
