//! How text is cut into the pieces that byte-pair merges stay within. The model files name a published
//! regular expression; each is written here as a scanner.

#![forbid(unsafe_code)]

use crate::error::{Result, fail};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// A way of cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreTokenizer {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// Every `\p{N}` alone, then the pattern of GPT-2 on what lies between.
    DigitsThenGpt2,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,DIGITS}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    Llama3 {
        /// The most digits of one piece.
        digits: usize,
    },
}

/// The names that GGUF files give.
const NAMES: &[(&str, PreTokenizer)] = &[
    ("gpt-2", PreTokenizer::Gpt2),
    ("default", PreTokenizer::Gpt2),
    ("smollm", PreTokenizer::DigitsThenGpt2),
    ("llama-bpe", PreTokenizer::Llama3 { digits: 3 }),
    ("llama3", PreTokenizer::Llama3 { digits: 3 }),
    ("llama-v3", PreTokenizer::Llama3 { digits: 3 }),
    ("smollm3", PreTokenizer::Llama3 { digits: 3 }),
    ("qwen2", PreTokenizer::Llama3 { digits: 1 }),
];

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Letter,
    Number,
    Space,
    Other,
}

fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' => Class::Letter,
        '0'..='9' => Class::Number,
        c if c.is_whitespace() => Class::Space,
        c if c.is_ascii() => Class::Other,
        c => match c.general_category_group() {
            GeneralCategoryGroup::Letter => Class::Letter,
            GeneralCategoryGroup::Number => Class::Number,
            _ => Class::Other,
        },
    }
}

impl PreTokenizer {
    /// The pre-tokenizer of that name.
    pub fn named(name: &str) -> Result<Self> {
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, found)) => Ok(*found),
            None => {
                let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                fail!(
                    UnsupportedFormat,
                    "the pre-tokenizer '{name}' is not supported; known are {}",
                    known.join(", ")
                )
            }
        }
    }

    /// Calls `piece` on the pieces of `text`, in order; together they are the text.
    pub fn split<'a>(self, text: &'a str, mut piece: impl FnMut(&'a str)) {
        if self == Self::DigitsThenGpt2 {
            let mut rest = text;
            while let Some((at, digit)) = rest.char_indices().find(|(_, c)| class(*c) == Class::Number) {
                Scanner::new(&rest[..at]).pieces(Self::Gpt2, &mut piece);
                let end = at + digit.len_utf8();
                piece(&rest[at..end]);
                rest = &rest[end..];
            }
            return Scanner::new(rest).pieces(Self::Gpt2, &mut piece);
        }
        Scanner::new(text).pieces(self, &mut piece);
    }
}

