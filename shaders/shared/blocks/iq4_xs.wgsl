// IQ4_XS in affine form: see quant/iq4_xs.rs. `block` is the address of a block's first byte.

import package::shared::raw::byte_at;

const BITS: u32 = 8u;
const GROUP: u32 = 32u;
const BLOCK_LEN: u32 = 256u;
const BLOCK_BYTES: u32 = 136u;

import package::shared::iq4_levels::table_level;

fn level(block: u32, i: u32) -> u32 {
    return table_level((byte_at(block + 8u + i / 32u * 16u + i % 16u) >> (i % 32u / 16u * 4u)) & 15u);
}

fn scale(block: u32, group: u32) -> f32 {
    let low = (byte_at(block + 4u + group / 2u) >> (group % 2u * 4u)) & 15u;
    let high = (byte_at(block + 2u + group / 4u) >> (group % 4u * 2u)) & 3u;
    return half_at(block) * f32(i32(low | (high << 4u)) - 32);
}
