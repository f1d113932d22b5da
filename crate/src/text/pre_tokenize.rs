//! Cutting normalized text into the pieces that the model sees one at a time. A pre-tokenizer is a list of
//! [`PreTokenizer`] steps, each cutting every piece of the step before. The known names of GGUF files
//! ([`named`]) and the known expressions of `tokenizer.json` ([`Pattern::from_regex`]) end in the same steps.

use std::ops::Range;

use super::scan::{self, WordRules};
use super::unicode::{is_number, is_punctuation};
use crate::error::{Result, fail};

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum PreTokenizer {
    /// Cuts where a pattern matches.
    Split {
        /// What to find.
        pattern: Pattern,
        /// What becomes of what was found.
        behavior: Behavior,
        /// Treats what lies between the matches as the matches.
        invert: bool,
    },
    /// A space before every piece that does not begin with one.
    PrefixSpace,
    /// Spaces become `replacement`, which also goes before the text, and pieces begin at it.
    Metaspace {
        /// The character that stands for a space, `▁`.
        replacement: char,
        /// Where one goes before the text.
        prepend: Prepend,
        /// Whether to cut before each of them.
        split: bool,
    },
}

/// Where [`PreTokenizer::Metaspace`] puts a space that the text lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepend {
    /// Before every piece of text between special tokens.
    Always,
    /// Only at the beginning of the whole text.
    First,
    /// Nowhere.
    Never,
}

/// What becomes of the matches of a [`PreTokenizer::Split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// They are pieces.
    Isolated,
    /// They vanish.
    Removed,
    /// They end the piece before them.
    MergedWithPrevious,
    /// They begin the piece after them.
    MergedWithNext,
    /// Neighbouring matches are one piece.
    Contiguous,
}

/// What a [`PreTokenizer::Split`] looks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// These characters.
    Literal(Box<str>),
    /// The words of GPT-2.
    Gpt2,
    /// The words of Llama 3 and its family.
    Words(WordRules),
    /// `\p{N}{1,most}`; any number for 0.
    Digits(usize),
    /// `[0-9][0-9][0-9]`.
    ThreeDigits,
    /// Punctuation and a few signs, as Falcon splits them.
    Signs {
        /// Whether the backquote is one of them.
        backquote: bool,
    },
    /// One punctuation character, Unicode's or ASCII's.
    Punctuation,
    /// Runs of Han, Hiragana and Katakana.
    EastAsian,
    /// `\w+|[^\w\s]+`.
    WordOrSigns,
    /// The words of CLIP.
    Clip,
    /// The words of DeepSeek 3.
    DeepSeek3,
    /// The words of BLOOM.
    Bloom,
    /// `\s+`.
    Spaces,
    /// `\S+`.
    NonSpaces,
}

const LLAMA3: WordRules =
    WordRules { contractions: true, digits: 3, marks: false, cased: false, slashes: false };
const QWEN2: WordRules = WordRules { digits: 1, ..LLAMA3 };
const GPT4O: WordRules = WordRules { cased: true, slashes: true, ..LLAMA3 };
const TEKKEN: WordRules = WordRules { contractions: false, digits: 1, ..GPT4O };

/// The names that `tokenizer.ggml.pre` may have, by what they mean.
const NAMES: &[(&str, &[Pattern])] = &[
    (
        "default",
        &[Pattern::Signs { backquote: false }, Pattern::Gpt2, Pattern::Digits(0), Pattern::ThreeDigits],
    ),
    ("falcon", &[Pattern::Signs { backquote: true }, Pattern::Gpt2, Pattern::ThreeDigits]),
    (
        "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert roberta-bpe \
         jina-v1-en jina-v2-code mpt olmo jais trillion granite-docling exaone4",
        &[Pattern::Gpt2],
    ),
    (
        "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
        &[Pattern::Digits(1), Pattern::Gpt2],
    ),
    (
        "llama-bpe llama3 llama-v3 smollm3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe \
         glm4 chatglm-bpe",
        &[Pattern::Words(LLAMA3)],
    ),
    (
        "qwen2 deepseek-r1-qwen kormo f2llmv2 stablelm2 hunyuan megrez solar-open grok-2",
        &[Pattern::Words(QWEN2)],
    ),
    ("qwen35", &[Pattern::Words(WordRules { marks: true, ..QWEN2 })]),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", &[Pattern::Words(GPT4O)]),
    ("tekken", &[Pattern::Words(TEKKEN)]),
    (
        "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
        &[Pattern::Digits(3), Pattern::EastAsian, Pattern::DeepSeek3],
    ),
    ("bloom poro-chat gpt3-finnish", &[Pattern::Bloom]),
    ("viking", &[Pattern::Bloom, Pattern::Digits(1)]),
];

