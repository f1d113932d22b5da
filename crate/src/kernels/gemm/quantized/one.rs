//! One row of activations. It waits for the weights to come from memory, so it goes through several panels side by side, far
//! apart from each other, that as many of the processor's prefetchers are at work ([`streams`](super::streams)).

use super::Sums;
use super::format::{self, Format, Held, PAIRS, WORDS};
use crate::kernels::gemm::factors::GROWN;
use crate::kernels::gemm::pack::{BLOCK, PackedMatrix};
use crate::kernels::simd::Simd;
use std::ops::Range;
use std::ptr;

/// Panels whose sums are in registers together.
const TOGETHER: usize = 4;

/// Puts the products of `panels` of a weight with a row, `streams` panels side by side: the panel, row 0, and its sums.
pub fn multiply<S: Simd, F: Format>(
    weight: &PackedMatrix,
    mut panels: Range<usize>,
    mut streams: usize,
    row: &[u32],
    out: &Sums,
) {
    while !panels.is_empty() {
        // What is left over goes through fewer side by side.
        while streams > panels.len() {
            streams /= 2;
        }
        let each = panels.len() / streams;
        let side_by_side = match streams {
            8 => side_by_side::<S, F, 8>,
            4 => side_by_side::<S, F, 4>,
            2 => side_by_side::<S, F, 2>,
            _ => side_by_side::<S, F, 1>,
        };
        for first in panels.start..panels.start + each {
            side_by_side(weight, first, each, row, out);
        }
        panels.start += each * streams;
    }
}

/// Puts the sums of `P` panels: `first` of the weight, and every `each` panels after it.
#[inline(always)]
fn side_by_side<S: Simd, F: Format, const P: usize>(
    weight: &PackedMatrix,
    first: usize,
    each: usize,
    row: &[u32],
    out: &Sums,
) {
    let panels = std::array::from_fn(|i| weight.panel(first + i * each));
    let panels = sums::<S, F, P>(panels, row, weight.k());
    for (i, sums) in panels.into_iter().enumerate() {
        // SAFETY: the columns of a panel belong to one thread.
        unsafe { out.put::<S>(first + i * each, 0, sums) };
    }
}

/// The sums of `P` panels, `[panel][quad]`: a block of each panel in turn.
#[inline(always)]
fn sums<S: Simd, F: Format, const P: usize>(panels: [&[u128]; P], row: &[u32], k: usize) -> [[S::F; 2]; P] {
    let n_blocks = k / BLOCK;
    assert!(row.len() >= n_blocks * F::ROW_WORDS && panels.iter().all(|p| p.len() >= n_blocks * F::UNITS));
    let held = Held::<S>::new::<F>();
    let mut sums = [[S::splat(0.0); 2]; P];
    let (mut next, mut a) = (panels.map(<[u128]>::as_ptr), row.as_ptr());
    for _ in 0..n_blocks {
        // SAFETY: as below.
        let blocks = next.each_mut().map(|next| unsafe { take(next, F::UNITS) });
        for first in (0..P).step_by(TOGETHER) {
            let (blocks, sums) = (&blocks[first..], &mut sums[first..]);
            // SAFETY: all slices have `n_blocks` such blocks, asserted above. (A loop would keep the sums in memory.)
            unsafe {
                add::<S, F>(blocks[0], a, &held, &mut sums[0]);
                if P > 1 {
                    add::<S, F>(blocks[1], a, &held, &mut sums[1]);
                }
                if P > 2 {
                    add::<S, F>(blocks[2], a, &held, &mut sums[2]);
                    add::<S, F>(blocks[3], a, &held, &mut sums[3]);
                }
            }
        }
        // SAFETY: as above.
        a = unsafe { a.add(F::ROW_WORDS) };
    }
    if F::HALF { sums.map(|quads| quads.map(|x| S::mul(x, S::splat(GROWN)))) } else { sums }
}

/// The pointer, which moves to what comes after so many units. It is kept in memory: of pointers that move side by side in
/// registers, the compiler makes one and the distances of the others to it, and adds them again for each load.
///
/// # Safety
/// `next` is valid for so many units.
#[inline(always)]
unsafe fn take(next: &mut *const u128, units: usize) -> *const u128 {
    // SAFETY: it is a reference, and the caller vouches for the units.
    unsafe {
        let block = ptr::read_volatile(next);
        ptr::write_volatile(next, block.add(units));
        block
    }
}

