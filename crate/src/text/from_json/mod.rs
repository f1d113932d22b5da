//! The tokenizer that a `tokenizer.json` describes, the file of the `tokenizers` package that most models come
//! with. Every part of it is read or refused by its name; truncation and padding, which belong to a batch and
//! not to a text, are left to the caller.
//! <https://huggingface.co/docs/tokenizers/api/tokenizer>

mod part;
mod steps;
#[cfg(test)]
mod tests;

use part::Part;
use serde_json::Value;

use super::decode::byte_token;
use super::spec::{AddedToken, ModelSpec, TokenKind, TokenizerSpec};
use super::tokenizer::Tokenizer;
use crate::error::{Error, ErrorKind, Result, ensure, fail};

impl Tokenizer {
    /// The tokenizer of a `tokenizer.json`.
    ///
    /// # Errors
    /// `Format` for bytes that are no JSON, parts that are missing or contradict each other; `UnsupportedFormat`,
    /// with its name, for a kind of part, or an expression, that is not known.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        Self::new(TokenizerSpec::from_json(bytes)?)
    }
}

impl TokenizerSpec {
    /// The parts of the tokenizer of a `tokenizer.json`.
    ///
    /// # Errors
    /// As [`Tokenizer::from_json`].
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let json: Value = serde_json::from_slice(bytes).map_err(|e| {
            Error::new(
                ErrorKind::Format,
                format!("not a valid tokenizer.json: {e}; check what the URL gives"),
            )
        })?;
        let file = Part::new("file", &json);
        let Some(model) = file.part("model", "model") else {
            return fail!(Format, "not a tokenizer.json: it has no 'model'");
        };
        let mut spec = vocabulary(model)?;
        for token in file.parts("added_tokens", "added token")? {
            add_token(&mut spec, token)?;
        }
        mark_kinds(&mut spec);
        if let Some(normalizer) = file.part("normalizer", "normalizer") {
            steps::normalizers(normalizer, &mut spec.normalizers)?;
        }
        if let Some(pre_tokenizer) = file.part("pre_tokenizer", "pre-tokenizer") {
            steps::pre_tokenizers(pre_tokenizer, &mut spec)?;
        }
        if let Some(decoder) = file.part("decoder", "decoder") {
            steps::decoders(decoder, &mut spec.decoders)?;
        }
        if let Some(post_processor) = file.part("post_processor", "post-processor") {
            post_process(post_processor, &mut spec)?;
        }
        spec.bos = spec.prefix.first().copied();
        spec.eos = spec.suffix.last().copied();
        spec.pad = file.part("padding", "padding").and_then(|padding| padding.id("pad_id").ok());
        Ok(spec)
    }

    fn id_of(&self, token: &str) -> Option<u32> {
        self.tokens.iter().position(|known| **known == *token).map(|id| id as u32)
    }
}

/// The tokens and the algorithm.
fn vocabulary(model: Part) -> Result<TokenizerSpec> {
    let vocab = model.get("vocab").ok_or_else(|| model.wrong("has no 'vocab'"))?;
    // Files of before 2021 do not name the kind.
    let kind = match model.kind() {
        "" if vocab.is_array() => "Unigram",
        "" if model.get("merges").is_some() => "BPE",
        "" => "WordPiece",
        kind => kind,
    };
    match kind {
        "BPE" => {
            let mut spec = TokenizerSpec::new(numbered(model, vocab)?, byte_pairs(model)?);
            spec.unk = unknown(model, &spec)?;
            Ok(spec)
        }
        "WordPiece" => {
            let prefix = model.optional_str("continuing_subword_prefix")?.unwrap_or("##").into();
            let max_chars = model.count("max_input_chars_per_word", 100)?;
            let model_spec = ModelSpec::WordPiece { prefix, max_chars };
            let mut spec = TokenizerSpec::new(numbered(model, vocab)?, model_spec);
            spec.unk = unknown(model, &spec)?;
            Ok(spec)
        }
        "Unigram" => {
            let list = vocab.as_array().ok_or_else(|| model.wrong("has a 'vocab' that is no list"))?;
            let (mut tokens, mut scores) = (Vec::with_capacity(list.len()), Vec::with_capacity(list.len()));
            for (id, pair) in list.iter().enumerate() {
                let (Some(token), Some(score)) = (pair[0].as_str(), pair[1].as_f64()) else {
                    return Err(model.wrong(&format!("has a token {id} that is no pair of text and score")));
                };
                tokens.push(token.into());
                scores.push(score);
            }
            let byte_fallback = model.flag("byte_fallback", false)?;
            let mut spec = TokenizerSpec::new(tokens, ModelSpec::Unigram { scores, byte_fallback });
            spec.unk = model.get("unk_id").map(|_| model.id("unk_id")).transpose()?;
            Ok(spec)
        }
        _ => Err(model.unsupported()),
    }
}

