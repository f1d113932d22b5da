//! Matrix products with weights. A weight `[n, k]` is repacked once, at load, into panels of eight rows
//! ([`PackedMatrix`]); [`PackedMatrix::matmul`] then multiplies activations `[m, k]` with it. Quantised
//! panels meet activations quantised to 8 bits ([`Tiles`]) in integer dot products, or f32
//! activations where the caller wants exact results.

mod activations;
mod factors;
mod float;
pub mod integer;
mod pack;
mod product;
mod quantized;
mod streams;
pub mod tile;

pub use activations::Tiles;
pub use pack::{PackedMatrix, Packer};
pub use quantized::TILE as QUANTIZED_TILE;

#[cfg(test)]
mod tests;
