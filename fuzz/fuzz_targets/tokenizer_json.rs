//! A `tokenizer.json`, and a text through what it makes.
#![no_main]

use homefire::text::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tokenizer) = Tokenizer::from_json(bytes) {
        let ids = tokenizer.encode("It's 10° in Zürich,\n\n  中文 <s>", true);
        let _ = tokenizer.decode(&ids);
    }
});