/// The steps that a `tokenizer.ggml.pre` names.
///
/// # Errors
/// `UnsupportedFormat` for a name that is not known, with those that are.
pub fn named(name: &str) -> Result<Vec<PreTokenizer>> {
    match NAMES.iter().find(|(names, _)| names.split_whitespace().any(|known| known == name)) {
        Some((_, patterns)) => Ok(patterns.iter().cloned().map(PreTokenizer::isolate).collect()),
        None => {
            let known: Vec<_> = NAMES.iter().map(|(names, _)| *names).collect();
            fail!(
                UnsupportedFormat,
                "the pre-tokenizer '{name}' is not supported; the known ones are: {}",
                known.join(" ")
            )
        }
    }
}

/// Whether files with this `tokenizer.ggml.pre` take a piece that is a token as that token, whatever the merges say.
pub fn ignores_merges(name: &str) -> bool {
    name == "tekken"
        || matches!(named(name).as_deref(), Ok([PreTokenizer::Split { pattern: Pattern::Words(LLAMA3), .. }]))
            && !matches!(name, "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe")
}

impl PreTokenizer {
    /// Makes every match a piece.
    pub fn isolate(pattern: Pattern) -> Self {
        Self::Split { pattern, behavior: Behavior::Isolated, invert: false }
    }
}

impl Pattern {
    /// The pattern that an expression of a `tokenizer.json` stands for.
    ///
    /// # Errors
    /// `UnsupportedFormat` for an expression that is not known.
    pub fn from_regex(regex: &str) -> Result<Self> {
        // The same languages are written with and without possessive quantifiers and one-character classes.
        let plain = regex.replace("++", "+").replace("?+", "?").replace("*+", "*").replace("{1,3}+", "{1,3}");
        let words = |rules| Ok(Self::Words(rules));
        const CONTRACTIONS: [&str; 2] = ["(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'(?i:[sdmt]|ll|ve|re)"];
        const CASED: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+#|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*#|";
        const TAIL: &str = r"|\s*[\r\n]+|\s+(?!\S)|\s+";
        for contraction in CONTRACTIONS {
            for (number, digits) in [("{1,3}", 3), ("", 1), ("+", 0)] {
                let rules = WordRules { digits, ..LLAMA3 };
                let signs = r"| ?[^\s\p{L}\p{N}]+[\r\n]*";
                if plain
                    == format!(r"{contraction}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{number}{signs}{TAIL}")
                {
                    return words(rules);
                }
                let signs = r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*";
                if plain
                    == format!(
                        r"{contraction}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}{number}{signs}{TAIL}"
                    )
                {
                    return words(WordRules { marks: true, ..rules });
                }
                let signs = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*";
                for (ending, contractions) in [(format!("{contraction}?"), true), (String::new(), false)] {
                    let cased = CASED.replace('#', &ending);
                    if plain == format!(r"{cased}\p{{N}}{number}{signs}{TAIL}") {
                        return words(WordRules { contractions, digits, ..GPT4O });
                    }
                }
            }
        }
        Ok(match plain.as_str() {
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
            | r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+" => Self::Gpt2,
            r"\p{N}" => Self::Digits(1),
            r"\p{N}{1,3}" => Self::Digits(3),
            r"\p{N}+" => Self::Digits(0),
            "[0-9][0-9][0-9]" => Self::ThreeDigits,
            r"\w+|[^\w\s]+" => Self::WordOrSigns,
            r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
            | r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+" => Self::Clip,
            r"\s+" => Self::Spaces,
            r"\S+" => Self::NonSpaces,
            "[一-龥぀-ゟ゠-ヿ]+" => Self::EastAsian,
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"## => {
                Self::DeepSeek3
            }
            r" ?[^(\s|[.,!?…。，、।۔،])]+" | r" ?[^(\s|.,!?…。，、।۔،)]+" => Self::Bloom,
            "\n" | r"\n" => Self::Literal("\n".into()),
            " " => Self::Literal(" ".into()),
            _ => {
                return fail!(
                    UnsupportedFormat,
                    "the pre-tokenizer's expression '{regex}' is not supported; report it with the model's name"
                );
            }
        })
    }

    /// The length of the match at the beginning of `text`.
    fn match_at(&self, text: &str) -> Option<usize> {
        match self {
            Self::Literal(literal) => text.starts_with(&**literal).then_some(literal.len()),
            Self::Gpt2 => scan::gpt2(text),
            Self::Words(rules) => scan::words(text, *rules),
            Self::Digits(most) => {
                text.chars().next().filter(|&c| is_number(c)).map(|_| scan::digits(text, *most))
            }
            Self::ThreeDigits => scan::three_digits(text),
            Self::Signs { backquote } => scan::signs(text, *backquote),
            Self::Punctuation => text
                .chars()
                .next()
                .filter(|&c| is_punctuation(c) || c.is_ascii_punctuation())
                .map(char::len_utf8),
            Self::EastAsian => scan::east_asian(text),
            Self::WordOrSigns => scan::word_or_signs(text),
            Self::Clip => scan::clip(text),
            Self::DeepSeek3 => scan::deepseek3(text),
            Self::Bloom => scan::bloom(text),
            Self::Spaces => scan::space_run(text, true),
            Self::NonSpaces => scan::space_run(text, false),
        }
    }
}

