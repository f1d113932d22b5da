//! safetensors: eight bytes that count those of a JSON header, the header, the tensors' bytes.
//! <https://huggingface.co/docs/safetensors>

use super::TensorInfo;
use super::tensor_info::place_tensors;
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::types::DType;
use serde_json::{Map, Value};

/// No header is longer, by the format's own rules.
const MAX_HEADER: u64 = 100_000_000;

/// The header of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Safetensors {
    /// The tensors, by their place in the file.
    pub tensors: Vec<TensorInfo>,
    /// Where the tensors' bytes begin.
    pub data_start: u64,
}

/// Whether the first bytes of a file, nine or more, are of this format.
pub fn looks_like_safetensors(bytes: &[u8]) -> bool {
    matches!(bytes, [_, _, _, _, 0, 0, 0, 0, b'{', ..])
}

impl Safetensors {
    /// Parses the header from the file's first bytes; `None` when they are not all of it. `file_len` bounds the
    /// tensors where it is known.
    ///
    /// # Errors
    /// `Format`, with the tensor, for bytes that are no such file, a tensor whose place is not as long as its shape
    /// wants, and tensors that overlap or lie outside the file.
    pub fn parse(bytes: &[u8], file_len: Option<u64>) -> Result<Option<Self>> {
        let ended = || file_len.is_some_and(|len| len <= bytes.len() as u64);
        let Some((count, rest)) = bytes.split_first_chunk::<8>() else {
            ensure!(!ended(), Format, "the file has {} bytes and is no safetensors file", bytes.len());
            return Ok(None);
        };
        let count = u64::from_le_bytes(*count);
        let fits = count <= MAX_HEADER && file_len.is_none_or(|len| count + 8 <= len);
        ensure!(
            fits,
            Format,
            "not a valid safetensors file: its header has {count} bytes; check what the URL gives"
        );
        let Some(header) = rest.get(..count as usize) else {
            ensure!(
                !ended(),
                Format,
                "the file ends at byte {}, inside its header: download it again",
                bytes.len()
            );
            return Ok(None);
        };
        let header: Map<String, Value> = serde_json::from_slice(header).map_err(|e| {
            Error::new(
                ErrorKind::Format,
                format!("not a valid safetensors file: its header is no JSON object: {e}"),
            )
        })?;
        let described = header.iter().filter(|(name, _)| *name != "__metadata__");
        let mut tensors = described
            .map(|(name, entry)| tensor(name, entry).map_err(|e| e.at(&**name)))
            .collect::<Result<Vec<_>>>()?;
        let data_start = count + 8;
        place_tensors(&mut tensors, data_start, file_len)?;
        tensors.sort_by_key(|tensor| tensor.offset);
        Ok(Some(Self { tensors, data_start }))
    }
}

fn tensor(name: &str, entry: &Value) -> Result<TensorInfo> {
    let numbers =
        |key: &str| -> Option<Vec<u64>> { entry.get(key)?.as_array()?.iter().map(Value::as_u64).collect() };
    let (shape, offsets) = (numbers("shape"), numbers("data_offsets"));
    let (Some(shape), Some(&[start, end])) = (shape, offsets.as_deref()) else {
        return fail!(Format, "the header lacks the tensor's shape, or its data_offsets [start, end]");
    };
    let name_of_type = entry.get("dtype").and_then(Value::as_str).unwrap_or("");
    let Some(dtype) = dtype(name_of_type) else {
        return fail!(UnsupportedFormat, "the tensor has the unknown dtype '{name_of_type}'");
    };
    let shape: Vec<usize> = shape.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
    let len = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    let n_bytes = end.checked_sub(start);
    let (Some(len), Some(n_bytes)) = (len, n_bytes) else {
        return fail!(Format, "the tensor's shape {shape:?} or its place {start} to {end} is out of range");
    };
    if let Ok(dtype) = dtype {
        let wanted = dtype.bytes_for(len).map(|n| n as u64);
        ensure!(
            wanted == Some(n_bytes),
            Format,
            "the tensor has {n_bytes} bytes, and {dtype} {shape:?} wants {}",
            wanted.unwrap_or(u64::MAX)
        );
    }
    Ok(TensorInfo { name: name.into(), dtype, shape, file: 0, offset: start, n_bytes })
}

/// The dtype of that name, or its name where it cannot be decoded.
fn dtype(name: &str) -> Option<std::result::Result<DType, &'static str>> {
    Some(match name {
        "F64" => Ok(DType::F64),
        "F32" => Ok(DType::F32),
        "F16" => Ok(DType::F16),
        "BF16" => Ok(DType::BF16),
        "I64" => Ok(DType::I64),
        "I32" => Ok(DType::I32),
        "I16" => Ok(DType::I16),
        "I8" => Ok(DType::I8),
        "U64" => Ok(DType::U64),
        "U32" => Ok(DType::U32),
        "U16" => Ok(DType::U16),
        "U8" => Ok(DType::U8),
        "BOOL" => Ok(DType::Bool),
        "F8_E4M3" => Err("F8_E4M3"),
        "F8_E5M2" => Err("F8_E5M2"),
        "F8_E8M0" => Err("F8_E8M0"),
        "F6_E2M3" => Err("F6_E2M3"),
        "F6_E3M2" => Err("F6_E3M2"),
        "F4" => Err("F4"),
        "C64" => Err("C64"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn refused(header: &str) -> String {
        let bytes = file(header, 64);
        Safetensors::parse(&bytes, Some(bytes.len() as u64)).expect_err("a broken file").to_string()
    }

    #[test]
    fn tensors_come_in_the_order_of_the_file() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]},
            "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"one":{"dtype":"I64","shape":[],"data_offsets":[20,28]}}"#;
        let bytes = file(header, 28);
        assert!(looks_like_safetensors(&bytes));
        let parsed =
            Safetensors::parse(&bytes, Some(bytes.len() as u64)).unwrap().expect("all of the header");
        let names: Vec<&str> = parsed.tensors.iter().map(|t| &*t.name).collect();
        assert_eq!(names, ["a", "b", "one"]);
        assert_eq!(parsed.tensors[1].shape, [2, 3]);
        assert_eq!(parsed.tensors[1].offset, parsed.data_start + 8);
        for cut in [0, 7, 8, 30] {
            assert_eq!(Safetensors::parse(&bytes[..cut], None).unwrap(), None, "cut at {cut}");
            assert!(Safetensors::parse(&bytes[..cut], Some(cut as u64)).is_err(), "ends at {cut}");
        }
    }

    #[test]
    fn files_that_lie_are_refused() {
        let of = |fields: &str| format!(r#"{{"t":{{{fields}}}}}"#);
        assert!(refused("[]").contains("JSON object"));
        assert!(refused(&of(r#""dtype":"F32","shape":[2]"#)).contains("data_offsets"));
        assert!(refused(&of(r#""dtype":"F32","shape":[2],"data_offsets":[0,12]"#)).contains("12 bytes"));
        assert!(
            refused(&of(r#""dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]"#))
                .contains("out of range")
        );
        assert!(refused(&of(r#""dtype":"F32","shape":[20],"data_offsets":[0,80]"#)).contains("cut off"));
        assert!(refused(&of(r#""dtype":"Q9","shape":[1],"data_offsets":[0,1]"#)).contains("Q9"));
        let overlap = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
        assert!(refused(overlap).contains("overlaps"));
        let huge = [u64::MAX.to_le_bytes().as_slice(), b"{"].concat();
        assert!(Safetensors::parse(&huge, None).is_err());
    }
}
