//! What the kernels know of a format when they are compiled, and how they read a block of a panel.

use crate::kernels::gemm::factors::{self, KEPT};
use crate::kernels::gemm::pack::{level_units, rest_bits};
use crate::kernels::simd::Simd;
use std::hint::black_box;

/// Levels are widened to i16; their products are summed in i32.
pub const WORDS: u8 = 0;
/// Bytes are multiplied, and summed in i16 as long as those hold the sums.
pub const PAIRS: u8 = 1;
/// Bytes are multiplied and summed in i32. Of more than seven bits, they are taken as unsigned.
pub const FOURS: u8 = 2;
/// The same of eight bits, taken as signed: levels less 128.
pub const SIGNED_FOURS: u8 = 3;

/// A format of panels.
pub trait Format {
    /// Bits of a level: 4, 5, 6 or 8.
    const BITS: usize;
    /// Groups of a block of 32.
    const GROUPS: usize;
    /// Whether all levels have one offset; otherwise there are mins.
    const OFFSET: bool;
    /// Whether scales and mins are stored in 16 bits.
    const HALF: bool;
    /// How levels are multiplied: [`WORDS`], [`PAIRS`], [`FOURS`] or [`SIGNED_FOURS`].
    const PRODUCTS: u8;

    /// Whether levels are multiplied as i16, otherwise as bytes.
    const WORDS: bool = Self::PRODUCTS == WORDS;
    /// Whether bytes are multiplied and summed in i32, otherwise in i16.
    const FOURS: bool = Self::PRODUCTS > PAIRS;

    /// Sixteen-byte units of the scales and mins of a block.
    const FACTOR_UNITS: usize =
        Self::GROUPS * if Self::HALF { 1 } else { 2 } * if Self::OFFSET { 1 } else { 2 };
    /// Sixteen-byte units of a block.
    const UNITS: usize = Self::FACTOR_UNITS + level_units(Self::BITS as u8);

    /// Whether a panel is widened for many rows of activations, its factors to f32 and its levels to bytes.
    const WIDENS: bool = Self::HALF || Self::BITS != 8;
    /// [`FACTOR_UNITS`](Self::FACTOR_UNITS) of a widened block.
    const WIDE_FACTOR_UNITS: usize = Self::GROUPS * if Self::OFFSET { 2 } else { 4 };
    /// [`UNITS`](Self::UNITS) of a widened block.
    const WIDE_UNITS: usize = Self::WIDE_FACTOR_UNITS + level_units(8);

    /// Words of the levels of one row in a block of activations.
    const LEVEL_WORDS: usize = if Self::WORDS { 16 } else { 8 };
    /// Words of one row in a block of activations.
    const ROW_WORDS: usize = Self::LEVEL_WORDS + 1 + Self::GROUPS;
}

/// The format of these constants.
pub struct Of<
    const BITS: usize,
    const GROUPS: usize,
    const OFFSET: bool,
    const HALF: bool,
    const PRODUCTS: u8,
>;

impl<const BITS: usize, const GROUPS: usize, const OFFSET: bool, const HALF: bool, const PRODUCTS: u8> Format
    for Of<BITS, GROUPS, OFFSET, HALF, PRODUCTS>
{
    const BITS: usize = BITS;
    const GROUPS: usize = GROUPS;
    const OFFSET: bool = OFFSET;
    const HALF: bool = HALF;
    const PRODUCTS: u8 = PRODUCTS;
}

/// Constants of the kernels. The compiler does not know them: it would have V8 make them anew, three instructions each,
/// wherever they are used.
#[derive(Clone, Copy)]
pub struct Held<S: Simd> {
    /// What the first level is of a byte.
    first: S::I,
    /// What the low bits of the second are, moved to where they belong.
    second: S::I,
    /// What the rest of the second is.
    rest: S::I,
    /// [`KEPT`].
    kept: S::I,
    /// The first of each two bytes.
    even: S::I,
    /// The sign of each byte.
    signs: S::I,
    /// i16 of one.
    pub ones: S::I,
    /// Four, for loops that are to stay loops.
    pub four: usize,
}

