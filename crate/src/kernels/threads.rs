//! Where loops over independent items run: the calling thread shares them with the threads that serve the pool.
//!
//! A loop is cut into pieces, one a thread or, where it is long, several, and whoever is free takes the next one. The caller
//! takes pieces too, and waits only for threads that have begun one: a thread that sleeps, or that never started, helps less and holds
//! nobody up. A thread without work looks for some a short while before it sleeps, for the next loop mostly begins a few
//! microseconds after the last, and the next token soon after this one. A loop inside a loop, or beside one, runs on its own thread.
//!
//! On the web a worker becomes a thread by calling [`serve`] on the shared memory; elsewhere [`spawn`] starts threads.

use super::clock;
use crate::error::Result;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The threads that kernels may use.
#[derive(Clone, Copy, Debug)]
pub struct Threads {
    shared: bool,
}

/// Elements that are worth handing to another thread where little is done with each: some microseconds.
pub const WORTH: usize = 1 << 13;

impl Threads {
    /// The calling thread alone.
    pub const fn single() -> Self {
        Self { shared: false }
    }

    /// The calling thread and those that serve the pool.
    pub const fn shared() -> Self {
        Self { shared: true }
    }

    /// How many threads there are now, this one included.
    pub fn count(&self) -> usize {
        if self.shared { 1 + POOL.servers.load(Ordering::Relaxed) } else { 1 }
    }

    /// Calls `work` on ranges that cover `0..n` once, each of at least `grain` items where there are as many: what is
    /// worth the two microseconds that handing it over costs.
    pub fn for_each(&self, n: usize, grain: usize, work: impl Fn(Range<usize>) + Sync) {
        let count = self.count();
        // Tests have small cases, and share them out all the same.
        let grain = if cfg!(test) { 1 } else { grain.max(1) };
        let each = if n / grain < count * PIECES * LONG { 1 } else { PIECES };
        let most = if count == 1 { 1 } else { (n / grain).min(count * each) };
        // As many for each thread.
        let pieces = if most > count { most - most % count } else { most };
        if pieces <= 1 || !POOL.run(pieces, &|i| work(piece(n, pieces, i))) {
            work(0..n);
        }
    }