/// Adds the products of a block of a panel with a block of activations to the sums of its two quads.
///
/// # Safety
/// `block` is valid for a block of a panel, `a` for one of a row.
#[inline(always)]
unsafe fn add<S: Simd, F: Format>(block: *const u128, a: *const u32, held: &Held<S>, sums: &mut [S::F; 2]) {
    // SAFETY: the caller vouches for the blocks.
    unsafe {
        for (quad, sum) in sums.iter_mut().enumerate() {
            let dots = match F::PRODUCTS {
                WORDS => dots_of_words::<S, F>(block, a.cast(), quad, held),
                PAIRS => dots_of_pairs::<S, F>(block, a.cast(), quad, held),
                _ => dots_of_fours::<S, F>(block, a.cast(), quad, held),
            };
            for (group, dot) in dots.into_iter().enumerate().take(F::GROUPS) {
                let (scale, term) =
                    (*a.add(F::LEVEL_WORDS), *a.add(format::index(F::LEVEL_WORDS + 1, group, 1)));
                format::add::<S, F, true>(block, [group, quad], (dot, scale, term), held, sum);
            }
        }
    }
}

/// The dot products of a quad with a block of activations in bytes, of each group, summed in i32.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
unsafe fn dots_of_fours<S: Simd, F: Format>(
    block: *const u128,
    a: *const [i8; 4],
    quad: usize,
    held: &Held<S>,
) -> [S::I; 2] {
    // SAFETY: the steps are within the block.
    let dot = |sum: S::I, step: usize| unsafe {
        let levels = format::bytes::<S, F, true>(block, step, quad, held);
        S::dot_i32(sum, S::splat_4(&*a.add(step)), levels)
    };
    let four = |first: usize| dot(dot(dot(dot(S::zero_i(), first), first + 1), first + 2), first + 3);
    match F::GROUPS {
        1 => [S::add_i32(four(0), four(4)), S::zero_i()],
        _ => [four(0), four(4)],
    }
}

/// The same, summed in i16 as long as those hold the sums: additions that do not wait for each other.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
unsafe fn dots_of_pairs<S: Simd, F: Format>(
    block: *const u128,
    a: *const [i8; 4],
    quad: usize,
    held: &Held<S>,
) -> [S::I; 2] {
    // SAFETY: the steps are within the block.
    let dot = |step: usize| unsafe {
        let levels = format::bytes::<S, F, true>(block, step, quad, held);
        S::dot_i16(S::zero_i(), S::splat_4(&*a.add(step)), levels)
    };
    let two =
        |first: usize| [S::add_i16(dot(first), dot(first + 1)), S::add_i16(dot(first + 4), dot(first + 5))];
    let widen = |x: S::I| S::dot_pairs(S::zero_i(), x, held.ones);
    let ([a, b], [c, d]) = (two(0), two(2));
    let halves = match F::BITS {
        6 => [S::dot_pairs(widen(a), c, held.ones), S::dot_pairs(widen(b), d, held.ones)],
        _ => [S::add_i16(a, c), S::add_i16(b, d)],
    };
    match (F::BITS, F::GROUPS) {
        (4, 1) => [widen(S::add_i16(halves[0], halves[1])), S::zero_i()],
        (5, 1) => [S::dot_pairs(widen(halves[0]), halves[1], held.ones), S::zero_i()],
        (6, 1) => [S::add_i32(halves[0], halves[1]), S::zero_i()],
        (6, _) => halves,
        _ => halves.map(widen),
    }
}

/// The dot products of a quad with a block of activations in i16, of each group.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
unsafe fn dots_of_words<S: Simd, F: Format>(
    block: *const u128,
    a: *const [i16; 4],
    quad: usize,
    held: &Held<S>,
) -> [S::I; 2] {
    // SAFETY: the steps are within the block.
    let step = |sums: [S::I; 2], step: usize| unsafe {
        let [first, second] = format::words_by_row::<S, F>(block, step, quad, held);
        let a = S::splat_8(&*a.add(step));
        [S::dot_pairs(sums[0], a, first), S::dot_pairs(sums[1], a, second)]
    };
    let two = |first: usize| step(step([S::zero_i(); 2], first), first + 1);
    let add = |a: [S::I; 2], b: [S::I; 2]| [S::add_i32(a[0], b[0]), S::add_i32(a[1], b[1])];
    let halves = [add(two(0), two(2)), add(two(4), two(6))];
    let together = |[first, second]: [S::I; 2]| S::add_neighbours(first, second);
    match F::GROUPS {
        1 => [together(add(halves[0], halves[1])), S::zero_i()],
        _ => halves.map(together),
    }
}
