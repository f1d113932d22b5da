//! Models in several files: a tiny model is cut into shards, as `llama-gguf-split` does, and must answer as the
//! whole one; shards that are missing, swapped, foreign or cut off are named.

use homefire::error::{Error, ErrorKind};
use homefire::formats::gguf::{Gguf, Parsed};
use homefire::generate::{Layers, Rows, TextModel};
use homefire::import::arch::Part;
use homefire::session::{HeaderState, Loader, LoaderOptions};
use homefire::tensor::Tensor;
use std::path::Path;

fn tiny(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny")).join(name)).unwrap()
}

fn parsed(bytes: &[u8]) -> Gguf {
    match Gguf::parse(bytes, Some(bytes.len() as u64)).unwrap() {
        Parsed::Complete(gguf) => *gguf,
        Parsed::NeedMore => panic!("the whole file does not suffice"),
    }
}

fn put_string(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.bytes());
}

/// Cuts a file into shards of so many tensors each. The first may have none, as `--no-tensor-first-split` makes it.
fn split(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let gguf = parsed(bytes);
    assert_eq!(sizes.iter().sum::<usize>(), gguf.tensors.len());
    let mut first_name = Vec::new();
    put_string(&mut first_name, &gguf.tensors[0].name);
    let end_of_metadata = bytes.windows(first_name.len()).position(|w| w == first_name).unwrap();
    let mut tensors = gguf.tensors.iter();
    sizes
        .iter()
        .enumerate()
        .map(|(number, &size)| {
            let mut out = b"GGUF".to_vec();
            out.extend(3u32.to_le_bytes());
            out.extend((size as u64).to_le_bytes());
            let n_metadata = if number == 0 { gguf.metadata.len() } else { 0 };
            out.extend((n_metadata as u64 + 3).to_le_bytes());
            for (key, kind, value) in [
                ("split.no", 2u32, number),
                ("split.count", 2, sizes.len()),
                ("split.tensors.count", 5, gguf.tensors.len()),
            ] {
                put_string(&mut out, key);
                out.extend(kind.to_le_bytes());
                out.extend(&value.to_le_bytes()[..if kind == 2 { 2 } else { 4 }]);
            }
            if number == 0 {
                out.extend(&bytes[24..end_of_metadata]);
            }
            let mut data = Vec::new();
            for tensor in tensors.by_ref().take(size) {
                // Everything between the name and the offset stands in the file as it is.
                let mut name = Vec::new();
                put_string(&mut name, &tensor.name);
                let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
                let rest = 4 + 8 * tensor.shape.len() + 4;
                out.extend(&bytes[at..at + name.len() + rest]);
                out.extend((data.len() as u64).to_le_bytes());
                data.extend(&bytes[tensor.offset as usize..(tensor.offset + tensor.n_bytes) as usize]);
                data.resize(data.len().next_multiple_of(32), 0);
            }
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(data);
            out
        })
        .collect()
}

/// Loads as the package does: all headers, then all files, in chunks.
fn load(files: &[&[u8]], chunk: usize) -> Result<TextModel, Error> {
    let mut loader =
        Loader::new(LoaderOptions { context_length: Some(64), exact: true, ..Default::default() });
    if files.len() > 1 {
        for file in files {
            loader.begin_file(Some(file.len() as u64));
            let mut chunks = file.chunks(chunk);
            while loader.push_header(chunks.next().expect("the header never became whole"))?
                == HeaderState::More
            {}
        }
    }
    for file in files {
        loader.begin_file(Some(file.len() as u64));
        for bytes in file.chunks(chunk) {
            loader.push(bytes)?;
        }
        loader.end_file()?;
    }
    TextModel::new(loader.finish()?)
}

fn logits(mut model: TextModel) -> Vec<f32> {
    pollster::block_on(model.feed_rows(&[5, 9, 70, 3], Rows::All)).unwrap().data::<f32>().unwrap().to_vec()
}

fn refused(files: &[&[u8]]) -> Error {
    load(files, 1000).err().expect("the shards were accepted")
}