/// The tokens of an object from texts to ids. Ids that nothing has are empty tokens.
fn numbered(model: Part, vocab: &Value) -> Result<Vec<Box<str>>> {
    let vocab = vocab.as_object().ok_or_else(|| model.wrong("has a 'vocab' that is no object"))?;
    let mut tokens: Vec<Box<str>> = Vec::new();
    for (token, id) in vocab {
        let id = id.as_u64().ok_or_else(|| model.wrong(&format!("has a token '{token}' without an id")))?;
        let place = place(&mut tokens, id, vocab.len())?;
        ensure!(
            place.is_empty(),
            Format,
            "the tokens '{place}' and '{token}' of tokenizer.json share the id {id}"
        );
        *place = token.as_str().into();
    }
    Ok(tokens)
}

/// The token of an id, which may be a little beyond those there are.
fn place(tokens: &mut Vec<Box<str>>, id: u64, known: usize) -> Result<&mut Box<str>> {
    let most = 4 * known.max(tokens.len()) + 4096;
    let index = usize::try_from(id).ok().filter(|&index| index < most);
    let Some(index) = index else {
        return fail!(
            Format,
            "a token of tokenizer.json has the id {id}, and there are about {known} tokens"
        );
    };
    if index >= tokens.len() {
        tokens.resize(index + 1, Box::default());
    }
    Ok(&mut tokens[index])
}

fn unknown(model: Part, spec: &TokenizerSpec) -> Result<Option<u32>> {
    let Some(token) = model.optional_str("unk_token")? else { return Ok(None) };
    match spec.id_of(token) {
        Some(id) => Ok(Some(id)),
        // A byte-level vocabulary needs none, and some name one that they lack.
        None if matches!(spec.model, ModelSpec::Bpe { .. }) => Ok(None),
        None => {
            Err(model.wrong(&format!("names the unknown token '{token}', which is not in its vocabulary")))
        }
    }
}

fn byte_pairs(model: Part) -> Result<ModelSpec> {
    let dropout = model.get("dropout").and_then(Value::as_f64).unwrap_or(0.0);
    ensure!(
        dropout == 0.0,
        UnsupportedFormat,
        "the model of tokenizer.json drops merges at random (dropout {dropout}), which is for training only"
    );
    let list = model.get("merges").and_then(Value::as_array).ok_or_else(|| model.wrong("has no 'merges'"))?;
    let mut merges = Vec::with_capacity(list.len());
    for (rank, merge) in list.iter().enumerate() {
        let pair = match merge {
            Value::String(text) => text.split_once(' '),
            pair => pair[0].as_str().zip(pair[1].as_str()),
        };
        let (left, right) =
            pair.ok_or_else(|| model.wrong(&format!("has a merge {rank} that is not two tokens")))?;
        merges.push((left.into(), right.into()));
    }
    Ok(ModelSpec::Bpe {
        merges,
        ignore_merges: model.flag("ignore_merges", false)?,
        byte_fallback: model.flag("byte_fallback", false)?,
        fuse_unk: model.flag("fuse_unk", false)?,
        prefix: model.optional_str("continuing_subword_prefix")?.unwrap_or("").into(),
        suffix: model.optional_str("end_of_word_suffix")?.unwrap_or("").into(),
    })
}

