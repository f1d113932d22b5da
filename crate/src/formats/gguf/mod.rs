//! GGUF, versions 2 and 3, little-endian: a header of metadata and tensor descriptions, then the tensors'
//! bytes, aligned. <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
//!
//! The header is parsed from however many of the file's first bytes have come; when they do not suffice the
//! parser says so, and the loader calls again with more.

#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result, fail};
use crate::types::{BlockFormat, DType};
use std::collections::{HashMap, HashSet};

mod shards;

pub use shards::Shard;

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    String(Box<str>),
    Strings(Vec<Box<str>>),
    Unsigneds(Vec<u64>),
    Signeds(Vec<i64>),
    Floats(Vec<f32>),
    Bools(Vec<bool>),
    Arrays(Vec<Value>),
}

/// A tensor of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// The name.
    pub name: Box<str>,
    /// The element type, or the name of a ggml type that this package knows of and cannot decode.
    pub dtype: std::result::Result<DType, &'static str>,
    /// The shape, outermost first.
    pub shape: Vec<usize>,
    /// Which of the model's files it lies in; 0 for a model in one.
    pub file: usize,
    /// Where its bytes start, from the start of the file.
    pub offset: u64,
    /// How many bytes it has.
    pub n_bytes: u64,
}

/// The header of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gguf {
    /// Metadata by key.
    pub metadata: HashMap<Box<str>, Value>,
    /// Tensors, in the order of the header.
    pub tensors: Vec<TensorInfo>,
    /// Where the tensors' bytes begin.
    pub data_start: u64,
}

/// What parsing the first bytes gave.
#[derive(Debug)]
pub enum Parsed {
    /// The header.
    Complete(Box<Gguf>),
    /// The header is longer than the bytes so far.
    NeedMore,
}

impl Gguf {
    /// Parses the header from the file's first bytes. `file_len` bounds the tensors where it is known.
    pub fn parse(bytes: &[u8], file_len: Option<u64>) -> Result<Parsed> {
        let mut reader = Reader { bytes, at: 0 };
        match header(&mut reader, file_len) {
            Ok(gguf) => Ok(Parsed::Complete(Box::new(gguf))),
            Err(Stop::End) if file_len.is_none_or(|len| (bytes.len() as u64) < len) => Ok(Parsed::NeedMore),
            Err(Stop::End) => {
                fail!(Format, "the file ends at byte {}, inside its header: download it again", bytes.len())
            }
            Err(Stop::Fault(error)) => Err(error),
        }
    }

    /// A string of the metadata.
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::String(s)) => Some(s),
            _ => None,
        }
    }

    /// An unsigned number of the metadata, of any width.
    pub fn uint(&self, key: &str) -> Option<usize> {
        match self.metadata.get(key) {
            Some(Value::Unsigned(n)) => usize::try_from(*n).ok(),
            Some(Value::Signed(n)) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// A float of the metadata.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.metadata.get(key) {
            Some(Value::Float(x)) => Some(*x),
            _ => None,
        }
    }

    /// A truth value of the metadata.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key) {
            Some(Value::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    /// A list of strings of the metadata.
    pub fn strings(&self, key: &str) -> Option<&[Box<str>]> {
        match self.metadata.get(key) {
            Some(Value::Strings(list)) => Some(list),
            _ => None,
        }
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|t| &*t.name == name)
    }
}

/// Why parsing stopped: the bytes ended, or they are wrong.
enum Stop {
    End,
    Fault(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

type Step<T> = std::result::Result<T, Stop>;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(n).ok_or(Stop::End)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Stop::End)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        self.take(N)?.first_chunk().copied().ok_or(Stop::End)
    }

    fn u32(&mut self) -> Step<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Step<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of items that take at least `each` bytes. More than a header can hold is a fault.
    fn count(&mut self, what: &str) -> Step<usize> {
        let at = self.at;
        let count = self.u64()?;
        match usize::try_from(count) {
            Ok(count) if count < 1 << 28 => Ok(count),
            _ => Err(fault(format!("at byte {at}: {count} {what} are more than any file has"))),
        }
    }

    fn string(&mut self) -> Step<Box<str>> {
        let at = self.at;
        let len = self.count("bytes of a string")?;
        match std::str::from_utf8(self.take(len)?) {
            Ok(s) => Ok(s.into()),
            Err(_) => Err(fault(format!("at byte {at}: a string is not UTF-8"))),
        }
    }
}

