//! How likely a model finds a given text: the log-probability of each token after those before it.

use super::model::{Model, Rows};
use super::text_model::TextModel;
use crate::error::{Result, ensure};

/// Tokens of which all scores are held at once.
const BATCH: usize = 64;

/// A text on its way to scores. It has the KV cache for itself until it is done.
pub struct Scoring {
    ids: Vec<u32>,
    scores: Vec<f32>,
    /// Its claim on the cache.
    ticket: Option<u64>,
}

impl Scoring {
    /// Begins to score `ids` for `model`.
    ///
    /// # Errors
    /// `InvalidInput` for fewer than two tokens or one outside the vocabulary; `ContextFull` for more than the
    /// context holds.
    pub fn new(model: &TextModel, ids: &[u32]) -> Result<Self> {
        let context = model.context_len();
        ensure!(ids.len() > 1, InvalidInput, "a score is of what follows the first token: give at least two");
        ensure!(
            ids.len() <= context,
            ContextFull,
            "{} tokens do not fit a context of {context}; load the model with a larger contextLength",
            ids.len()
        );
        model.facts().check(ids)?;
        Ok(Self { ids: ids.to_vec(), scores: Vec::with_capacity(ids.len() - 1), ticket: None })
    }

    /// Runs the next tokens, and says whether there are more.
    pub async fn step(&mut self, model: &mut TextModel) -> Result<bool> {
        let kv = model.kv_mut();
        match self.ticket {
            None => {
                self.ticket = Some(kv.claim());
                kv.clear();
            }
            Some(ticket) => {
                ensure!(kv.holds(ticket), InvalidInput, "an answer came into a score that is not done");
            }
        }
        let start = model.cached().len();
        let batch = &self.ids[start..self.ids.len().min(start + BATCH)];
        let logits = model.feed_rows(batch, Rows::All).await?;
        let rows = logits.data::<f32>()?.chunks_exact(model.vocab_size());
        self.scores.extend(rows.zip(&self.ids[start + 1..]).map(|(row, &next)| log_probability(row, next)));
        Ok(start + BATCH < self.ids.len())
    }

    /// The natural logarithms of the probabilities of all ids but the first, each given those before it, `[n - 1]`; once there
    /// are no more steps.
    pub fn into_scores(self) -> Vec<f32> {
        self.scores
    }
}

/// `log softmax(logits)[id]`, summed in f64.
fn log_probability(logits: &[f32], id: u32) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from((x - largest).exp())).sum();
    (f64::from(logits[id as usize] - largest) - sum.ln()) as f32
}

#[cfg(test)]
mod tests {
    use super::log_probability;

    #[test]
    fn probabilities_add_up_to_one() {
        let logits = [1.0f32, -2.0, 0.5, 80.0, 79.0];
        let total: f32 = (0..5).map(|id| log_probability(&logits, id).exp()).sum();
        assert!((total - 1.0).abs() < 1e-5);
        assert!((log_probability(&logits, 3) + (1.0f32 + (-1.0f32).exp()).ln()).abs() < 1e-5);
    }
}
