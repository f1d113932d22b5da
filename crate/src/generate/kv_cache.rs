//! Bookkeeping of the key-value cache: which token each position holds, how much of a new prompt is
//! already there, and what to do when the last position is taken. The keys and values themselves are the
//! model's; the bookkeeping never runs ahead of them, so work that is cancelled half way leaves both sound.

use crate::error::{Result, ensure};
use std::ops::Range;

/// The tokens whose keys and values a model's cache holds, position by position.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    tokens: Vec<u32>,
    /// Positions below this were computed after exactly the tokens before them; those above were moved.
    exact: usize,
    ticket: u64,
}

impl KvCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tokens, by position.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The number of positions in use, which is the position of the next token.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether no position is in use.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Notes that `ids` were run at the next positions.
    pub fn push(&mut self, ids: &[u32]) {
        if self.exact == self.tokens.len() {
            self.exact += ids.len();
        }
        self.tokens.extend_from_slice(ids);
    }

    /// Takes back every position from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
        self.exact = self.exact.min(self.tokens.len());
    }

    /// Takes back everything.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Notes that the model removed these positions and moved the later ones down.
    pub fn remove(&mut self, positions: Range<usize>) {
        let end = positions.end.min(self.tokens.len());
        let start = positions.start.min(end);
        self.tokens.drain(start..end);
        self.exact = self.exact.min(start);
    }

    /// How many of the first tokens of `ids` are in the cache, as running them would have put them there:
    /// positions that a shift moved do not count, for they still carry what was removed.
    pub fn common_prefix(&self, ids: &[u32]) -> usize {
        self.tokens.iter().take(self.exact).zip(ids).take_while(|(a, b)| a == b).count()
    }

    /// Takes the cache for one generation and gives its ticket; older tickets are void.
    pub(super) fn claim(&mut self) -> u64 {
        self.ticket += 1;
        self.ticket
    }

    /// Whether nobody has claimed the cache since.
    pub(super) fn holds(&self, ticket: u64) -> bool {
        self.ticket == ticket
    }
}

/// What to do when the next token has no position left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnContextFull {
    /// End the answer, with the finish reason "context".
    #[default]
    Stop,
    /// Forget the older half of what follows the first quarter of the context, and go on.
    Shift,
}

/// The positions to forget of a context of `context_len` that is full.
pub(super) fn shift_range(context_len: usize) -> Range<usize> {
    let keep = context_len / 4;
    keep..keep + ((context_len - keep) / 2).max(1)
}

/// Whether a prompt can be run at all.
pub(super) fn check_prompt(prompt: &[u32], context_len: usize, vocab_size: usize) -> Result<()> {
    ensure!(
        !prompt.is_empty(),
        InvalidInput,
        "the prompt has no tokens; give at least one, such as the model's BOS"
    );
    ensure!(
        prompt.len() <= context_len,
        ContextFull,
        "the prompt has {} tokens and the context holds {context_len}; shorten the prompt, or load the model \
         with a contextLength of more than {}",
        prompt.len(),
        prompt.len()
    );
    let foreign = prompt.iter().find(|&&id| id as usize >= vocab_size);
    if let Some(id) = foreign {
        return crate::error::fail!(
            InvalidInput,
            "token id {id} in the prompt is not below the vocabulary's size of {vocab_size}; tokenize the \
             prompt with this model's tokenizer"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_prefix_is_what_was_run_and_not_moved() {
        let mut kv = KvCache::new();
        kv.push(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(kv.common_prefix(&[1, 2, 3, 9]), 3);
        assert_eq!(kv.common_prefix(&[9]), 0);
        assert_eq!(kv.common_prefix(&[1, 2, 3, 4, 5, 6, 7]), 6);
        kv.remove(2..4);
        assert_eq!(kv.tokens(), [1, 2, 5, 6]);
        assert_eq!(kv.common_prefix(&[1, 2, 5, 6]), 2);
        kv.push(&[7]);
        assert_eq!(kv.common_prefix(&[1, 2, 5, 6, 7]), 2);
        kv.truncate(1);
        kv.push(&[8, 9]);
        assert_eq!(kv.common_prefix(&[1, 8, 9]), 3);
    }

    #[test]
    fn a_shift_frees_something_in_any_context() {
        for context_len in 1..40 {
            let range = shift_range(context_len);
            assert!(!range.is_empty() && range.end <= context_len, "{context_len} {range:?}");
        }
        assert_eq!(shift_range(100), 25..62);
    }

    #[test]
    fn prompts_that_cannot_run_are_refused() {
        assert_eq!(check_prompt(&[], 4, 10).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(check_prompt(&[10], 4, 10).unwrap_err().kind(), ErrorKind::InvalidInput);
        let full = check_prompt(&[1; 5], 4, 10).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::ContextFull);
        assert!(full.message().contains("5 tokens") && full.message().contains("holds 4"), "{full}");
        assert!(check_prompt(&[1; 4], 4, 10).is_ok());
    }
}
