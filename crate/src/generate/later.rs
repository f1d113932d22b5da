//! A model whose layers are cut into parts, each with a session of its own: the first is a
//! [`TextModel`](super::TextModel), the others are [`Layers`], in other workers or wherever else. Activations go from
//! part to part; the rows wanted come back from the last. Several chunks of a prompt are under way at once: while the
//! second part computes one, the first goes on with the next.

use super::text_model::{only, ready};
use crate::backend::Profiled;
use crate::error::{Result, ensure, fail};
use crate::import::arch::{LanguageModel, Part};
use crate::session::{Given, Kind, Loaded, Session};
use crate::tensor::Tensor;
use crate::types::Bindings;
use std::collections::VecDeque;
use std::pin::Pin;

/// Rows of activations on their way, f32 `[n, hidden_dim]`.
pub type PendingRows = Pin<Box<dyn Future<Output = Result<Tensor>>>>;

/// The layers of a model that follow those of its first part, wherever they are.
pub trait LaterLayers {
    /// Sends on the activations of tokens, f32 `[s, hidden_dim]`, of which the first is at `position`. Gives what the last
    /// layer makes of `rows` of them. What was sent first is computed first.
    fn send(&mut self, position: usize, hidden: Tensor, rows: Vec<i32>) -> Result<PendingRows>;
}

/// What was sent to later layers and has not been taken.
pub(super) struct Pipeline {
    layers: Box<dyn LaterLayers>,
    /// Oldest first.
    sent: VecDeque<PendingRows>,
    /// How many there may be: enough that no part waits for the first one.
    most: usize,
}

impl Pipeline {
    /// Of a model in `of` parts.
    pub fn new(layers: Box<dyn LaterLayers>, of: usize) -> Self {
        Self { layers, sent: VecDeque::new(), most: 2 * of }
    }

    /// Sends activations, once there is room.
    pub async fn send(&mut self, position: usize, hidden: Tensor, rows: Vec<i32>) -> Result<()> {
        while self.sent.len() >= self.most {
            self.take().await?;
        }
        let pending = self.layers.send(position, hidden, rows)?;
        self.sent.push_back(pending);
        Ok(())
    }

    /// The rows of what was sent last, when all is done.
    pub async fn last(&mut self) -> Result<Tensor> {
        while self.sent.len() > 1 {
            self.take().await?;
        }
        self.take().await
    }

    /// Waits until all is done.
    pub async fn settle(&mut self) -> Result<()> {
        while !self.sent.is_empty() {
            self.take().await?;
        }
        Ok(())
    }

    /// The rows of the oldest. After a failure the others are of no use.
    async fn take(&mut self) -> Result<Tensor> {
        let Some(oldest) = self.sent.front_mut() else { return fail!(Internal, "nothing was sent") };
        let rows = oldest.as_mut().await;
        self.sent.pop_front();
        if rows.is_err() {
            self.sent.clear();
        }
        rows
    }
}

/// Layers of a model that are not its first, with their KV cache.
pub struct Layers {
    session: Session,
    part: Part,
    hidden_dim: usize,
}

impl Layers {
    /// The part of a model that was loaded. Fails for a whole one, or one of another kind.
    pub fn new(loaded: Loaded) -> Result<Self> {
        match loaded.kind {
            Kind::Layers(LanguageModel { part, hidden_dim, .. }) => {
                Ok(Self { session: loaded.session, part, hidden_dim })
            }
            _ => fail!(Internal, "this is no later part of a language model"),
        }
    }

    /// Runs the activations of tokens, f32 `[s, hidden_dim]`, of which the first is at `position`. Gives those for the next
    /// part, or, where this is the last, those of `rows`.
    pub fn run(&mut self, position: usize, hidden: Tensor, rows: &[i32]) -> Result<Tensor> {
        let n = hidden.shape().first().copied().unwrap_or(0);
        ensure!(
            hidden.shape() == [n, self.hidden_dim] && rows.iter().all(|&row| (row as usize) < n),
            ShapeMismatch,
            "activations of [tokens, {}] are wanted, and {:?} came with the rows {rows:?}",
            self.hidden_dim,
            hidden.shape()
        );
        let position = Tensor::new(&[1], &[position as i32])?;
        let mut given = vec![("hidden", Given::Tensor(hidden)), ("position", Given::Tensor(position))];
        if self.part.is_last() {
            given.push(("rows", Given::Tensor(Tensor::new(&[rows.len()], rows)?)));
        }
        only(ready(self.session.submit(given, &["hidden"])?)?)
    }

    /// Elements of a row.
    pub fn hidden_dim(&self) -> usize {
        self.hidden_dim
    }

    /// What one token launches.
    pub fn profile(&mut self) -> Result<Vec<Profiled>> {
        let mut sizes = Bindings::from([("s".into(), 1)]);
        if self.part.is_last() {
            sizes.insert("n".into(), 1);
        }
        self.session.profile(&["hidden"], sizes)
    }
}
