//! The general categories that pre-tokenizers ask about (`\p{L}`, `\p{N}`, …), exactly as the regex engine of
//! the reference tokenizers has them. `char::is_alphabetic` and friends are other properties, hence this table.
//! It is stored as runs (`unicode_classes.bin`, made by `tests/data/tokenizers/unicode_classes.py`) and
//! unpacked once into pages of 256 code points, equal pages shared.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The category of a character, as coarse as the tokenizers' patterns allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Separators and unassigned code points.
    Other,
    /// `Lu`, `Lt`.
    Upper,
    /// `Ll`.
    Lower,
    /// `Lm`, `Lo`.
    OtherLetter,
    /// `Nd`.
    Digit,
    /// `Mn`.
    NonspacingMark,
    /// `Mc`, `Me`.
    OtherMark,
    /// `P*`.
    Punctuation,
    /// `S*`.
    Symbol,
    /// `Cc`.
    Control,
    /// `Cf`, `Co`.
    Format,
    /// `Nl`, `No`.
    OtherNumber,
}

const CLASSES: [Class; 12] = [
    Class::Other,
    Class::Upper,
    Class::Lower,
    Class::OtherLetter,
    Class::Digit,
    Class::NonspacingMark,
    Class::OtherMark,
    Class::Punctuation,
    Class::Symbol,
    Class::Control,
    Class::Format,
    Class::OtherNumber,
];

static RUNS: &[u8] = include_bytes!("unicode_classes.bin");

struct Table {
    /// For each page of 256 code points, which of `pages` it is.
    index: Vec<u8>,
    pages: Vec<[Class; 256]>,
}

fn unpack() -> Table {
    let mut table = Table { index: Vec::new(), pages: Vec::new() };
    let mut seen: HashMap<[u8; 256], u8> = HashMap::new();
    let (mut page, mut filled) = ([0u8; 256], 0);
    let mut bytes = RUNS.iter();
    while bytes.len() > 0 {
        let (mut value, mut shift) = (0u32, 0);
        for &byte in bytes.by_ref() {
            value |= u32::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                break;
            }
        }
        for _ in 0..value >> 4 {
            page[filled] = (value & 15) as u8;
            filled = (filled + 1) % 256;
            if filled == 0 {
                let number = *seen.entry(page).or_insert_with(|| {
                    table.pages.push(page.map(|class| CLASSES[usize::from(class)]));
                    (table.pages.len() - 1) as u8
                });
                table.index.push(number);
            }
        }
    }
    table
}

/// The category of `c`.
pub fn class(c: char) -> Class {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(unpack);
    let code = c as usize;
    table.pages[usize::from(table.index[code >> 8])][code & 255]
}

/// `\p{L}`.
pub fn is_letter(c: char) -> bool {
    matches!(class(c), Class::Upper | Class::Lower | Class::OtherLetter)
}

/// `\p{N}`.
pub fn is_number(c: char) -> bool {
    matches!(class(c), Class::Digit | Class::OtherNumber)
}

/// `\p{M}`.
pub fn is_mark(c: char) -> bool {
    matches!(class(c), Class::NonspacingMark | Class::OtherMark)
}

/// `\p{P}`.
pub fn is_punctuation(c: char) -> bool {
    class(c) == Class::Punctuation
}

/// `\w`: letters and what counts as one, marks, decimal digits, connectors and joiners.
pub fn is_word(c: char) -> bool {
    c.is_alphabetic()
        || is_mark(c)
        || class(c) == Class::Digit
        || matches!(
            c,
            '_' | '\u{203f}' | '\u{2040}' | '\u{2054}' | '\u{fe33}' | '\u{fe34}' | '\u{fe4d}'..='\u{fe4f}'
        )
        || matches!(c, '\u{ff3f}' | '\u{200c}' | '\u{200d}')
}

/// `\s`: the `White_Space` property, which is std's.
pub fn is_space(c: char) -> bool {
    c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_point_has_a_class_and_few_pages_are_kept() {
        let table = unpack();
        assert_eq!(table.index.len(), 0x1100);
        assert!(table.pages.len() < 256, "{} pages do not fit a byte", table.pages.len());
    }

    #[test]
    fn categories_differ_from_the_properties_of_std() {
        for (c, expected) in [
            ('A', Class::Upper),
            ('z', Class::Lower),
            ('ǅ', Class::Upper),
            ('ª', Class::OtherLetter),
            ('中', Class::OtherLetter),
            ('Ⅷ', Class::OtherNumber),
            ('½', Class::OtherNumber),
            ('٣', Class::Digit),
            ('\u{301}', Class::NonspacingMark),
            ('ी', Class::OtherMark),
            ('¿', Class::Punctuation),
            ('€', Class::Symbol),
            ('😀', Class::Symbol),
            ('\u{3000}', Class::Other),
            ('\u{85}', Class::Control),
            ('\u{200d}', Class::Format),
            ('\u{10ffff}', Class::Other),
        ] {
            assert_eq!(class(c), expected, "{c:?}");
        }
        // Alphabetic to std, not letters: Roman numerals and dependent vowel signs.
        assert!('Ⅷ'.is_alphabetic() && !is_letter('Ⅷ'));
        assert!('ी'.is_alphabetic() && !is_letter('ी') && is_mark('ी'));
    }
}
