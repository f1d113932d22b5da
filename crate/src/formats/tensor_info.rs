//! What the header of a file says of a tensor, whatever the format.

use crate::error::{Error, ErrorKind, Result};
use crate::types::DType;

/// A tensor of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// The name.
    pub name: Box<str>,
    /// The element type, or the name of one that is known and cannot be decoded.
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

/// The dtype of a tensor. Fails, naming it, when it is of a type that cannot be decoded.
pub fn decodable(tensor: &TensorInfo) -> Result<DType> {
    tensor.dtype.map_err(|name| {
        let message = format!(
            "tensors of type {name} cannot be run: use a file in another type, such as F16, or of GGUF Q4_K_M or Q8_0"
        );
        Error::new(ErrorKind::UnsupportedFormat, message).at(&*tensor.name)
    })
}

/// Turns offsets into places in the file, and checks that names differ and tensors lie in the file and apart.
pub(super) fn place_tensors(
    tensors: &mut [TensorInfo],
    data_start: u64,
    file_len: Option<u64>,
) -> Result<()> {
    let blame = |name: &str, message: String| Err(Error::new(ErrorKind::Format, message).at(name));
    for tensor in tensors.iter_mut() {
        let start = tensor.offset.checked_add(data_start);
        let Some((start, end)) = start.and_then(|s| Some((s, s.checked_add(tensor.n_bytes)?))) else {
            return blame(&tensor.name, format!("the tensor's offset {} overflows", tensor.offset));
        };
        tensor.offset = start;
        if let Some(len) = file_len.filter(|&len| end > len) {
            let message = format!(
                "the tensor's bytes {start} to {end} lie outside the file of {len} bytes: it is cut off, download it \
                 again"
            );
            return blame(&tensor.name, message);
        }
    }
    let mut order: Vec<u32> = (0..tensors.len() as u32).collect();
    let of = |index: &u32| &tensors[*index as usize];
    order.sort_unstable_by_key(|index| &*of(index).name);
    for pair in order.windows(2) {
        if of(&pair[0]).name == of(&pair[1]).name {
            return blame(&of(&pair[0]).name, "the tensor is there twice".into());
        }
    }
    order.sort_unstable_by_key(|index| (of(index).offset, of(index).n_bytes));
    for pair in order.windows(2) {
        let (before, after) = (of(&pair[0]), of(&pair[1]));
        if before.offset + before.n_bytes > after.offset {
            let message = format!("the tensor overlaps '{}' at byte {}", before.name, after.offset);
            return blame(&after.name, message);
        }
    }
    Ok(())
}
