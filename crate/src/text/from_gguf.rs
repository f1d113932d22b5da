//! The tokenizer that the metadata of a GGUF file describe. The keys and what the names in them mean are
//! llama.cpp's (`src/llama-vocab.cpp`), whose converter writes these files.

use super::decode::DecodeStep;
use super::normalize::{Charsmap, Found, Normalizer};
use super::pre_tokenize::{Behavior, Pattern, PreTokenizer, Prepend, ignores_merges, named};
use super::spec::{AddedToken, ModelSpec, TokenKind, TokenizerSpec};
use super::tokenizer::Tokenizer;
use crate::error::{Result, ensure, fail};
use crate::formats::gguf::{Gguf, Numbers};

impl Tokenizer {
    /// The tokenizer of a GGUF file.
    ///
    /// # Errors
    /// `Format` for keys that are missing or contradict each other, `UnsupportedFormat` for a kind of tokenizer
    /// or a pre-tokenizer that is not known.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        Self::new(TokenizerSpec::from_gguf(gguf)?)
    }
}

impl TokenizerSpec {
    /// The parts of the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// As [`Tokenizer::from_gguf`].
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let Some(tokens) = gguf.strings("tokenizer.ggml.tokens") else {
            return fail!(
                Format,
                "the metadata key 'tokenizer.ggml.tokens' is missing: the file has no tokenizer"
            );
        };
        let model = gguf.str("tokenizer.ggml.model").unwrap_or_default();
        let mut spec = Self::new(
            tokens.iter().map(Box::from).collect(),
            ModelSpec::SentencePiece { scores: Vec::new() },
        );
        if let Some(kinds) = gguf.numbers("tokenizer.ggml.token_type").and_then(Numbers::integers) {
            spec.kinds = kinds.map(kind).collect();
        }
        spec.added = added(&spec);
        let space_prefix = |default| gguf.bool("tokenizer.ggml.add_space_prefix").unwrap_or(default);
        let (mut add_bos, mut add_eos, mut add_sep) = (false, false, false);
        let (mut bos, mut eos, mut unk) = (None, None, None);
        match model {
            "gpt2" => {
                let name = gguf.str("tokenizer.ggml.pre").unwrap_or("default");
                spec.byte_level = true;
                spec.pre_tokenizers = named(name)?;
                spec.decoders = vec![DecodeStep::ByteLevel];
                spec.model = byte_pairs(gguf, ignores_merges(name))?;
                add_bos = ignores_merges(name);
                add_sep = matches!(name, "jina-v1-en" | "jina-v2-code" | "roberta-bpe");
            }
            "llama" => {
                spec.model = ModelSpec::SentencePiece { scores: scores(gguf)? };
                if space_prefix(true) {
                    spec.normalizers.push(Normalizer::Prepend("▁".into()));
                    spec.decoders.push(DecodeStep::Strip { content: ' ', start: 1 });
                }
                spec.normalizers.push(replace(" ", "▁"));
                spec.decoders.push(DecodeStep::Replace { from: "▁".into(), to: " ".into() });
                spec.decoders.push(DecodeStep::ByteFallback);
                (add_bos, bos, eos, unk) = (true, Some(1), Some(2), Some(0));
            }
            "t5" => {
                let scores = scores(gguf)?.into_iter().map(f64::from).collect();
                let byte_fallback = spec.kinds.contains(&TokenKind::Byte);
                spec.model = ModelSpec::Unigram { scores, byte_fallback };
                let charsmap =
                    gguf.numbers("tokenizer.ggml.precompiled_charsmap").and_then(Numbers::integers);
                let charsmap: Vec<u8> = charsmap.into_iter().flatten().map(|byte| byte as u8).collect();
                if !charsmap.is_empty() {
                    spec.normalizers.push(Normalizer::Precompiled(Charsmap::parse(&charsmap)?));
                }
                if gguf.bool("tokenizer.ggml.remove_extra_whitespaces").unwrap_or(false) {
                    spec.normalizers.push(Normalizer::Strip { left: true, right: true });
                    spec.normalizers.push(Normalizer::Replace { from: Found::Blanks, to: " ".into() });
                }
                let prepend = if space_prefix(true) { Prepend::Always } else { Prepend::Never };
                spec.pre_tokenizers
                    .push(PreTokenizer::Metaspace { replacement: '▁', prepend, split: false });
                spec.decoders.push(DecodeStep::Replace { from: "▁".into(), to: " ".into() });
                spec.decoders.push(DecodeStep::ByteFallback);
                spec.decoders.push(DecodeStep::Strip { content: ' ', start: 1 });
                (add_eos, eos, unk) = (true, Some(1), Some(2));
            }
            "bert" => {
                spec.tokens =
                    spec.tokens.iter().zip(0..).map(|(token, id)| word_piece(token, spec.kind(id))).collect();
                spec.model = ModelSpec::WordPiece { prefix: "##".into(), max_chars: usize::MAX };
                let lowercase = gguf.bool("tokenizer.ggml.normalizer.lowercase").unwrap_or(true);
                let strip_accents = gguf.bool("tokenizer.ggml.normalizer.strip_accents").unwrap_or(lowercase);
                spec.normalizers = vec![Normalizer::Bert {
                    clean_text: true,
                    chinese_chars: true,
                    strip_accents,
                    lowercase,
                }];
                spec.pre_tokenizers = bert_words();
                spec.decoders = vec![DecodeStep::WordPiece { prefix: "##".into(), cleanup: true }];
                (add_bos, add_sep) = (true, true);
                (bos, unk) = (Some(101), Some(100));
            }
            _ => {
                return fail!(
                    UnsupportedFormat,
                    "the tokenizer kind '{model}' is not supported; the known ones are gpt2, llama, t5 and bert"
                );
            }
        }
        let count = spec.tokens.len();
        let id = |key: &str, default: Option<u32>| {
            let id =
                gguf.uint(&format!("tokenizer.ggml.{key}_token_id")).and_then(|id| u32::try_from(id).ok());
            id.filter(|&id| (id as usize) < count).or(default.filter(|&id| (id as usize) < count))
        };
        spec.bos = id("bos", if model == "bert" { id("cls", bos) } else { bos });
        spec.eos = id("eos", eos);
        spec.eot = id("eot", None);
        spec.unk = id("unknown", unk);
        spec.pad = id("padding", None);
        let separator = id("seperator", id("separator", if model == "bert" { Some(102) } else { spec.eos }));
        let flag =
            |key: &str, default| gguf.bool(&format!("tokenizer.ggml.add_{key}_token")).unwrap_or(default);
        if flag("bos", add_bos) {
            spec.prefix.extend(spec.bos);
        }
        if flag("sep", add_sep) {
            spec.suffix.extend(separator);
        }
        if flag("eos", add_eos) {
            spec.suffix.extend(spec.eos);
        }
        Ok(spec)
    }
}

