//! Which texts run together. A batch is as wide as its longest text, and what the others lack is computed for
//! nothing: so texts are taken by length, and a batch ends where too much would be lost.

/// Tokens that a batch has at most, unless one text alone has more: activations then stay in the caches.
const MAX_TOKENS: usize = 1024;
/// Tokens that a batch may have however unlike its texts are: small products cost more than padding.
const FEW_TOKENS: usize = 128;

/// Texts that run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Their indices.
    pub texts: Vec<usize>,
    /// Tokens of the longest.
    pub len: usize,
}

/// The batches of texts that have so many tokens each, none of them 0.
pub fn batches(lens: &[usize]) -> Vec<Batch> {
    let mut order: Vec<usize> = (0..lens.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lens[i]), i));
    let mut batches: Vec<Batch> = Vec::new();
    for i in order {
        let fits = batches.last().is_some_and(|batch| {
            let tokens = (batch.texts.len() + 1) * batch.len;
            tokens <= FEW_TOKENS || tokens <= MAX_TOKENS && lens[i] * 8 >= batch.len * 7
        });
        match batches.last_mut().filter(|_| fits) {
            Some(batch) => batch.texts.push(i),
            None => batches.push(Batch { texts: vec![i], len: lens[i] }),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_runs_once_with_others_of_its_length() {
        let lens: Vec<usize> = (0..500).map(|i| 3 + i * 37 % 250).collect();
        let batches = batches(&lens);
        let mut seen: Vec<usize> = batches.iter().flat_map(|batch| batch.texts.clone()).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..500));
        let computed: usize = batches.iter().map(|batch| batch.texts.len() * batch.len).sum();
        let had: usize = lens.iter().sum();
        assert!(computed * 100 < had * 112, "{computed} tokens were computed for {had}");
        assert!(batches.len() < 120, "{} batches", batches.len());
        for batch in batches {
            assert!(
                batch.texts.len() * batch.len <= MAX_TOKENS
                    && batch.texts.iter().all(|&i| lens[i] <= batch.len)
            );
        }
    }

    #[test]
    fn a_long_text_runs_alone() {
        let found = batches(&[5000, 3]);
        assert_eq!(found, [Batch { texts: vec![0], len: 5000 }, Batch { texts: vec![1], len: 3 }]);
        assert!(batches(&[]).is_empty());
    }
}
