//! Normalizers, pre-tokenizers and decoders: each kind of the file as the steps that do the same.

use super::part::Part;
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::text::decode::DecodeStep;
use crate::text::from_gguf::bert_words;
use crate::text::normalize::{Charsmap, Found, NormalForm, Normalizer};
use crate::text::pre_tokenize::{Behavior, Pattern, PreTokenizer, Prepend};
use crate::text::spec::{ModelSpec, TokenizerSpec};

/// What a `pattern` looks for: characters as they are, or an expression.
enum Sought<'a> {
    Literal(&'a str),
    Regex(&'a str),
}

fn sought<'a>(part: Part<'a>) -> Result<Sought<'a>> {
    let pattern = part.part("pattern", "pattern").ok_or_else(|| part.wrong("has no 'pattern'"))?;
    if let Some(literal) = pattern.optional_str("String")? {
        return Ok(Sought::Literal(literal));
    }
    let regex = pattern.str("Regex")?;
    match regex.contains(['\\', '.', '+', '*', '?', '(', ')', '[', ']', '{', '}', '^', '$', '|']) {
        true => Ok(Sought::Regex(regex)),
        false => Ok(Sought::Literal(regex)),
    }
}

/// Appends what a normalizer does.
pub(super) fn normalizers(part: Part, out: &mut Vec<Normalizer>) -> Result<()> {
    let step = match part.kind() {
        "Sequence" => {
            for inner in part.parts("normalizers", "normalizer")? {
                normalizers(inner, out)?;
            }
            return Ok(());
        }
        "NFC" => Normalizer::Form(NormalForm::Nfc),
        "NFD" => Normalizer::Form(NormalForm::Nfd),
        "NFKC" => Normalizer::Form(NormalForm::Nfkc),
        "NFKD" => Normalizer::Form(NormalForm::Nfkd),
        "Lowercase" => Normalizer::Lowercase,
        "StripAccents" => Normalizer::StripAccents,
        "BertNormalizer" => {
            let lowercase = part.flag("lowercase", true)?;
            Normalizer::Bert {
                clean_text: part.flag("clean_text", true)?,
                chinese_chars: part.flag("handle_chinese_chars", true)?,
                strip_accents: part.flag("strip_accents", lowercase)?,
                lowercase,
            }
        }
        "Prepend" => Normalizer::Prepend(part.str("prepend")?.into()),
        "Replace" => {
            let from = match sought(part)? {
                Sought::Literal(literal) => Found::Literal(literal.into()),
                Sought::Regex(" {2,}") => Found::Blanks,
                Sought::Regex(r"\s+") => Found::Spaces,
                Sought::Regex(regex) => {
                    return fail!(
                        UnsupportedFormat,
                        "the expression '{regex}' of a normalizer of tokenizer.json is not supported; report it with \
                         the model's name"
                    );
                }
            };
            Normalizer::Replace { from, to: part.str("content")?.into() }
        }
        "Strip" => {
            Normalizer::Strip { left: part.flag("strip_left", true)?, right: part.flag("strip_right", true)? }
        }
        "Precompiled" => match part.optional_str("precompiled_charsmap")? {
            None | Some("") => return Ok(()),
            Some(text) => {
                let bytes = base64(text)
                    .ok_or_else(|| part.wrong("has a 'precompiled_charsmap' that is no base64"))?;
                Normalizer::Precompiled(Charsmap::parse(&bytes)?)
            }
        },
        _ => return Err(part.unsupported()),
    };
    out.push(step);
    Ok(())
}

/// The bytes of a text in base64.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for &character in group {
            let value = match character {
                b'A'..=b'Z' => character - b'A',
                b'a'..=b'z' => character - b'a' + 26,
                b'0'..=b'9' => character - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let bits = bits << (6 * (4 - group.len()));
        out.extend_from_slice(bits.to_be_bytes().get(1..group.len())?);
    }
    Some(out)
}