/// What BERT cuts a text into: words, and every punctuation character.
pub(super) fn bert_words() -> Vec<PreTokenizer> {
    let spaces = PreTokenizer::Split { pattern: Pattern::Spaces, behavior: Behavior::Removed, invert: false };
    vec![spaces, PreTokenizer::isolate(Pattern::Punctuation)]
}

fn replace(from: &str, to: &str) -> Normalizer {
    Normalizer::Replace { from: Found::Literal(from.into()), to: to.into() }
}

/// GGUF marks the tokens that begin a word (`▁go`); WordPiece those that continue one (`##ing`).
fn word_piece(token: &str, kind: TokenKind) -> Box<str> {
    match (token.strip_prefix('▁'), kind) {
        (_, TokenKind::Control | TokenKind::Unknown | TokenKind::UserDefined) => token.into(),
        (Some(word), _) => word.into(),
        (None, _) if token.starts_with('[') && token.ends_with(']') && token.len() > 2 => token.into(),
        (None, _) => format!("##{token}").into(),
    }
}

/// The tokens that are found in the text as they stand.
fn added(spec: &TokenizerSpec) -> Vec<AddedToken> {
    let found = |(id, content): (u32, &str)| {
        let special = match spec.kind(id) {
            TokenKind::Control | TokenKind::Unknown => true,
            TokenKind::UserDefined => false,
            _ => return None,
        };
        let content = content.into();
        Some(AddedToken {
            id,
            content,
            special,
            lstrip: false,
            rstrip: false,
            single_word: false,
            normalized: false,
        })
    };
    (0..).zip(spec.tokens.iter().map(|token| &**token)).filter_map(found).collect()
}

fn kind(number: i64) -> TokenKind {
    match number {
        2 => TokenKind::Unknown,
        3 => TokenKind::Control,
        4 => TokenKind::UserDefined,
        5 => TokenKind::Unused,
        6 => TokenKind::Byte,
        _ => TokenKind::Normal,
    }
}

fn scores(gguf: &Gguf) -> Result<Vec<f32>> {
    match gguf.numbers("tokenizer.ggml.scores").and_then(Numbers::floats) {
        Some(scores) => Ok(scores.map(|score| score as f32).collect()),
        None => fail!(Format, "the metadata key 'tokenizer.ggml.scores' is missing or holds no floats"),
    }
}

fn byte_pairs(gguf: &Gguf, ignore_merges: bool) -> Result<ModelSpec> {
    let Some(list) = gguf.strings("tokenizer.ggml.merges") else {
        return fail!(Format, "the metadata key 'tokenizer.ggml.merges' is missing");
    };
    let mut merges = Vec::with_capacity(list.len());
    for (rank, merge) in list.iter().enumerate() {
        // The first token may itself begin with a space.
        let first = merge.chars().next().map_or(0, char::len_utf8);
        let pair = merge[first..].split_once(' ').map(|(left, right)| (&merge[..first + left.len()], right));
        ensure!(pair.is_some(), Format, "the tokenizer's merge {rank}, '{merge}', is not two tokens");
        merges.extend(pair.map(|(left, right)| (left.into(), right.into())));
    }
    let (prefix, suffix) = (Box::default(), Box::default());
    Ok(ModelSpec::Bpe { merges, ignore_merges, byte_fallback: false, fuse_unk: false, prefix, suffix })
}