/// In the order of the fields of [`Held`], for levels of four, five and six bits.
const CONSTANTS: [[u32; 7]; 3] = [
    [0x0f0f_0f0f, 0x0f0f_0f0f, 0, KEPT, 0x00ff_00ff, 0x8080_8080, 0x0001_0001],
    [0x1f1f_1f1f, 0x0707_0707, 0x1818_1818, KEPT, 0x00ff_00ff, 0x8080_8080, 0x0001_0001],
    [0x3f3f_3f3f, 0x0303_0303, 0x3c3c_3c3c, KEPT, 0x00ff_00ff, 0x8080_8080, 0x0001_0001],
];

impl<S: Simd> Held<S> {
    /// The constants for `F`.
    #[inline(always)]
    pub fn new<F: Format>() -> Self {
        let constants = black_box(&CONSTANTS[F::BITS % 4]);
        let [first, second, rest, kept, even, signs, ones] = constants.map(|x| S::splat_i32(x.cast_signed()));
        Self { first, second, rest, kept, even, signs, ones, four: black_box(4) }
    }

    /// The low nibble of each byte, for levels of four bits.
    #[inline(always)]
    pub fn low_nibbles(&self, x: S::I) -> S::I {
        S::and(x, self.first)
    }

    /// Levels in bytes as they are multiplied; widened ones are that already.
    #[inline(always)]
    pub fn signed<F: Format, const STORED: bool>(&self, x: S::I) -> S::I {
        if F::PRODUCTS == SIGNED_FOURS && STORED { S::xor(x, self.signs) } else { x }
    }

    /// The high nibble of each byte, for levels of four bits.
    #[inline(always)]
    pub fn high_nibbles(&self, x: S::I) -> S::I {
        S::and(S::shift_right(x, 4), self.first)
    }
}

/// The levels of a step and quad of rows, a byte each, as `pack` lays them out, or widened to bytes.
///
/// # Safety
/// `block` is valid for a block of a panel.
#[inline(always)]
pub unsafe fn bytes<S: Simd, F: Format, const STORED: bool>(
    block: *const u128,
    step: usize,
    quad: usize,
    held: &Held<S>,
) -> S::I {
    let bits = F::BITS as u32;
    // SAFETY: the caller vouches for the block.
    unsafe {
        let first = index(factor_units::<F>(STORED), quad, 1);
        if in_bytes::<F>(STORED) {
            return held.signed::<F, STORED>(unit::<S>(block, index(first, step, 2)));
        }
        let both = unit::<S>(block, index(first, step % 4, 2));
        if step < 4 {
            return S::and(both, held.first);
        }
        if bits == 4 {
            return held.high_nibbles(both);
        }
        let at = (step - 4) * rest_bits(F::BITS as u8);
        // To above the low bits. What moves from one byte to another is not kept.
        let rest = unit::<S>(block, index(index(first, 4, 2), at / 8, 2));
        let (from, to) = (at as u32 % 8, 8 - bits);
        let rest = if from < to { S::shift_left(rest, to - from) } else { S::shift_right(rest, from - to) };
        S::or(S::and(S::shift_right(both, bits), held.second), S::and(rest, held.rest))
    }
}

/// `first + at · each`, which does not wrap. Told so, the compiler makes the offset of a load of what turns out to be constant;
/// otherwise it makes an addition, one for each load.
///
/// # Safety
/// It does not wrap.
#[inline(always)]
pub const unsafe fn index(first: usize, at: usize, each: usize) -> usize {
    // SAFETY: the caller vouches for it.
    unsafe { first.unchecked_add(at.unchecked_mul(each)) }
}

/// # Safety
/// `block` is valid for so many units and one more.
#[inline(always)]
unsafe fn unit<S: Simd>(block: *const u128, at: usize) -> S::I {
    // SAFETY: the caller vouches for the block.
    S::load_i(unsafe { &*block.cast::<[u8; 16]>().add(at) })
}

