// Q4_0 in affine form: see quant/q4_0.rs. `block` is the address of a block's first byte.

import package::shared::raw::byte_at;

const BITS: u32 = 4u;
const GROUP: u32 = 32u;
const BLOCK_LEN: u32 = 32u;
const BLOCK_BYTES: u32 = 18u;

fn level(block: u32, i: u32) -> u32 {
    return (byte_at(block + 2u + i % 16u) >> (i / 16u * 4u)) & 15u;
}

fn scale(block: u32, group: u32) -> f32 {
    return half_at(block);
}
