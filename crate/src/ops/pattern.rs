//! Texts and regular expressions of the syntax that RE2 has, without look-around, so that time is linear in a text. ONNX
//! RegexFullMatch; com.microsoft Tokenizer.

use super::string_split::table;
use super::values::{ValueOp, required};
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::Tensor;
use crate::types::DType;
use regex_lite::{Regex, RegexBuilder};
use std::sync::Arc;

/// One pattern, and what is asked of each text.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    regex: Regex,
    ask: Ask,
}

/// What is asked of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `x → bool`: whether the pattern is the whole of it.
    Whole,
    /// `x → y`, one dimension more: the parts that the pattern matches.
    Parts(Parts),
    /// `x → y`, one dimension more: the parts between those that the pattern matches.
    Between(Parts),
}

/// How parts become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// What stands for parts that a row has not.
    pub pad: String,
    /// Letters that a part must have.
    pub least: usize,
    /// Whether a row begins with U+0002 and ends with U+0003.
    pub mark: bool,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.ask == other.ask
    }
}

/// Bytes that a compiled pattern may take.
const MAX_COMPILED: usize = 1 << 20;

impl Pattern {
    /// Compiles a pattern. Fails when it has what is not supported, such as classes of Unicode, and when it is too large.
    pub fn new(source: &str, ask: Ask) -> Result<Self> {
        let whole = format!(r"\A(?:{source})\z");
        let compile = |text: &str| RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
        // Alone first: a parenthesis too many must not escape from the anchors.
        let regex = compile(source).and_then(|regex| match ask {
            Ask::Whole => compile(&whole),
            _ => Ok(regex),
        });
        let refused = |e: regex_lite::Error| {
            Error::new(ErrorKind::UnsupportedOp, format!("the pattern '{source}' is not supported: {e}"))
        };
        Ok(Self { regex: regex.map_err(refused)?, source: source.into(), ask })
    }

    fn parts(&self, text: &str, parts: &Parts, between: bool) -> Vec<Arc<str>> {
        let long = |part: &&str| !part.is_empty() && part.chars().take(parts.least).count() >= parts.least;
        let mark = |mark: &str| parts.mark.then(|| mark.into());
        let found: Vec<&str> = match between {
            true => self.regex.split(text).filter(long).collect(),
            false => self.regex.find_iter(text).map(|found| found.as_str()).filter(long).collect(),
        };
        mark("\u{2}").into_iter().chain(found.into_iter().map(Arc::from)).chain(mark("\u{3}")).collect()
    }
}

impl ValueOp for Pattern {
    fn compute(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>> {
        let x = required(inputs, 0)?;
        let (parts, between) = match &self.ask {
            Ask::Whole => {
                let yes: Vec<u8> = x.texts()?.iter().map(|text| self.regex.is_match(text).into()).collect();
                return Ok(vec![Tensor::new(x.shape(), &yes)?.reinterpreted(DType::Bool, x.shape())?]);
            }
            Ask::Parts(parts) => (parts, false),
            Ask::Between(parts) => (parts, true),
        };
        let rows: Vec<_> = x.texts()?.iter().map(|text| self.parts(text, parts, between)).collect();
        Ok(vec![table(x.shape(), &rows, &parts.pad)?])
    }
}

/// Texts are no case: the tests below have them.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use crate::ops::case::Case;

    pub fn cases() -> Vec<Case> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(shape: &[usize], all: &[&str]) -> Tensor {
        Tensor::of_texts(shape, all.iter().map(|text| Arc::from(*text)).collect()).unwrap()
    }

    #[test]
    fn a_pattern_is_the_whole_text_or_not() {
        let x = texts(&[2, 2], &["ab", "abab", "xab", "ab\n"]);
        let matched = Pattern::new("(ab)+|x", Ask::Whole).unwrap().compute(&[Some(&x)]).unwrap();
        assert_eq!(
            (matched[0].dtype(), matched[0].shape(), matched[0].bytes()),
            (DType::Bool, &[2, 2][..], &[1, 1, 0, 0][..])
        );
        for wrong in ["(", "a)(b", r"\p{L}", "(?=a)", "(a{1000}){1000}"] {
            assert_eq!(
                Pattern::new(wrong, Ask::Whole).unwrap_err().kind(),
                ErrorKind::UnsupportedOp,
                "{wrong}"
            );
        }
    }

    #[test]
    fn parts_are_what_matches_or_what_lies_between() {
        let x = texts(&[2], &["a bc  def", "gh"]);
        let parts = Parts { pad: "#".into(), least: 2, mark: false };
        let of = |pattern, ask| Pattern::new(pattern, ask).unwrap().compute(&[Some(&x)]).unwrap().remove(0);
        let want = texts(&[2, 2], &["bc", "def", "gh", "#"]);
        assert!(of("[a-z]+", Ask::Parts(parts.clone())) == want);
        assert!(of(" ", Ask::Between(parts.clone())) == want);
        let marked = of("[a-z]+", Ask::Parts(Parts { mark: true, ..parts }));
        assert!(marked == texts(&[2, 4], &["\u{2}", "bc", "def", "\u{3}", "\u{2}", "gh", "\u{3}", "#"]));
    }
}
