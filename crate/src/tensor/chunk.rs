//! Bytes of a file on their way to where they belong. In a browser they lie outside the wasm's memory until
//! somebody reads them; what goes to a GPU never enters it.

use std::borrow::Cow;
use std::ops::Range;

/// Some bytes of a file.
#[derive(Clone)]
pub enum Chunk<'a> {
    /// In this program's memory.
    Memory(&'a [u8]),
    /// In an array of JavaScript.
    #[cfg(target_arch = "wasm32")]
    Page(js_sys::Uint8Array),
}

impl<'a> Chunk<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            #[cfg(target_arch = "wasm32")]
            Self::Page(array) => array.length() as usize,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of them; the range must be within.
    pub fn slice(&self, range: Range<usize>) -> Self {
        match self {
            Self::Memory(bytes) => Self::Memory(&bytes[range]),
            #[cfg(target_arch = "wasm32")]
            Self::Page(array) => Self::Page(array.subarray(range.start as u32, range.end as u32)),
        }
    }

    /// Copies the bytes to where they belong, which has room for as many.
    pub fn copy_to(&self, into: &mut [u8]) {
        match self {
            Self::Memory(bytes) => into.copy_from_slice(bytes),
            #[cfg(target_arch = "wasm32")]
            Self::Page(array) => array.copy_to(into),
        }
    }

    /// The bytes in this program's memory, copied if they are not there.
    pub fn read(&self) -> Cow<'a, [u8]> {
        match self {
            Self::Memory(bytes) => Cow::Borrowed(bytes),
            #[cfg(target_arch = "wasm32")]
            Self::Page(array) => Cow::Owned(array.to_vec()),
        }
    }
}

impl<'a> From<&'a [u8]> for Chunk<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Memory(bytes)
    }
}
