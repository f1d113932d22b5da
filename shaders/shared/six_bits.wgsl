// Scales and mins of Q4_K and Q5_K: 6 bits each, packed in the 12 bytes after the block's f16 scale and min.

import package::shared::raw::byte_at;

fn six_bits(packed: u32, group: u32) -> vec2<u32> {
    if group < 4u {
        return vec2<u32>(byte_at(packed + group), byte_at(packed + group + 4u)) & vec2<u32>(63u);
    }
    let low = byte_at(packed + group + 4u);
    let high = vec2<u32>(byte_at(packed + group - 4u), byte_at(packed + group)) >> vec2<u32>(6u);
    return vec2<u32>(low & 15u, low >> 4u) | (high << vec2<u32>(4u));
}

fn scale(block: u32, group: u32) -> f32 {
    return half_at(block) * f32(six_bits(block + 4u, group).x);
}

fn minimum(block: u32, group: u32) -> f32 {
    return -(half_at(block + 2u) * f32(six_bits(block + 4u, group).y));
}
