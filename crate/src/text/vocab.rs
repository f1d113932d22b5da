//! A vocabulary in three flat arrays: all tokens' bytes end to end, where each ends, and an open-addressing
//! hash table of ids. A quarter of a million tokens cost three allocations and no pointer per token.

use crate::error::{Result, ensure};

const EMPTY: u32 = u32::MAX;

/// Tokens by id and ids by the tokens' bytes.
pub(super) struct Vocab {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    table: Vec<u32>,
    longest: usize,
}

fn hash(bytes: &[u8]) -> usize {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in bytes {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    ((state ^ (state >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

impl Vocab {
    /// The tokens in the order of their ids; none can be looked up before [`Self::index`].
    pub(super) fn new<'a>(tokens: impl Iterator<Item = std::borrow::Cow<'a, [u8]>>) -> Result<Self> {
        let (mut bytes, mut ends, mut longest) = (Vec::new(), Vec::new(), 0);
        for token in tokens {
            bytes.extend_from_slice(&token);
            longest = longest.max(token.len());
            let end = u32::try_from(bytes.len()).ok();
            ensure!(end.is_some(), Format, "the vocabulary has more than 4 GiB of text");
            ends.extend(end);
        }
        ensure!(ends.len() < 1 << 28, Format, "the vocabulary has {} tokens, more than 2^28", ends.len());
        let table = vec![EMPTY; (ends.len() * 2).next_power_of_two().max(2)];
        Ok(Self { bytes, ends, table, longest })
    }

    /// Makes a token findable by its bytes; of equal tokens, the first one indexed is found.
    pub(super) fn index(&mut self, id: u32) {
        let Some(token) = self.token(id) else { return };
        if token.is_empty() {
            return;
        }
        let mask = self.table.len() - 1;
        let mut slot = hash(token) & mask;
        while self.table[slot] != EMPTY {
            if self.token(self.table[slot]) == Some(token) {
                return;
            }
            slot = (slot + 1) & mask;
        }
        self.table[slot] = id;
    }

    /// The id of a token.
    pub(super) fn id(&self, token: &[u8]) -> Option<u32> {
        if token.is_empty() || token.len() > self.longest {
            return None;
        }
        let mask = self.table.len() - 1;
        let mut slot = hash(token) & mask;
        while self.table[slot] != EMPTY {
            let id = self.table[slot];
            if self.token(id) == Some(token) {
                return Some(id);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// The bytes of a token, or nothing for an id out of range.
    pub(super) fn token(&self, id: u32) -> Option<&[u8]> {
        let id = id as usize;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        self.bytes.get(start as usize..end as usize)
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// The byte that a character of GPT-2's byte alphabet stands for: printable Latin-1 stands for itself, and
/// the other 68 bytes, in order, are the characters from U+0100 on.
pub(super) fn byte_of_char(c: char) -> Option<u8> {
    match c as u32 {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// The bytes that a token written in GPT-2's byte alphabet stands for, or nothing if it is not written in it.
pub(super) fn bytes_of_token(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of_char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_tokens_are_found_both_ways() {
        let words: Vec<String> = (0..5000).map(|n| format!("w{n}")).collect();
        let mut vocab = Vocab::new(words.iter().map(|w| w.as_bytes().into())).unwrap();
        assert_eq!(vocab.id(b"w7"), None);
        (0..5000).for_each(|id| vocab.index(id));
        for (id, word) in words.iter().enumerate() {
            assert_eq!(vocab.id(word.as_bytes()), Some(id as u32));
            assert_eq!(vocab.token(id as u32), Some(word.as_bytes()));
        }
        assert_eq!((vocab.id(b"w5000"), vocab.id(b""), vocab.token(5000)), (None, None, None));
    }

    #[test]
    fn the_byte_alphabet_names_every_byte_once() {
        let mut seen = [0; 256];
        (0..0x200)
            .filter_map(char::from_u32)
            .filter_map(byte_of_char)
            .for_each(|byte| seen[usize::from(byte)] += 1);
        assert_eq!(seen, [1; 256]);
        assert_eq!(bytes_of_token("Ġt").as_deref(), Some(&b" t"[..]));
        assert_eq!(bytes_of_token("▁t"), None);
    }
}