/// Appends what a pre-tokenizer does.
pub(super) fn pre_tokenizers(part: Part, spec: &mut TokenizerSpec) -> Result<()> {
    if part.kind() == "Sequence" {
        for inner in part.parts("pretokenizers", "pre-tokenizer")? {
            pre_tokenizers(inner, spec)?;
        }
        return Ok(());
    }
    ensure!(
        !spec.byte_level,
        UnsupportedFormat,
        "the pre-tokenizer '{}' of tokenizer.json comes behind 'ByteLevel', which is not supported",
        part.kind()
    );
    let out = &mut spec.pre_tokenizers;
    let remove = |pattern| PreTokenizer::Split { pattern, behavior: Behavior::Removed, invert: false };
    let step = match part.kind() {
        "ByteLevel" => {
            if part.flag("add_prefix_space", true)? {
                out.push(PreTokenizer::PrefixSpace);
            }
            if part.flag("use_regex", true)? {
                out.push(PreTokenizer::isolate(Pattern::Gpt2));
            }
            if let ModelSpec::Bpe { prefix, .. } = &spec.model
                && !prefix.is_empty()
            {
                let message = "a BPE model of bytes with a prefix for the middle of words is not supported";
                return Err(Error::new(ErrorKind::UnsupportedFormat, message));
            }
            spec.byte_level = true;
            return Ok(());
        }
        "BertPreTokenizer" => {
            out.extend(bert_words());
            return Ok(());
        }
        "Split" => {
            let pattern = match sought(part)? {
                Sought::Literal(literal) => Pattern::Literal(literal.into()),
                Sought::Regex(regex) => Pattern::from_regex(regex)?,
            };
            let (behavior, invert) = (behavior(part, "Isolated")?, part.flag("invert", false)?);
            PreTokenizer::Split { pattern, behavior, invert }
        }
        "Whitespace" => {
            PreTokenizer::Split { pattern: Pattern::WordOrSigns, behavior: Behavior::Removed, invert: true }
        }
        "WhitespaceSplit" => remove(Pattern::Spaces),
        "CharDelimiterSplit" => remove(Pattern::Literal(part.str("delimiter")?.into())),
        "Digits" => {
            let each = part.flag("individual_digits", false)?;
            PreTokenizer::isolate(Pattern::Digits(if each { 1 } else { 0 }))
        }
        "Punctuation" => PreTokenizer::Split {
            pattern: Pattern::Punctuation,
            behavior: behavior(part, "Isolated")?,
            invert: false,
        },
        "Metaspace" => {
            let replacement = part.character("replacement")?;
            PreTokenizer::Metaspace { replacement, prepend: prepend(part)?, split: part.flag("split", true)? }
        }
        _ => return Err(part.unsupported()),
    };
    out.push(step);
    Ok(())
}

fn behavior(part: Part, default: &str) -> Result<Behavior> {
    match part.optional_str("behavior")?.unwrap_or(default) {
        "Isolated" => Ok(Behavior::Isolated),
        "Removed" => Ok(Behavior::Removed),
        "MergedWithPrevious" => Ok(Behavior::MergedWithPrevious),
        "MergedWithNext" => Ok(Behavior::MergedWithNext),
        "Contiguous" => Ok(Behavior::Contiguous),
        other => Err(part.wrong(&format!("has the unknown behavior '{other}'"))),
    }
}

/// Where a Metaspace goes before the text; older files only say whether.
fn prepend(part: Part) -> Result<Prepend> {
    match part.optional_str("prepend_scheme")? {
        Some("always") => Ok(Prepend::Always),
        Some("first") => Ok(Prepend::First),
        Some("never") => Ok(Prepend::Never),
        Some(other) => Err(part.wrong(&format!("has the unknown prepend_scheme '{other}'"))),
        None if part.flag("add_prefix_space", true)? => Ok(Prepend::Always),
        None => Ok(Prepend::Never),
    }
}

/// Appends what a decoder does.
pub(super) fn decoders(part: Part, out: &mut Vec<DecodeStep>) -> Result<()> {
    let step = match part.kind() {
        "Sequence" => {
            for inner in part.parts("decoders", "decoder")? {
                decoders(inner, out)?;
            }
            return Ok(());
        }
        "ByteLevel" => DecodeStep::ByteLevel,
        "ByteFallback" => DecodeStep::ByteFallback,
        "Fuse" => DecodeStep::Fuse,
        "Replace" => match sought(part)? {
            Sought::Literal(from) => {
                DecodeStep::Replace { from: from.into(), to: part.str("content")?.into() }
            }
            Sought::Regex(regex) => {
                return fail!(
                    UnsupportedFormat,
                    "the expression '{regex}' of a decoder of tokenizer.json is not supported; report it with the \
                     model's name"
                );
            }
        },
        "Strip" => {
            let (content, start) = (part.character("content")?, part.count("start", 0)?);
            let whole = matches!(out.last(), Some(DecodeStep::Fuse));
            if !whole || part.count("stop", 0)? > 0 {
                let message =
                    "the decoder 'Strip' of tokenizer.json is only supported behind 'Fuse' and at the start";
                return Err(Error::new(ErrorKind::UnsupportedFormat, message));
            }
            DecodeStep::Strip { content, start }
        }
        "WordPiece" => DecodeStep::WordPiece {
            prefix: part.optional_str("prefix")?.unwrap_or("##").into(),
            cleanup: part.flag("cleanup", true)?,
        },
        "BPEDecoder" => DecodeStep::WordSuffix(part.optional_str("suffix")?.unwrap_or("</w>").into()),
        "Metaspace" => {
            let from = part.character("replacement")?.to_string().into();
            out.push(DecodeStep::Replace { from, to: " ".into() });
            match prepend(part)? {
                Prepend::Never => return Ok(()),
                _ => DecodeStep::Strip { content: ' ', start: 1 },
            }
        }
        _ => return Err(part.unsupported()),
    };
    out.push(step);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_gives_the_bytes() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("+/8A", b"\xfb\xff\0")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(base64("a b="), None);
    }
}
