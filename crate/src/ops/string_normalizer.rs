//! Texts without some words, in one case. ONNX StringNormalizer.

use super::values::{ValueOp, required};
use crate::error::{Result, ensure};
use crate::tensor::Tensor;
use std::sync::Arc;

/// `x [n] or [1, n] → y [m] or [1, m]`: without the words; one empty text where nothing is left.
#[derive(Clone, Debug, PartialEq)]
pub struct StringNormalizer {
    /// What becomes of each letter.
    pub case: Case,
    /// Whether words count only in their own case.
    pub exact: bool,
    /// The words to leave out.
    pub words: Vec<String>,
}

/// The case of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Case {
    Kept,
    Lower,
    Upper,
}

impl ValueOp for StringNormalizer {
    fn compute(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>> {
        let x = required(inputs, 0)?;
        ensure!(matches!(x.shape(), [_] | [1, _]), ShapeMismatch, "{x:?}, where [n] or [1, n] is wanted");
        let words: Vec<String> = self.words.iter().map(|word| self.compared(word)).collect();
        let is_kept = |text: &&Arc<str>| words.is_empty() || !words.contains(&self.compared(text));
        let cased = |text: &Arc<str>| match self.case {
            Case::Kept => text.clone(),
            Case::Lower => text.to_lowercase().into(),
            Case::Upper => text.to_uppercase().into(),
        };
        let mut texts: Vec<Arc<str>> = x.texts()?.iter().filter(is_kept).map(cased).collect();
        if texts.is_empty() {
            texts.push("".into());
        }
        let mut shape = x.shape().to_vec();
        shape[x.shape().len() - 1] = texts.len();
        Ok(vec![Tensor::of_texts(&shape, texts)?])
    }
}

impl StringNormalizer {
    /// A text as it is compared.
    fn compared(&self, text: &str) -> String {
        if self.exact { text.into() } else { text.to_lowercase() }
    }
}

/// Texts are no case: the tests below have them.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use crate::ops::case::Case;

    pub fn cases() -> Vec<Case> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_left_out_in_any_case_or_their_own() {
        let texts = |shape: &[usize], all: &[&str]| {
            Tensor::of_texts(shape, all.iter().map(|text| Arc::from(*text)).collect()).unwrap()
        };
        let x = texts(&[1, 3], &["Monday", "monday", "Ärger"]);
        let of = |case, exact, words: &[&str]| {
            let words = words.iter().map(|word| word.to_string()).collect();
            StringNormalizer { case, exact, words }.compute(&[Some(&x)]).unwrap().remove(0)
        };
        assert!(of(Case::Kept, false, &["MONDAY"]) == texts(&[1, 1], &["Ärger"]));
        assert!(of(Case::Lower, true, &["monday"]) == texts(&[1, 2], &["monday", "ärger"]));
        assert!(of(Case::Upper, false, &[]) == texts(&[1, 3], &["MONDAY", "MONDAY", "ÄRGER"]));
        assert!(of(Case::Kept, false, &["monday", "ärger"]) == texts(&[1, 1], &[""]));
        let op = StringNormalizer { case: Case::Kept, exact: false, words: Vec::new() };
        assert!(op.compute(&[Some(&texts(&[2, 1], &["a", "b"]))]).is_err());
    }
}
