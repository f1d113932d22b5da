//! Texts to vectors: a tokenizer and an encoder, run on batches of texts of like length.

mod batches;
mod encoder;

pub use batches::{Batch, batches};
pub use encoder::{EmbedOptions, Embedding, Encoder, EncoderFacts};
