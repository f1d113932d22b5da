//! The scalar twin: arrays and loops.

use super::Simd;

/// Vectors as arrays.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

fn i16s(x: [u8; 16]) -> [i16; 8] {
    std::array::from_fn(|i| i16::from_le_bytes([x[2 * i], x[2 * i + 1]]))
}

fn from_i16s(x: [i16; 8]) -> [u8; 16] {
    std::array::from_fn(|i| x[i / 2].to_le_bytes()[i % 2])
}

fn i32s(x: [u8; 16]) -> [i32; 4] {
    std::array::from_fn(|i| i32::from_le_bytes([x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]]))
}

fn from_i32s(x: [i32; 4]) -> [u8; 16] {
    std::array::from_fn(|i| x[i / 4].to_le_bytes()[i % 4])
}

impl Simd for Scalar {
    type I = [u8; 16];
    type F = [f32; 4];

    const BYTE_PRODUCTS: bool = true;

    #[inline(always)]
    fn zero_i() -> Self::I {
        [0; 16]
    }
    #[inline(always)]
    fn load_i(from: &[u8; 16]) -> Self::I {
        *from
    }
    #[inline(always)]
    fn splat_4(from: &[i8; 4]) -> Self::I {
        std::array::from_fn(|i| from[i % 4] as u8)
    }
    #[inline(always)]
    fn splat_8(from: &[i16; 4]) -> Self::I {
        from_i16s(std::array::from_fn(|i| from[i % 4]))
    }
    #[inline(always)]
    fn dot_i16(acc: Self::I, a: Self::I, w: Self::I) -> Self::I {
        let acc = i16s(acc);
        let product = |i: usize| i16::from(a[i] as i8) * i16::from(w[i]);
        from_i16s(std::array::from_fn(|i| acc[i] + product(2 * i) + product(2 * i + 1)))
    }
    #[inline(always)]
    fn dot_i32(acc: Self::I, a: Self::I, w: Self::I) -> Self::I {
        let acc = i32s(acc);
        let product = |i: usize| i32::from(a[i].cast_signed()) * i32::from(w[i]);
        from_i32s(std::array::from_fn(|i| (4 * i..4 * i + 4).fold(acc[i], |sum, j| sum + product(j))))
    }
    #[inline(always)]
    fn add_i16(a: Self::I, b: Self::I) -> Self::I {
        let (a, b) = (i16s(a), i16s(b));
        from_i16s(std::array::from_fn(|i| a[i] + b[i]))
    }
    #[inline(always)]
    fn add_i32(a: Self::I, b: Self::I) -> Self::I {
        let (a, b) = (i32s(a), i32s(b));
        from_i32s(std::array::from_fn(|i| a[i].wrapping_add(b[i])))
    }
    #[inline(always)]
    fn add_neighbours(a: Self::I, b: Self::I) -> Self::I {
        let ([a, b, c, d], [e, f, g, h]) = (i32s(a), i32s(b));
        from_i32s([[a, b], [c, d], [e, f], [g, h]].map(|[a, b]| a.wrapping_add(b)))
    }
    #[inline(always)]
    fn splat_i32(x: i32) -> Self::I {
        from_i32s([x; 4])
    }
    #[inline(always)]
    fn to_f32(x: Self::I) -> Self::F {
        i32s(x).map(|x| x as f32)
    }
    #[inline(always)]
    fn splat(x: f32) -> Self::F {
        [x; 4]
    }
    #[inline(always)]
    fn load(from: &[f32; 4]) -> Self::F {
        *from
    }
    #[inline(always)]
    fn store(x: Self::F, to: &mut [f32; 4]) {
        *to = x;
    }
    #[inline(always)]
    fn add(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn mul(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn sub(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn div(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn min(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| if b[i] < a[i] { b[i] } else { a[i] })
    }
    #[inline(always)]
    fn max(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| if a[i] < b[i] { b[i] } else { a[i] })
    }
    #[inline(always)]
    fn sqrt(x: Self::F) -> Self::F {
        x.map(f32::sqrt)
    }
    #[inline(always)]
    fn nearest(x: Self::F) -> Self::F {
        x.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn floor(x: Self::F) -> Self::F {
        x.map(f32::floor)
    }
    #[inline(always)]
    fn lt(a: Self::F, b: Self::F) -> Self::I {
        from_i32s(std::array::from_fn(|i| -i32::from(a[i] < b[i])))
    }
    #[inline(always)]
    fn select(mask: Self::I, a: Self::F, b: Self::F) -> Self::F {
        let mask = i32s(mask);
        std::array::from_fn(|i| if mask[i] != 0 { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn bits(x: Self::F) -> Self::I {
        from_i32s(x.map(|x| x.to_bits().cast_signed()))
    }
    #[inline(always)]
    fn from_bits(x: Self::I) -> Self::F {
        i32s(x).map(|x| f32::from_bits(x.cast_unsigned()))
    }
    #[inline(always)]
    fn shift_left(x: Self::I, by: u32) -> Self::I {
        from_i32s(i32s(x).map(|x| x << by))
    }
    #[inline(always)]
    fn shift_right(x: Self::I, by: u32) -> Self::I {
        from_i32s(i32s(x).map(|x| x >> by))
    }
    #[inline(always)]
    fn and(a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i] & b[i])
    }
    #[inline(always)]
    fn xor(a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i] ^ b[i])
    }
    #[inline(always)]
    fn or(a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    fn store_i(x: Self::I, to: &mut [u8; 16]) {
        *to = x;
    }
    #[inline(always)]
    fn dot_pairs(acc: Self::I, a: Self::I, b: Self::I) -> Self::I {
        let (acc, a, b) = (i32s(acc), i16s(a).map(i32::from), i16s(b).map(i32::from));
        let sum = |i: usize| (a[2 * i] * b[2 * i]).wrapping_add(a[2 * i + 1] * b[2 * i + 1]);
        from_i32s(std::array::from_fn(|i| acc[i].wrapping_add(sum(i))))
    }
    #[inline(always)]
    fn mul_i32(a: Self::I, b: Self::I) -> Self::I {
        let (a, b) = (i32s(a), i32s(b));
        from_i32s(std::array::from_fn(|i| a[i].wrapping_mul(b[i])))
    }
    #[inline(always)]
    fn widen_u8(from: &[u8; 8]) -> Self::I {
        from_i16s(from.map(i16::from))
    }
    #[inline(always)]
    fn widen_bytes(x: Self::I) -> [Self::I; 2] {
        std::array::from_fn(|half| from_i16s(std::array::from_fn(|i| i16::from(x[half * 8 + i]))))
    }
    #[inline(always)]
    fn odd_bytes(x: Self::I) -> Self::I {
        from_i16s(std::array::from_fn(|i| i16::from(x[2 * i + 1])))
    }
    #[inline(always)]
    fn pair_up(a: Self::I, b: Self::I) -> [Self::I; 2] {
        let of = [i16s(a), i16s(b)];
        [0, 4].map(|first| from_i16s(std::array::from_fn(|i| of[i % 2][first + i / 2])))
    }
    #[inline(always)]
    fn to_i16(x: [Self::F; 2]) -> Self::I {
        from_i16s(std::array::from_fn(|i| x[i / 4][i % 4] as i16))
    }
    #[inline(always)]
    fn widen_i16(from: &[i16; 4]) -> Self::I {
        from_i32s(from.map(i32::from))
    }
    #[inline(always)]
    fn to_bytes(x: [Self::F; 4]) -> Self::I {
        std::array::from_fn(|i| x[i / 4][i % 4] as u8)
    }
    #[inline(always)]
    fn to_signed_bytes(x: [Self::F; 4]) -> Self::I {
        std::array::from_fn(|i| (x[i / 4][i % 4] as i8).cast_unsigned())
    }
}