/// The second half of a model's layers, from files of which only what is wanted comes, applied to some activations.
fn second_half(files: &[&[u8]]) -> Vec<f32> {
    let mut loader =
        Loader::new(LoaderOptions { context_length: Some(64), exact: true, ..Default::default() });
    loader.set_part(Part { index: 1, of: 2 }).unwrap();
    for file in files {
        loader.begin_file(Some(file.len() as u64));
        while loader.push_header(file).unwrap() == HeaderState::More {}
    }
    let mut wanted = None;
    for (number, file) in files.iter().enumerate() {
        loader.begin_file(Some(file.len() as u64));
        if wanted.is_none() {
            loader.push(&file[..40]).unwrap();
            loader.skip(file.len() as u64 - 40);
            wanted = loader.wanted();
            // The first shard has no tensors.
            assert!(wanted.as_ref().unwrap().iter().all(|(file, _)| *file > 0));
        } else {
            let mut at = 0;
            for (_, range) in wanted.iter().flatten().filter(|(file, _)| *file == number) {
                loader.skip(range.start - at);
                loader.push(&file[range.start as usize..range.end as usize]).unwrap();
                at = range.end;
            }
            loader.skip(file.len() as u64 - at);
        }
        loader.end_file().unwrap();
    }
    let mut layers = Layers::new(loader.finish().unwrap()).unwrap();
    let n = layers.hidden_dim();
    let hidden: Vec<f32> = (0..3 * n).map(|i| (i as f32 * 0.37).sin()).collect();
    layers.run(0, Tensor::new(&[3, n], &hidden).unwrap(), &[1, 2]).unwrap().data::<f32>().unwrap().to_vec()
}

#[test]
fn a_part_is_read_from_shards_by_what_it_wants() {
    let whole = tiny("qwen3-q8_0.gguf");
    let n = parsed(&whole).tensors.len();
    let once = |sizes: &[usize]| {
        let shards = split(&whole, sizes);
        second_half(&shards.iter().map(|shard| &shard[..]).collect::<Vec<_>>())
    };
    let want = once(&[0, n]);
    assert!(want.iter().all(|x| x.is_finite()) && want.iter().any(|x| x.abs() > 0.1));
    for cut in 1..n {
        assert_eq!(once(&[0, cut, n - cut]), want, "cut after {cut} tensors");
    }
}

#[test]
fn shards_answer_as_the_whole_model() {
    for name in ["llama-f32.gguf", "qwen3-q8_0.gguf", "llama3-f16.gguf"] {
        let whole = tiny(name);
        let want = logits(load(&[&whole], 4096).unwrap());
        let n = parsed(&whole).tensors.len();
        for sizes in [[5, 9, n - 14], [0, n - 1, 1]] {
            let shards = split(&whole, &sizes);
            let shards: Vec<&[u8]> = shards.iter().map(Vec::as_slice).collect();
            for chunk in [777, 1 << 20] {
                assert_eq!(logits(load(&shards, chunk).unwrap()), want, "{name} {sizes:?}");
            }
        }
    }
}

#[test]
fn what_is_wrong_with_the_shards_is_named() {
    let whole = tiny("llama-f32.gguf");
    let n = parsed(&whole).tensors.len();
    let shards = split(&whole, &[5, 9, n - 14]);
    let [a, b, c] = [&shards[0][..], &shards[1][..], &shards[2][..]];

    let missing = refused(&[a, b]);
    assert_eq!(missing.kind(), ErrorKind::InvalidInput);
    assert!(missing.message().contains("00003-of-00003"), "{missing}");
    assert!(refused(&[a]).message().contains("00002-of-00003"));
    let swapped = refused(&[a, c, b]);
    assert!(swapped.message().contains("file 2 is shard 3 of 3"), "{swapped}");
    assert!(refused(&[b]).message().contains("file 1 is shard 2 of 3"));
    assert!(refused(&[a, &whole]).message().contains("file 2 is a whole model"));
    assert!(refused(&[&whole, b]).message().contains("whole model"));

    let other = tiny("qwen3-q8_0.gguf");
    let n_other = parsed(&other).tensors.len();
    let foreign = split(&other, &[5, 9, n_other - 14]);
    let error = refused(&[a, &foreign[1], c]);
    assert!(
        error.kind() == ErrorKind::Format && error.message().contains("file 2 is of another model"),
        "{error}"
    );
    let twice = split(&whole, &[4, 10, n - 14]);
    let error = refused(&[a, &twice[1], c]);
    assert!(error.message().contains("shards 1 and 2 both have"), "{error}");
    assert!(error.node().is_some());

    let cut = &b[..b.len() - 100];
    let error = refused(&[a, cut, c]);
    assert!(error.message().contains("in file 2") && error.node().is_some(), "{error}");
}
