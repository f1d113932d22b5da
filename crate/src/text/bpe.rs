//! Byte-pair encoding by a list of merges: start from single bytes or characters, and merge the neighbours of
//! the best rank until none can. The neighbours form a linked list and the candidates a heap, so a piece of n
//! symbols costs n log n steps however long it is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use super::vocab::{Vocab, bytes_of_token};
use crate::error::{Result, ensure};

const NONE: u32 = u32::MAX;

/// Hashes a pair of ids, packed in one number, by a multiplication.
#[derive(Default)]
pub(super) struct PairHasher(u64);

impl Hasher for PairHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 ^ u64::from(byte)));
    }
    fn write_u64(&mut self, value: u64) {
        let mixed = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 29);
    }
}

fn pack(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// The tables of a byte-pair encoder.
pub(super) struct Bpe {
    /// From a pair of ids to its rank.
    ranks: HashMap<u64, u32, BuildHasherDefault<PairHasher>>,
    /// By rank, the id of the merged token.
    merged: Vec<u32>,
    /// The token of each byte, `NONE` where there is none.
    byte_ids: Box<[u32; 256]>,
    byte_level: bool,
    ignore_merges: bool,
    byte_fallback: bool,
    fuse_unk: bool,
    prefix: Box<str>,
    suffix: Box<str>,
    unk: Option<u32>,
}

/// What the encoder needs to know beside the merges.
pub(super) struct BpeOptions {
    pub(super) byte_level: bool,
    pub(super) ignore_merges: bool,
    pub(super) byte_fallback: bool,
    pub(super) fuse_unk: bool,
    pub(super) prefix: Box<str>,
    pub(super) suffix: Box<str>,
    pub(super) unk: Option<u32>,
}

/// Buffers that live from piece to piece.
#[derive(Default)]
pub(super) struct BpeState {
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

#[derive(Clone, Copy)]
struct Symbol {
    /// `NONE` once it is merged into its left neighbour.
    id: u32,
    previous: u32,
    next: u32,
}

impl Bpe {
    /// The encoder of these merges.
    ///
    /// # Errors
    /// `Format` if a merge names a token, or makes one, that the vocabulary lacks.
    pub(super) fn new(vocab: &Vocab, merges: &[(Box<str>, Box<str>)], options: BpeOptions) -> Result<Self> {
        let BpeOptions { byte_level, ignore_merges, byte_fallback, fuse_unk, prefix, suffix, unk } = options;
        let mut ranks = HashMap::with_capacity_and_hasher(merges.len(), BuildHasherDefault::default());
        let mut merged = Vec::with_capacity(merges.len());
        let mut joined = Vec::new();
        for (rank, (left, right)) in merges.iter().enumerate() {
            let bytes = |token: &str| match byte_level {
                true => bytes_of_token(token).unwrap_or_else(|| token.into()),
                false => token.into(),
            };
            let (left_bytes, right_bytes): (Vec<u8>, Vec<u8>) = (bytes(left), bytes(right));
            joined.clear();
            joined.extend_from_slice(&left_bytes);
            joined.extend_from_slice(right_bytes.strip_prefix(prefix.as_bytes()).unwrap_or(&right_bytes));
            let ids = (vocab.id(&left_bytes), vocab.id(&right_bytes), vocab.id(&joined));
            let (Some(left_id), Some(right_id), Some(merged_id)) = ids else {
                return crate::error::fail!(
                    Format,
                    "merge {rank} of the tokenizer, '{left}' with '{right}', names or makes a token that is not in \
                     the vocabulary"
                );
            };
            ranks.entry(pack(left_id, right_id)).or_insert(rank as u32);
            merged.push(merged_id);
        }
        ensure!(merged.len() < NONE as usize, Format, "the tokenizer has {} merges", merged.len());
        let mut byte_ids = Box::new([NONE; 256]);
        for (byte, id) in (0..=255u8).zip(byte_ids.iter_mut()) {
            let token = if byte_level { vec![byte] } else { format!("<0x{byte:02X}>").into_bytes() };
            *id = vocab.id(&token).unwrap_or(NONE);
        }
        Ok(Self {
            ranks,
            merged,
            byte_ids,
            byte_level,
            ignore_merges,
            byte_fallback,
            fuse_unk,
            prefix,
            suffix,
            unk,
        })
    }

    /// Appends the ids of a piece.
    pub(super) fn encode(&self, vocab: &Vocab, piece: &str, state: &mut BpeState, out: &mut Vec<u32>) {
        if self.ignore_merges
            && let Some(id) = vocab.id(piece.as_bytes())
        {
            out.push(id);
            return;
        }
        state.symbols.clear();
        if self.byte_level {
            let last = piece.len().saturating_sub(1);
            for (at, &byte) in piece.as_bytes().iter().enumerate() {
                let id = match at == last && !self.suffix.is_empty() {
                    true => vocab.id(&[&[byte], self.suffix.as_bytes()].concat()).unwrap_or(NONE),
                    false => self.byte_ids[usize::from(byte)],
                };
                match (id, self.unk) {
                    (NONE, Some(unk)) => state.push(unk),
                    (NONE, None) => {}
                    (id, _) => state.push(id),
                }
            }
        } else {
            self.characters(vocab, piece, state);
        }
        self.merge(state);
        out.extend(state.symbols.iter().map(|symbol| symbol.id).filter(|&id| id != NONE));
    }

    /// The characters of a piece as symbols, with fallback to bytes and to the unknown token.
    fn characters(&self, vocab: &Vocab, piece: &str, state: &mut BpeState) {
        let mut written = String::new();
        let mut unknown = false;
        for (at, c) in piece.char_indices() {
            written.clear();
            if at > 0 {
                written.push_str(&self.prefix);
            }
            written.push(c);
            if at + c.len_utf8() == piece.len() {
                written.push_str(&self.suffix);
            }
            if let Some(id) = vocab.id(written.as_bytes()) {
                state.push(id);
                unknown = false;
                continue;
            }
            let bytes = || written.bytes().map(|byte| self.byte_ids[usize::from(byte)]);
            if self.byte_fallback && bytes().all(|id| id != NONE) {
                bytes().for_each(|id| state.push(id));
                unknown = false;
            } else if let Some(unk) = self.unk {
                if !(unknown && self.fuse_unk) {
                    state.push(unk);
                }
                unknown = true;
            }
        }
    }

    /// Merges the symbols until no pair of neighbours has a rank.
    fn merge(&self, state: &mut BpeState) {
        let BpeState { symbols, heap } = state;
        let mut candidates = std::mem::take(heap).into_vec();
        candidates.clear();
        let rank_of = |left: u32, right: u32| self.ranks.get(&pack(left, right)).copied();
        for (at, pair) in symbols.windows(2).enumerate() {
            if let Some(rank) = rank_of(pair[0].id, pair[1].id) {
                candidates.push(Reverse((rank, at as u32)));
            }
        }
        *heap = BinaryHeap::from(candidates);
        while let Some(Reverse((rank, at))) = heap.pop() {
            let left = symbols[at as usize];
            if left.id == NONE || left.next == NONE {
                continue;
            }
            let right = symbols[left.next as usize];
            // An entry from before one of the two was merged.
            if rank_of(left.id, right.id) != Some(rank) {
                continue;
            }
            let id = self.merged[rank as usize];
            symbols[left.next as usize].id = NONE;
            symbols[at as usize] = Symbol { id, next: right.next, ..left };
            if right.next != NONE {
                symbols[right.next as usize].previous = at;
                if let Some(rank) = rank_of(id, symbols[right.next as usize].id) {
                    heap.push(Reverse((rank, at)));
                }
            }
            if left.previous != NONE
                && let Some(rank) = rank_of(symbols[left.previous as usize].id, id)
            {
                heap.push(Reverse((rank, left.previous)));
            }
        }
    }
}

impl BpeState {
    /// Appends a symbol and links it to the one before.
    fn push(&mut self, id: u32) {
        let at = self.symbols.len() as u32;
        if let Some(last) = self.symbols.last_mut() {
            last.next = at;
        }
        self.symbols.push(Symbol { id, previous: at.wrapping_sub(1), next: NONE });
    }
}
