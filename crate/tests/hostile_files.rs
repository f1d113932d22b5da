//! Hostile files: 100,000 mutated headers and 20,000 mutated ONNX files through their parsers, and thousands of models
//! through the whole loader. None may panic, and no allocation may be larger than the bytes it was made from and a
//! small constant, which an allocator that counts holds.

use homefire::error::{Error, ErrorKind};
use homefire::formats::gguf::{Gguf, Parsed};
use homefire::formats::onnx;
use homefire::session::{Loader, LoaderOptions};
use homefire::tensor::Tensor;
use homefire::types::DType;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, and the largest size that each thread has asked of it.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates nor touches the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promise is the one that System wants.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from System, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
        // SAFETY: the pointer came from System, with this layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The largest allocation while `work` runs, in bytes.
fn largest_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    LARGEST.set(0);
    let out = work();
    (LARGEST.get(), out)
}

fn tiny(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny")).join(name)).unwrap()
}

fn put_string(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.bytes());
}

/// A file whose metadata are one list of `count` elements, which are `body`.
fn file_of_list(kind: u32, count: usize, body: &[u8]) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.extend(1u64.to_le_bytes());
    put_string(&mut out, "list");
    out.extend(9u32.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((count as u64).to_le_bytes());
    out.extend(body);
    out
}

/// The bytes up to the first tensor's.
fn header_of(file: &[u8]) -> Vec<u8> {
    match Gguf::parse(file, Some(file.len() as u64)).unwrap() {
        Parsed::Complete(gguf) => file[..gguf.data_start as usize].to_vec(),
        Parsed::NeedMore => panic!("the whole file does not suffice"),
    }
}

/// A sequence of numbers that looks random and is always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// One to three changes: a bit flipped, numbers inflated, a piece moved, the end cut, a small number written.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => {
                let end = bytes.len().min(at + random.below(8));
                bytes[at..end].fill(255);
            }
            2 => bytes.truncate(at.max(1)),
            3 => {
                let from = random.below(bytes.len());
                let piece: Vec<u8> = bytes[from..].iter().take(16).copied().collect();
                bytes.splice(at..at, piece);
            }
            _ => bytes[at] = random.below(42) as u8,
        }
    }
}

#[test]
fn a_hundred_thousand_mutated_headers_do_no_harm() {
    let string_list = [&5u64.to_le_bytes()[..], b"token"].concat();
    let nested = [&0u32.to_le_bytes()[..], &3u64.to_le_bytes(), &[1, 2, 3]].concat();
    let bases = [
        header_of(&tiny("llama-f32.gguf")),
        header_of(&tiny("qwen3-q8_0.gguf")),
        file_of_list(8, 200, &string_list.repeat(200)),
        file_of_list(9, 60, &nested.repeat(60)),
        file_of_list(1, 3000, &[7; 3000]),
    ];
    let mut random = Random(1);
    let (mut refused, mut short, mut worst) = (0, 0, 0);
    for round in 0..100_000 {
        let mut bytes = bases[round % bases.len()].clone();
        mutate(&mut bytes, &mut random);
        // Sometimes the tensors' bytes are still to come, and sometimes nobody knows how long the file is.
        let len = bytes.len() as u64;
        let file_len = [Some(len), Some(len + 400_000), None][random.below(3)];
        let (largest, parsed) = largest_of(|| Gguf::parse(&bytes, file_len));
        match parsed {
            Ok(Parsed::Complete(_)) => {}
            Ok(Parsed::NeedMore) => short += 1,
            Err(error) => {
                refused += 1;
                assert!(matches!(error.kind(), ErrorKind::Format | ErrorKind::UnsupportedFormat), "{error}");
            }
        }
        worst = worst.max(largest.saturating_sub(bytes.len()));
        assert!(largest <= bytes.len() + (64 << 10), "{largest} bytes at once for a file of {}", bytes.len());
    }
    eprintln!("{refused} refused, {short} want more; the largest allocation: the file and {worst} bytes");
    assert!(refused > 30_000 && short > 1_000 && refused + short < 99_000, "the mutations do not bite");
}

#[test]
fn the_counter_sees_an_allocation() {
    let (largest, bytes) = largest_of(|| vec![1u8; 123_456]);
    assert_eq!(largest, bytes.len());
}

/// Lists of a few megabytes take no more at once than the file has.
#[test]
fn long_lists_take_no_more_memory_than_bytes() {
    let n = 1 << 20;
    let mut files: Vec<Vec<u8>> = (0..=12)
        .filter(|kind| !matches!(kind, 8 | 9))
        .map(|kind| file_of_list(kind, n, &vec![1; n * 8]))
        .collect();
    files.push(file_of_list(8, n, &vec![0; n * 8]));
    files.push(file_of_list(8, n / 2, &[&1u64.to_le_bytes()[..], b"x"].concat().repeat(n / 2)));
    for bytes in files {
        let (largest, parsed) = largest_of(|| Gguf::parse(&bytes, Some(bytes.len() as u64)));
        assert!(matches!(parsed, Ok(Parsed::Complete(_))));
        assert!(largest <= bytes.len(), "{largest} for {}", bytes.len());
    }
}

