//! WordPiece: the longest token that begins the word, then the longest that continues it, and so on; a word
//! that cannot be written so is unknown as a whole.

use super::vocab::Vocab;

/// The encoder.
pub(super) struct WordPiece {
    pub(super) prefix: Box<str>,
    pub(super) max_chars: usize,
    pub(super) unk: u32,
}

impl WordPiece {
    /// Appends the ids of a word.
    pub(super) fn encode(&self, vocab: &Vocab, word: &str, out: &mut Vec<u32>) {
        let first = out.len();
        if word.chars().nth(self.max_chars).is_some() {
            out.push(self.unk);
            return;
        }
        let mut written = Vec::new();
        let mut start = 0;
        while start < word.len() {
            let prefix = if start > 0 { self.prefix.as_bytes() } else { &[] };
            let ends = word[start..].char_indices().rev().map(|(at, c)| start + at + c.len_utf8());
            let found = ends.into_iter().find_map(|end| {
                written.clear();
                written.extend_from_slice(prefix);
                written.extend_from_slice(&word.as_bytes()[start..end]);
                vocab.id(&written).map(|id| (id, end))
            });
            let Some((id, end)) = found else {
                out.truncate(first);
                out.push(self.unk);
                return;
            };
            out.push(id);
            start = end;
        }
    }
}
