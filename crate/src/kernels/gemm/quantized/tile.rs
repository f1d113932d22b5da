//! Four rows of activations with one panel: what is read of either side is used several times. Loops are written for the
//! fifteen registers that V8 has for vectors: eight sums, a constant, and what they are made of.

use super::format::{self, Format, Held};
use crate::kernels::gemm::factors::GROWN;
use crate::kernels::gemm::pack::BLOCK;
use crate::kernels::simd::Simd;

/// Rows of activations in a tile: so many cost less than as many products of one.
pub const TILE: usize = 4;

/// Dot products of each row of the tile with `Q` quads of rows of a panel. In this order they are made: it holds the weights of
/// both quads in registers, and one row's activations.
type Dots<S, const Q: usize = 2> = [[<S as Simd>::I; Q]; TILE];

/// The sums of a panel, as it is stored or [widened](super::wide), by the rows of a tile: `[row][quad]`.
#[inline(always)]
pub fn sums<S: Simd, F: Format, const STORED: bool>(
    panel: &[u128],
    tile: &[u32],
    k: usize,
) -> [[S::F; 2]; TILE] {
    let units = if STORED { F::UNITS } else { F::WIDE_UNITS };
    let n_blocks = k / BLOCK;
    assert!(panel.len() >= n_blocks * units && tile.len() >= n_blocks * TILE * F::ROW_WORDS);
    let held = Held::<S>::new::<F>();
    let mut sums = [[S::splat(0.0); 2]; TILE];
    let (mut block, mut a) = (panel.as_ptr(), tile.as_ptr());
    for _ in 0..n_blocks {
        // SAFETY: both slices have `n_blocks` such blocks, asserted above.
        unsafe {
            add_block::<S, F, STORED>(block, a, &held, &mut sums);
            (block, a) = (block.add(units), a.add(TILE * F::ROW_WORDS));
        }
    }
    if F::HALF && STORED { sums.map(|quads| quads.map(|x| S::mul(x, S::splat(GROWN)))) } else { sums }
}

/// Adds the products of a block of a panel with a block of a tile to the sums.
///
/// # Safety
/// `block` is valid for a block of a panel, `a` for one of a tile.
#[inline(always)]
unsafe fn add_block<S: Simd, F: Format, const STORED: bool>(
    block: *const u128,
    a: *const u32,
    held: &Held<S>,
    sums: &mut [[S::F; 2]; TILE],
) {
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        let levels: *const [u8; 16] = block.add(format::factor_units::<F>(STORED)).cast();
        let scales = a.add(TILE * F::LEVEL_WORDS);
        let mut add = |group: usize, quad: usize, row: usize, dot: S::I| {
            let product = (dot, *scales.add(row), *scales.add(TILE * (1 + group) + row));
            format::add::<S, F, STORED>(block, [group, quad], product, held, &mut sums[row][quad]);
        };
        let mut add_both = |group: usize, dots: Dots<S>| {
            for (row, dots) in dots.into_iter().enumerate() {
                dots.into_iter().enumerate().for_each(|(quad, dot)| add(group, quad, row, dot));
            }
        };
        match (F::WORDS, F::BITS, F::GROUPS) {
            (true, ..) => {
                for group in 0..F::GROUPS {
                    add_both(group, dots_of_words::<S, F, STORED>(block, a.cast(), group, held));
                }
            }
            _ if (F::FOURS || F::BITS == 4) && format::in_bytes::<F>(STORED) => {
                let steps = 8 / F::GROUPS;
                for group in 0..F::GROUPS {
                    let (levels, a) = (levels.add(group * steps * 2), a.add(group * steps * TILE).cast());
                    let signed = |x| held.signed::<F, STORED>(x);
                    add_both(group, dots_of_steps::<S, F>(levels, a, steps / 4 * held.four, held, signed));
                }
            }
            (_, 4, 1) => add_both(0, dots_of_nibbles::<S, F>(levels, a.cast(), held)),
            (_, 4, _) => {
                let (low, high) = (|x| held.low_nibbles(x), |x| held.high_nibbles(x));
                add_both(0, dots_of_steps::<S, F>(levels, a.cast(), held.four, held, low));
                add_both(1, dots_of_steps::<S, F>(levels, a.add(4 * TILE).cast(), held.four, held, high));
            }
            (_, 5, 1) if !STORED => {
                let [low, high] = [0, 4].map(|step| {
                    let (levels, a) = (levels.add(step * 2), a.add(step * TILE).cast());
                    dots_of_steps::<S, F>(levels, a, held.four, held, |x| x)
                });
                add_both(0, sums_of::<S, 2>(low, high));
            }
            (_, 6, 2) if !STORED => {
                for group in 0..2 {
                    let (levels, a) = (levels.add(group * 8), a.add(group * 4 * TILE).cast());
                    add_both(group, dots_of_pairs::<S, F>(levels, a, held));
                }
            }
            _ => {
                for quad in 0..2 {
                    for group in 0..F::GROUPS {
                        let dots = dots_of_bytes::<S, F, STORED>(block, a.cast(), group, quad, held);
                        dots.into_iter().enumerate().for_each(|(row, [dot])| add(group, quad, row, dot));
                    }
                }
            }
        }
    }
}