#[test]
fn mutated_models_load_or_fail_with_an_error() {
    let mut random = Random(7);
    let (mut loaded, mut refused) = (0, 0);
    for round in 0..3_000 {
        let file = tiny(["llama-f32.gguf", "llama3-f16.gguf", "qwen3-q8_0.gguf"][round % 3]);
        let header = header_of(&file).len();
        let mut bytes = file[..header].to_vec();
        mutate(&mut bytes, &mut random);
        bytes.extend(&file[header..]);
        let (largest, outcome) = largest_of(|| -> Result<_, Error> {
            let mut loader =
                Loader::new(LoaderOptions { context_length: Some(32), exact: false, ..Default::default() });
            loader.begin_file(Some(bytes.len() as u64));
            bytes.chunks(50_000).try_for_each(|chunk| loader.push(chunk))?;
            loader.end_file()?;
            homefire::generate::TextModel::new(loader.finish()?)
        });
        assert!(largest < bytes.len() + (4 << 20), "{largest} bytes at once for a file of {}", bytes.len());
        match outcome {
            Ok(mut model) => {
                loaded += 1;
                let _ = pollster::block_on(model.feed_rows(&[1, 2, 3], homefire::generate::Rows::Last));
            }
            Err(_) => refused += 1,
        }
    }
    eprintln!("{loaded} loaded, {refused} refused");
    assert!(loaded > 100 && refused > 1_000, "{loaded} loaded, {refused} refused: the mutations do not bite");
}

/// A field of a protobuf message that is bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = content.len();
    while len >= 128 {
        out.push(len as u8 | 128);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend(content);
    out
}

/// Reads a file as everything that it may be, and decodes the tensors of the graph.
fn read_onnx(bytes: &[u8]) -> Vec<Result<(), Error>> {
    let nothing = |_: &str, _: u64, n_bytes: usize| Tensor::zeros(DType::U8, &[n_bytes.min(64)]);
    let model = onnx::parse(bytes).and_then(|model| {
        model.graph.initializers.iter().try_for_each(|tensor| match tensor.decode(&nothing) {
            Err(error) if error.kind() != ErrorKind::UnsupportedFormat => Err(error),
            _ => Ok(()),
        })
    });
    let stored = [
        onnx::parse_tensor(bytes).map(|_| ()),
        onnx::parse_sequence(bytes).map(|_| ()),
        onnx::parse_optional(bytes).map(|_| ()),
    ];
    [model].into_iter().chain(stored).collect()
}

#[test]
fn mutated_onnx_files_do_no_harm() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx"));
    let bases = ["graph.onnx", "tensors.onnx", "sequence.pb", "optional.pb", "tensor.pb"];
    let bases = bases.map(|name| std::fs::read(folder.join(name)).unwrap());
    let mut random = Random(3);
    let (mut refused, mut accepted, mut worst) = (0, 0, 0);
    for round in 0..20_000 {
        let base = round % bases.len();
        let mut bytes = bases[base].clone();
        mutate(&mut bytes, &mut random);
        let (largest, outcomes) = largest_of(|| read_onnx(&bytes));
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(matches!(error.kind(), ErrorKind::Format | ErrorKind::UnsupportedFormat), "{error}");
        }
        let own = &outcomes[[0, 0, 2, 3, 1][base]];
        *if own.is_ok() { &mut accepted } else { &mut refused } += 1;
        worst = worst.max(largest.saturating_sub(bytes.len()));
        assert!(largest <= bytes.len() + (64 << 10), "{largest} bytes at once for a file of {}", bytes.len());
    }
    eprintln!("{refused} refused, {accepted} accepted; the largest allocation: the file and {worst} bytes");
    assert!(
        refused > 5_000 && accepted > 1_000,
        "{refused} refused, {accepted} accepted: the mutations do not bite"
    );
}

/// Of messages as short as they can be, the structs take a bounded multiple of the file.
#[test]
fn short_messages_take_no_more_than_their_share() {
    let node = field(1, &field(4, b"x"));
    let attributes = field(1, &[field(4, b"x"), field(5, &field(1, b"a")).repeat(100_000)].concat());
    let tensor = field(5, &[16, 1]);
    let names = field(1, &[field(4, b"x"), field(1, b"").repeat(300_000)].concat());
    let packed = field(5, &[&[16, 6][..], &field(5, &[1; 1_000_000])].concat());
    for graph in [
        node.repeat(100_000),
        attributes,
        tensor.repeat(200_000),
        field(13, b"").repeat(300_000),
        names,
        packed,
    ] {
        let bytes = field(7, &graph);
        let (largest, parsed) = largest_of(|| onnx::parse(&bytes).map(|_| ()));
        parsed.unwrap();
        eprintln!("{largest} bytes at once for a file of {}", bytes.len());
        assert!(largest <= 64 * bytes.len(), "{largest} bytes at once for a file of {}", bytes.len());
    }
    // Counts and lengths that the file only claims take nothing.
    let claims = field(7, &field(5, &[8, 255, 255, 255, 255, 7, 16, 1, 34, 255, 255, 255, 255, 7]));
    let (largest, parsed) = largest_of(|| onnx::parse(&claims).map(|_| ()));
    assert!(parsed.is_err() && largest < 4096, "{largest}");
}
