//! Byte-pair encoding: start from single bytes, join the pair whose merge ranks first, until none is left
//! (Sennrich et al. 2016, arXiv:1508.07909). A heap of candidate pairs over a linked list keeps the work at
//! n log n, also for a megabyte without a space.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Merges by the pair they join: rank, and the token that results.
pub type Merges = HashMap<(u32, u32), (u32, u32)>;

/// No neighbour.
const NONE: usize = usize::MAX;

struct Symbol {
    id: u32,
    before: usize,
    after: usize,
    alive: bool,
}

/// Appends the tokens of one piece, given as the tokens of its bytes.
pub fn merge(bytes: &[u32], merges: &Merges, out: &mut Vec<u32>) {
    let mut symbols: Vec<Symbol> = (bytes.iter().enumerate())
        .map(|(i, &id)| Symbol {
            id,
            before: if i == 0 { NONE } else { i - 1 },
            after: if i + 1 == bytes.len() { NONE } else { i + 1 },
            alive: true,
        })
        .collect();
    // (rank, place of the left symbol, both tokens as they were): the lowest rank first, then the leftmost.
    let mut candidates = BinaryHeap::new();
    let propose = |candidates: &mut BinaryHeap<_>, symbols: &[Symbol], left: usize| {
        let Some(right) = symbols.get(left).and_then(|s| symbols.get(s.after)) else { return };
        let pair = (symbols[left].id, right.id);
        if let Some(&(rank, merged)) = merges.get(&pair) {
            candidates.push(Reverse((rank, left, pair, merged)));
        }
    };
    for left in 0..symbols.len() {
        propose(&mut candidates, &symbols, left);
    }
    while let Some(Reverse((_, left, pair, merged))) = candidates.pop() {
        let right = symbols[left].after;
        let current = symbols[left].alive && right != NONE && (symbols[left].id, symbols[right].id) == pair;
        if !current {
            continue;
        }
        let after = symbols[right].after;
        symbols[right].alive = false;
        symbols[left].id = merged;
        symbols[left].after = after;
        if after != NONE {
            symbols[after].before = left;
        }
        propose(&mut candidates, &symbols, left);
        let before = symbols[left].before;
        if before != NONE {
            propose(&mut candidates, &symbols, before);
        }
    }
    out.extend(symbols.iter().filter(|s| s.alive).map(|s| s.id));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference_merge(bytes: &[u32], merges: &Merges) -> Vec<u32> {
        let mut ids = bytes.to_vec();
        loop {
            let best = (0..ids.len().saturating_sub(1))
                .filter_map(|i| merges.get(&(ids[i], ids[i + 1])).map(|&(rank, merged)| (rank, i, merged)))
                .min();
            let Some((_, at, merged)) = best else { return ids };
            ids.splice(at..at + 2, [merged]);
        }
    }

    #[test]
    fn agrees_with_the_reference() {
        let merges: Merges =
            [((0, 1), (2, 4)), ((1, 0), (0, 5)), ((4, 4), (1, 6)), ((0, 0), (3, 7)), ((5, 5), (4, 8))].into();
        for n in 0..12 {
            for bits in 0..1u32 << n {
                let bytes: Vec<u32> = (0..n).map(|i| bits >> i & 1).collect();
                let mut out = Vec::new();
                merge(&bytes, &merges, &mut out);
                assert_eq!(out, reference_merge(&bytes, &merges), "{bytes:?}");
            }
        }
    }

    #[test]
    fn a_long_piece_is_not_quadratic() {
        let merges: Merges = [((0, 0), (0, 1)), ((1, 1), (1, 2))].into();
        let started = std::time::Instant::now();
        let mut out = Vec::new();
        merge(&vec![0; 1 << 20], &merges, &mut out);
        assert_eq!(out, vec![2; 1 << 18]);
        assert!(started.elapsed().as_secs() < 10);
    }
}
