// Q3_K in affine form: see quant/q3_k.rs. `block` is the address of a block's first byte.

import package::shared::raw::byte_at;

const BITS: u32 = 4u;
const GROUP: u32 = 16u;
const BLOCK_LEN: u32 = 256u;
const BLOCK_BYTES: u32 = 110u;

fn level(block: u32, i: u32) -> u32 {
    let low = (byte_at(block + 32u + i / 128u * 32u + i % 32u) >> (i % 128u / 32u * 2u)) & 3u;
    let high = (byte_at(block + i % 32u) >> (i / 32u)) & 1u;
    return low | (high << 2u);
}

fn scale(block: u32, group: u32) -> f32 {
    let low = (byte_at(block + 96u + group % 8u) >> (group / 8u * 4u)) & 15u;
    let high = (byte_at(block + 104u + group % 4u) >> (group / 4u * 2u)) & 3u;
    return half_at(block + 108u) * f32(i32(low | (high << 4u)) - 32);
}
