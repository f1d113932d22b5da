//! Memory of zeros that costs nothing until it is written: a KV cache has room for a whole context, and most
//! answers use little of it. Natively the system gives such pages. In wasm the allocator clears what it hands
//! out, which touches it, so large buffers are pages by which the memory grows; those are zero already.

use crate::error::{Result, ensure};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Bytes of zeros, aligned to 16, until they are written.
pub struct Buffer {
    start: NonNull<u128>,
    /// Units of 16 bytes.
    units: usize,
}

// SAFETY: a buffer owns its memory alone, as a `Vec` does.
unsafe impl Send for Buffer {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of at least `bytes` bytes. Fails when there is no memory for it.
    pub fn zeros(bytes: usize) -> Result<Self> {
        let units = bytes.div_ceil(16);
        if units == 0 {
            return Ok(Self::default());
        }
        let start = Layout::array::<u128>(units).ok().and_then(zeroed);
        ensure!(
            start.is_some(),
            OutOfMemory,
            "no memory for a buffer of {bytes} bytes: ask for a shorter context"
        );
        Ok(Self { start: start.unwrap_or(NonNull::dangling()), units })
    }

    /// Its size, a multiple of 16.
    pub fn n_bytes(&self) -> usize {
        self.units * 16
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is valid for `units` units that are always initialised, and `self` is borrowed.
        bytemuck::cast_slice(unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.units) })
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        bytemuck::cast_slice_mut(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.units) })
    }
}

impl Default for Buffer {
    /// An empty buffer.
    fn default() -> Self {
        Self { start: NonNull::dangling(), units: 0 }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let (Ok(layout), false) = (Layout::array::<u128>(self.units), self.units == 0) {
            free(self.start, layout);
        }
    }
}

/// Bytes from which on a buffer of a wasm is made of pages of its own.
#[cfg(target_arch = "wasm32")]
const PAGED: usize = 1 << 17;

fn zeroed(layout: Layout) -> Option<NonNull<u128>> {
    #[cfg(target_arch = "wasm32")]
    if layout.size() >= PAGED {
        return pages::take(layout.size());
    }
    // SAFETY: the layout has a size, since a buffer has at least one unit.
    NonNull::new(unsafe { alloc_zeroed(layout) }.cast())
}

fn free(start: NonNull<u128>, layout: Layout) {
    #[cfg(target_arch = "wasm32")]
    if layout.size() >= PAGED {
        return pages::give_back(start, layout.size());
    }
    // SAFETY: `zeroed` allocated it with this layout.
    unsafe { dealloc(start.as_ptr().cast(), layout) }
}

/// Pages of the wasm's memory. Those given back are kept for the next that fit them, and cleared then.
#[cfg(target_arch = "wasm32")]
mod pages {
    use super::Free;
    use std::cell::RefCell;
    use std::ptr::NonNull;

    const PAGE: usize = 65_536;

    thread_local! {
        static FREE: RefCell<Free> = const { RefCell::new(Free { blocks: Vec::new() }) };
    }

    pub(super) fn take(bytes: usize) -> Option<NonNull<u128>> {
        let bytes = bytes.next_multiple_of(PAGE);
        if let Some(address) = FREE.with_borrow_mut(|free| free.take(bytes)) {
            let start = address as *mut u8;
            // SAFETY: these pages were given back, and nobody else has them.
            unsafe { start.write_bytes(0, bytes) };
            return NonNull::new(start.cast());
        }
        let page = core::arch::wasm32::memory_grow::<0>(bytes / PAGE);
        (page != usize::MAX).then(|| NonNull::new((page * PAGE) as *mut u128)).flatten()
    }

    pub(super) fn give_back(start: NonNull<u128>, bytes: usize) {
        FREE.with_borrow_mut(|free| free.give_back(start.as_ptr() as usize, bytes.next_multiple_of(PAGE)));
    }
}

/// What was given back, in blocks that do not touch each other.
#[cfg(any(test, target_arch = "wasm32"))]
struct Free {
    /// Addresses and bytes, by address.
    blocks: Vec<(usize, usize)>,
}

#[cfg(any(test, target_arch = "wasm32"))]
impl Free {
    /// Takes bytes from the smallest block that has as many, and gives their address.
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let fitting = self.blocks.iter_mut().filter(|(_, size)| *size >= bytes);
        let block = fitting.min_by_key(|(_, size)| *size)?;
        let address = block.0;
        *block = (address + bytes, block.1 - bytes);
        self.blocks.retain(|&(_, size)| size > 0);
        Some(address)
    }

    /// Takes back bytes, and joins them with those beside them.
    fn give_back(&mut self, address: usize, bytes: usize) {
        let mut at = self.blocks.partition_point(|&(start, _)| start < address);
        self.blocks.insert(at, (address, bytes));
        if at > 0 && self.blocks[at - 1].0 + self.blocks[at - 1].1 == address {
            at -= 1;
            self.blocks[at].1 += self.blocks.remove(at + 1).1;
        }
        if self.blocks.get(at + 1).is_some_and(|&(next, _)| next == self.blocks[at].0 + self.blocks[at].1) {
            self.blocks[at].1 += self.blocks.remove(at + 1).1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_aligned_and_their_own() {
        for bytes in [0, 1, 16, 4097, 1 << 20] {
            let mut a = Buffer::zeros(bytes).unwrap();
            let mut b = Buffer::zeros(bytes).unwrap();
            assert_eq!(a.n_bytes(), bytes.next_multiple_of(16));
            assert!(a.bytes().iter().all(|&x| x == 0) && (a.bytes().as_ptr() as usize).is_multiple_of(16));
            a.bytes_mut().fill(1);
            assert!(b.bytes_mut().iter().all(|&x| x == 0));
        }
        assert!(Buffer::zeros(usize::MAX).is_err());
    }

    #[test]
    fn what_was_given_back_is_whole_again_and_goes_to_what_fits() {
        let mut free = Free { blocks: Vec::new() };
        assert_eq!(free.take(1), None);
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            order.into_iter().for_each(|i| free.give_back(100 + 10 * i, 10));
            assert_eq!(free.blocks, [(100, 40)]);
            assert_eq!(free.take(41), None);
            assert_eq!((free.take(15), free.take(25), free.take(1)), (Some(100), Some(115), None));
        }
        // The smallest that fits; what does not touch is not joined.
        free.give_back(100, 30);
        free.give_back(140, 10);
        assert_eq!((free.take(8), free.take(8)), (Some(140), Some(100)));
        assert_eq!(free.blocks, [(108, 22), (148, 2)]);
    }
}
