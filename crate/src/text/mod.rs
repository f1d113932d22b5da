//! Text to token ids and back: a [`Tokenizer`] is built from a [`TokenizerSpec`], which
//! `from_gguf` and `from_json` fill from the two kinds of files that carry one.
//!
//! Text goes added tokens → [`normalize`] → [`pre_tokenize`] → model ([`bpe`], [`sentencepiece`],
//! [`unigram`], [`wordpiece`]) → ids, and back through [`decode`].

#![forbid(unsafe_code)]

mod added;
mod bpe;
pub mod decode;
mod from_gguf;
mod from_json;
#[cfg(test)]
mod golden;
pub mod normalize;
pub mod pre_tokenize;
mod scan;
mod sentencepiece;
mod spec;
mod tokenizer;
pub mod unicode;
mod unigram;
mod vocab;
mod wordpiece;

pub use decode::{DecodeStep, Detokenizer};
pub use spec::{AddedToken, ModelSpec, TokenKind, TokenizerSpec};
pub use tokenizer::Tokenizer;
