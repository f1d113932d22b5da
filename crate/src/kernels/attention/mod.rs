//! Causal attention over a cache. Keys are cut into parts at fixed places, whose results are then weighed against each
//! other in order. What becomes of a query does not depend on which others come with it, nor on how many threads there are. So a
//! prompt that is partly in the cache already gives the same answer, and so do guesses that are checked together.
//!
//! A cache of [`levels`] is what the CPU computes with; one of [`floats`] is exact, or what the GPU's kernels are held to.

mod floats;
pub mod levels;
#[cfg(test)]
mod tests;

use super::threads::{Places, Threads};
use half::f16;

/// Sizes of the heads.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; each serves `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// What scores are multiplied by.
    pub scale: f32,
}

/// Cached keys and values, each `[context, n_kv_heads · head_dim]`, and of levels `[n_kv_heads, context, levels::row(head_dim)]`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Cache<'a> {
    F32([&'a [f32]; 2]),
    F16([&'a [f16]; 2]),
    Levels([&'a [i16]; 2]),
}

/// Multiplications that are worth handing to another thread: some microseconds.
const WORTH: usize = 1 << 13;

/// `out[i] = softmax(scale · q[i] · kᵀ) · v` over the rows `0..=position + i` of the cache. `q` and `out` are
/// `[s, n_heads · head_dim]`.
pub fn attention(
    threads: Threads,
    shape: &AttentionShape,
    q: &[f32],
    cache: Cache,
    position: usize,
    out: &mut [f32],
) {
    let rows = q.len() / (shape.n_heads * shape.head_dim).max(1);
    let out = Places::new(out);
    match cache {
        _ if rows == 0 => {}
        Cache::F32(cache) => Causal { shape, q, cache, position, rows }.run(threads, &out),
        Cache::F16(cache) => Causal { shape, q, cache, position, rows }.run(threads, &out),
        Cache::Levels(cache) => Causal { shape, q, cache, position, rows }.run(threads, &out),
    }
}

/// What an attention reads.
struct Causal<'a, C> {
    shape: &'a AttentionShape,
    q: &'a [f32],
    /// Keys and values.
    cache: [&'a [C]; 2],
    /// Keys that the first query finds.
    position: usize,
    /// Queries.
    rows: usize,
}

impl<C> Causal<'_, C> {
    /// Query heads that a head of keys serves.
    fn group(&self) -> usize {
        self.shape.n_heads / self.shape.n_kv_heads.max(1)
    }

    /// Where a query begins, in `q` and in the result: of those that a head of keys serves, so many of each row.
    fn place(&self, kv_head: usize, lane: usize) -> usize {
        let (row, head) = (lane / self.group(), kv_head * self.group() + lane % self.group());
        (row * self.shape.n_heads + head) * self.shape.head_dim
    }
}