/// Products of bytes, added to sums in i16 or i32.
#[inline(always)]
fn dot<S: Simd, F: Format>(sum: S::I, a: S::I, bytes: S::I) -> S::I {
    if F::FOURS { S::dot_i32(sum, a, bytes) } else { S::dot_i16(sum, a, bytes) }
}

/// Adds the products of bytes with one step of each row of a tile to sums.
///
/// # Safety
/// `a` is valid for a step of a tile.
#[inline(always)]
unsafe fn add_step<S: Simd, F: Format, const Q: usize>(
    bytes: [S::I; Q],
    a: *const [i8; 4],
    sums: &mut Dots<S, Q>,
) {
    for (row, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller vouches for the step.
        let x = S::splat_4(unsafe { &*a.add(row) });
        for (sum, bytes) in sums.iter_mut().zip(bytes) {
            *sum = dot::<S, F>(*sum, x, bytes);
        }
    }
}

/// Sums in i32.
#[inline(always)]
fn widened<S: Simd, F: Format, const Q: usize>(dots: Dots<S, Q>, held: &Held<S>) -> Dots<S, Q> {
    if F::FOURS { dots } else { dots.map(|row| row.map(|x| S::dot_pairs(S::zero_i(), x, held.ones))) }
}

/// Sums of dot products in i32.
#[inline(always)]
fn sums_of<S: Simd, const Q: usize>(a: Dots<S, Q>, b: Dots<S, Q>) -> Dots<S, Q> {
    std::array::from_fn(|row| std::array::from_fn(|quad| S::add_i32(a[row][quad], b[row][quad])))
}

/// Dot products of both quads over a block of nibbles.
///
/// # Safety
/// `levels` is valid for the levels of a block, `a` for a block of a tile.
#[inline(always)]
unsafe fn dots_of_nibbles<S: Simd, F: Format>(
    mut levels: *const [u8; 16],
    mut a: *const [i8; 4],
    held: &Held<S>,
) -> Dots<S> {
    let mut sums = [[S::zero_i(); 2]; TILE];
    for _ in 0..4 {
        // SAFETY: the caller vouches for the blocks; the high nibbles belong to the steps after these.
        unsafe {
            let both = [S::load_i(&*levels), S::load_i(&*levels.add(1))];
            let (low, high) = (both.map(|x| held.low_nibbles(x)), both.map(|x| held.high_nibbles(x)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let (x, y) = (S::splat_4(&*a.add(row)), S::splat_4(&*a.add(4 * TILE + row)));
                for (quad, sum) in sums.iter_mut().enumerate() {
                    *sum = dot::<S, F>(dot::<S, F>(*sum, x, low[quad]), y, high[quad]);
                }
            }
            (levels, a) = (levels.add(2), a.add(TILE));
        }
    }
    widened::<S, F, 2>(sums, held)
}

/// Dot products of both quads over some steps, of the bytes that `bytes` makes of what is stored.
///
/// # Safety
/// There is a step. `levels` is valid for the levels of so many steps, `a` for so many of a tile.
#[inline(always)]
unsafe fn dots_of_steps<S: Simd, F: Format>(
    mut levels: *const [u8; 16],
    mut a: *const [i8; 4],
    steps: usize,
    held: &Held<S>,
    bytes: impl Fn(S::I) -> S::I,
) -> Dots<S> {
    let mut sums = [[S::zero_i(); 2]; TILE];
    // SAFETY: the caller vouches for the steps.
    unsafe {
        let both = |levels: *const [u8; 16]| [0, 1].map(|quad| bytes(S::load_i(&*levels.add(quad))));
        let end = a.add(steps * TILE);
        // The first apart: its products need no zeros to be added to.
        add_step::<S, F, 2>(both(levels), a, &mut sums);
        loop {
            (levels, a) = (levels.add(2), a.add(TILE));
            if a == end {
                break;
            }
            add_step::<S, F, 2>(both(levels), a, &mut sums);
        }
    }
    widened::<S, F, 2>(sums, held)
}

/// Dot products of both quads over half a block of bytes, of which i16 holds two steps.
///
/// # Safety
/// As for [`dots_of_steps`], four of them.
#[inline(always)]
unsafe fn dots_of_pairs<S: Simd, F: Format>(
    mut levels: *const [u8; 16],
    mut a: *const [i8; 4],
    held: &Held<S>,
) -> Dots<S> {
    let mut dots = [[S::zero_i(); 2]; TILE];
    for _ in 0..held.four / 2 {
        let mut sums = [[S::zero_i(); 2]; TILE];
        // SAFETY: the caller vouches for the steps.
        unsafe {
            add_step::<S, F, 2>([0, 1].map(|quad| S::load_i(&*levels.add(quad))), a, &mut sums);
            add_step::<S, F, 2>([2, 3].map(|quad| S::load_i(&*levels.add(quad))), a.add(TILE), &mut sums);
            (levels, a) = (levels.add(4), a.add(2 * TILE));
        }
        for (dots, sums) in dots.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            *dots = S::dot_pairs(*dots, *sums, held.ones);
        }
    }
    dots
}

