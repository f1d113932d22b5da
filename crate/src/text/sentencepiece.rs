//! SentencePiece's byte-pair encoding, which has scores and no list of merges: the neighbours whose union is
//! the token of the highest score merge first, the leftmost of equals. What is no token in the end becomes
//! its bytes.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::vocab::Vocab;

const NONE: u32 = u32::MAX;

/// The tables of the encoder.
pub(super) struct SentencePiece {
    scores: Vec<f32>,
    byte_ids: Box<[u32; 256]>,
    unk: Option<u32>,
}

#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    /// Bytes; 0 once it is merged into its left neighbour.
    length: u32,
    previous: u32,
    next: u32,
}

struct Candidate {
    score: f32,
    left: u32,
    length: u32,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(Reverse(self.left).cmp(&Reverse(other.left)))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl SentencePiece {
    /// The encoder of these scores, one a token.
    pub(super) fn new(vocab: &Vocab, scores: Vec<f32>, unk: Option<u32>) -> Self {
        let mut byte_ids = Box::new([NONE; 256]);
        for (byte, id) in (0..=255u8).zip(byte_ids.iter_mut()) {
            *id = vocab.id(format!("<0x{byte:02X}>").as_bytes()).unwrap_or(NONE);
        }
        Self { scores, byte_ids, unk }
    }

    /// Appends the ids of a piece.
    pub(super) fn encode(&self, vocab: &Vocab, piece: &str, out: &mut Vec<u32>) {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(piece.len());
        for (start, c) in piece.char_indices() {
            let at = symbols.len() as u32;
            if let Some(last) = symbols.last_mut() {
                last.next = at;
            }
            let length = c.len_utf8() as u32;
            symbols.push(Symbol { start: start as u32, length, previous: at.wrapping_sub(1), next: NONE });
        }
        let text = |start: u32, length: u32| piece.as_bytes().get(start as usize..(start + length) as usize);
        let mut heap = BinaryHeap::new();
        let propose = |heap: &mut BinaryHeap<_>, symbols: &[Symbol], left: u32| {
            let Some(symbol) = symbols.get(left as usize) else { return };
            let Some(next) = symbols.get(symbol.next as usize) else { return };
            let length = symbol.length + next.length;
            let id = text(symbol.start, length).and_then(|union| vocab.id(union));
            if let Some(&score) = id.and_then(|id| self.scores.get(id as usize)) {
                heap.push(Candidate { score, left, length });
            }
        };
        for left in 0..symbols.len() as u32 {
            propose(&mut heap, &symbols, left);
        }
        while let Some(Candidate { left, length, .. }) = heap.pop() {
            let symbol = symbols[left as usize];
            let Some(&next) = symbols.get(symbol.next as usize) else { continue };
            // An entry from before one of the two was merged.
            if symbol.length == 0 || symbol.length + next.length != length {
                continue;
            }
            symbols[symbol.next as usize].length = 0;
            symbols[left as usize] = Symbol { length, next: next.next, ..symbol };
            if let Some(after) = symbols.get_mut(next.next as usize) {
                after.previous = left;
            }
            propose(&mut heap, &symbols, symbol.previous);
            propose(&mut heap, &symbols, left);
        }
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            let Some(bytes) = text(symbol.start, symbol.length) else { continue };
            match vocab.id(bytes) {
                Some(id) => out.push(id),
                None => out.extend(bytes.iter().filter_map(|&byte| match self.byte_ids[usize::from(byte)] {
                    NONE => self.unk,
                    id => Some(id),
                })),
            }
        }
    }
}
