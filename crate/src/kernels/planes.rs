//! How a weight lies in GPU memory. Block formats are taken apart into their affine form (see
//! [`quant`](crate::quant)): a plane of levels, one of f32 scales and, where the format has no offset, one of
//! f32 mins, each row-major. Other floats are f32.

use super::dispatch::Operand;
use crate::quant::{AffineLayout, codec};
use crate::types::DType;

/// The layout of a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planes {
    /// f32 values.
    Dense,
    /// Levels, scales and maybe mins.
    Affine(AffineLayout),
}

impl Planes {
    /// The layout of a weight of that type, `None` where it has none.
    pub fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::Block(format) => Some(Self::Affine(codec(format).affine_layout)),
            DType::F32 | DType::F16 | DType::BF16 => Some(Self::Dense),
            _ => None,
        }
    }

    /// The features of the shader variants that read this layout.
    pub fn features(&self) -> [&'static str; 2] {
        match self {
            Self::Dense => ["dense", ""],
            Self::Affine(layout) => [
                if layout.bits == 4 { "levels4" } else { "levels8" },
                if layout.offset.is_none() { "mins" } else { "" },
            ],
        }
    }

    /// The planes of input `index` at the bindings 1, 2 and 3.
    pub fn bindings(&self, index: usize) -> Vec<(u32, Operand)> {
        match self {
            Self::Dense => vec![(1, Operand::Input(index))],
            Self::Affine(layout) => {
                let mut bindings = vec![(1, Operand::Levels(index)), (2, Operand::Scales(index))];
                if layout.offset.is_none() {
                    bindings.push((3, Operand::Mins(index)));
                }
                bindings
            }
        }
    }

    /// Values that a 32-bit word of the first plane holds.
    pub fn values_per_word(&self) -> usize {
        match self {
            Self::Dense => 1,
            Self::Affine(layout) => 32 / usize::from(layout.stored_bits()),
        }
    }

    /// Values that share a scale; 1 where there are none.
    pub fn group(&self) -> usize {
        match self {
            Self::Dense => 1,
            Self::Affine(layout) => usize::from(layout.group),
        }
    }

    /// `c` of "every min is `-c · scale`"; 0 where it is not so.
    pub fn offset(&self) -> f32 {
        match self {
            Self::Affine(AffineLayout { offset: Some(offset), .. }) => f32::from(*offset),
            _ => 0.0,
        }
    }

    /// Why `len` values do not fit the GPU's bindings, where they do not.
    pub fn too_large(&self, len: usize, max_binding_bytes: u64) -> Option<String> {
        let words = (len / self.values_per_word()).max(len / self.group());
        let bytes = words as u64 * 4;
        (bytes > max_binding_bytes)
            .then(|| format!("its {bytes} bytes exceed the GPU's {max_binding_bytes} bytes for one binding"))
    }
}
