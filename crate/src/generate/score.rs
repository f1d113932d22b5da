//! How likely a model finds a given text: the log-probability of each token after those before it.

use super::model::{Model, Rows};
use super::text_model::TextModel;
use crate::error::{Result, ensure};

/// Tokens of which all scores are held at once.
const BATCH: usize = 64;

impl TextModel {
    /// The natural logarithms of the probabilities of `ids[1..]`, each given the tokens before it, `[n - 1]`. Takes
    /// over the KV cache.
    ///
    /// # Errors
    /// `InvalidInput` for fewer than two tokens or one outside the vocabulary; `ContextFull` for more than the
    /// context holds.
    pub async fn score(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        let context = self.context_len();
        ensure!(ids.len() > 1, InvalidInput, "a score is of what follows the first token: give at least two");
        ensure!(
            ids.len() <= context,
            ContextFull,
            "{} tokens do not fit a context of {context}; load the model with a larger contextLength",
            ids.len()
        );
        self.kv_mut().claim();
        self.truncate(0);
        let mut scores = Vec::with_capacity(ids.len() - 1);
        for batch in ids.chunks(BATCH) {
            let logits = self.feed_rows(batch, Rows::All).await?;
            let rows = logits.data::<f32>()?.chunks_exact(self.vocab_size());
            for (row, &next) in rows.zip(&ids[scores.len() + 1..]) {
                scores.push(log_probability(row, next));
            }
        }
        Ok(scores)
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