fn add_token(spec: &mut TokenizerSpec, token: Part) -> Result<()> {
    let (id, content) = (token.id("id")?, token.str("content")?);
    let known = spec.tokens.len();
    let place = place(&mut spec.tokens, u64::from(id), known)?;
    ensure!(
        place.is_empty() || **place == *content,
        Format,
        "the added token '{content}' of tokenizer.json has the id {id}, which is that of '{place}'"
    );
    *place = content.into();
    if let ModelSpec::Unigram { scores, .. } = &mut spec.model {
        // The model itself never writes such a token.
        scores.resize(spec.tokens.len().max(scores.len()), f64::NEG_INFINITY);
    }
    let special = token.flag("special", false)?;
    spec.added.push(AddedToken {
        id,
        content: content.into(),
        special,
        lstrip: token.flag("lstrip", false)?,
        rstrip: token.flag("rstrip", false)?,
        single_word: token.flag("single_word", false)?,
        normalized: token.flag("normalized", !special)?,
    });
    Ok(())
}

fn mark_kinds(spec: &mut TokenizerSpec) {
    let byte_fallback = matches!(
        spec.model,
        ModelSpec::Bpe { byte_fallback: true, .. } | ModelSpec::Unigram { byte_fallback: true, .. }
    );
    let is_byte = |token: &str| byte_fallback && byte_token(token.as_bytes()).is_some();
    let kind = |token: &str| if is_byte(token) { TokenKind::Byte } else { TokenKind::Normal };
    spec.kinds = spec.tokens.iter().map(|token| kind(token)).collect();
    for token in &spec.added {
        spec.kinds[token.id as usize] =
            if token.special { TokenKind::Control } else { TokenKind::UserDefined };
    }
    if let Some(kind) = spec.unk.and_then(|unk| spec.kinds.get_mut(unk as usize)) {
        *kind = TokenKind::Unknown;
    }
}

/// What goes before and behind a text.
fn post_process(part: Part, spec: &mut TokenizerSpec) -> Result<()> {
    match part.kind() {
        "Sequence" => {
            for inner in part.parts("processors", "post-processor")? {
                post_process(inner, spec)?;
            }
        }
        "ByteLevel" => {}
        "BertProcessing" | "RobertaProcessing" => {
            let id = |key: &str| part.get(key).and_then(|pair| u32::try_from(pair[1].as_u64()?).ok());
            let (Some(cls), Some(sep)) = (id("cls"), id("sep")) else {
                return Err(part.wrong("names no 'cls' or no 'sep'"));
            };
            (spec.prefix, spec.suffix) = (vec![cls], vec![sep]);
        }
        "TemplateProcessing" => {
            let tokens =
                part.part("special_tokens", "special tokens").ok_or_else(|| part.wrong("has no tokens"))?;
            let (mut before, mut seen) = (true, false);
            for item in part.parts("single", "template")? {
                if let Some(sequence) = item.part("Sequence", "sequence") {
                    ensure!(
                        !seen && sequence.str("id")? == "A",
                        Format,
                        "the template of tokenizer.json repeats"
                    );
                    (before, seen) = (false, true);
                    continue;
                }
                let name =
                    item.part("SpecialToken", "special token").ok_or_else(|| item.wrong("is unknown"))?;
                let name = name.str("id")?;
                let ids = tokens.get(name).and_then(|token| token["ids"].as_array());
                let ids = ids.ok_or_else(|| part.wrong(&format!("has no ids of '{name}'")))?;
                let ids = ids.iter().filter_map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok()));
                if before { spec.prefix.extend(ids) } else { spec.suffix.extend(ids) }
            }
            ensure!(seen, Format, "the template of tokenizer.json has no place for the text");
        }
        _ => return Err(part.unsupported()),
    }
    Ok(())
}
