// The bytes of blocks as the file has them.

@group(0) @binding(0) var<storage, read> raw: array<u32>;

fn byte_at(at: u32) -> u32 {
    return (raw[at / 4u] >> (8u * (at % 4u))) & 255u;
}

fn half_at(at: u32) -> f32 {
    return unpack2x16float(byte_at(at) | (byte_at(at + 1u) << 8u)).x;
}

fn bit_at(at: u32, bit: u32) -> u32 {
    return (byte_at(at + bit / 8u) >> (bit % 8u)) & 1u;
}
