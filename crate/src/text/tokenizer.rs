//! The tokenizer: built once from a [`TokenizerSpec`], then text to ids and ids to text.

use std::borrow::Cow;

use super::added::{AddedTokens, Segment};
use super::bpe::{Bpe, BpeOptions, BpeState};
use super::decode::{DecodeStep, Detokenizer, spoken, strip_ends};
use super::normalize::Normalizer;
use super::pre_tokenize::{PreTokenizer, pre_tokenize};
use super::sentencepiece::SentencePiece;
use super::spec::{ModelSpec, TokenKind, TokenizerSpec};
use super::unigram::Unigram;
use super::vocab::{Vocab, bytes_of_token};
use super::wordpiece::WordPiece;
use crate::error::{Result, ensure, fail};

/// Control tokens that end a turn whatever the file says about them.
const TEXT_ENDS: [&str; 9] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "<｜end▁of▁sentence｜>",
];

enum Model {
    Bpe(Bpe),
    SentencePiece(SentencePiece),
    Unigram(Unigram),
    WordPiece(WordPiece),
}

/// Turns text into the ids of a model and back.
pub struct Tokenizer {
    vocab: Vocab,
    /// What every token says behind other tokens, where that is not what `vocab` has.
    spoken: Option<Vocab>,
    kinds: Vec<TokenKind>,
    /// Those found in the raw text, and those found in the normalized one.
    added: AddedTokens,
    added_normalized: AddedTokens,
    normalizers: Vec<Normalizer>,
    pre_tokenizers: Vec<PreTokenizer>,
    model: Model,
    decoders: Vec<DecodeStep>,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    unk: Option<u32>,
    pad: Option<u32>,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    text_ends: Vec<u32>,
}

impl Tokenizer {
    /// Builds the tables of a tokenizer.
    ///
    /// # Errors
    /// `Format` if the parts contradict each other: an id out of range, a merge that names no token, a list
    /// of scores or kinds that is not as long as the vocabulary.
    pub fn new(spec: TokenizerSpec) -> Result<Self> {
        let count = spec.tokens.len();
        ensure!(count > 0, Format, "the tokenizer has no tokens");
        ensure!(
            spec.kinds.is_empty() || spec.kinds.len() == count,
            Format,
            "the tokenizer has {count} tokens and {} token types",
            spec.kinds.len()
        );
        let ids = [spec.bos, spec.eos, spec.eot, spec.unk, spec.pad].into_iter().flatten();
        let ids = ids.chain(spec.added.iter().map(|token| token.id));
        for id in ids.chain(spec.prefix.iter().copied()).chain(spec.suffix.iter().copied()) {
            ensure!(
                (id as usize) < count,
                Format,
                "the tokenizer names the special token {id} and has {count} tokens"
            );
        }
        let mut added_ids: Vec<u32> = spec.added.iter().map(|token| token.id).collect();
        added_ids.sort_unstable();
        added_ids.dedup();
        let is_added = |id: u32| added_ids.binary_search(&id).is_ok();

        let mut vocab = Vocab::new(spec.tokens.iter().zip(0..).map(|(token, id)| {
            match spec.byte_level && !is_added(id) {
                true => bytes_of_token(token).map_or_else(|| Cow::from(token.as_bytes()), Cow::from),
                false => Cow::from(token.as_bytes()),
            }
        }))?;
        // Of equal tokens the model finds the normal one, and added ones only where no other is.
        (0..count as u32).filter(|&id| !is_added(id)).for_each(|id| vocab.index(id));
        (0..count as u32).filter(|&id| is_added(id)).for_each(|id| vocab.index(id));

        let kinds = if spec.kinds.is_empty() { vec![TokenKind::Normal; count] } else { spec.kinds };
        let scored = |scores: usize| {
            ensure!(scores == count, Format, "the tokenizer has {count} tokens and {scores} scores");
            Ok(())
        };
        let model = match spec.model {
            ModelSpec::Bpe { merges, ignore_merges, byte_fallback, fuse_unk, prefix, suffix } => {
                let (byte_level, unk) = (spec.byte_level, spec.unk);
                let options =
                    BpeOptions { byte_level, ignore_merges, byte_fallback, fuse_unk, prefix, suffix, unk };
                Model::Bpe(Bpe::new(&vocab, &merges, options)?)
            }
            ModelSpec::SentencePiece { scores } => {
                scored(scores.len())?;
                Model::SentencePiece(SentencePiece::new(&vocab, scores, spec.unk))
            }
            ModelSpec::Unigram { scores, byte_fallback } => {
                scored(scores.len())?;
                let usable = |id: u32| {
                    matches!(
                        kinds[id as usize],
                        TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused
                    ) && Some(id) != spec.unk
                };
                Model::Unigram(Unigram::new(&vocab, scores, spec.unk, byte_fallback, usable)?)
            }
            ModelSpec::WordPiece { prefix, max_chars } => {
                let Some(unk) = spec.unk else {
                    return fail!(Format, "the WordPiece tokenizer names no unknown token");
                };
                Model::WordPiece(WordPiece { prefix, max_chars, unk })
            }
        };
        let (normalized, raw): (Vec<_>, Vec<_>) = spec.added.into_iter().partition(|token| token.normalized);
        let normalized = normalized.into_iter().map(|mut token| {
            token.content = normalize(&spec.normalizers, token.content.into()).into();
            token
        });
        let added = AddedTokens::new(raw);
        let mut text_ends: Vec<u32> = spec.eos.into_iter().chain(spec.eot).collect();
        let known = TEXT_ENDS.iter().filter_map(|token| vocab.id(token.as_bytes()));
        text_ends.extend(known.filter(|&id| matches!(kinds[id as usize], TokenKind::Control)));
        let silent =
            spec.decoders.iter().all(|step| matches!(step, DecodeStep::ByteLevel | DecodeStep::Fuse));
        let spoken = match silent {
            true => None,
            false => Some(Vocab::new(spec.tokens.iter().zip(0..).map(|(token, id)| match is_added(id) {
                true => Cow::from(token.as_bytes()),
                false => spoken(token, &spec.decoders),
            }))?),
        };
        Ok(Self {
            spoken,
            vocab,
            added,
            added_normalized: AddedTokens::new(normalized),
            kinds,
            normalizers: spec.normalizers,
            pre_tokenizers: spec.pre_tokenizers,
            model,
            decoders: spec.decoders,
            bos: spec.bos,
            eos: spec.eos,
            eot: spec.eot,
            unk: spec.unk,
            pad: spec.pad,
            prefix: spec.prefix,
            suffix: spec.suffix,
            text_ends,
        })
    }

