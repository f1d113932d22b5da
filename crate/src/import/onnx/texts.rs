//! Operators on texts.

use super::{Use, unsupported};
use crate::error::{Result, ensure};
use crate::graph::ValueId;
use crate::ops::pattern::{Ask, Parts, Pattern};
use crate::ops::string_concat::StringConcat;
use crate::ops::string_normalizer::{Case, StringNormalizer};
use crate::ops::string_split::StringSplit;
use crate::ops::tfidf::{Grams, Tfidf};
use std::sync::Arc;

pub(super) fn concat(of: &mut Use) -> Result<Vec<ValueId>> {
    of.as_is(StringConcat)
}

pub(super) fn split(of: &mut Use) -> Result<Vec<ValueId>> {
    let delimiter = of.node.string("delimiter")?.unwrap_or_default().into();
    let most = of.node.int("maxsplit")?.and_then(|n| usize::try_from(n).ok());
    of.as_is(StringSplit { delimiter, most })
}

pub(super) fn normalizer(of: &mut Use) -> Result<Vec<ValueId>> {
    let case = match of.node.string("case_change_action")?.unwrap_or("NONE") {
        "NONE" => Case::Kept,
        "LOWER" => Case::Lower,
        "UPPER" => Case::Upper,
        other => return unsupported(format!("the case {other}")),
    };
    let words = of.node.strings("stopwords")?.unwrap_or_default().into_iter().map(String::from).collect();
    of.as_is(StringNormalizer { case, exact: of.flag("is_case_sensitive")?, words })
}

pub(super) fn full_match(of: &mut Use) -> Result<Vec<ValueId>> {
    let pattern = Pattern::new(of.node.string("pattern")?.unwrap_or_default(), Ask::Whole)?;
    of.as_is(pattern)
}

/// com.microsoft Tokenizer: what an expression matches, or what lies between separators, which are expressions too.
pub(super) fn tokenizer(of: &mut Use) -> Result<Vec<ValueId>> {
    let pad = of.node.string("pad_value")?.unwrap_or_default().into();
    let least = of.node.int("mincharnum")?.and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let parts = Parts { pad, least, mark: of.flag("mark")? };
    let separators = of.node.strings("separators")?.unwrap_or_default();
    let pattern = match of.node.string("tokenexp")?.filter(|pattern| !pattern.is_empty()) {
        Some(pattern) => Pattern::new(pattern, Ask::Parts(parts))?,
        // Every letter is a part.
        None if separators == [""] => Pattern::new("(?s).", Ask::Parts(parts))?,
        None if separators.is_empty() => {
            return unsupported("a tokenizer without an expression and separators");
        }
        None => {
            let any: Vec<_> = separators.iter().map(|separator| format!("(?:{separator})")).collect();
            Pattern::new(&any.join("|"), Ask::Between(parts))?
        }
    };
    of.as_is(pattern)
}

pub(super) fn tfidf(of: &mut Use) -> Result<Vec<ValueId>> {
    let count =
        |name: &str| Ok::<_, crate::error::Error>(of.node.int(name)?.and_then(|n| usize::try_from(n).ok()));
    let (least, most) = (count("min_gram_length")?.unwrap_or(0), count("max_gram_length")?.unwrap_or(0));
    ensure!((1..=most).contains(&least), InvalidGraph, "runs of {least} to {most} words");
    let mut grams = Grams::default();
    let pool: Vec<i64> = match of.node.strings("pool_strings")?.filter(|pool| !pool.is_empty()) {
        Some(pool) => {
            let mut number = |text: &str| {
                let next = grams.words.len() as i64;
                *grams.words.entry(text.into()).or_insert(next)
            };
            pool.into_iter().map(&mut number).collect()
        }
        None => of.node.ints("pool_int64s")?.unwrap_or_default().to_vec(),
    };
    let starts = of.node.ints("ngram_counts")?.unwrap_or_default();
    let starts = starts.iter().map(|n| usize::try_from(*n).unwrap_or(usize::MAX)).collect::<Vec<_>>();
    let mut columns = of.node.ints("ngram_indexes")?.unwrap_or_default().iter();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(pool.len());
        let runs = pool.get(start..end).filter(|runs| runs.len().is_multiple_of(i + 1));
        ensure!(
            runs.is_some(),
            InvalidGraph,
            "the runs of {} words are {start} to {end} of {}",
            i + 1,
            pool.len()
        );
        for run in runs.unwrap_or_default().chunks_exact(i + 1) {
            let column = columns.next().and_then(|n| usize::try_from(*n).ok()).filter(|n| *n < MAX_COLUMNS);
            ensure!(column.is_some(), InvalidGraph, "a run of {} words has no column", i + 1);
            grams.columns.insert(run.to_vec(), column.unwrap_or(0));
        }
    }
    let width =
        of.node.ints("ngram_indexes")?.unwrap_or_default().iter().max().map_or(0, |n| *n as usize + 1);
    ensure!(width <= MAX_COLUMNS, InvalidGraph, "{width} columns");
    let weights = of.node.floats("weights")?.unwrap_or_default().to_vec();
    let counts = match of.node.string("mode")?.unwrap_or_default() {
        "TF" => true,
        "IDF" => false,
        "TFIDF" => true,
        other => return unsupported(format!("the mode {other}")),
    };
    let weighted = of.node.string("mode")? != Some("TF");
    // No run is longer than the longest that has a column.
    let longest = grams.columns.keys().map(Vec::len).max().unwrap_or(1);
    let op = Tfidf {
        grams: Arc::new(grams),
        lengths: least..=most.min(longest),
        skips: count("max_skip_count")?.unwrap_or(0).min(u32::MAX as usize - 1),
        counts,
        weights: if weighted { weights } else { Vec::new() },
        columns: width,
    };
    of.as_is(op)
}

/// Columns that a row has at most.
const MAX_COLUMNS: usize = 1 << 24;
