// Bytes in words: as numbers, and made of numbers.

// Byte i of bytes whose word that is.
fn byte(word: u32, i: u32, is_signed: u32) -> i32 {
    let shift = 8u * (i % 4u);
    return select(i32((word >> shift) & 255u), i32(word << (24u - shift)) >> 24u, is_signed != 0u);
}

fn bytes(word: u32, is_signed: u32) -> vec4<i32> {
    return vec4<i32>(byte(word, 0u, is_signed), byte(word, 1u, is_signed), byte(word, 2u, is_signed), byte(word, 3u, is_signed));
}

// The levels of four numbers: x / scale, rounded to even, + zero, clamped.
fn levels_of(x: vec4<f32>, scale: f32, zero: f32, is_signed: u32) -> u32 {
    let low = vec4<f32>(select(0.0, -128.0, is_signed != 0u));
    let levels = vec4<u32>(vec4<i32>(clamp(round(x / scale) + zero, low, low + 255.0))) & vec4<u32>(255u);
    return levels.x | (levels.y << 8u) | (levels.z << 16u) | (levels.w << 24u);
}
