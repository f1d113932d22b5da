//! Texts cut at a delimiter, or at white space. ONNX StringSplit, which cuts as Python's `str.split` does.

use super::values::{ValueOp, required};
use crate::error::{Result, ensure};
use crate::tensor::Tensor;
use std::sync::Arc;

/// `x → (y, counts)`: the parts of each text along a new last dimension, empty texts behind them, and how many there are.
#[derive(Clone, Debug, PartialEq)]
pub struct StringSplit {
    /// What lies between the parts; white space of any length where it is empty.
    pub delimiter: String,
    /// The most cuts.
    pub most: Option<usize>,
}

/// Parts that all texts may have together, the empty ones behind them counted.
const MAX_PARTS: usize = 1 << 24;

impl StringSplit {
    fn parts<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let most = self.most.unwrap_or(usize::MAX);
        if !self.delimiter.is_empty() {
            return text.splitn(most.saturating_add(1), &*self.delimiter).collect();
        }
        let (mut parts, mut rest) = (Vec::new(), text.trim_start());
        while !rest.is_empty() {
            let end = rest.find(char::is_whitespace).filter(|_| parts.len() < most).unwrap_or(rest.len());
            parts.push(&rest[..end]);
            rest = rest[end..].trim_start();
        }
        parts
    }
}

/// Lists of texts along a new last dimension, as long as the longest of them.
pub(super) fn table(shape: &[usize], rows: &[Vec<Arc<str>>], pad: &str) -> Result<Tensor> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let fits = rows.len().checked_mul(width).is_some_and(|n| n <= MAX_PARTS);
    ensure!(fits, OutOfMemory, "{} texts have up to {width} parts, which is too many", rows.len());
    let pad: Arc<str> = pad.into();
    let of_row = |row: &Vec<Arc<str>>| {
        let mut row = row.clone();
        row.resize(width, pad.clone());
        row
    };
    Tensor::of_texts(&[shape, &[width]].concat(), rows.iter().flat_map(of_row).collect())
}

impl ValueOp for StringSplit {
    fn compute(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>> {
        let x = required(inputs, 0)?;
        let parts = |text: &Arc<str>| self.parts(text).into_iter().map(Arc::from).collect();
        let rows: Vec<Vec<Arc<str>>> = x.texts()?.iter().map(parts).collect();
        let counts: Vec<i64> = rows.iter().map(|row| row.len() as i64).collect();
        Ok(vec![table(x.shape(), &rows, "")?, Tensor::new(x.shape(), &counts)?])
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

    fn parts(delimiter: &str, most: Option<usize>, text: &str) -> Vec<String> {
        let split = StringSplit { delimiter: delimiter.into(), most };
        split.parts(text).into_iter().map(String::from).collect()
    }

    #[test]
    fn parts_are_those_of_python() {
        assert_eq!(parts("", None, " a  b\tc "), ["a", "b", "c"]);
        assert_eq!(parts("", Some(1), " a  b  c "), ["a", "b  c "]);
        assert_eq!(parts("", Some(0), "  a b"), ["a b"]);
        assert_eq!(parts("", None, "   "), [""; 0]);
        assert_eq!(parts("--", None, "a----b"), ["a", "", "b"]);
        assert_eq!(parts(",", Some(1), "a,b,c"), ["a", "b,c"]);
        assert_eq!(parts(",", None, ""), [""]);
    }

    #[test]
    fn short_rows_end_with_empty_texts() {
        let x = Tensor::of_texts(&[1, 2], vec!["a b".into(), "c".into()]).unwrap();
        let split = StringSplit { delimiter: String::new(), most: None };
        let outputs = split.compute(&[Some(&x)]).unwrap();
        let texts = ["a", "b", "c", ""].map(Arc::from).to_vec();
        assert!(outputs[0] == Tensor::of_texts(&[1, 2, 2], texts).unwrap());
        assert_eq!((outputs[1].shape(), outputs[1].data::<i64>().unwrap()), (&[1, 2][..], &[2, 1][..]));
    }
}
