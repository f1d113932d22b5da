//! Metadata values. Lists keep the form that they have in the file, numbers their width and strings one behind
//! the other, so that a list takes no more memory than it took bytes.

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    String(Box<str>),
    Strings(Strings),
    Numbers(Numbers),
    Lists(Vec<Value>),
}

/// The type of a number, or of the elements of a list of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberKind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

impl NumberKind {
    /// The kind that a file names so.
    pub(super) fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of one number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The number that these little-endian bytes, [`Self::size`] of them, are.
    pub(super) fn decode(self, bytes: &[u8]) -> Value {
        let mut wide = [0; 8];
        wide[..bytes.len().min(8)].copy_from_slice(&bytes[..bytes.len().min(8)]);
        let bits = u64::from_le_bytes(wide);
        match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => Value::Unsigned(bits),
            Self::I8 => Value::Signed(i64::from(bits as i8)),
            Self::I16 => Value::Signed(i64::from(bits as i16)),
            Self::I32 => Value::Signed(i64::from(bits as i32)),
            Self::I64 => Value::Signed(bits as i64),
            Self::F32 => Value::Float(f64::from(f32::from_bits(bits as u32))),
            Self::F64 => Value::Float(f64::from_bits(bits)),
            Self::Bool => Value::Bool(bits != 0),
        }
    }
}

/// A list of numbers of one type, in the bytes of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    pub(super) kind: NumberKind,
    pub(super) bytes: Box<[u8]>,
}

impl Numbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.kind.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The numbers, each as a [`Value`].
    pub fn values(&self) -> impl ExactSizeIterator<Item = Value> {
        self.bytes.chunks_exact(self.kind.size()).map(|bytes| self.kind.decode(bytes))
    }

    /// The numbers as integers; truth values are 0 and 1. `None` for floats.
    pub fn integers(&self) -> Option<impl ExactSizeIterator<Item = i64>> {
        (!self.are_floats()).then(|| {
            self.values().map(|value| match value {
                Value::Unsigned(n) => n as i64,
                Value::Signed(n) => n,
                other => i64::from(other == Value::Bool(true)),
            })
        })
    }

    /// The numbers as floats. `None` for integers.
    pub fn floats(&self) -> Option<impl ExactSizeIterator<Item = f64>> {
        self.are_floats().then(|| {
            self.values().map(|value| match value {
                Value::Float(x) => x,
                _ => 0.0,
            })
        })
    }

    fn are_floats(&self) -> bool {
        matches!(self.kind, NumberKind::F32 | NumberKind::F64)
    }
}

/// A list of strings: their bytes end to end, and where each ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strings {
    pub(super) text: String,
    pub(super) ends: Vec<u32>,
}

impl Strings {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The strings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let end = end as usize;
            let string = &self.text[start..end];
            start = end;
            string
        })
    }
}
