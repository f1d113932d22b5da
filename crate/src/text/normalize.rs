//! Rewrites of the text before it is cut. The Unicode normal forms come from the browser
//! (`String.prototype.normalize`), so they cost the download nothing; native builds, which exist for tests,
//! take them from a crate.

use super::scan::space_run;
use super::unicode::{Class, class, is_mark, is_space};
use crate::error::{Result, ensure};

/// One rewrite.
#[derive(Clone, Debug, PartialEq)]
pub enum Normalizer {
    /// A Unicode normal form.
    Form(NormalForm),
    /// Lower case, character by character.
    Lowercase,
    /// Without combining marks.
    StripAccents,
    /// What BERT does.
    Bert {
        /// Controls vanish, and every space is a plain one.
        clean_text: bool,
        /// Spaces around Chinese characters.
        chinese_chars: bool,
        /// Decomposed, and without nonspacing marks.
        strip_accents: bool,
        /// Lower case.
        lowercase: bool,
    },
    /// This before a text that is not empty.
    Prepend(Box<str>),
    /// One string for another.
    Replace {
        /// What to find.
        from: Found,
        /// What to write.
        to: Box<str>,
    },
    /// Without spaces at the ends.
    Strip {
        /// At the beginning.
        left: bool,
        /// At the end.
        right: bool,
    },
    /// SentencePiece's compiled rules.
    Precompiled(Charsmap),
}

/// What [`Normalizer::Replace`] looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These characters.
    Literal(Box<str>),
    /// ` {2,}`.
    Blanks,
    /// `\s+`.
    Spaces,
}

/// A Unicode normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormalForm {
    /// Composed.
    Nfc,
    /// Decomposed.
    Nfd,
    /// Composed, with compatibility.
    Nfkc,
    /// Decomposed, with compatibility.
    Nfkd,
}

/// A normal form of a text.
#[cfg(target_arch = "wasm32")]
fn normal_form(text: &str, form: NormalForm) -> String {
    let name = match form {
        NormalForm::Nfc => "NFC",
        NormalForm::Nfd => "NFD",
        NormalForm::Nfkc => "NFKC",
        NormalForm::Nfkd => "NFKD",
    };
    js_sys::JsString::from(text).normalize(name).into()
}

/// A normal form of a text.
#[cfg(not(target_arch = "wasm32"))]
fn normal_form(text: &str, form: NormalForm) -> String {
    use unicode_normalization::UnicodeNormalization;
    match form {
        NormalForm::Nfc => text.nfc().collect(),
        NormalForm::Nfd => text.nfd().collect(),
        NormalForm::Nfkc => text.nfkc().collect(),
        NormalForm::Nfkd => text.nfkd().collect(),
    }
}

fn lowercase(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// The blocks that BERT sets apart, one of them as the reference has it rather than as Unicode does.
fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f | 0x2b740..=0x2b81f
        | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}

impl Normalizer {
    /// The text rewritten.
    pub fn apply(&self, text: String) -> String {
        if text.is_ascii() && matches!(self, Self::Form(_) | Self::StripAccents) {
            return text;
        }
        match self {
            Self::Form(form) => normal_form(&text, *form),
            Self::Lowercase => lowercase(&text),
            Self::StripAccents => text.chars().filter(|&c| !is_mark(c)).collect(),
            Self::Bert { clean_text, chinese_chars, strip_accents, lowercase: lower } => {
                bert(text, *clean_text, *chinese_chars, *strip_accents, *lower)
            }
            Self::Prepend(_) if text.is_empty() => text,
            Self::Prepend(prefix) => format!("{prefix}{text}"),
            Self::Replace { from: Found::Literal(from), to } => text.replace(&**from, to),
            Self::Replace { from, to } => replace_runs(&text, *from == Found::Blanks, to),
            Self::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { &text };
                if *right { text.trim_end() } else { text }.to_string()
            }
            Self::Precompiled(charsmap) => charsmap.apply(&text),
        }
    }
}

/// Every run of spaces becomes `to`: with `blanks` U+0020 alone, and only from two on.
fn replace_runs(text: &str, blanks: bool, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = match blanks {
            true => Some(rest.len() - rest.trim_start_matches(' ').len()).filter(|&length| length > 1),
            false => space_run(rest, true),
        };
        let Some(length) = length else {
            let Some(c) = rest.chars().next() else { break };
            out.push(c);
            at += c.len_utf8();
            continue;
        };
        out.push_str(to);
        at += length;
    }
    out
}

