//! A whole file through the loader in two pieces, and a token through the model that comes of it.
#![no_main]

use homefire::generate::{Rows, TextModel};
use homefire::session::{Loader, LoaderOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut loader = Loader::new(LoaderOptions { context_length: Some(8), exact: false, ..Default::default() });
    loader.begin_file(Some(bytes.len() as u64));
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let pushed = loader.push(first).and_then(|()| loader.push(second)).and_then(|()| loader.end_file());
    if pushed.is_ok()
        && let Ok(mut model) = loader.finish().and_then(TextModel::new)
    {
        let _ = pollster::block_on(model.feed_rows(&[0, 1], Rows::Last));
    }
});
