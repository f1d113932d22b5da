//! Speculative decoding by prompt lookup. Answers often repeat what stands before: names, quotations, code. So where the
//! last tokens stand further up already, those that followed there are run along with the last one, which reads the
//! weights once for all of them. Their scores are used for as long as what is chosen is what was drafted; what was run
//! past that is dead in the cache. The answer is the same, whatever the draft and whoever chooses.

use super::model::Scores;
use std::collections::VecDeque;

/// Tokens that must stand further up for those after them to be a draft.
const LEAST: usize = 2;
/// Tokens that are compared at most.
const MOST: usize = 8;
/// What is expected of drafts before there were any, by [`kind`]: tokens of three that are chosen.
const EXPECTED: [f64; 3] = [0.75, 1.25, 2.0];

/// The drafts of a generation.
#[derive(Debug)]
pub(super) struct Drafts {
    /// Drafted tokens that were run and not reached yet, each with the scores after it.
    run: VecDeque<(u32, Scores)>,
    /// Of the draft that is being used: its kind, and how many of it were chosen.
    current: Option<(usize, usize)>,
    /// Tokens of a draft that are chosen, by its kind: a moving average.
    chosen: [f64; EXPECTED.len()],
    /// Of a run of one token, and of one with a draft.
    alone: Cost,
    along: Cost,
    /// Drafted tokens that were chosen.
    total: usize,
}

impl Drafts {
    pub fn new() -> Self {
        Self {
            run: VecDeque::new(),
            current: None,
            chosen: EXPECTED,
            alone: Cost::default(),
            along: Cost::default(),
            total: 0,
        }
    }

    /// Drafted tokens that were chosen so far: so many runs were saved.
    pub fn total(&self) -> usize {
        self.total
    }

    /// At most `most` tokens that may come after `tokens`: none where nothing is known, or where a draft has cost more than it
    /// brought.
    pub fn draft(&mut self, tokens: &[u32], most: usize) -> Vec<u32> {
        self.forget();
        let Some((from, common)) = lookup(tokens).filter(|_| most > 0) else { return Vec::new() };
        let kind = kind(common);
        if let (Some(alone), Some(along)) = (self.alone.ms(), self.along.ms())
            && along > alone * (1.0 + self.chosen[kind])
        {
            // The text may come to a passage that repeats more.
            self.chosen[kind] += (most as f64 - self.chosen[kind]) / 256.0;
            return Vec::new();
        }
        self.current = Some((kind, 0));
        // A draft that reaches the end goes on with itself.
        let mut draft: Vec<u32> = tokens[from..].iter().copied().take(most).collect();
        (draft.len()..most).for_each(|i| draft.push(draft[i - (tokens.len() - from)]));
        draft
    }

    /// Takes the scores after each token of a draft, which was empty or what [`draft`](Self::draft) gave, and how long
    /// the run took.
    pub fn ran(&mut self, draft: Vec<u32>, scores: impl Iterator<Item = Scores>, ms: f64) {
        let cost = if draft.is_empty() { &mut self.alone } else { &mut self.along };
        cost.add(ms);
        self.run = draft.into_iter().zip(scores).collect();
    }

    /// The scores after `chosen`, if that was drafted; else the rest of the draft is of no use.
    pub fn next(&mut self, chosen: u32) -> Option<Scores> {
        match self.run.pop_front() {
            Some((drafted, scores)) if drafted == chosen => {
                self.total += 1;
                if let Some((_, n)) = &mut self.current {
                    *n += 1;
                }
                Some(scores)
            }
            _ => {
                self.run.clear();
                None
            }
        }
    }

    /// Ends the draft that is being used.
    pub fn forget(&mut self) {
        self.run.clear();
        if let Some((kind, n)) = self.current.take() {
            self.chosen[kind] += (n as f64 - self.chosen[kind]) / 4.0;
        }
    }
}

/// What runs of a kind take, milliseconds: a moving average.
#[derive(Debug, Default)]
struct Cost {
    runs: usize,
    average: f64,
}

impl Cost {
    /// The first run of a kind is planned and compiled on the way: the second one counts.
    fn add(&mut self, ms: f64) {
        self.runs += 1;
        self.average = if self.runs > 2 { self.average + (ms - self.average) / 4.0 } else { ms };
    }

    /// The average, once there is one.
    fn ms(&self) -> Option<f64> {
        (self.runs > 1).then_some(self.average)
    }
}

/// The latest of the places that have the most in common with the end of `tokens`: where what followed begins, and how many
/// tokens before it are the last ones.
fn lookup(tokens: &[u32]) -> Option<(usize, usize)> {
    let common = |from: usize| {
        let before = tokens[..from].iter().rev().zip(tokens.iter().rev());
        before.take(MOST).take_while(|(a, b)| a == b).count()
    };
    let mut best = None;
    for from in (LEAST..tokens.len()).rev() {
        let common = common(from);
        if common >= LEAST && best.is_none_or(|(_, most)| common > most) {
            best = Some((from, common));
            if common == MOST {
                break;
            }
        }
    }
    best
}

/// Drafts after more tokens in common are better.
fn kind(common: usize) -> usize {
    (common.ilog2() - LEAST.ilog2()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_the_longest_is_looked_up() {
        assert_eq!(lookup(&[]), None);
        assert_eq!(lookup(&[1, 2, 3, 2]), None, "one token in common is too few");
        assert_eq!(lookup(&[1, 2, 3, 9, 1, 2, 4, 8, 1, 2]), Some((6, 2)));
        assert_eq!(lookup(&[7, 1, 2, 3, 9, 1, 2, 4, 7, 1, 2]), Some((3, 3)));
        let twice = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]; 2].concat();
        assert_eq!(lookup(&twice), Some((10, MOST)));
        assert_eq!([2, 3, 4, 7, 8].map(kind), [0, 0, 1, 1, 2]);
    }

    #[test]
    fn a_draft_goes_on_where_the_text_goes_round() {
        let mut drafts = Drafts::new();
        assert_eq!(drafts.draft(&[5, 6, 5, 6, 5], 4), [6, 5, 6, 5]);
        assert_eq!(drafts.draft(&[4, 4, 4], 3), [4, 4, 4]);
        assert_eq!(drafts.draft(&[1, 2, 3, 4, 1, 2], 3), [3, 4, 1]);
        assert!(drafts.draft(&[1, 2, 3, 4, 1, 2], 0).is_empty());
    }

    #[test]
    fn drafts_that_cost_more_than_they_bring_are_left() {
        let tokens = [1, 2, 3, 4, 1, 2];
        let scores = || (0..3).map(Scores::Argmax);
        let drafted = |right: bool, along: f64| {
            let mut drafts = Drafts::new();
            (0..2).for_each(|_| drafts.ran(Vec::new(), std::iter::empty(), 10.0));
            let mut n = 0;
            for _ in 0..64 {
                let draft = drafts.draft(&tokens, 3);
                if draft.is_empty() {
                    drafts.ran(draft, std::iter::empty(), 10.0);
                    continue;
                }
                n += 1;
                drafts.ran(draft, scores(), along);
                let chosen: &[u32] = if right { &[3, 4, 1] } else { &[9] };
                chosen.iter().for_each(|id| assert_eq!(drafts.next(*id).is_some(), right));
                assert!(drafts.next(3).is_none(), "the draft is used up");
            }
            n
        };
        assert_eq!(drafted(true, 15.0), 64);
        assert!((2..12).contains(&drafted(false, 15.0)));
        assert_eq!(drafted(false, 35.0), 2, "the first does not count");
    }
}
