//! Where loops over independent items run: on the calling thread, in order.

use std::ops::Range;

/// The threads that kernels may use.
#[derive(Debug)]
pub struct Threads {
    count: usize,
}

impl Threads {
    /// The calling thread alone.
    pub const fn single() -> Self {
        Self { count: 1 }
    }

    /// How many threads there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Calls `work` on ranges that cover `0..n` once.
    pub fn parallel_for(&self, n: usize, mut work: impl FnMut(Range<usize>)) {
        work(0..n);
    }
}
