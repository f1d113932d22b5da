//! Protocol buffers as they are on the wire: a message is fields, each a number, a kind and a value. Encoding:
//! <https://protobuf.dev/programming-guides/encoding/>.

use crate::error::{Result, ensure, fail};

/// How deep messages may lie in each other: graphs in attributes of nodes of graphs.
const MAX_DEPTH: usize = 64;

/// The bytes of a message that have not been read yet.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    depth: usize,
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(Message<'a>),
    Fixed32([u8; 4]),
}

impl<'a> Message<'a> {
    /// A whole file.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, depth: 0 }
    }

    /// The bytes themselves.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let Some((&byte, rest)) = self.bytes.split_first() else { break };
            self.bytes = rest;
            value |= u64::from(byte & 127).checked_shl(shift).unwrap_or(0);
            if byte < 128 {
                return Ok(value);
            }
        }
        fail!(Format, "an ONNX file ends, or goes wrong, within a number")
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8]> {
        match usize::try_from(n).ok().and_then(|n| self.bytes.split_at_checked(n)) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => fail!(Format, "an ONNX file says that {n} bytes follow, and {} do", self.bytes.len()),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(*self.take(N as u64)?.as_array().unwrap_or(&[0; N]))
    }

    /// The next field, if there is one.
    pub fn next(&mut self) -> Result<Option<(u64, Value<'a>)>> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.array()?),
            2 => {
                let n = self.varint()?;
                let depth = self.depth + 1;
                ensure!(
                    depth <= MAX_DEPTH,
                    Format,
                    "an ONNX file nests its messages deeper than {MAX_DEPTH}"
                );
                Value::Bytes(Message { bytes: self.take(n)?, depth })
            }
            5 => Value::Fixed32(self.array()?),
            kind => return fail!(Format, "an ONNX file has a field of the unknown kind {kind}"),
        };
        Ok(Some((tag >> 3, value)))
    }

    /// Calls `field` for each field.
    pub fn each(mut self, mut field: impl FnMut(u64, Value<'a>) -> Result<()>) -> Result<()> {
        while let Some((number, value)) = self.next()? {
            field(number, value)?;
        }
        Ok(())
    }
}

impl<'a> Value<'a> {
    /// A message, bytes or text.
    pub fn message(self) -> Result<Message<'a>> {
        match self {
            Self::Bytes(message) => Ok(message),
            _ => fail!(Format, "an ONNX file has a number where a message belongs"),
        }
    }

    /// Text.
    pub fn text(self) -> Result<&'a str> {
        match std::str::from_utf8(self.message()?.bytes) {
            Ok(text) => Ok(text),
            Err(_) => fail!(Format, "an ONNX file has a name that is not UTF-8"),
        }
    }

    /// An integer.
    pub fn int(self) -> Result<i64> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            _ => fail!(Format, "an ONNX file has something else where an integer belongs"),
        }
    }

    /// A float.
    pub fn float(self) -> Result<f32> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => fail!(Format, "an ONNX file has something else where a float belongs"),
        }
    }

    /// Adds one integer, or a packed list of them.
    pub fn ints(self, to: &mut Vec<i64>) -> Result<()> {
        match self {
            Self::Bytes(mut message) => {
                while !message.bytes.is_empty() {
                    to.push(message.varint()? as i64);
                }
            }
            one => to.push(one.int()?),
        }
        Ok(())
    }

    /// Adds one float, or a packed list of them.
    pub fn floats(self, to: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Bytes(message) => {
                let (all, rest) = message.bytes.as_chunks();
                ensure!(rest.is_empty(), Format, "a list of floats in an ONNX file ends within one");
                to.extend(all.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            }
            one => to.push(one.float()?),
        }
        Ok(())
    }

    /// Adds one double, or a packed list of them.
    pub fn doubles(self, to: &mut Vec<f64>) -> Result<()> {
        match self {
            Self::Bytes(message) => {
                let (all, rest) = message.bytes.as_chunks();
                ensure!(rest.is_empty(), Format, "a list of doubles in an ONNX file ends within one");
                to.extend(all.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            }
            Self::Fixed64(bytes) => to.push(f64::from_le_bytes(bytes)),
            _ => return fail!(Format, "an ONNX file has something else where a double belongs"),
        }
        Ok(())
    }
}
