//! The regular expressions of the known pre-tokenizers as hand-written scanners: each says where the match
//! that starts at the beginning of a text ends. They backtrack exactly where the expressions would, and every
//! one is linear in what it consumes, so hostile text costs no more than plain text.

use super::unicode::{Class, class, is_letter, is_mark, is_number, is_punctuation, is_space, is_word};

/// The family of expressions that Llama 3 began:
/// contractions, `[^\r\n\p{L}\p{N}]?\p{L}+`, `\p{N}{1,k}`, ` ?[^\s\p{L}\p{N}]+[\r\n]*`, `\s*[\r\n]+`, `\s+(?!\S)`, `\s+`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordRules {
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)`: a piece of its own, or with `cased` the end of a word.
    pub contractions: bool,
    /// The most digits in one piece; 0 for any number.
    pub digits: usize,
    /// Marks belong to words, as `[\p{L}\p{M}]+`, and not to punctuation.
    pub marks: bool,
    /// A word is upper-case letters, then lower-case ones (GPT-4o, Tekken).
    pub cased: bool,
    /// `[\r\n/]*` after punctuation instead of `[\r\n]*`.
    pub slashes: bool,
}

/// The end of the longest prefix of `text` from byte `at` whose characters all hold.
fn run(text: &str, at: usize, holds: impl Fn(char) -> bool) -> usize {
    text[at..].find(|c| !holds(c)).map_or(text.len(), |found| at + found)
}

fn first(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}

fn is_other(c: char) -> bool {
    !is_space(c) && !is_letter(c) && !is_number(c)
}

/// `\s+(?!\S)|\s+`: spaces up to the last one, which belongs to the word behind it.
fn spaces(text: &str) -> Option<usize> {
    let end = run(text, 0, is_space);
    let last = text[..end].chars().next_back()?;
    let before = end - last.len_utf8();
    Some(if end == text.len() || before == 0 { end } else { before })
}

/// `\s*[\r\n]+`.
fn newlines(text: &str) -> Option<usize> {
    let end = run(text, 0, is_space);
    text[..end].rfind(['\r', '\n']).map(|at| at + 1)
}

/// `'s|'t|'re|'ve|'m|'ll|'d`.
fn contraction(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('\'')?.as_bytes();
    match rest {
        [b's' | b't' | b'm' | b'd', ..] => Some(2),
        [b'r', b'e', ..] | [b'v', b'e', ..] | [b'l', b'l', ..] => Some(3),
        _ => None,
    }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)`: the long s is an s to a pattern that ignores case.
fn contraction_any_case(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('\'')?;
    if rest.starts_with('ſ') {
        return Some(1 + 'ſ'.len_utf8());
    }
    match rest.as_bytes() {
        [b's' | b't' | b'm' | b'd' | b'S' | b'T' | b'M' | b'D', ..] => Some(2),
        [b'r' | b'R' | b'v' | b'V', b'e' | b'E', ..] | [b'l' | b'L', b'l' | b'L', ..] => Some(3),
        _ => None,
    }
}

/// GPT-2: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
pub(super) fn gpt2(text: &str) -> Option<usize> {
    if let Some(end) = contraction(text) {
        return Some(end);
    }
    let at = usize::from(text.starts_with(' '));
    match first(text, at) {
        Some(c) if is_letter(c) => Some(run(text, at, is_letter)),
        Some(c) if is_number(c) => Some(run(text, at, is_number)),
        Some(c) if !is_space(c) => Some(run(text, at, is_other)),
        _ => spaces(text),
    }
}

/// The expressions that [`WordRules`] describes.
pub(super) fn words(text: &str, rules: WordRules) -> Option<usize> {
    if rules.contractions
        && !rules.cased
        && let Some(end) = contraction_any_case(text)
    {
        return Some(end);
    }
    let c = first(text, 0)?;
    // The optional character before a word.
    let lead = if matches!(c, '\r' | '\n') || is_letter(c) || is_number(c) { 0 } else { c.len_utf8() };
    if let Some(end) = word(text, lead, rules).or_else(|| word(text, 0, rules).filter(|_| lead > 0)) {
        return Some(end);
    }
    if is_number(c) {
        return Some(digits(text, rules.digits));
    }
    let at = usize::from(c == ' ');
    let end = run(text, at, |c| is_other(c) && !(rules.marks && is_mark(c)));
    if end > at {
        return Some(run(text, end, |c| matches!(c, '\r' | '\n') || (rules.slashes && c == '/')));
    }
    newlines(text).or_else(|| spaces(text))
}

/// The letters of a word from byte `at`, with the contraction that ends it where the rules say so.
fn word(text: &str, at: usize, rules: WordRules) -> Option<usize> {
    if !rules.cased {
        let end = run(text, at, |c| is_letter(c) || (rules.marks && is_mark(c)));
        return (end > at).then_some(end);
    }
    let upper = |c| matches!(class(c), Class::Upper | Class::OtherLetter) || is_mark(c);
    let lower = |c| matches!(class(c), Class::Lower | Class::OtherLetter) || is_mark(c);
    let capitals = run(text, at, upper);
    let mut end = run(text, capitals, lower);
    if end == capitals {
        // `U*L+` gives back capitals until one of them also counts as lower case; else it is `U+L*`.
        let back = text[at..capitals].char_indices().rev().find(|&(_, c)| lower(c));
        end = back.map_or(capitals, |(found, c)| at + found + c.len_utf8());
    }
    if end == at {
        return None;
    }
    let ending = if rules.contractions { contraction_any_case(&text[end..]) } else { None };
    Some(end + ending.unwrap_or(0))
}

/// `\p{N}{1,most}`, or `\p{N}+` for a `most` of 0; the length of what it matches, 0 for no match.
pub(super) fn digits(text: &str, most: usize) -> usize {
    let most = if most == 0 { usize::MAX } else { most };
    text.chars().take(most).take_while(|&c| is_number(c)).map(char::len_utf8).sum()
}

/// DeepSeek 3: ``[!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+``.
pub(super) fn deepseek3(text: &str) -> Option<usize> {
    let c = first(text, 0)?;
    let in_word = |c| is_letter(c) || is_mark(c);
    let is_sign = |c| matches!(class(c), Class::Punctuation | Class::Symbol);
    if c.is_ascii_punctuation() {
        let end = run(text, 1, |c| c.is_ascii_alphabetic());
        if end > 1 {
            return Some(end);
        }
    }
    let lead = if matches!(c, '\r' | '\n') || is_letter(c) || is_sign(c) { 0 } else { c.len_utf8() };
    for at in [lead, 0] {
        let end = run(text, at, in_word);
        if end > at {
            return Some(end);
        }
    }
    let at = usize::from(c == ' ');
    let end = run(text, at, is_sign);
    if end > at {
        return Some(run(text, end, |c| matches!(c, '\r' | '\n')));
    }
    newlines(text).or_else(|| spaces(text))
}

/// Han, Hiragana and Katakana as DeepSeek splits them: `[一-龥぀-ゟ゠-ヿ]+`.
pub(super) fn east_asian(text: &str) -> Option<usize> {
    let end = run(text, 0, |c| matches!(c, '一'..='龥' | '\u{3040}'..='\u{30ff}'));
    (end > 0).then_some(end)
}

/// Falcon: ``[\p{P}$+<=>^~|`]+``; the default of files that name none lacks the backquote.
pub(super) fn signs(text: &str, backquote: bool) -> Option<usize> {
    let end = run(text, 0, |c| {
        is_punctuation(c)
            || matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '~' | '|')
            || (backquote && c == '`')
    });
    (end > 0).then_some(end)
}