fn fault(message: String) -> Stop {
    Stop::Fault(Error::new(ErrorKind::Format, format!("not a valid GGUF file: {message}")))
}

fn header(reader: &mut Reader, file_len: Option<u64>) -> Step<Gguf> {
    let magic: [u8; 4] = reader.array()?;
    if &magic != b"GGUF" {
        return Err(fault(format!(
            "it starts with {magic:?} instead of 'GGUF'; check that the URL gives the file itself"
        )));
    }
    let version = reader.u32()?;
    if version.swap_bytes() <= 3 && version != 0 {
        return Err(Error::new(
            ErrorKind::UnsupportedFormat,
            "this GGUF file is big-endian: convert it to little-endian",
        )
        .into());
    }
    if !(2..=3).contains(&version) {
        return Err(Error::new(
            ErrorKind::UnsupportedFormat,
            format!(
                "GGUF version {version} is not supported, only 2 and 3: convert the file with a newer tool"
            ),
        )
        .into());
    }
    let n_tensors = reader.count("tensors")?;
    let n_metadata = reader.count("metadata entries")?;
    let mut gguf = Gguf::default();
    for _ in 0..n_metadata {
        let key = reader.string()?;
        let kind = reader.u32()?;
        let value = value(reader, kind, 0)?;
        if gguf.metadata.insert(key.clone(), value).is_some() {
            return Err(fault(format!("at byte {}: the metadata key '{key}' is there twice", reader.at)));
        }
    }
    let alignment = match gguf.metadata.get("general.alignment") {
        None => 32,
        Some(Value::Unsigned(n)) if n.is_power_of_two() && *n >= 8 && *n <= 1 << 20 => *n,
        Some(other) => return Err(fault(format!("the alignment {other:?} is not a power of two"))),
    };
    let mut names = HashSet::new();
    for _ in 0..n_tensors {
        let tensor = tensor(reader, alignment)?;
        if !names.insert(tensor.name.clone()) {
            return Err(fault(format!("the tensor '{}' is there twice", tensor.name)));
        }
        gguf.tensors.push(tensor);
    }
    gguf.data_start = (reader.at as u64).next_multiple_of(alignment);
    place_tensors(&mut gguf, file_len)?;
    Ok(gguf)
}

/// Turns offsets into places in the file, and checks that tensors lie in it and apart.
fn place_tensors(gguf: &mut Gguf, file_len: Option<u64>) -> Result<()> {
    let data_start = gguf.data_start;
    for tensor in &mut gguf.tensors {
        let place = tensor.offset.checked_add(data_start).filter(|o| o.checked_add(tensor.n_bytes).is_some());
        let Some(offset) = place else {
            return fail!(Format, "a tensor's offset {} overflows", tensor.offset)
                .map_err(|e: Error| e.at(&*tensor.name));
        };
        tensor.offset = offset;
        if let Some(len) = file_len.filter(|&len| offset + tensor.n_bytes > len) {
            let message = format!(
                "the tensor's bytes {offset} to {} lie outside the file of {len} bytes: it is cut off, download it again",
                offset + tensor.n_bytes
            );
            return Err(Error::new(ErrorKind::Format, message).at(&*tensor.name));
        }
    }
    let mut spans: Vec<_> = gguf.tensors.iter().map(|t| (t.offset, t.offset + t.n_bytes, &t.name)).collect();
    spans.sort();
    for pair in spans.windows(2) {
        if pair[0].1 > pair[1].0 {
            let message = format!("the tensor overlaps '{}' at byte {}", pair[0].2, pair[1].0);
            return Err(Error::new(ErrorKind::Format, message).at(&**pair[1].2));
        }
    }
    Ok(())
}

fn value(reader: &mut Reader, kind: u32, depth: usize) -> Step<Value> {
    Ok(match kind {
        0 => Value::Unsigned(u64::from(reader.array::<1>()?[0])),
        1 => Value::Signed(i64::from(i8::from_le_bytes(reader.array()?))),
        2 => Value::Unsigned(u64::from(u16::from_le_bytes(reader.array()?))),
        3 => Value::Signed(i64::from(i16::from_le_bytes(reader.array()?))),
        4 => Value::Unsigned(u64::from(reader.u32()?)),
        5 => Value::Signed(i64::from(i32::from_le_bytes(reader.array()?))),
        6 => Value::Float(f64::from(f32::from_le_bytes(reader.array()?))),
        7 => Value::Bool(reader.array::<1>()?[0] != 0),
        8 => Value::String(reader.string()?),
        9 => array(reader, depth)?,
        10 => Value::Unsigned(reader.u64()?),
        11 => Value::Signed(i64::from_le_bytes(reader.array()?)),
        12 => Value::Float(f64::from_le_bytes(reader.array()?)),
        other => return Err(fault(format!("at byte {}: metadata of unknown type {other}", reader.at))),
    })
}