    /// The ids of a text. With `special`, control tokens written in the text are those tokens, as a chat
    /// template needs it; without, they are plain text, as text from outside should be. Nothing is added:
    /// see [`Self::prefix`].
    pub fn encode(&self, text: &str, special: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut state = BpeState::default();
        for (number, segment) in self.added.segments(text, special).into_iter().enumerate() {
            let range = match segment {
                Segment::Token(id) => {
                    ids.push(id);
                    continue;
                }
                Segment::Text(range) => range,
            };
            let normal = normalize(&self.normalizers, text[range].to_string());
            for (part, segment) in self.added_normalized.segments(&normal, special).into_iter().enumerate() {
                match segment {
                    Segment::Token(id) => ids.push(id),
                    Segment::Text(range) => {
                        let at_start = number == 0 && part == 0;
                        self.encode_normal(normal[range].to_string(), at_start, &mut state, &mut ids);
                    }
                }
            }
        }
        ids
    }

    /// The ids of a prompt: of its text, special tokens included, behind the token that the model wants at the
    /// beginning, unless the text begins with that itself.
    pub fn encode_prompt(&self, text: &str) -> Vec<u32> {
        let mut ids = self.encode(text, true);
        if let Some(first) = self.leading_token()
            && ids.first() != Some(&first)
        {
            ids.insert(0, first);
        }
        ids
    }

    /// The ids of normalized text without added tokens.
    fn encode_normal(&self, text: String, at_start: bool, state: &mut BpeState, ids: &mut Vec<u32>) {
        let pieces = pre_tokenize(&self.pre_tokenizers, text, at_start);
        for range in pieces.ranges {
            let piece = &pieces.text[range];
            match &self.model {
                Model::Bpe(model) => model.encode(&self.vocab, piece, state, ids),
                Model::SentencePiece(model) => model.encode(&self.vocab, piece, ids),
                Model::Unigram(model) => model.encode(&self.vocab, piece, ids),
                Model::WordPiece(model) => model.encode(&self.vocab, piece, ids),
            }
        }
    }

    /// The ids that the model expects before a text: its BOS token, or none.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// The ids that the model expects behind a text.
    pub fn suffix(&self) -> &[u32] {
        &self.suffix
    }

    /// The text of these ids, with the names of control tokens. Bytes that are no UTF-8 become U+FFFD, and ids
    /// outside the vocabulary say nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut detokenizer = Detokenizer::default();
        let mut text: String = ids.iter().map(|&id| detokenizer.push(self.token_bytes(id))).collect();
        text.push_str(&detokenizer.finish());
        match strip_ends(&text, &self.decoders) {
            stripped if stripped.len() < text.len() => stripped.to_string(),
            _ => text,
        }
    }

    /// The text of these ids without the control tokens among them.
    pub fn decode_plain(&self, ids: &[u32]) -> String {
        let says = |id: &u32| !matches!(self.kind(*id), TokenKind::Control | TokenKind::Unknown);
        self.decode(&ids.iter().copied().filter(says).collect::<Vec<_>>())
    }

    /// What a token says behind other tokens, often not a whole character: see
    /// [`Detokenizer`](super::Detokenizer). A control token says its name, an id outside the vocabulary nothing.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.spoken.as_ref().unwrap_or(&self.vocab).token(id).unwrap_or_default()
    }

    /// The number of tokens; ids are below it.
    pub fn vocabulary_size(&self) -> usize {
        self.vocab.len()
    }

    /// The id of a token by its text: an added token, or one of the vocabulary as the bytes it stands for.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        let added = self.added.id(token).or_else(|| self.added_normalized.id(token));
        added.or_else(|| self.vocab.id(token.as_bytes()))
    }

    /// What a token is for; `Unused` for an id out of range.
    pub fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Unused)
    }

    /// Whether a model that gives this token has finished its turn or its text.
    pub fn ends_text(&self, id: u32) -> bool {
        self.text_ends.contains(&id)
    }

    /// The token that begins a text, where the model wants one before every prompt.
    pub fn leading_token(&self) -> Option<u32> {
        self.prefix.first().copied()
    }

    /// The text of the tokens that begin and end a text, as chat templates use them.
    pub fn bos_and_eos(&self) -> (Option<String>, Option<String>) {
        let text = |id: Option<u32>| {
            let token = self.vocab.token(id?)?;
            Some(String::from_utf8_lossy(token).into_owned())
        };
        (text(self.bos), text(self.eos))
    }

    /// Begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Ends a turn of a chat, where the file says so.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// Stands for the unknown.
    pub fn unk(&self) -> Option<u32> {
        self.unk
    }

    /// Fills a batch.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("tokens", &self.vocab.len()).finish_non_exhaustive()
    }
}

fn normalize(normalizers: &[Normalizer], text: String) -> String {
    normalizers.iter().fold(text, |text, normalizer| normalizer.apply(text))
}
