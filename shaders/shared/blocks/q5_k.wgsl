// Q5_K in affine form: see quant/q5_k.rs. `block` is the address of a block's first byte.

import package::shared::raw::byte_at;

const BITS: u32 = 8u;
const GROUP: u32 = 32u;
const BLOCK_LEN: u32 = 256u;
const BLOCK_BYTES: u32 = 176u;

import package::shared::six_bits::scale;

fn level(block: u32, i: u32) -> u32 {
    let low = (byte_at(block + 48u + i / 64u * 32u + i % 32u) >> (i % 64u / 32u * 4u)) & 15u;
    let high = (byte_at(block + 16u + i % 32u) >> (i / 32u)) & 1u;
    return low | (high << 4u);
}