fn array(reader: &mut Reader, depth: usize) -> Step<Value> {
    let at = reader.at;
    let kind = reader.u32()?;
    let count = reader.count("elements of an array")?;
    let each = match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 if depth < 4 => 12,
        other => return Err(fault(format!("at byte {at}: an array of unknown or too deep type {other}"))),
    };
    // Nothing is allocated before the bytes of that many elements are there.
    if count.saturating_mul(each) > reader.bytes.len() - reader.at {
        return Err(Stop::End);
    }
    macro_rules! read_all {
        ($kind:ident, $pattern:pat => $item:expr) => {{
            let mut list = Vec::new();
            for _ in 0..count {
                match value(reader, kind, depth + 1)? {
                    $pattern => list.push($item),
                    _ => return Err(fault(format!("at byte {at}: an array of mixed types"))),
                }
            }
            Value::$kind(list)
        }};
    }
    Ok(match kind {
        0 | 2 | 4 | 10 => read_all!(Unsigneds, Value::Unsigned(x) => x),
        1 | 3 | 5 | 11 => read_all!(Signeds, Value::Signed(x) => x),
        6 | 12 => read_all!(Floats, Value::Float(x) => x as f32),
        7 => read_all!(Bools, Value::Bool(x) => x),
        8 => read_all!(Strings, Value::String(x) => x),
        _ => Value::Arrays((0..count).map(|_| value(reader, kind, depth + 1)).collect::<Step<_>>()?),
    })
}

fn tensor(reader: &mut Reader, alignment: u64) -> Step<TensorInfo> {
    let name = reader.string()?;
    let at = reader.at;
    let rank = reader.u32()?;
    if rank > 8 {
        return Err(fault(format!("at byte {at}: the tensor '{name}' has {rank} dimensions")));
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        let dim = reader.u64()?;
        shape.push(
            usize::try_from(dim)
                .map_err(|_| fault(format!("at byte {at}: '{name}' has a dimension of {dim}")))?,
        );
    }
    shape.reverse();
    let kind = reader.u32()?;
    let offset = reader.u64()?;
    let Some((dtype, block_len, block_bytes)) = ggml_type(kind) else {
        let message = format!("the tensor has the unknown ggml type {kind}");
        return Err(Error::new(ErrorKind::UnsupportedFormat, message).at(&*name).into());
    };
    let row = shape.last().copied().unwrap_or(1);
    let len = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    let n_bytes = len
        .filter(|_| row.is_multiple_of(block_len))
        .and_then(|len| (len / block_len).checked_mul(block_bytes));
    let Some(n_bytes) = n_bytes else {
        return Err(fault(format!(
            "at byte {at}: '{name}' of shape {shape:?} is too large, or not whole blocks"
        )));
    };
    if !offset.is_multiple_of(alignment) {
        return Err(fault(format!(
            "at byte {at}: '{name}' has the offset {offset}, not aligned to {alignment}"
        )));
    }
    Ok(TensorInfo { name, dtype, shape, file: 0, offset, n_bytes: n_bytes as u64 })
}

