// Q2_K in affine form: see quant/q2_k.rs. `block` is the address of a block's first byte.

import package::shared::raw::byte_at;

const BITS: u32 = 4u;
const GROUP: u32 = 16u;
const BLOCK_LEN: u32 = 256u;
const BLOCK_BYTES: u32 = 84u;

fn level(block: u32, i: u32) -> u32 {
    return (byte_at(block + 16u + i / 128u * 32u + i % 32u) >> (i % 128u / 32u * 2u)) & 3u;
}

fn scale(block: u32, group: u32) -> f32 {
    return half_at(block + 80u) * f32(byte_at(block + group) & 15u);
}

fn minimum(block: u32, group: u32) -> f32 {
    return -(half_at(block + 82u) * f32(byte_at(block + group) >> 4u));
}