    /// The same for work that can fail: gives the first failure.
    pub fn try_for_each(
        &self,
        n: usize,
        grain: usize,
        work: impl Fn(Range<usize>) -> Result<()> + Sync,
    ) -> Result<()> {
        let failure = Mutex::new(None);
        self.for_each(n, grain, |range| {
            if let Err(error) = work(range) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Calls `work` with runs of rows that cover `out`, `row` elements each, and the number of the first: as
    /// [`for_each`](Self::for_each).
    pub fn for_rows<T: Send>(
        &self,
        out: &mut [T],
        row: usize,
        grain: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let (n, places) = (out.len() / row.max(1), Places::new(out));
        self.for_each(n, grain, |rows| {
            // SAFETY: the ranges of a loop do not overlap.
            work(rows.start, unsafe { places.range(rows.start * row..rows.end * row) });
        });
    }
}

/// Piece `i` of `pieces` of about the same size that cover `0..n`. `n` may be as large as a number of 32 bits can be.
fn piece(n: usize, pieces: usize, i: usize) -> Range<usize> {
    let start = |i| n / pieces * i + (n % pieces).min(i);
    start(i)..start(i + 1)
}

/// A slice that threads write together, each at places of its own.
pub struct Places<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: elements are only reached through `range`, whose callers keep them apart.
unsafe impl<T: Send> Sync for Places<'_, T> {}

impl<'a, T> Places<'a, T> {
    /// All places of a slice.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The places from `at` on.
    pub fn after(&self, at: usize) -> Self {
        assert!(at <= self.len);
        // SAFETY: the first place is in the slice, or right behind it.
        Self { start: unsafe { self.start.add(at) }, len: self.len - at, slice: PhantomData }
    }

    /// Some of the places.
    ///
    /// # Safety
    /// While the result is in use, no other range that overlaps it is.
    #[allow(clippy::mut_from_ref, reason = "callers keep ranges apart, as the contract says")]
    pub unsafe fn range(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range lies in the slice, and nobody else uses it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Pieces of a loop for each thread: more even out threads that are slower, fewer read memory in longer runs.
const PIECES: usize = 2;
/// Grains of a piece from which on a thread gets several: what is read in long runs comes faster from memory.
const LONG: usize = 8;
/// Milliseconds for which a thread looks for work before it sleeps: longer than what mostly comes between two tokens.
const PATIENCE: f64 = 0.3;
/// Looks between those at the clock.
const SPINS: usize = 4_000;
/// Looks at the clock: some milliseconds, where a browser makes it coarse.
const LOOKS: usize = 64;
/// In [`Pool::gate`]: a loop may be joined.
const OPEN: u32 = 1 << 31;
/// In [`Pool::gate`]: one loop more.
const LOOP: u32 = 1 << 12;

type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// The loop that runs.
#[derive(Clone, Copy)]
struct Job {
    work: Work<'static>,
    pieces: usize,
}

/// Apart from what other threads write: two lines of the cache, which are often fetched as a pair.
#[repr(align(128))]
struct Apart<T>(T);

struct Pool {
    servers: AtomicUsize,
    /// Whether a loop runs: only its thread changes the job.
    busy: AtomicBool,
    /// `OPEN`, the number of the loop, and in the low bits how many servers are inside it. Threads without work look here.
    gate: Apart<AtomicU32>,
    work: Apart<Shared>,
    /// A piece panicked on a server.
    failed: AtomicBool,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

/// What the threads of a loop share.
struct Shared {
    /// The next piece to take.
    next: AtomicUsize,
    job: UnsafeCell<Job>,
}

// SAFETY: the job is written by the thread that holds `busy` while the gate is closed and nobody is inside, and read by
// those inside only.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    servers: AtomicUsize::new(0),
    busy: AtomicBool::new(false),
    gate: Apart(AtomicU32::new(0)),
    work: Apart(Shared { next: AtomicUsize::new(0), job: UnsafeCell::new(Job { work: &|_| {}, pieces: 0 }) }),
    failed: AtomicBool::new(false),
    sleepers: AtomicUsize::new(0),
    lock: Mutex::new(()),
    wake: Condvar::new(),
};

thread_local! {
    /// Whether this thread serves a loop.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Counts a thread that is about to [`serve`].
pub fn enter() {
    POOL.servers.fetch_add(1, Ordering::Relaxed);
}

/// Makes the calling thread, which has [entered](enter), one of the pool; it does not return.
pub fn serve() -> ! {
    POOL.serve()
}

/// Says that this thread of the pool serves no more; the loop that it was inside, if it was, fails.
pub fn ended() {
    POOL.servers.fetch_sub(1, Ordering::Relaxed);
    if INSIDE.take() {
        POOL.failed.store(true, Ordering::Release);
        POOL.leave();
    }
}

/// Starts as many threads that serve the pool.
#[cfg(not(target_arch = "wasm32"))]
pub fn spawn(n: usize) {
    for _ in 0..n {
        enter();
        std::thread::spawn(|| serve());
    }
}

impl Pool {
    /// Calls `work` with every number below `pieces`, together with the servers. Does nothing and gives false when
    /// another loop runs.
    fn run(&self, pieces: usize, work: Work) -> bool {
        if self.busy.swap(true, Ordering::Acquire) {
            return false;
        }
        let running = Running(self);
        // SAFETY: no server is inside, and none enters before the gate opens. `running` closes it and waits for all that
        // are inside before this function returns, so the work is called only while it lives.
        unsafe {
            *self.work.0.job.get() =
                Job { work: std::mem::transmute::<Work<'_>, Work<'static>>(work), pieces }
        };
        self.work.0.next.store(0, Ordering::Relaxed);
        let gate = self.gate.0.load(Ordering::Relaxed);
        self.gate.0.store((gate & !OPEN).wrapping_add(LOOP) | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            let _guard = self.locked();
            self.wake.notify_all();
        }
        self.take_pieces(work, pieces);
        drop(running);
        true
    }

    fn take_pieces(&self, work: Work, pieces: usize) {
        loop {
            let piece = self.work.0.next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                return;
            }
            work(piece);
        }
    }

    fn serve(&self) -> ! {
        let mut last = 0;
        loop {
            let gate = self.find_loop(last);
            if self.gate.0.compare_exchange(gate, gate + 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            last = gate / LOOP;
            INSIDE.set(true);
            let inside = Inside(self);
            // SAFETY: this thread is inside, so the job stays as it is.
            let Job { work, pieces } = unsafe { *self.work.0.job.get() };
            self.take_pieces(work, pieces);
            drop(inside);
        }
    }

    /// The gate when a loop other than the last is open. Who was woken too late for one looks for the next before it sleeps
    /// again.
    fn find_loop(&self, last: u32) -> u32 {
        let open = |gate: u32| (gate & OPEN != 0 && gate / LOOP != last).then_some(gate);
        loop {
            let end = clock::now() + PATIENCE;
            for _ in 0..LOOKS {
                if clock::now() >= end {
                    break;
                }
                for _ in 0..SPINS {
                    if let Some(gate) = open(self.gate.0.load(Ordering::Relaxed)) {
                        return gate;
                    }
                    std::hint::spin_loop();
                }
            }
            let guard = self.locked();
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            let found = open(self.gate.0.load(Ordering::SeqCst));
            if found.is_none() {
                drop(self.wake.wait(guard));
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
            if let Some(gate) = found {
                return gate;
            }
        }
    }

    fn leave(&self) {
        self.gate.0.fetch_sub(1, Ordering::Release);
    }

    fn locked(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server inside a loop, until it is dropped.
struct Inside<'a>(&'a Pool);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        INSIDE.set(false);
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Release);
            self.0.servers.fetch_sub(1, Ordering::Relaxed);
        }
        self.0.leave();
    }
}

/// A loop that runs. When it is dropped, nobody else may enter, and all have left.
struct Running<'a>(&'a Pool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let inside = |gate: u32| !gate.is_multiple_of(LOOP);
        let mut gate = self.0.gate.0.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while inside(gate) {
            spins += 1;
            if spins > SPINS {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
            gate = self.0.gate.0.load(Ordering::Acquire);
        }
        let failed = self.0.failed.swap(false, Ordering::Acquire);
        self.0.busy.store(false, Ordering::Release);
        assert!(!failed || std::thread::panicking(), "a thread failed inside a loop");
    }
}

/// Four threads, for tests that what is computed does not depend on their number.
#[cfg(test)]
pub fn pool() -> Threads {
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| spawn(3));
    Threads::shared()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_all_items_once_however_many_they_are() {
        for (n, pieces) in [(10, 4), (7, 7), (1000, 3), (usize::MAX, 128), (usize::MAX - 3, 5)] {
            let all: Vec<_> = (0..pieces).map(|i| piece(n, pieces, i)).collect();
            assert!(all[0].start == 0 && all[pieces - 1].end == n);
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(all.iter().all(|piece| piece.len().abs_diff(n / pieces) <= 1));
        }
    }

    #[test]
    fn every_item_is_done_once() {
        let threads = pool();
        for n in [0, 1, 2, 7, 64, 1000] {
            let mut done = vec![0u8; n * 3];
            threads.for_rows(&mut done, 3, 1, |first, rows| {
                rows.iter_mut().enumerate().for_each(|(i, x)| *x += 1 + ((first * 3 + i) % 5) as u8);
            });
            assert!(done.iter().enumerate().all(|(i, x)| *x == 1 + (i % 5) as u8));
        }
    }

    #[test]
    fn loops_inside_and_beside_loops_are_whole() {
        let threads = pool();
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        threads.for_each(16, 1, |outer| {
                            threads.for_each(8, 1, |inner| {
                                total.fetch_add(outer.len() * inner.len(), Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(total.load(Ordering::Relaxed), 4 * 500 * 16 * 8);
    }

    #[test]
    fn threads_help_and_come_back_from_sleep() {
        let threads = pool();
        while threads.count() < 4 {
            std::thread::yield_now();
        }
        for pause in [0, 20] {
            std::thread::sleep(std::time::Duration::from_millis(pause));
            let helped = AtomicBool::new(false);
            let caller = std::thread::current().id();
            // Other tests may hold the pool: then this thread works alone, and tries again.
            while !helped.load(Ordering::Relaxed) {
                threads.for_each(64, 1, |_| {
                    helped.fetch_or(std::thread::current().id() != caller, Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_micros(100));
                });
            }
        }
    }
}
