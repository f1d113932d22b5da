//! Memory to work in, which a thread keeps from one call of a kernel to the next: a small layer is computed in the time
//! that it takes to clear new memory.

use crate::error::{Result, ensure};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Pieces that a thread keeps.
const KEPT: usize = 4;
/// Values of the largest piece that is kept.
const LARGEST: usize = 1 << 18;

thread_local! {
    static PIECES: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Numbers, whatever was there before; given back when it is dropped.
pub struct Scratch {
    values: Vec<f32>,
    n: usize,
}

impl Scratch {
    /// Room for `n` values, which may be any. Fails when there is no memory for them.
    pub fn new(n: usize) -> Result<Self> {
        let kept = PIECES.with_borrow_mut(|pieces| {
            let fits = (0..pieces.len()).filter(|&i| pieces[i].len() >= n);
            fits.min_by_key(|&i| pieces[i].len()).map(|i| pieces.swap_remove(i))
        });
        if let Some(values) = kept {
            return Ok(Self { values, n });
        }
        let mut values = Vec::new();
        let fits = n <= u32::MAX as usize && values.try_reserve_exact(n).is_ok();
        ensure!(fits, OutOfMemory, "no memory for {n} values to work with: use a smaller input");
        values.resize(n, 0.0);
        Ok(Self { values, n })
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.n]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.n]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        if values.is_empty() || values.len() > LARGEST {
            return;
        }
        // A thread that ends has none any more.
        _ = PIECES.try_with(|pieces| {
            let mut pieces = pieces.borrow_mut();
            pieces.push(values);
            if pieces.len() > KEPT {
                let least = (0..pieces.len()).min_by_key(|&i| pieces[i].len());
                least.map(|i| pieces.swap_remove(i));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_of_their_size_and_apart() {
        for _ in 0..3 {
            let mut all: Vec<Scratch> = [5, 0, 3, 100, 70, 5].map(|n| Scratch::new(n).unwrap()).into();
            for (i, piece) in all.iter_mut().enumerate() {
                piece.fill(i as f32);
            }
            let sizes: Vec<usize> = all.iter().map(|piece| piece.len()).collect();
            assert_eq!(sizes, [5, 0, 3, 100, 70, 5]);
            assert!(all.iter().enumerate().all(|(i, piece)| piece.iter().all(|x| *x == i as f32)));
        }
        assert!(PIECES.with_borrow(Vec::len) <= KEPT);
        assert!(Scratch::new(usize::MAX / 8).is_err());
    }
}
