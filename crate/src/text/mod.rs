//! Text to tokens and back: tokenizers as model files describe them.

mod bpe;
mod detokenizer;
mod pre_tokenize;
mod tokenizer;

pub use detokenizer::Detokenizer;
pub use tokenizer::Tokenizer;
