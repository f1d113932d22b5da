//! A language model for tests whose scores depend on every token in its cache, so that any mistake in
//! positions or bookkeeping changes the answer.

use super::generator::{Done, GenerationOptions, Generator};
use super::kv_cache::KvCache;
use super::model::{Model, NextTokens, Rows, Scores, TopScores, Want};
use super::sampler::TokenLogprobs;
use crate::error::{Result, fail};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

pub(super) const VOCAB: usize = 50;

/// The model. `memory` is its cache: what was written at each position, dead positions included.
pub(super) struct Fake {
    pub context_len: usize,
    pub max_batch: usize,
    pub max_top_k: usize,
    pub depth: usize,
    pub draft_len: usize,
    /// How many of the last tokens scores depend on.
    pub window: usize,
    pub shifts: bool,
    pub stop_ids: Vec<u32>,
    /// What the detokenizer holds back to the end.
    pub tail: &'static str,
    /// Fail the run that covers this position.
    pub fails_at: Option<usize>,
    pub kv: KvCache,
    memory: Vec<u32>,
    pending: VecDeque<u32>,
    /// Tokens run, runs, and steps begun.
    pub fed: usize,
    pub runs: usize,
    pub begun: usize,
    pub wants: Vec<Want>,
}

impl Fake {
    pub fn new(context_len: usize) -> Self {
        Self {
            context_len,
            max_batch: 4,
            max_top_k: 0,
            depth: 1,
            draft_len: 0,
            window: usize::MAX,
            shifts: false,
            stop_ids: vec![],
            tail: "",
            fails_at: None,
            kv: KvCache::new(),
            memory: Vec::new(),
            pending: VecDeque::new(),
            fed: 0,
            runs: 0,
            begun: 0,
            wants: Vec::new(),
        }
    }

    fn run(&mut self, ids: &[u32], start: usize) -> Result<Vec<f32>> {
        assert!(!ids.is_empty() && ids.len() <= self.max_batch, "a run of {} tokens", ids.len());
        assert!(start <= self.memory.len(), "a gap before position {start}");
        assert!(start + ids.len() <= self.context_len, "past the context");
        if self.fails_at.is_some_and(|at| (start..start + ids.len()).contains(&at)) {
            return fail!(DeviceLost, "the device was lost");
        }
        self.memory.truncate(start);
        self.memory.extend_from_slice(ids);
        self.fed += ids.len();
        self.runs += 1;
        Ok(self.logits(self.memory.len()))
    }

    /// The scores after so many tokens.
    fn logits(&self, len: usize) -> Vec<f32> {
        let mix = |h: u64, &id: &u32| (h ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17);
        let seen = &self.memory[len.saturating_sub(self.window)..len];
        let mut random = oorandom::Rand32::new(seen.iter().fold(7, mix));
        // Quarters, so that there are ties.
        (0..VOCAB).map(|_| (random.rand_float() * 24.0).floor() / 4.0 - 2.0).collect()
    }
}

fn scores(logits: Vec<f32>, want: Want) -> Scores {
    let top = sorted(&logits);
    match want {
        Want::Nothing => Scores::Nothing,
        Want::Argmax => Scores::Argmax(top[0].0),
        Want::TopK(k) => {
            let (ids, logits) = top.into_iter().take(k).unzip();
            Scores::TopK(TopScores { ids, logits })
        }
        Want::Logits => Scores::Logits(logits),
    }
}

pub(super) fn sorted(logits: &[f32]) -> Vec<(u32, f32)> {
    let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

/// Gives the executor one turn, as reading back from a GPU would.
async fn turn() {
    let mut waited = false;
    poll_fn(|cx| match std::mem::replace(&mut waited, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

impl Model for Fake {
    type Text = ();

    fn push_text(&self, _: &mut (), id: u32) -> Result<String> {
        Ok(text_of(&[id]))
    }
    fn finish_text(&self, _: &mut ()) -> String {
        self.tail.into()
    }
    fn ends_text(&self, id: u32) -> bool {
        self.stop_ids.contains(&id)
    }
    fn vocab_size(&self) -> usize {
        VOCAB
    }
    fn context_len(&self) -> usize {
        self.context_len
    }
    fn max_batch(&self) -> usize {
        self.max_batch
    }
    fn max_top_k(&self) -> usize {
        self.max_top_k
    }
    fn kv(&self) -> &KvCache {
        &self.kv
    }
    fn kv_mut(&mut self) -> &mut KvCache {
        &mut self.kv
    }

    async fn feed(&mut self, ids: &[u32], start: usize, want: Want, rows: Rows) -> Result<Vec<Scores>> {
        assert!(self.pending.is_empty(), "a step in flight");
        self.wants.push(want);
        let last = self.run(ids, start)?;
        turn().await;
        let rows = match rows {
            Rows::Last => vec![last],
            Rows::All => (1..=ids.len()).map(|n| self.logits(start + n)).collect(),
        };
        Ok(rows.into_iter().map(|logits| scores(logits, want)).collect())
    }

    fn draft_len(&self) -> usize {
        self.draft_len
    }

    fn shift(&mut self, keep: usize, discard: usize) -> Result<bool> {
        if self.shifts {
            self.memory.drain(keep..keep + discard);
        }
        Ok(self.shifts)
    }

    fn pipeline_depth(&self) -> usize {
        self.depth
    }

    fn begin(&mut self, tokens: NextTokens<'_>, start: usize) -> Result<()> {
        assert!(self.pending.len() < self.depth, "too deep");
        let previous = self.pending.back().copied();
        let logits = match tokens {
            NextTokens::Ids(ids) => self.run(ids, start)?,
            NextTokens::Previous => self.run(&[previous.expect("no step before")], start)?,
        };
        self.begun += 1;
        self.pending.push_back(sorted(&logits)[0].0);
        Ok(())
    }

    async fn take_argmax(&mut self) -> Result<u32> {
        turn().await;
        Ok(self.pending.pop_front().expect("nothing begun"))
    }

    fn drop_pending(&mut self) {
        self.pending.clear();
    }
}

/// Tokens as two letters each, so that stop strings lie across tokens.
pub(super) fn text_of(ids: &[u32]) -> String {
    ids.iter().flat_map(|id| [b'a' + (id / 8) as u8, b'0' + (id % 8) as u8]).map(char::from).collect()
}

/// The steps of a generation put together.
#[derive(Default)]
pub(super) struct Whole {
    pub text: String,
    pub ids: Vec<u32>,
    pub logprobs: Vec<TokenLogprobs>,
    pub done: Option<Done>,
}

pub(super) fn generator(model: &Fake, prompt: &[u32], options: &GenerationOptions) -> Generator<Fake> {
    Generator::new(model, prompt, options.clone()).unwrap()
}

/// Runs to the end; the steps put together.
pub(super) fn run(model: &mut Fake, prompt: &[u32], options: &GenerationOptions) -> Whole {
    let mut generator = generator(model, prompt, options);
    rest(&mut generator, model)
}

pub(super) fn rest(generator: &mut Generator<Fake>, model: &mut Fake) -> Whole {
    let mut whole = Whole::default();
    for _ in 0..10_000 {
        let step = pollster::block_on(generator.step(model)).unwrap();
        whole.text += &step.text;
        whole.ids.extend(step.id);
        whole.logprobs.extend(step.logprobs);
        whole.done = step.done;
        if whole.done.is_some() {
            return whole;
        }
    }
    panic!("the generation does not end");
}
