//! What the token loop needs of a language model: to run some tokens at a position and to say what it
//! thinks comes next. Positions are given by the loop, so taking tokens back is only bookkeeping: what the
//! cache holds past the position of a run is dead and gets written over.
//!
//! A GPU model may also let the loop run ahead: `begin` submits a step whose token is the argmax of the
//! step before, still on the device, and `take_argmax` reads the oldest one. A CPU model leaves that at
//! its defaults.

use super::kv_cache::KvCache;
use crate::error::{Result, fail};

/// What to bring back of the scores of the last position of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing: the run only fills the cache.
    Nothing,
    /// The id with the largest logit, the lowest one on a tie.
    Argmax,
    /// The so many largest logits with their ids.
    TopK(usize),
    /// Every logit.
    Logits,
}

/// Of which tokens a run brings back the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The last.
    Last,
    /// Every one.
    All,
}

impl Rows {
    /// The rows of a feed of `n` tokens, by number.
    pub(super) fn of(self, n: usize) -> Vec<i32> {
        let last = n as i32 - 1;
        match self {
            Self::Last => vec![last],
            Self::All => (0..=last).collect(),
        }
    }
}

/// The scores that were wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Scores {
    /// For [`Want::Nothing`].
    Nothing,
    /// For [`Want::Argmax`].
    Argmax(u32),
    /// For [`Want::TopK`].
    TopK(TopScores),
    /// For [`Want::Logits`]: `f32 [vocab_size]`.
    Logits(Vec<f32>),
}

/// The largest logits and their ids, the largest first and of equal ones the lowest id first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopScores {
    /// Token ids, `[k]`.
    pub ids: Vec<u32>,
    /// Their logits, `[k]`.
    pub logits: Vec<f32>,
}

/// What a step that is begun ahead runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextTokens<'a> {
    /// These tokens.
    Ids(&'a [u32]),
    /// One token: the argmax of the step begun before this one, which nobody has read yet.
    Previous,
}

/// A language model with a key-value cache, as the token loop sees it.
///
/// Runs on one thread, natively and in wasm, so its futures need not be `Send`.
#[allow(async_fn_in_trait, reason = "everything runs on the one thread that owns the model")]
pub trait Model {
    /// The state of turning tokens into text as they come, never half a character.
    type Text: Default;

    /// The text that `id` completes.
    fn push_text(&self, text: &mut Self::Text, id: u32) -> Result<String>;

    /// The text that is left, when no more tokens will come.
    fn finish_text(&self, text: &mut Self::Text) -> String;

    /// Whether `id` ends an answer: end of text, end of turn. It is not part of the answer.
    fn ends_text(&self, id: u32) -> bool;

    /// How many logits there are.
    fn vocab_size(&self) -> usize;

    /// How many positions the cache has.
    fn context_len(&self) -> usize;

    /// The most tokens that one run takes.
    fn max_batch(&self) -> usize;

    /// How many of `pending` tokens the next run takes, 1 to `max_batch`. A model that prefers few
    /// different sizes (each may need a plan of its own) overrides it.
    fn chunk_len(&self, pending: usize) -> usize {
        pending.min(self.max_batch())
    }

    /// The largest `k` of [`Want::TopK`]; 0 where bringing back every logit costs no more.
    fn max_top_k(&self) -> usize {
        0
    }

    /// Which tokens the cache holds. The model only keeps this; the loop reads and writes it.
    fn kv(&self) -> &KvCache;

    /// The same, to write.
    fn kv_mut(&mut self) -> &mut KvCache;

    /// Runs `ids` at positions `start..start + ids.len()`, seeing the cache's first `start` positions and
    /// each other causally, and stores their keys and values there. Gives the scores of `rows` of `ids`, of the kind that
    /// `want` names. With [`Want::Nothing`] the run may still be under way when this returns; if it fails, what comes after
    /// it does.
    async fn feed(&mut self, ids: &[u32], start: usize, want: Want, rows: Rows) -> Result<Vec<Scores>>;

    /// The most tokens of a [draft](super::draft) that a run of one token takes along for little, below `max_batch`. 0
    /// where they would cost as much as runs of their own, or where a token's scores may depend on who runs along.
    fn draft_len(&self) -> usize {
        0
    }

    /// Waits for runs that are still under way.
    async fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Removes the positions `keep..keep + discard` of the cache and moves those after them down, their
    /// rotary embedding included. `false`: not supported, and nothing was done; the loop then runs the
    /// kept tokens again.
    fn shift(&mut self, _keep: usize, _discard: usize) -> Result<bool> {
        Ok(false)
    }

    /// How many steps may be begun and not yet taken. Below 2 the loop uses `feed` alone.
    fn pipeline_depth(&self) -> usize {
        1
    }

    /// Submits a run like `feed` with [`Want::Argmax`], without waiting for it.
    fn begin(&mut self, _tokens: NextTokens<'_>, _start: usize) -> Result<()> {
        fail!(Internal, "this model cannot begin a step ahead; its pipeline_depth must be 1")
    }

    /// The argmax of the oldest step that was begun and not taken.
    async fn take_argmax(&mut self) -> Result<u32> {
        fail!(Internal, "this model cannot begin a step ahead; its pipeline_depth must be 1")
    }

    /// Forgets the steps that were begun and not taken. What they wrote to the cache is dead.
    fn drop_pending(&mut self) {}
}
