//! A cursor over the first bytes of a file. What goes beyond the bytes so far ends the attempt ([`Stop::End`]);
//! what goes beyond the file, where its length is known, is a fault at once.

use super::values::{NumberKind, Numbers, Strings, Value};
use crate::error::{Error, ErrorKind};

/// Why parsing stopped: the bytes ended, or they are wrong.
pub(super) enum Stop {
    End,
    Fault(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

pub(super) type Step<T> = std::result::Result<T, Stop>;

/// The fault of a file that contradicts its format.
pub(super) fn fault(message: String) -> Stop {
    Stop::Fault(Error::new(ErrorKind::Format, format!("not a valid GGUF file: {message}")))
}

/// Lists of lists are this deep at most.
const MAX_DEPTH: usize = 4;

/// Lists that one list has at most: no known key has any, and each takes more memory than its bytes.
const MAX_LISTS: usize = 1 << 10;

/// Tensors and metadata entries are at most so many. The largest models have a few thousand.
pub(super) const MAX_ENTRIES: usize = 1 << 16;

pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) file_len: Option<u64>,
}

impl<'a> Reader<'a> {
    /// The next `n` bytes, which are `what`.
    pub(super) fn take(&mut self, n: usize, what: &str) -> Step<&'a [u8]> {
        self.expect(n, what)?;
        let bytes = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(bytes)
    }

    /// Stops unless `n` bytes are there.
    fn expect(&self, n: usize, what: &str) -> Step<()> {
        if n <= self.bytes.len() - self.at {
            return Ok(());
        }
        match self.file_len.filter(|&len| n as u64 > len.saturating_sub(self.at as u64)) {
            Some(len) => Err(fault(format!(
                "at byte {}: {what} of {n} bytes does not fit in the file of {len} bytes: it is damaged or cut off, \
                 download it again",
                self.at
            ))),
            None => Err(Stop::End),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Step<[u8; N]> {
        self.take(N, what)?.first_chunk().copied().ok_or(Stop::End)
    }

    pub(super) fn u32(&mut self, what: &str) -> Step<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Step<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of `what`, each of which takes at least `each` bytes and of which there are `most` at most.
    pub(super) fn count(&mut self, what: &str, each: usize, most: usize) -> Step<usize> {
        let at = self.at;
        let count = self.u64(what)?;
        let known = usize::try_from(count).ok().filter(|&count| count <= most);
        let Some(count) = known else {
            return Err(fault(format!("at byte {at}: {count} {what} are more than any file has")));
        };
        let room = self.file_len.map(|len| len.saturating_sub(self.at as u64));
        if let Some(room) = room.filter(|&room| (count as u64).saturating_mul(each as u64) > room) {
            return Err(fault(format!(
                "at byte {at}: {count} {what} do not fit in the {room} bytes that the file has left: it is damaged \
                 or cut off, download it again"
            )));
        }
        Ok(count)
    }

    /// A string.
    pub(super) fn str(&mut self, what: &str) -> Step<&'a str> {
        let len = self.count("bytes of a string", 1, 1 << 28)?;
        let at = self.at;
        std::str::from_utf8(self.take(len, what)?)
            .map_err(|_| fault(format!("at byte {at}: {what} is not UTF-8")))
    }

    /// A metadata value of the type `id`.
    pub(super) fn value(&mut self, id: u32, depth: usize) -> Step<Value> {
        match (id, NumberKind::from_id(id)) {
            (_, Some(kind)) => Ok(kind.decode(self.take(kind.size(), "a number")?)),
            (8, _) => Ok(Value::String(self.str("a string")?.into())),
            (9, _) => self.list(depth),
            _ => Err(fault(format!("at byte {}: a value of the unknown type {id}", self.at))),
        }
    }

    fn list(&mut self, depth: usize) -> Step<Value> {
        let at = self.at;
        let id = self.u32("the type of a list")?;
        match (id, NumberKind::from_id(id)) {
            (_, Some(kind)) => {
                let count = self.count("elements of a list", kind.size(), 1 << 28)?;
                let bytes = self.take(count.saturating_mul(kind.size()), "a list")?;
                Ok(Value::Numbers(Numbers { kind, bytes: bytes.into() }))
            }
            (8, _) => self.strings(),
            (9, _) if depth < MAX_DEPTH => {
                let count = self.count("lists of a list", 12, MAX_LISTS)?;
                let mut lists = Vec::new();
                for _ in 0..count {
                    lists.push(self.list(depth + 1)?);
                }
                Ok(Value::Lists(lists))
            }
            _ => Err(fault(format!("at byte {at}: a list of the unknown or too deep type {id}"))),
        }
    }

    /// A list of strings, measured before it is copied.
    fn strings(&mut self) -> Step<Value> {
        let count = self.count("strings of a list", 8, 1 << 28)?;
        self.expect(count.saturating_mul(8), "a list of strings")?;
        let start = self.at;
        let mut total = 0;
        for _ in 0..count {
            total += self.str("a string of a list")?.len();
        }
        let end = u32::try_from(total)
            .map_err(|_| fault(format!("at byte {start}: a list of strings has {total} bytes of text")))?;
        let (mut text, mut ends) = (String::with_capacity(end as usize), Vec::with_capacity(count));
        self.at = start;
        for _ in 0..count {
            text.push_str(self.str("a string of a list")?);
            ends.push(text.len() as u32);
        }
        Ok(Value::Strings(Strings { text, ends }))
    }
}
