//! The header of a GGUF file, with its length known and not, and the tokenizer in it.
#![no_main]

use homefire::formats::gguf::{Gguf, Parsed};
use homefire::text::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for file_len in [None, Some(bytes.len() as u64), Some(u64::MAX)] {
        if let Ok(Parsed::Complete(gguf)) = Gguf::parse(bytes, file_len)
            && let Ok(tokenizer) = Tokenizer::from_gguf(&gguf)
        {
            let ids = tokenizer.encode("It's 10° in Zürich,\n\n  中文 <s>", true);
            let _ = tokenizer.decode(&ids);
        }
    }
});
