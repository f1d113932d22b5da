//! What a file says about its tokenizer, as plain values: the one thing that a [`Tokenizer`](super::Tokenizer)
//! is made from, whichever format it came in.

use super::decode::DecodeStep;
use super::normalize::Normalizer;
use super::pre_tokenize::PreTokenizer;

/// What a token is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenKind {
    /// Text.
    #[default]
    Normal,
    /// Stands for what the vocabulary cannot write.
    Unknown,
    /// Steers the model; never part of the text a user reads.
    Control,
    /// Text that is always one token.
    UserDefined,
    /// Not used by the model.
    Unused,
    /// One byte, written `<0xNN>`.
    Byte,
}

/// A token that is found in the text before the model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedToken {
    /// Its id.
    pub id: u32,
    /// What stands in the text.
    pub content: Box<str>,
    /// Found only where the caller asks for special tokens.
    pub special: bool,
    /// Takes the spaces before it with it.
    pub lstrip: bool,
    /// Takes the spaces behind it with it.
    pub rstrip: bool,
    /// Found only where no letter or digit touches it.
    pub single_word: bool,
    /// Found in the normalized text.
    pub normalized: bool,
}

/// The algorithm that turns a piece of text into ids, with what it needs beside the vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelSpec {
    /// Byte-pair encoding: pairs merge in the order of the list.
    Bpe {
        /// The pairs, best first.
        merges: Vec<(Box<str>, Box<str>)>,
        /// A piece that is a token is that token, whatever the merges say.
        ignore_merges: bool,
        /// Characters that are no token become their `<0xNN>` tokens.
        byte_fallback: bool,
        /// Neighbouring unknown characters become one unknown token.
        fuse_unk: bool,
        /// Written before every character of a word but the first, `##` or nothing.
        prefix: Box<str>,
        /// Written behind the last character of a word, `</w>` or nothing.
        suffix: Box<str>,
    },
    /// SentencePiece's byte-pair encoding: the neighbours whose union is the token of the best score merge.
    SentencePiece {
        /// One score a token.
        scores: Vec<f32>,
    },
    /// The cut of the highest sum of scores.
    Unigram {
        /// One log-probability a token.
        scores: Vec<f64>,
        /// Characters that are no token become their `<0xNN>` tokens.
        byte_fallback: bool,
    },
    /// The longest token first, then the longest that continues it.
    WordPiece {
        /// Written before tokens that continue a word.
        prefix: Box<str>,
        /// Longer words are unknown.
        max_chars: usize,
    },
}

/// A whole tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenizerSpec {
    /// The text of every token; the index is the id.
    pub tokens: Vec<Box<str>>,
    /// What each token is for; empty for all `Normal`.
    pub kinds: Vec<TokenKind>,
    /// Tokens are written in GPT-2's byte alphabet, and the model works on bytes.
    pub byte_level: bool,
    /// The algorithm.
    pub model: ModelSpec,
    /// Tokens found in the text before the model sees it.
    pub added: Vec<AddedToken>,
    /// Rewrites of the text, in order.
    pub normalizers: Vec<Normalizer>,
    /// Cuts of the normalized text, in order.
    pub pre_tokenizers: Vec<PreTokenizer>,
    /// From tokens back to text, in order.
    pub decoders: Vec<DecodeStep>,
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Ends a turn of a chat.
    pub eot: Option<u32>,
    /// Stands for the unknown.
    pub unk: Option<u32>,
    /// Fills a batch.
    pub pad: Option<u32>,
    /// The ids that the model expects before a text.
    pub prefix: Vec<u32>,
    /// The ids that the model expects behind a text.
    pub suffix: Vec<u32>,
}

impl TokenizerSpec {
    /// A tokenizer of these tokens and this algorithm that rewrites, cuts and adds nothing.
    pub fn new(tokens: Vec<Box<str>>, model: ModelSpec) -> Self {
        Self {
            tokens,
            kinds: Vec::new(),
            byte_level: false,
            model,
            added: Vec::new(),
            normalizers: Vec::new(),
            pre_tokenizers: Vec::new(),
            decoders: Vec::new(),
            bos: None,
            eos: None,
            eot: None,
            unk: None,
            pad: None,
            prefix: Vec::new(),
            suffix: Vec::new(),
        }
    }

    /// What the token is for.
    pub fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or_default()
    }
}