/// A ggml type: its dtype, or its name where it cannot be decoded; values and bytes of a block.
fn ggml_type(id: u32) -> Option<(std::result::Result<DType, &'static str>, usize, usize)> {
    use BlockFormat::*;
    let dtype = match id {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Block(Q4_0),
        3 => DType::Block(Q4_1),
        6 => DType::Block(Q5_0),
        7 => DType::Block(Q5_1),
        8 => DType::Block(Q8_0),
        10 => DType::Block(Q2_K),
        11 => DType::Block(Q3_K),
        12 => DType::Block(Q4_K),
        13 => DType::Block(Q5_K),
        14 => DType::Block(Q6_K),
        20 => DType::Block(IQ4_NL),
        23 => DType::Block(IQ4_XS),
        24 => DType::I8,
        25 => DType::I16,
        26 => DType::I32,
        27 => DType::I64,
        28 => DType::F64,
        30 => DType::BF16,
        9 => return Some((Err("Q8_1"), 32, 36)),
        15 => return Some((Err("Q8_K"), 256, 292)),
        16 => return Some((Err("IQ2_XXS"), 256, 66)),
        17 => return Some((Err("IQ2_XS"), 256, 74)),
        18 => return Some((Err("IQ3_XXS"), 256, 98)),
        19 => return Some((Err("IQ1_S"), 256, 50)),
        21 => return Some((Err("IQ3_S"), 256, 110)),
        22 => return Some((Err("IQ2_S"), 256, 82)),
        29 => return Some((Err("IQ1_M"), 256, 56)),
        34 => return Some((Err("TQ1_0"), 256, 54)),
        35 => return Some((Err("TQ2_0"), 256, 66)),
        39 => return Some((Err("MXFP4"), 32, 17)),
        _ => return None,
    };
    Some((Ok(dtype), dtype.block_len(), dtype.block_bytes()))
}

/// The dtype of a tensor. Fails, naming it, when it is of a type that cannot be decoded.
pub fn decodable(tensor: &TensorInfo) -> Result<DType> {
    tensor.dtype.map_err(|name| {
        let message = format!(
            "tensors of type {name} cannot be run: use a file in another quantisation, such as Q4_K_M or Q8_0"
        );
        Error::new(ErrorKind::UnsupportedFormat, message).at(&*tensor.name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(out: &mut Vec<u8>, s: &str) {
        out.extend((s.len() as u64).to_le_bytes());
        out.extend(s.bytes());
    }

    /// A small file: two metadata entries, two tensors.
    fn small_file() -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(2u64.to_le_bytes());
        out.extend(2u64.to_le_bytes());
        string(&mut out, "general.architecture");
        out.extend(8u32.to_le_bytes());
        string(&mut out, "llama");
        string(&mut out, "list");
        out.extend(9u32.to_le_bytes());
        out.extend(8u32.to_le_bytes());
        out.extend(2u64.to_le_bytes());
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

    #[test]
    fn reads_metadata_and_tensors() {
        let bytes = small_file();
        let Ok(Parsed::Complete(gguf)) = parse(&bytes) else { panic!("not parsed") };
        assert_eq!(gguf.str("general.architecture"), Some("llama"));
        assert_eq!(gguf.strings("list").map(|l| l.len()), Some(2));
        let b = gguf.tensor("b").unwrap();
        assert_eq!(
            (b.dtype, &b.shape[..], b.n_bytes),
            (Ok(DType::Block(BlockFormat::Q8_0)), &[1, 32][..], 34)
        );
        assert_eq!(b.offset + b.n_bytes, bytes.len() as u64);
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

    #[test]
    fn overlap_and_misalignment_name_the_tensor() {
        let bytes = small_file();
        let at = bytes.windows(9).position(|w| w == [8, 0, 0, 0, 32, 0, 0, 0, 0]).unwrap() + 4;
        let mut overlapping = bytes.clone();
        overlapping[at] = 0;
        assert_eq!(parse(&overlapping).unwrap_err().node(), Some("b"));
        let mut misaligned = bytes;
        misaligned[at] = 33;
        assert!(parse(&misaligned).unwrap_err().message().contains("'b'"));
    }

    /// Deterministic mutations: bytes flipped, numbers inflated, pieces moved, ends cut.
    #[test]
    fn a_hundred_thousand_mutated_files_do_no_harm() {
        let original = small_file();
        let mut seed = 1u64;
        let mut random = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % n.max(1)
        };
        let mut refused = 0;
        for _ in 0..100_000 {
            let mut bytes = original.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes[at] ^= 1 << random(8),
                    1 => bytes[at..].iter_mut().take(8).for_each(|b| *b = 255),
                    2 => bytes.truncate(at.max(1)),
                    _ => {
                        let from = random(bytes.len());
                        let piece: Vec<u8> = bytes[from..].iter().take(16).copied().collect();
                        bytes.splice(at..at, piece);
                    }
                }
            }
            refused += usize::from(!matches!(parse(&bytes), Ok(Parsed::Complete(_))));
        }
        assert!(refused > 50_000 && refused < 100_000, "{refused}: the mutations do not bite");
    }
}