/// A text and where its pieces lie in it.
pub(super) struct Pieces {
    pub(super) text: String,
    pub(super) ranges: Vec<Range<usize>>,
}

/// Cuts a normalized text into pieces; `at_start` says whether it begins the whole text.
pub(super) fn pre_tokenize(steps: &[PreTokenizer], text: String, at_start: bool) -> Pieces {
    let whole = 0..text.len();
    let mut pieces = Pieces { text, ranges: vec![whole] };
    for step in steps {
        match step {
            PreTokenizer::Split { pattern, behavior, invert } => {
                let ranges = std::mem::take(&mut pieces.ranges);
                for range in ranges {
                    split(&pieces.text, range, pattern, *behavior, *invert, &mut pieces.ranges);
                }
            }
            PreTokenizer::PrefixSpace => {
                pieces.rewrite(|piece, _, out| {
                    if !piece.starts_with(' ') {
                        out.push(' ');
                    }
                    out.push_str(piece);
                });
            }
            PreTokenizer::Metaspace { replacement, prepend, split: cut } => {
                let mark = *replacement;
                pieces.rewrite(|piece, number, out| {
                    let wanted = match prepend {
                        Prepend::Always => true,
                        Prepend::First => at_start && number == 0,
                        Prepend::Never => false,
                    };
                    if wanted && !piece.starts_with([mark, ' ']) {
                        out.push(mark);
                    }
                    out.extend(piece.chars().map(|c| if c == ' ' { mark } else { c }));
                });
                if *cut {
                    let pattern = Pattern::Literal(mark.to_string().into());
                    let ranges = std::mem::take(&mut pieces.ranges);
                    for range in ranges {
                        split(
                            &pieces.text,
                            range,
                            &pattern,
                            Behavior::MergedWithNext,
                            false,
                            &mut pieces.ranges,
                        );
                    }
                }
            }
        }
        pieces.ranges.retain(|range| !range.is_empty());
    }
    pieces
}