/// Units before the levels of a block, as it is stored or widened.
pub const fn factor_units<F: Format>(stored: bool) -> usize {
    if stored { F::FACTOR_UNITS } else { F::WIDE_FACTOR_UNITS }
}

/// Whether levels are bytes, in a panel as it is stored or in a widened one.
pub const fn in_bytes<F: Format>(stored: bool) -> bool {
    !stored || F::BITS == 8
}

/// The levels of a step and quad of rows as i16, of the first two rows and of the others: two loads, where they are bytes, and
/// four columns for each vector of activations.
///
/// # Safety
/// As for [`bytes`].
#[inline(always)]
pub unsafe fn words_by_row<S: Simd, F: Format>(
    block: *const u128,
    step: usize,
    quad: usize,
    held: &Held<S>,
) -> [S::I; 2] {
    // SAFETY: the caller vouches for the block.
    unsafe {
        if !in_bytes::<F>(true) {
            return S::widen_bytes(bytes::<S, F, true>(block, step, quad, held));
        }
        // Loads that widen are better without offset (see `index`): V8 adds it in one more instruction, and spills what it adds.
        let units = block.cast::<[[u8; 8]; 2]>();
        let [first, second] = &*units.add(F::FACTOR_UNITS + step * 2 + quad);
        [S::widen_u8(first), S::widen_u8(second)]
    }
}

/// The levels of a step and quad of rows as i16, of the first and third column and of the others: sums of a row in one number,
/// so that sums of both quads with a tile are in registers together.
///
/// # Safety
/// As for [`bytes`].
#[inline(always)]
pub unsafe fn words_by_column<S: Simd, F: Format, const STORED: bool>(
    block: *const u128,
    step: usize,
    quad: usize,
    held: &Held<S>,
) -> [S::I; 2] {
    // SAFETY: the caller vouches for the block.
    let bytes = unsafe { bytes::<S, F, STORED>(block, step, quad, held) };
    [S::and(bytes, held.even), S::odd_bytes(bytes)]
}

/// Scales or mins of a quad of rows, the `at`th quad of all; halves shrunk.
///
/// # Safety
/// `block` is valid for a block of a panel.
#[inline(always)]
pub unsafe fn factors<S: Simd, F: Format, const STORED: bool>(
    block: *const u128,
    at: usize,
    held: &Held<S>,
) -> S::F {
    // SAFETY: the caller vouches for the block.
    unsafe {
        if F::HALF && STORED {
            factors::four_halves::<S>(&*block.cast::<[i16; 4]>().add(at), held.kept)
        } else {
            S::load(&*block.cast::<[f32; 4]>().add(at))
        }
    }
}

/// Adds the product of a group of a block with a row of activations to the sum of a quad of rows. `scale` and `term` are those
/// of the row, see [`Tiles::new`](crate::kernels::gemm::Tiles::new).
///
/// # Safety
/// `block` is valid for a block of a panel.
#[inline(always)]
pub unsafe fn add<S: Simd, F: Format, const STORED: bool>(
    block: *const u128,
    [group, quad]: [usize; 2],
    (dot, scale, term): (S::I, u32, u32),
    held: &Held<S>,
    sum: &mut S::F,
) {
    // SAFETY: the caller vouches for the block.
    unsafe {
        let scales = factors::<S, F, STORED>(block, index(quad, group, 2), held);
        let scales = S::mul(scales, S::splat(f32::from_bits(scale)));
        let dot = if F::OFFSET { S::add_i32(dot, S::splat_i32(term.cast_signed())) } else { dot };
        if !F::OFFSET {
            let mins = factors::<S, F, STORED>(block, index(index(F::GROUPS * 2, quad, 1), group, 2), held);
            *sum = S::mul_add(mins, S::splat(f32::from_bits(term)), *sum);
        }
        *sum = S::mul_add(S::to_f32(dot), scales, *sum);
    }
}