/// Dot products of one quad over a group of levels of five or six bits.
///
/// # Safety
/// As for [`add_block`].
#[inline(always)]
unsafe fn dots_of_bytes<S: Simd, F: Format, const STORED: bool>(
    block: *const u128,
    a: *const [i8; 4],
    group: usize,
    quad: usize,
    held: &Held<S>,
) -> Dots<S, 1> {
    // What i16 holds.
    let (steps, together) = (8 / F::GROUPS, if F::BITS == 5 || F::FOURS { 4 } else { 2 });
    let mut dots = [[S::zero_i()]; TILE];
    for first in (group * steps..(group + 1) * steps).step_by(together) {
        let mut sums = [[S::zero_i()]; TILE];
        for step in first..first + together {
            // SAFETY: the caller vouches for the blocks.
            unsafe {
                let bytes = format::bytes::<S, F, STORED>(block, step, quad, held);
                add_step::<S, F, 1>([bytes], a.add(step * TILE), &mut sums);
            }
        }
        dots = sums_of::<S, 1>(dots, widened::<S, F, 1>(sums, held));
    }
    dots
}

/// Dot products of both quads over a group of levels as i16.
///
/// # Safety
/// As for [`add_block`].
#[inline(always)]
unsafe fn dots_of_words<S: Simd, F: Format, const STORED: bool>(
    block: *const u128,
    a: *const [[[i8; 4]; 2]; TILE],
    group: usize,
    held: &Held<S>,
) -> Dots<S> {
    let mut sums = [[S::zero_i(); 2]; TILE];
    let mut add = |block: *const u128, step: usize, a: *const [[[i8; 4]; 2]; TILE]| {
        // SAFETY: the caller vouches for the blocks.
        unsafe {
            let quads = [0, 1].map(|quad| format::words_by_column::<S, F, STORED>(block, step, quad, held));
            for half in 0..2 {
                for (sums, a) in sums.iter_mut().zip(&*a) {
                    let x = S::splat_4(&a[half]);
                    for (sum, words) in sums.iter_mut().zip(&quads) {
                        *sum = S::dot_pairs(*sum, x, words[half]);
                    }
                }
            }
        }
    };
    let steps = 8 / F::GROUPS;
    // SAFETY: these are the steps of the group.
    unsafe {
        if format::in_bytes::<F>(STORED) {
            let (mut block, mut a) = (block.add(group * steps * 2), a.add(group * steps));
            let end = a.add(steps / 4 * held.four);
            while a != end {
                add(block, 0, a);
                (block, a) = (block.add(2), a.add(1));
            }
        } else {
            // Where the bits of a step are, is known where it is.
            (group * steps..(group + 1) * steps).for_each(|step| add(block, step, a.add(step)));
        }
    }
    sums
}
