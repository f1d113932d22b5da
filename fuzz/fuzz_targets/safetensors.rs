//! The header of a safetensors file, with its length known and not; and the file as the weights of a small encoder, through
//! the loader, with one text through the model that comes of it.
#![no_main]

use homefire::embed::{EmbedOptions, Encoder};
use homefire::error::Result;
use homefire::formats::safetensors::Safetensors;
use homefire::session::{HeaderState, Loader, LoaderOptions};
use libfuzzer_sys::fuzz_target;

const CONFIG: &[u8] = include_bytes!("../../crate/tests/data/encoders/bert/config.json");
const TOKENIZER: &[u8] = include_bytes!("../../crate/tests/data/encoders/bert/tokenizer.json");

fn embed(weights: &[u8]) -> Result<()> {
    let mut loader = Loader::new(LoaderOptions { context_length: None, exact: true, ..Default::default() });
    let files = [CONFIG, TOKENIZER, weights];
    for file in files {
        loader.begin_file(Some(file.len() as u64));
        if loader.push_header(file)? == HeaderState::More {
            return Ok(());
        }
    }
    for (i, file) in files.into_iter().enumerate() {
        loader.begin_file(Some(file.len() as u64));
        if i == 2 {
            file.chunks(1000).try_for_each(|chunk| loader.push(chunk))?;
        }
        loader.end_file()?;
    }
    let mut encoder = Encoder::new(loader.finish()?)?;
    let mut embedding = encoder.begin(&["a small text".to_string()], EmbedOptions::default());
    while pollster::block_on(encoder.step(&mut embedding))? {}
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    for file_len in [None, Some(bytes.len() as u64), Some(u64::MAX)] {
        let _ = Safetensors::parse(bytes, file_len);
    }
    let _ = embed(bytes);
});