impl Pieces {
    /// Replaces every piece by what `write` appends for it, given its number.
    fn rewrite(&mut self, write: impl Fn(&str, usize, &mut String)) {
        let mut text = String::with_capacity(self.text.len() + self.ranges.len());
        for (number, range) in self.ranges.iter_mut().enumerate() {
            let start = text.len();
            write(&self.text[range.clone()], number, &mut text);
            *range = start..text.len();
        }
        self.text = text;
    }
}

/// Appends the pieces of `text[range]`.
fn split(
    text: &str,
    range: Range<usize>,
    pattern: &Pattern,
    behavior: Behavior,
    invert: bool,
    out: &mut Vec<Range<usize>>,
) {
    let piece = &text[..range.end];
    // The end of a match that has not become a piece, and the start of the gap since the last match.
    let (mut at, mut gap) = (range.start, range.start);
    let mut last = None;
    let mut emit = |found: Range<usize>, matched: bool| {
        if found.is_empty() {
            return;
        }
        let matched = matched != invert;
        let joined = match (behavior, last, matched) {
            (Behavior::Removed, _, true) => {
                last = Some(true);
                return;
            }
            (Behavior::MergedWithPrevious, Some(false), true) => true,
            (Behavior::MergedWithNext, Some(true), false) => true,
            (Behavior::Contiguous, Some(before), now) => before == now,
            _ => false,
        };
        match out.last_mut() {
            Some(before) if joined && before.end == found.start => before.end = found.end,
            _ => out.push(found),
        }
        last = Some(matched);
    };
    while at < range.end {
        match pattern.match_at(&piece[at..]) {
            Some(length) if length > 0 => {
                emit(gap..at, false);
                emit(at..at + length, true);
                at += length;
                gap = at;
            }
            _ => at += piece[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    emit(gap..range.end, false);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(name: &str, text: &str) -> Vec<String> {
        let pieces = pre_tokenize(&named(name).unwrap(), text.into(), true);
        pieces.ranges.into_iter().map(|range| pieces.text[range].to_string()).collect()
    }

    #[test]
    fn the_families_cut_as_their_expressions_do() {
        assert_eq!(cut("gpt-2", "it's  10 a\n\nb "), ["it", "'s", " ", " 10", " a", "\n", "\n", "b", " "]);
        assert_eq!(cut("smollm", "a 12%"), ["a", " ", "1", "2", "%"]);
        assert_eq!(cut("llama-bpe", "IT'S 12345!\n\n x"), ["IT", "'S", " ", "123", "45", "!\n\n", " x"]);
        assert_eq!(cut("qwen2", "\tab 12\r\n  c"), ["\tab", " ", "1", "2", "\r\n", " ", " c"]);
        assert_eq!(cut("gpt-4o", "HTTPServer's ABC"), ["HTTPServer's", " ABC"]);
        assert_eq!(cut("tekken", "camelCase a/"), ["camel", "Case", " a", "/"]);
        assert_eq!(cut("deepseek-v3", "x=12345漢字kana"), ["x", "=", "123", "45", "漢字", "kana"]);
        assert_eq!(cut("default", "a+1234"), ["a", "+", "123", "4"]);
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = named("mystery").unwrap_err();
        assert!(error.to_string().contains("'mystery'") && error.to_string().contains("smollm"), "{error}");
    }

    #[test]
    fn the_expression_of_llama_3_is_known() {
        let regex = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        assert_eq!(Pattern::from_regex(regex).unwrap(), Pattern::Words(LLAMA3));
        assert!(Pattern::from_regex("a+b").is_err());
    }

    #[test]
    fn behaviours_keep_or_join_the_matches() {
        let cut = |behavior| {
            let mut out = Vec::new();
            split("a--b", 0..4, &Pattern::Literal("-".into()), behavior, false, &mut out);
            out.into_iter().map(|range| "a--b"[range].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(cut(Behavior::Isolated), ["a", "-", "-", "b"]);
        assert_eq!(cut(Behavior::Removed), ["a", "b"]);
        assert_eq!(cut(Behavior::MergedWithPrevious), ["a-", "-", "b"]);
        assert_eq!(cut(Behavior::MergedWithNext), ["a", "-", "-b"]);
        assert_eq!(cut(Behavior::Contiguous), ["a", "--", "b"]);
    }
}
