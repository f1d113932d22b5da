//! The wire format of protobuf: a message is a row of fields, each a number, a kind and a payload.
//! <https://protobuf.dev/programming-guides/encoding/>
//!
//! A [`Wire`] is a cursor over one message. It gives [`Field`]s whose payloads lie within the message's bytes, so a
//! length that claims more fails where it is read, and what nobody asks of a field is skipped. Lists grow by what
//! was read or by what the bytes of a packed payload hold, never by a number that the file states.

use crate::error::{Error, ErrorKind, Result, fail};

/// Messages are nested this deep at most.
const MAX_DEPTH: usize = 64;

/// How a payload is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Varint,
    Fixed64,
    /// Bytes, a string, a message, or packed numbers, after their length.
    Bytes,
    Fixed32,
}

/// The fault of a file that contradicts its format.
pub(super) fn fault(message: String) -> Error {
    Error::new(ErrorKind::Format, format!("not a valid ONNX file: {message}"))
}

/// A cursor over a message.
#[derive(Clone, Copy)]
pub(super) struct Wire<'a> {
    /// The file up to the end of the message.
    bytes: &'a [u8],
    at: usize,
    /// What `onnx.proto` calls the message.
    message: &'static str,
    depth: usize,
}

/// A field of a message.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    kind: Kind,
    payload: Wire<'a>,
}

impl<'a> Wire<'a> {
    /// The outermost message.
    pub(super) fn new(bytes: &'a [u8], message: &'static str) -> Self {
        Self { bytes, at: 0, message, depth: 0 }
    }

    /// The next field; none at the end of the message.
    pub(super) fn field(&mut self) -> Result<Option<Field<'a>>> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let at = self.at;
        let tag = self.varint()?;
        let (kind, len) = match (tag >> 3, tag & 7) {
            (1.., 0) => {
                let mut ahead = *self;
                ahead.varint()?;
                (Kind::Varint, ahead.at - self.at)
            }
            (1.., 1) => (Kind::Fixed64, 8),
            (1.., 2) => (Kind::Bytes, usize::try_from(self.varint()?).unwrap_or(usize::MAX)),
            (1.., 5) => (Kind::Fixed32, 4),
            _ => {
                return Err(fault(format!(
                    "at byte {at}: {} has no field with the tag {tag}: the file is damaged or not an ONNX file, check \
                     that the source gives the file itself",
                    self.message
                )));
            }
        };
        let start = self.at;
        self.take(len)?;
        Ok(Some(Field {
            number: tag >> 3,
            kind,
            payload: Self { bytes: &self.bytes[..self.at], at: start, ..*self },
        }))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let left = &self.bytes[self.at..];
        let Some(taken) = left.get(..n) else {
            return Err(fault(format!(
                "at byte {}: {n} bytes do not fit in {}, which has {} left: the file is damaged or cut off, download \
                 it again",
                self.at,
                self.message,
                left.len()
            )));
        };
        self.at += n;
        Ok(taken)
    }

    /// A number of seven bits a byte, lowest first; all bytes but the last have their highest bit set.
    fn varint(&mut self) -> Result<u64> {
        let at = self.at;
        let len = self.bytes[at..].iter().take(10).take_while(|&&byte| byte >= 128).count() + 1;
        let bytes = self.take(len)?;
        if len > 10 || (len == 10 && bytes[9] > 1) {
            return Err(fault(format!("at byte {at}: a number of {} has more than 64 bits", self.message)));
        }
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 7 | u64::from(byte & 127)))
    }
}

/// A number that a field has.
pub(super) trait Scalar: Copy {
    const KIND: Kind;
    fn read(wire: &mut Wire) -> Result<Self>;
}

macro_rules! scalars {
    (varint: $($int:ty),+; fixed: $($float:ty => $kind:ident),+) => {
        $(impl Scalar for $int {
            const KIND: Kind = Kind::Varint;
            fn read(wire: &mut Wire) -> Result<Self> {
                Ok(wire.varint()? as $int)
            }
        })+
        $(impl Scalar for $float {
            const KIND: Kind = Kind::$kind;
            fn read(wire: &mut Wire) -> Result<Self> {
                let mut bytes = [0; size_of::<$float>()];
                bytes.copy_from_slice(wire.take(size_of::<$float>())?);
                Ok(<$float>::from_le_bytes(bytes))
            }
        })+
    };
}
// A 32-bit number is written with 64 bits, of which the upper are its sign.
scalars!(varint: i64, i32, u64; fixed: f32 => Fixed32, f64 => Fixed64);

impl<'a> Field<'a> {
    fn expect(&self, kind: Kind) -> Result<()> {
        if self.kind == kind {
            return Ok(());
        }
        let Wire { at, message, .. } = self.payload;
        Err(fault(format!(
            "at byte {at}: field {} of {message} is {:?}, not {kind:?}",
            self.number, self.kind
        )))
    }

    /// A number.
    pub(super) fn scalar<T: Scalar>(&self) -> Result<T> {
        self.expect(T::KIND)?;
        T::read(&mut self.payload.clone())
    }

    /// Adds a number to a list, or all that are packed into one field.
    pub(super) fn scalars<T: Scalar>(&self, list: &mut Vec<T>) -> Result<()> {
        if self.kind == T::KIND {
            return push(list, self.scalar()?);
        }
        let packed = self.bytes()?;
        let count = match T::KIND {
            Kind::Varint => packed.iter().filter(|&&byte| byte < 128).count(),
            _ => packed.len() / size_of::<T>(),
        };
        reserve(list, count)?;
        let mut wire = self.payload;
        while wire.at < wire.bytes.len() {
            push(list, T::read(&mut wire)?)?;
        }
        Ok(())
    }

    /// Bytes, as they are.
    pub(super) fn bytes(&self) -> Result<&'a [u8]> {
        self.expect(Kind::Bytes)?;
        Ok(&self.payload.bytes[self.payload.at..])
    }

    /// A string, which must be UTF-8.
    pub(super) fn str(&self) -> Result<&'a str> {
        let Wire { at, message, .. } = self.payload;
        std::str::from_utf8(self.bytes()?)
            .map_err(|_| fault(format!("at byte {at}: field {} of {message} is not UTF-8", self.number)))
    }

    /// A message within the message, which `onnx.proto` calls `message`.
    pub(super) fn message(&self, message: &'static str) -> Result<Wire<'a>> {
        self.expect(Kind::Bytes)?;
        let depth = self.payload.depth + 1;
        if depth >= MAX_DEPTH {
            let at = self.payload.at;
            return Err(fault(format!("at byte {at}: {message} is nested {MAX_DEPTH} messages deep")));
        }
        Ok(Wire { message, depth, ..self.payload })
    }

    /// Stores what there is one of at most.
    pub(super) fn once<T>(&self, place: &mut Option<T>, value: T) -> Result<()> {
        if place.replace(value).is_some() {
            let Wire { at, message, .. } = self.payload;
            return Err(fault(format!("at byte {at}: field {} of {message} is there twice", self.number)));
        }
        Ok(())
    }
}

/// Adds to a list; fails when there is no memory for it.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) -> Result<()> {
    reserve(list, 1)?;
    list.push(item);
    Ok(())
}

fn reserve<T>(list: &mut Vec<T>, more: usize) -> Result<()> {
    match list.try_reserve(more) {
        Ok(()) => Ok(()),
        Err(_) => {
            fail!(
                OutOfMemory,
                "no memory for the {} parts of a list in the ONNX file",
                list.len().saturating_add(more)
            )
        }
    }
}