fn bert(text: String, clean: bool, chinese: bool, strip_accents: bool, lower: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let space = matches!(c, '\t' | '\n' | '\r') || is_space(c);
        let control = !matches!(c, '\t' | '\n' | '\r') && matches!(class(c), Class::Control | Class::Format);
        match c {
            '\0' | char::REPLACEMENT_CHARACTER if clean => {}
            _ if clean && control => {}
            _ if clean && space => out.push(' '),
            _ if chinese && is_chinese(c) => out.extend([' ', c, ' ']),
            _ => out.push(c),
        }
    }
    if strip_accents && !out.is_ascii() {
        let decomposed = normal_form(&out, NormalForm::Nfd);
        out = decomposed.chars().filter(|&c| class(c) != Class::NonspacingMark).collect();
    }
    if lower { lowercase(&out) } else { out }
}

/// SentencePiece's compiled rules: a double-array trie of byte strings and what replaces each. At every place
/// the longest string of the trie is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charsmap {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

impl Charsmap {
    /// Reads `precompiled_charsmap`: the bytes of the trie as a little-endian u32, the trie, the replacements.
    ///
    /// # Errors
    /// `Format` if the trie does not fit in the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let length = u32::from_le_bytes(*length) as usize;
        ensure!(
            length <= rest.len() && length.is_multiple_of(4),
            Format,
            "the tokenizer's precompiled_charsmap says that its trie has {length} bytes, and {} follow",
            rest.len()
        );
        let (trie, replacements) = rest.split_at(length);
        let units = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        Ok(Self { units, replacements: replacements.to_vec() })
    }

    /// The longest string of the trie at the beginning of `text`: its length and its replacement.
    fn longest(&self, text: &[u8]) -> Option<(usize, &[u8])> {
        let offset = |unit: u32| (unit >> 10) << ((unit & 1 << 9) >> 6);
        let mut node = offset(*self.units.first()?);
        let mut found = None;
        for (at, &byte) in text.iter().enumerate() {
            node ^= u32::from(byte);
            let Some(&unit) = self.units.get(node as usize) else { break };
            if byte == 0 || unit & (1 << 31 | 0xff) != u32::from(byte) {
                break;
            }
            node ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let value = self.units.get(node as usize).map(|leaf| leaf & 0x7fff_ffff);
                found = value.map(|value| (at + 1, value as usize)).or(found);
            }
        }
        let (length, start) = found?;
        let replacement = self.replacements.get(start..)?;
        let end = replacement.iter().position(|&byte| byte == 0).unwrap_or(replacement.len());
        Some((length, &replacement[..end]))
    }

    fn apply(&self, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            match self.longest(&text.as_bytes()[at..]) {
                Some((length, replacement)) if text.is_char_boundary(at + length) => {
                    out.extend_from_slice(replacement);
                    at += length;
                }
                _ => {
                    out.extend_from_slice(&text.as_bytes()[at..at + c.len_utf8()]);
                    at += c.len_utf8();
                }
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bert_tidies_separates_and_folds() {
        let bert = |strip_accents, lowercase| Normalizer::Bert {
            clean_text: true,
            chinese_chars: true,
            strip_accents,
            lowercase,
        };
        assert_eq!(bert(true, true).apply("Caf\u{e9}\t中\u{200d}\0X".into()), "cafe  中 x");
        assert_eq!(bert(false, false).apply("Caf\u{e9}".into()), "Caf\u{e9}");
    }

    #[test]
    fn runs_of_spaces_are_replaced() {
        let replace = |from| Normalizer::Replace { from, to: "_".into() }.apply("a  b c\n d".into());
        assert_eq!(replace(Found::Blanks), "a_b c\n d");
        assert_eq!(replace(Found::Spaces), "a_b_c_d");
        assert_eq!(replace(Found::Literal(" ".into())), "a__b_c\n_d");
    }

    #[test]
    fn a_hostile_charsmap_is_refused_or_harmless() {
        assert!(Charsmap::parse(&[255, 255, 0, 0, 1]).is_err());
        let wild = Charsmap::parse(&[4, 0, 0, 0, 255, 255, 255, 255]).unwrap();
        assert_eq!(wild.apply("aé"), "aé");
        assert_eq!(Charsmap::parse(&[]).unwrap().apply("x"), "x");
    }
}
