//! Unigram: of all ways to cut a text into tokens, the one whose scores sum highest, found by dynamic
//! programming from left to right (Viterbi). A character that is no token costs ten less than the worst token,
//! and neighbouring ones become one unknown token or their bytes. Tokens are found by narrowing a sorted list
//! byte by byte, which ends as soon as no token goes on.

use super::vocab::Vocab;
use crate::error::{Result, ensure};

const UNKNOWN: u32 = u32::MAX;

/// The tables of the encoder.
pub(super) struct Unigram {
    scores: Vec<f64>,
    /// The ids of the tokens that text may become, sorted by their bytes.
    sorted: Vec<u32>,
    /// For each first byte, where its tokens begin in `sorted`.
    starts: Vec<u32>,
    unknown_score: f64,
    unk: Option<u32>,
    byte_ids: Option<Box<[u32; 256]>>,
}

/// The best way to reach a position: its sum, the token that ends there and where that began.
#[derive(Clone, Copy)]
struct Best {
    sum: f64,
    id: u32,
    start: u32,
}

impl Unigram {
    /// The encoder of these scores; `usable` says which tokens text may become.
    ///
    /// # Errors
    /// `Format` if a score is not a number.
    pub(super) fn new(
        vocab: &Vocab,
        scores: Vec<f64>,
        unk: Option<u32>,
        byte_fallback: bool,
        usable: impl Fn(u32) -> bool,
    ) -> Result<Self> {
        ensure!(
            scores.iter().all(|score| !score.is_nan()),
            Format,
            "a score of the tokenizer is not a number"
        );
        let token = |id: &u32| vocab.token(*id).unwrap_or_default();
        let mut sorted: Vec<u32> = (0..vocab.len() as u32)
            .filter(|&id| {
                usable(id)
                    && !token(&id).is_empty()
                    && scores.get(id as usize).is_some_and(|score| score.is_finite())
            })
            .collect();
        sorted.sort_by(|a, b| token(a).cmp(token(b)));
        sorted.dedup_by(|a, b| token(a) == token(b));
        let starts = (0..=256)
            .map(|byte| sorted.partition_point(|id| usize::from(token(id)[0]) < byte) as u32)
            .collect();
        let worst = sorted.iter().map(|&id| scores[id as usize]).fold(f64::INFINITY, f64::min);
        let unknown_score = if worst.is_finite() { worst - 10.0 } else { -10.0 };
        let byte_ids = byte_fallback.then(|| {
            let mut ids = Box::new([UNKNOWN; 256]);
            for (byte, id) in (0..=255u8).zip(ids.iter_mut()) {
                *id = vocab.id(format!("<0x{byte:02X}>").as_bytes()).unwrap_or(UNKNOWN);
            }
            ids
        });
        Ok(Self { scores, sorted, starts, unknown_score, unk, byte_ids })
    }

    /// Appends the ids of a piece.
    pub(super) fn encode(&self, vocab: &Vocab, piece: &str, out: &mut Vec<u32>) {
        let bytes = piece.as_bytes();
        let mut best = vec![Best { sum: f64::NEG_INFINITY, id: UNKNOWN, start: u32::MAX }; bytes.len() + 1];
        best[0].sum = 0.0;
        for (start, c) in piece.char_indices() {
            let sum = best[start].sum;
            let mut reach = |end: usize, id: u32, score: f64| {
                if best[end].start == u32::MAX || sum + score > best[end].sum {
                    best[end] = Best { sum: sum + score, id, start: start as u32 };
                }
            };
            let mut whole_character = false;
            let first = usize::from(bytes[start]);
            let mut range = self.starts[first] as usize..self.starts[first + 1] as usize;
            for end in start + 1..=bytes.len() {
                let depth = end - start;
                // All tokens of the range share `depth` bytes with the text; the shortest is the first.
                let Some(&id) = self.sorted.get(range.start).filter(|_| !range.is_empty()) else { break };
                if vocab.token(id).map(<[u8]>::len) == Some(depth) {
                    reach(end, id, self.scores[id as usize]);
                    whole_character |= depth == c.len_utf8();
                }
                let Some(&next) = bytes.get(end) else { break };
                let byte_at = |id: &u32| vocab.token(*id).and_then(|token| token.get(depth)).copied();
                let candidates = &self.sorted[range.clone()];
                let low = candidates.partition_point(|id| byte_at(id) < Some(next));
                let high = candidates.partition_point(|id| byte_at(id) <= Some(next));
                range = range.start + low..range.start + high;
            }
            if !whole_character {
                reach(start + c.len_utf8(), UNKNOWN, self.unknown_score);
            }
        }
        let mut cuts = Vec::new();
        let mut end = bytes.len();
        while end > 0 {
            let Best { id, start, .. } = best[end];
            cuts.push((id, start as usize..end));
            end = start as usize;
        }
        let mut fused = false;
        for (id, range) in cuts.into_iter().rev() {
            if id != UNKNOWN {
                out.push(id);
                fused = false;
                continue;
            }
            let as_bytes = self
                .byte_ids
                .as_ref()
                .filter(|ids| bytes[range.clone()].iter().all(|&byte| ids[usize::from(byte)] != UNKNOWN));
            match as_bytes {
                Some(ids) => out.extend(bytes[range].iter().map(|&byte| ids[usize::from(byte)])),
                None if fused => {}
                None => {
                    out.extend(self.unk);
                    fused = true;
                }
            }
        }
    }
}
