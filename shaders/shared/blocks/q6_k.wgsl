// Q6_K in affine form: see quant/q6_k.rs. `block` is the address of a block's first byte.

import package::shared::raw::byte_at;

const BITS: u32 = 8u;
const GROUP: u32 = 16u;
const BLOCK_LEN: u32 = 256u;
const BLOCK_BYTES: u32 = 210u;

fn level(block: u32, i: u32) -> u32 {
    let half = i / 128u;
    let quarter = i % 128u / 32u;
    let column = i % 32u;
    let low = (byte_at(block + half * 64u + quarter % 2u * 32u + column) >> (quarter / 2u * 4u)) & 15u;
    let high = (byte_at(block + 128u + half * 32u + column) >> (quarter * 2u)) & 3u;
    return low | (high << 4u);
}

fn scale(block: u32, group: u32) -> f32 {
    let signed = i32(byte_at(block + 192u + group) << 24u) >> 24u;
    return half_at(block + 208u) * f32(signed);
}
