//! Finding the tokens that stand in the text as they are: the leftmost one first, the longest of those that
//! begin there. Candidates are looked up by their length, of which there are few, so thousands of reserved
//! tokens cost no more than one.

use std::collections::HashMap;
use std::ops::Range;

use super::spec::AddedToken;

/// A stretch of text, or a token found in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Text(Range<usize>),
    Token(u32),
}

/// A set of tokens to find.
pub(super) struct AddedTokens {
    by_content: HashMap<Box<str>, AddedToken>,
    /// For each first byte, the lengths of its tokens, longest first.
    lengths: HashMap<u8, Vec<usize>>,
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl AddedTokens {
    pub(super) fn new(tokens: impl IntoIterator<Item = AddedToken>) -> Self {
        let mut by_content = HashMap::new();
        let mut lengths: HashMap<u8, Vec<usize>> = HashMap::new();
        for token in tokens {
            if let Some(&first) = token.content.as_bytes().first() {
                lengths.entry(first).or_default().push(token.content.len());
                by_content.entry(token.content.clone()).or_insert(token);
            }
        }
        for found in lengths.values_mut() {
            found.sort_unstable_by_key(|&length| std::cmp::Reverse(length));
            found.dedup();
        }
        Self { by_content, lengths }
    }

    /// The id of a token by what stands in the text.
    pub(super) fn id(&self, content: &str) -> Option<u32> {
        self.by_content.get(content).map(|token| token.id)
    }

    /// Cuts a text at the tokens in it; without `special`, those that are special are text.
    pub(super) fn segments(&self, text: &str, special: bool) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut begin = 0;
        let mut at = 0;
        while at < text.len() && !self.lengths.is_empty() {
            match self.match_at(text, at, special) {
                Some(token) => {
                    let mut start = at;
                    let mut end = at + token.content.len();
                    if token.lstrip {
                        start = begin + text[begin..at].trim_end().len();
                    }
                    if token.rstrip {
                        end = text.len() - text[end..].trim_start().len();
                    }
                    if start > begin {
                        segments.push(Segment::Text(begin..start));
                    }
                    segments.push(Segment::Token(token.id));
                    (begin, at) = (end, end);
                }
                None => at += text[at..].chars().next().map_or(1, char::len_utf8),
            }
        }
        if begin < text.len() {
            segments.push(Segment::Text(begin..text.len()));
        }
        segments
    }

    fn match_at(&self, text: &str, at: usize, special: bool) -> Option<&AddedToken> {
        let lengths = self.lengths.get(text.as_bytes().get(at)?)?;
        lengths.iter().find_map(|length| {
            let token = self.by_content.get(text.get(at..at + length)?)?;
            let touches = |c: Option<char>| token.single_word && c.is_some_and(in_word);
            let alone = !touches(text[..at].chars().next_back())
                && !touches(text[at + token.content.len()..].chars().next());
            (alone && (special || !token.special)).then_some(token)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, content: &str, special: bool) -> AddedToken {
        let content = content.into();
        AddedToken {
            id,
            content,
            special,
            lstrip: false,
            rstrip: false,
            single_word: false,
            normalized: false,
        }
    }

    #[test]
    fn the_longest_token_at_the_leftmost_place_is_found() {
        let added =
            AddedTokens::new([token(1, "<a>", true), token(2, "<a><b>", true), token(3, "xy", false)]);
        use Segment::{Text, Token};
        assert_eq!(added.segments("q<a><b>xy<a>", true), [Text(0..1), Token(2), Token(3), Token(1)]);
        assert_eq!(added.segments("q<a>xy", false), [Text(0..4), Token(3)]);
        assert_eq!(added.segments("", true), []);
    }

    #[test]
    fn flags_strip_spaces_and_ask_for_whole_words() {
        let mask = AddedToken { lstrip: true, rstrip: true, ..token(1, "[M]", true) };
        let word = AddedToken { single_word: true, ..token(2, "ing", false) };
        let added = AddedTokens::new([mask, word]);
        use Segment::{Text, Token};
        assert_eq!(added.segments("a [M]  b", true), [Text(0..1), Token(1), Text(7..8)]);
        assert_eq!(added.segments("sing ing", true), [Text(0..5), Token(2)]);
    }
}