/// `[0-9][0-9][0-9]`.
pub(super) fn three_digits(text: &str) -> Option<usize> {
    let head = text.as_bytes().first_chunk::<3>()?;
    head.iter().all(u8::is_ascii_digit).then_some(3)
}

/// BLOOM: ` ?[^(\s|.,!?…。，、।۔،)]+`.
pub(super) fn bloom(text: &str) -> Option<usize> {
    let at = usize::from(text.starts_with(' '));
    let end = run(text, at, |c| !is_space(c) && !"(|.,!?…。，、।۔،)".contains(c));
    (end > at).then_some(end)
}

/// CLIP: `<\|startoftext\|>|<\|endoftext\|>`, contractions, `\p{L}+`, `\p{N}`, `[^\s\p{L}\p{N}]+`.
pub(super) fn clip(text: &str) -> Option<usize> {
    let special = ["<|startoftext|>", "<|endoftext|>"].iter().find(|special| text.starts_with(**special));
    if let Some(end) = special.map(|special| special.len()).or_else(|| contraction(text)) {
        return Some(end);
    }
    match first(text, 0)? {
        c if is_letter(c) => Some(run(text, 0, is_letter)),
        c if is_number(c) => Some(c.len_utf8()),
        c if is_space(c) => None,
        _ => Some(run(text, 0, is_other)),
    }
}

/// `\w+|[^\w\s]+`.
pub(super) fn word_or_signs(text: &str) -> Option<usize> {
    let word = is_word(text.chars().next()?);
    let end = run(text, 0, |c| is_word(c) == word && !is_space(c));
    (end > 0).then_some(end)
}

/// `\s+` where `inside`, `\S+` where not.
pub(super) fn space_run(text: &str, inside: bool) -> Option<usize> {
    let end = run(text, 0, |c| is_space(c) == inside);
    (end > 0).then_some(end)
}
