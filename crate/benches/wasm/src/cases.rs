//! What a case is, and what cases are made of.

use homefire::error::Result;
use homefire::kernels::threads::Threads;
use std::rc::Rc;

/// One call of a kernel.
pub type Call = Box<dyn FnMut(Threads)>;

/// A kernel at one size, and the least that a call of it takes.
#[derive(Clone)]
pub struct Case {
    /// The family.
    pub kind: &'static str,
    /// Sizes and formats.
    pub name: String,
    /// Additions and multiplications of f32, a fused one being two.
    pub floats: f64,
    /// Additions and multiplications of 8-bit integers.
    pub integers: f64,
    /// Bytes that come from memory, because the set is larger than caches.
    pub memory: f64,
    /// Bytes that are read and written in a cache.
    pub cache: f64,
    /// Makes the operands.
    pub make: Rc<dyn Fn() -> Result<Call>>,
}

impl Case {
    /// A case that does nothing yet.
    pub fn new(
        kind: &'static str,
        name: impl Into<String>,
        make: impl Fn() -> Result<Call> + 'static,
    ) -> Self {
        let (name, make) = (name.into(), Rc::new(make));
        Self { kind, name, floats: 0.0, integers: 0.0, memory: 0.0, cache: 0.0, make }
    }

    /// A call does so many operations of floats.
    pub fn floats(self, n: usize) -> Self {
        Self { floats: n as f64, ..self }
    }

    /// A call does so many operations of 8-bit integers.
    pub fn integers(self, n: usize) -> Self {
        Self { integers: n as f64, ..self }
    }

    /// A call takes so many bytes from memory.
    pub fn memory(self, bytes: usize) -> Self {
        Self { memory: bytes as f64, ..self }
    }

    /// A call reads and writes so many bytes in a cache.
    pub fn cache(self, bytes: usize) -> Self {
        Self { cache: bytes as f64, ..self }
    }
}

/// Bytes of a set that no cache holds for a next call.
pub const SET: usize = 96 << 20;

/// Numbers of 24 bits that look random.
fn noise(n: usize, seed: u32) -> impl Iterator<Item = u32> {
    let mut x = seed;
    std::iter::repeat_with(move || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x >> 8
    })
    .take(n)
}

/// Floats of -1..1.
pub fn floats(n: usize) -> Vec<f32> {
    noise(n, 7).map(|x| x as f32 / 8_388_608.0 - 1.0).collect()
}

/// Bytes.
pub fn bytes(n: usize) -> Vec<u8> {
    noise(n, 3).map(|x| x as u8).collect()
}

/// Bytes that are moderate numbers where a format has f16 or f32 among them.
pub fn weight_bytes(n: usize) -> Vec<u8> {
    noise(n, 1).map(|x| (x & 0x0b) as u8 | 0x30).collect()
}