struct Scanner<'a> {
    text: &'a str,
    /// Byte offset, character and class of each character.
    chars: Vec<(usize, char, Class)>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, chars: text.char_indices().map(|(at, c)| (at, c, class(c))).collect() }
    }

    fn pieces(&self, style: PreTokenizer, piece: &mut dyn FnMut(&'a str)) {
        let mut start = 0;
        while start < self.chars.len() {
            let end = match style {
                PreTokenizer::Llama3 { digits } => self.llama3(start, digits),
                _ => self.gpt2(start),
            };
            piece(&self.text[self.offset(start)..self.offset(end)]);
            start = end;
        }
    }

    fn offset(&self, index: usize) -> usize {
        self.chars.get(index).map_or(self.text.len(), |c| c.0)
    }

    fn class(&self, index: usize) -> Option<Class> {
        self.chars.get(index).map(|c| c.2)
    }

    fn char(&self, index: usize) -> Option<char> {
        self.chars.get(index).map(|c| c.1)
    }

    /// The end of the run of `wanted` from `start`.
    fn run(&self, start: usize, wanted: Class) -> usize {
        let length = self.chars[start..].iter().take_while(|c| c.2 == wanted).count();
        start + length
    }

    /// The end of an English contraction at `start`.
    fn contraction(&self, start: usize, any_case: bool) -> Option<usize> {
        if self.char(start) != Some('\'') {
            return None;
        }
        ["s", "t", "re", "ve", "m", "ll", "d"].into_iter().find_map(|suffix| {
            let end = start + 1 + suffix.len();
            // The two letters beyond ASCII whose case folds to one of the suffixes' letters count as it.
            let matches = (suffix.chars().zip(start + 1..)).all(|(want, at)| match self.char(at) {
                Some(c) if any_case => c.to_ascii_lowercase() == want || (c == 'ſ' && want == 's'),
                other => other == Some(want),
            });
            matches.then_some(end)
        })
    }

    /// A run of whitespace: all of it at the end of the text, else all but the last character.
    fn spaces(&self, start: usize) -> usize {
        let end = self.run(start, Class::Space);
        if end < self.chars.len() && end - start > 1 { end - 1 } else { end }
    }

    fn gpt2(&self, start: usize) -> usize {
        if let Some(end) = self.contraction(start, false) {
            return end;
        }
        let body = start + usize::from(self.char(start) == Some(' '));
        match self.class(body) {
            Some(class) if class != Class::Space => self.run(body, class),
            _ => self.spaces(start),
        }
    }

    fn llama3(&self, start: usize, digits: usize) -> usize {
        if let Some(end) = self.contraction(start, true) {
            return end;
        }
        let (first, class) = (self.chars[start].1, self.chars[start].2);
        let is_newline = |c: char| c == '\r' || c == '\n';
        match class {
            Class::Letter => return self.run(start, Class::Letter),
            Class::Number => return self.run(start, Class::Number).min(start + digits),
            _ if !is_newline(first) && self.class(start + 1) == Some(Class::Letter) => {
                return self.run(start + 1, Class::Letter);
            }
            _ => {}
        }
        let body = start + usize::from(first == ' ');
        if self.class(body) == Some(Class::Other) {
            let mut end = self.run(body, Class::Other);
            while self.char(end).is_some_and(is_newline) {
                end += 1;
            }
            return end;
        }
        let end = self.run(start, Class::Space);
        match (start..end).rev().find(|&i| self.char(i).is_some_and(is_newline)) {
            Some(last_newline) => last_newline + 1,
            None => self.spaces(start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(style: PreTokenizer, text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        style.split(text, |piece| out.push(piece));
        assert_eq!(out.concat(), text);
        out
    }

    #[test]
    fn gpt2_cuts_as_its_pattern_does() {
        let cut = |text| pieces(PreTokenizer::Gpt2, text);
        assert_eq!(cut("I'm here  now!\n\n x"), ["I", "'m", " here", " ", " now", "!", "\n\n", " x"]);
        assert_eq!(cut("abc 123  "), ["abc", " 123", "  "]);
        assert_eq!(cut("It'S"), ["It", "'", "S"]);
        assert_eq!(cut("é½ ¿"), ["é", "½", " ¿"]);
        assert!(cut("").is_empty());
    }

    #[test]
    fn digits_stand_alone() {
        let cut = |text| pieces(PreTokenizer::DigitsThenGpt2, text);
        assert_eq!(cut("in 1984, no"), ["in", " ", "1", "9", "8", "4", ",", " no"]);
    }

    #[test]
    fn llama3_cuts_as_its_pattern_does() {
        let cut = |text| pieces(PreTokenizer::Llama3 { digits: 3 }, text);
        assert_eq!(cut("We'LL see 12345"), ["We", "'LL", " see", " ", "123", "45"]);
        assert_eq!(cut("a \n\n b"), ["a", " \n\n", " b"]);
        assert_eq!(cut("(x)!\n"), ["(x", ")!\n"]);
        assert_eq!(pieces(PreTokenizer::Llama3 { digits: 1 }, "12"), ["1", "2"]);
    }
}
