//! The parser against files made here byte by byte, whole, cut, and mutated.

use super::*;
use crate::error::{Error, ErrorKind, Result};
use crate::formats::decodable;
use crate::types::{BlockFormat, DType};

fn string(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.bytes());
}

fn start(n_tensors: u64, n_metadata: u64) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend(n_tensors.to_le_bytes());
    out.extend(n_metadata.to_le_bytes());
    out
}

/// The beginning of a metadata entry that is a list.
fn list(out: &mut Vec<u8>, key: &str, kind: u32, count: u64) {
    string(out, key);
    out.extend(9u32.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(count.to_le_bytes());
}

/// A small file: two metadata entries, two tensors.
fn small_file() -> Vec<u8> {
    let mut out = start(2, 2);
    string(&mut out, "general.architecture");
    out.extend(8u32.to_le_bytes());
    string(&mut out, "llama");
    list(&mut out, "list", 8, 2);
    string(&mut out, "a");
    string(&mut out, "bc");
    for (name, kind, dims, offset) in [("a", 0u32, [4u64, 2], 0u64), ("b", 8, [32, 1], 32)] {
        string(&mut out, name);
        out.extend(2u32.to_le_bytes());
        dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
        out.extend(kind.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32) + 32 + 34, 0);
    out
}

fn parse(bytes: &[u8]) -> Result<Parsed> {
    Gguf::parse(bytes, Some(bytes.len() as u64))
}

fn whole(bytes: &[u8]) -> Gguf {
    match parse(bytes).unwrap() {
        Parsed::Complete(gguf) => *gguf,
        Parsed::NeedMore => panic!("the whole file does not suffice"),
    }
}

#[test]
fn reads_metadata_and_tensors() {
    let bytes = small_file();
    let gguf = whole(&bytes);
    assert_eq!(gguf.str("general.architecture"), Some("llama"));
    assert_eq!(gguf.strings("list").unwrap().iter().collect::<Vec<_>>(), ["a", "bc"]);
    let b = gguf.tensor("b").unwrap();
    assert_eq!((b.dtype, &b.shape[..], b.n_bytes), (Ok(DType::Block(BlockFormat::Q8_0)), &[1, 32][..], 34));
    assert_eq!(b.offset + b.n_bytes, bytes.len() as u64);
}

#[test]
fn numbers_of_every_width_come_back() {
    let mut bytes = start(0, 4);
    list(&mut bytes, "bytes", 1, 3);
    bytes.extend([0, 127, 128]);
    list(&mut bytes, "shorts", 2, 2);
    bytes.extend([1, 0, 255, 255]);
    list(&mut bytes, "truths", 7, 2);
    bytes.extend([1, 0]);
    list(&mut bytes, "floats", 12, 1);
    bytes.extend(0.1f64.to_le_bytes());
    let gguf = whole(&bytes);
    let integers = |key| gguf.numbers(key).unwrap().integers().unwrap().collect::<Vec<_>>();
    assert_eq!(integers("bytes"), [0, 127, -128]);
    assert_eq!(integers("shorts"), [1, 65535]);
    assert_eq!(integers("truths"), [1, 0]);
    let floats = gguf.numbers("floats").unwrap();
    assert!(floats.integers().is_none());
    assert_eq!(floats.floats().unwrap().collect::<Vec<_>>(), [0.1]);
}

#[test]
fn every_prefix_needs_more_or_is_cut_off() {
    let bytes = small_file();
    let header = bytes.len() - 66;
    for len in 0..header - 32 {
        assert!(matches!(Gguf::parse(&bytes[..len], None), Ok(Parsed::NeedMore)), "{len}");
    }
    for len in 0..bytes.len() {
        let error = parse(&bytes[..len]).expect_err("a cut file was accepted");
        assert_eq!(error.kind(), ErrorKind::Format, "{len}: {error}");
    }
}

/// With a known length, a count that cannot be true fails before the bytes are there.
#[test]
fn inflated_counts_fail_at_once() {
    let refused = |bytes: &[u8], len: u64| -> Error {
        match Gguf::parse(bytes, Some(len)) {
            Err(error) => error,
            Ok(parsed) => panic!("{parsed:?}"),
        }
    };
    let megabyte = 1 << 20;
    for kind in [0, 2, 4, 6, 8, 10] {
        let mut bytes = start(0, 1);
        list(&mut bytes, "key", kind, 2_000_000);
        let error = refused(&bytes, megabyte);
        assert!(error.message().contains("at byte 43") && error.node() == Some("key"), "{kind}: {error}");
        assert!(matches!(Gguf::parse(&bytes, None), Ok(Parsed::NeedMore)));
        assert!(matches!(Gguf::parse(&bytes, Some(1 << 30)), Ok(Parsed::NeedMore)));
    }
    let mut bytes = start(0, 1);
    string(&mut bytes, "key");
    bytes.extend(8u32.to_le_bytes());
    bytes.extend(2_000_000u64.to_le_bytes());
    assert_eq!(refused(&bytes, megabyte).node(), Some("key"));
    assert!(refused(&start(60_000, 0), megabyte).message().contains("60000 tensors"));
    assert!(refused(&start(0, 1 << 40), 1 << 50).message().contains("more than any file has"));
}

#[test]
fn overlap_and_misalignment_name_the_tensor() {
    let bytes = small_file();
    let at = bytes.windows(9).position(|w| w == [8, 0, 0, 0, 32, 0, 0, 0, 0]).unwrap() + 4;
    let mut overlapping = bytes.clone();
    overlapping[at] = 0;
    let error = parse(&overlapping).unwrap_err();
    assert!(error.node() == Some("b") && error.message().contains("overlaps 'a' at byte"), "{error}");
    let mut misaligned = bytes.clone();
    misaligned[at] = 33;
    assert!(parse(&misaligned).unwrap_err().message().contains("'b'"));
    let mut outside = bytes.clone();
    outside[at] = 64;
    let error = parse(&outside).unwrap_err();
    assert!(error.node() == Some("b") && error.message().contains("outside the file"), "{error}");
    let mut unknown = bytes;
    unknown[at - 4] = 99;
    let error = parse(&unknown).unwrap_err();
    assert_eq!((error.kind(), error.node()), (ErrorKind::UnsupportedFormat, Some("b")));
}

#[test]
fn types_that_cannot_be_decoded_have_names() {
    let bytes = small_file();
    let at = bytes.windows(9).position(|w| w == [8, 0, 0, 0, 32, 0, 0, 0, 0]).unwrap();
    for (id, name, row) in [(39u8, "MXFP4", 32u64), (40, "NVFP4", 64), (41, "Q1_0", 128)] {
        let mut bytes = bytes.clone();
        bytes[at] = id;
        bytes[at - 16..at - 8].copy_from_slice(&row.to_le_bytes());
        bytes.resize(bytes.len() + 32, 0);
        let gguf = whole(&bytes);
        let error = decodable(gguf.tensor("b").unwrap()).unwrap_err();
        assert!(error.message().contains(name) && error.node() == Some("b"), "{error}");
    }
}
