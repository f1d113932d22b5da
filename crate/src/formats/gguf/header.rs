//! The header: magic, version, metadata, tensor descriptions.

use super::reader::{MAX_ENTRIES, Reader, Step, Stop, fault};
use super::tensors::tensor;
use super::{Gguf, Parsed};
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::formats::tensor_info::place_tensors;

/// No model's header is longer; one that claims to be is not waited for.
const MAX_HEADER: usize = 1 << 27;

impl Gguf {
    /// Parses the header from the file's first bytes. `file_len` bounds counts and tensors where it is known.
    ///
    /// # Errors
    /// `Format`, with the offset and the key or tensor, for bytes that are no such file, tensors that overlap or
    /// lie outside it, and a file that ends inside its header; `UnsupportedFormat` for another version or byte
    /// order, or a tensor type that is not known.
    pub fn parse(bytes: &[u8], file_len: Option<u64>) -> Result<Parsed> {
        let mut reader = Reader { bytes, at: 0, file_len };
        match header(&mut reader) {
            Ok(gguf) => Ok(Parsed::Complete(Box::new(gguf))),
            Err(Stop::End) if file_len.is_none_or(|len| (bytes.len() as u64) < len) => {
                ensure!(
                    bytes.len() < MAX_HEADER,
                    Format,
                    "not a valid GGUF file: its header goes on after {} bytes, at byte {}",
                    bytes.len(),
                    reader.at
                );
                Ok(Parsed::NeedMore)
            }
            Err(Stop::End) => {
                fail!(Format, "the file ends at byte {}, inside its header: download it again", bytes.len())
            }
            Err(Stop::Fault(error)) => Err(error),
        }
    }
}

fn unsupported(message: String) -> Stop {
    Stop::Fault(Error::new(ErrorKind::UnsupportedFormat, message))
}

fn header(reader: &mut Reader) -> Step<Gguf> {
    let magic = reader.take(4, "the magic number")?;
    if magic != b"GGUF" {
        return Err(fault(format!(
            "it starts with '{}' instead of 'GGUF'; check that the source gives the file itself",
            magic.escape_ascii()
        )));
    }
    let version = reader.u32("the version")?;
    if version.swap_bytes() <= 3 && version != 0 {
        return Err(unsupported("this GGUF file is big-endian: convert it to little-endian".into()));
    }
    if !(2..=3).contains(&version) {
        return Err(unsupported(format!(
            "GGUF version {version} is not supported, only 2 and 3: convert the file with a newer tool"
        )));
    }
    // An entry is at least a key's length, a type and a byte; a tensor a name's length, rank, type and offset.
    let n_tensors = reader.count("tensors", 24, MAX_ENTRIES)?;
    let n_metadata = reader.count("metadata entries", 13, MAX_ENTRIES)?;
    let mut gguf = Gguf::default();
    for _ in 0..n_metadata {
        let at = reader.at;
        let key = reader.str("a metadata key")?;
        let in_key = |stop| match stop {
            Stop::Fault(error) => Stop::Fault(error.at(key)),
            end => end,
        };
        let id = reader.u32("the type of a value").map_err(in_key)?;
        let value = reader.value(id, 0).map_err(in_key)?;
        if gguf.metadata.insert(key.into(), value).is_some() {
            return Err(fault(format!("at byte {at}: the metadata key '{key}' is there twice")));
        }
    }
    let alignment = match gguf.uint("general.alignment") {
        None if !gguf.metadata.contains_key("general.alignment") => 32,
        Some(n) if n.is_power_of_two() && (8..=1 << 20).contains(&n) => n as u64,
        _ => return Err(fault("the alignment is not a power of two from 8 on".into())),
    };
    for _ in 0..n_tensors {
        gguf.tensors.push(tensor(reader, alignment)?);
    }
    gguf.data_start = (reader.at as u64).next_multiple_of(alignment);
    place_tensors(&mut gguf.tensors, gguf.data_start, reader.file_len)?;
    Ok(gguf)
}
