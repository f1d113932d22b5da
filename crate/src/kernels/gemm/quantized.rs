//! Products of quantised panels with quantised activations.
//!
//! An unsigned 4-bit level times a signed 8-bit one is summed in i16 over a whole block of 32:
//! `16 pairs / 2 lanes · 2 · 15 · 127 = 30,480` fits. One dot product with a constant widens the sums to i32.
//! An 8-bit level is two nibbles, `16 · high + low`, each summed that way; one of five or six bits is put together and
//! multiplied whole, and the sums are widened after four steps or two (`2 · 4 · 31 · 127` and `2 · 2 · 63 · 127` fit). With a constant offset,
//! `scale · (dot − offset · Σa)` is exact in integers; mins add `min · Σa`.
//!
//! A tile is one panel of eight rows by one or four rows of activations; a row's sums are the same in both. Both sides are
//! read front to back by pointers: the layouts are those of [`PackedMatrix`] and [`QuantizedRows::tiles`]. One row of
//! activations alone waits for the weights to come from memory: it goes through several panels side by side, far apart
//! from each other, so that as many of the processor's prefetchers are at work ([`streams`](super::streams)). Many rows read
//! panels whose factors and levels were widened once ([`widen`]); a tile of them alone does it on the way: it reads panels as
//! they are *stored*.

use super::QuantizedRows;
use super::factors::{self, GROWN};
use super::pack::{BLOCK, PackedMatrix, ROWS, level_units};
use super::streams;
use crate::kernels::simd::Simd;
use crate::kernels::threads::{Places, Threads};
use crate::quant::AffineLayout;

/// Rows of activations in a full tile: so many cost less than as many products of one.
pub const TILE: usize = 4;
/// Multiplications that are worth handing to another thread: a microsecond.
const WORTH: usize = 1 << 15;

/// `out[i, j] = Σ a[i, ·] · w[j, ·]` for `m` rows of activations; `out` is `[m, n]`.
pub fn matmul<S: Simd>(
    threads: Threads,
    weight: &PackedMatrix,
    affine: AffineLayout,
    a: &QuantizedRows,
    m: usize,
    out: &mut [f32],
) {
    if weight.k() == 0 || m == 0 {
        return out.fill(0.0);
    }
    let run = match affine.bits {
        4 => run_of::<S, 4>(affine),
        5 => run_of::<S, 5>(affine),
        6 => run_of::<S, 6>(affine),
        _ => run_of::<S, 8>(affine),
    };
    let tiles = a.tiles(threads, affine, weight.k(), if m == 1 { 1 } else { TILE });
    if m > 1 {
        return run(threads, weight, &tiles, m, 1, out);
    }
    streams::choose(weight.memory_bytes(), |streams| run(threads, weight, &tiles, m, streams, out));
}

/// What multiplies: weight, tiles, rows of activations, panels side by side, and where the products go.
type Run = fn(Threads, &PackedMatrix, &[u32], usize, usize, &mut [f32]);

fn run_of<S: Simd, const BITS: usize>(affine: AffineLayout) -> Run {
    match (affine.group, affine.offset, affine.half_factors) {
        (32, Some(_), true) => run::<S, BITS, 1, true, true>,
        (32, None, true) => run::<S, BITS, 1, false, true>,
        (32, Some(_), false) => run::<S, BITS, 1, true, false>,
        (32, None, false) => run::<S, BITS, 1, false, false>,
        // No format has halves for groups of 16.
        (_, Some(_), _) => run::<S, BITS, 2, true, false>,
        (_, None, _) => run::<S, BITS, 2, false, false>,
    }
}

fn run<S: Simd, const BITS: usize, const GROUPS: usize, const OFFSET: bool, const HALF: bool>(
    threads: Threads,
    weight: &PackedMatrix,
    tiles: &[u32],
    m: usize,
    streams: usize,
    out: &mut [f32],
) {
    let (n, out) = (weight.n(), Places::new(out));
    let grain = WORTH / (ROWS * m * weight.k()) + 1;
    threads.for_each(weight.n_panels(), grain, |panels| {
        let put = |panel: usize, row: usize, sums: [S::F; 2]| {
            let mut both = [[0.0; 4]; 2];
            S::store(sums[0], &mut both[0]);
            S::store(sums[1], &mut both[1]);
            let first = panel * ROWS;
            let at = row * n + first;
            let width = (n - first).min(ROWS);
            // SAFETY: the columns of a panel belong to one thread.
            let out = unsafe { out.range(at..at + width) };
            out.copy_from_slice(&both.as_flattened()[..width]);
        };
        if m == 1 {
            let (mut panels, mut streams) = (panels, streams);
            while !panels.is_empty() {
                // What is left over goes through fewer side by side.
                while streams > panels.len() {
                    streams /= 2;
                }
                let each = panels.len() / streams;
                let side_by_side = match streams {
                    8 => side_by_side::<S, BITS, GROUPS, OFFSET, HALF, 8>,
                    4 => side_by_side::<S, BITS, GROUPS, OFFSET, HALF, 4>,
                    2 => side_by_side::<S, BITS, GROUPS, OFFSET, HALF, 2>,
                    _ => side_by_side::<S, BITS, GROUPS, OFFSET, HALF, 1>,
                };
                for first in panels.start..panels.start + each {
                    side_by_side(weight, first, each, tiles, &put);
                }
                panels.start += each * streams;
            }
            return;
        }
        if m <= TILE {
            for panel in panels {
                let units = [weight.panel(panel)];
                let [rows] = sums::<S, BITS, GROUPS, OFFSET, HALF, true, 1, TILE>(units, tiles, weight.k());
                rows.into_iter().take(m).enumerate().for_each(|(row, sums)| put(panel, row, sums));
            }
            return;
        }
        let mut wide = Vec::new();
        for panel in panels {
            let mut units = weight.panel(panel);
            if HALF || matches!(BITS, 5 | 6) {
                widen::<S, BITS, GROUPS, OFFSET, HALF>(units, &mut wide);
                units = &wide;
            }
            let tile_words = tiles.len() / m.div_ceil(TILE);
            for (t, words) in tiles.chunks_exact(tile_words).enumerate() {
                let [rows] =
                    sums::<S, BITS, GROUPS, OFFSET, HALF, false, 1, TILE>([units], words, weight.k());
                for (c, sums) in rows.into_iter().enumerate().take(m - t * TILE) {
                    put(panel, t * TILE + c, sums);
                }
            }
        }
    });
}

/// Puts the sums of `P` panels by one row of activations: `first` of the weight, and every `each` panels after it.
#[inline(always)]
fn side_by_side<
    S: Simd,
    const BITS: usize,
    const GROUPS: usize,
    const OFFSET: bool,
    const HALF: bool,
    const P: usize,
>(
    weight: &PackedMatrix,
    first: usize,
    each: usize,
    words: &[u32],
    put: &dyn Fn(usize, usize, [S::F; 2]),
) {
    let panels = std::array::from_fn(|i| weight.panel(first + i * each));
    let panels = sums::<S, BITS, GROUPS, OFFSET, HALF, true, P, 1>(panels, words, weight.k());
    panels.into_iter().enumerate().for_each(|(i, [sums])| put(first + i * each, 0, sums));
}

/// The levels of five or six bits of a step and quad, as they are stored: the low four bits, and the others at bit `at`.
///
/// # Safety
/// `levels` is valid for the levels of a block of a panel from the quad on.
#[inline(always)]
unsafe fn stored<S: Simd, const BITS: usize>(levels: *const [u8; 16], step: usize, at: usize) -> [S::I; 2] {
    // SAFETY: the caller vouches for the block.
    let load = |unit: usize| S::load_i(unsafe { &*levels.add(unit) });
    let nibbles = load(step % 4 * 2);
    let low = if step < 4 { S::low_nibbles(nibbles) } else { S::high_nibbles(nibbles) };
    let (byte, bit, mask) = match BITS {
        5 => (load(8), step, 0x0101_0101),
        _ => (load(8 + step / 4 * 2), step % 4 * 2, 0x0303_0303),
    };
    // No bit that is kept crosses from one byte to another.
    let shifted = match at.checked_sub(bit) {
        Some(0) => byte,
        Some(left) => S::shift_left(byte, left as u32),
        None => S::shift_right(byte, (bit - at) as u32),
    };
    [low, S::and(shifted, S::splat_i32(mask << at))]
}

/// The dot products of `Q` quads of rows with `C` rows of activations over one block: `[group][quad][row]`.
///
/// # Safety
/// `levels` is valid for the levels of a block of a panel from the first of the quads, `a` for a block of a tile.
#[inline(always)]
unsafe fn block<
    S: Simd,
    const BITS: usize,
    const GROUPS: usize,
    const STORED: bool,
    const Q: usize,
    const C: usize,
>(
    levels: *const [u8; 16],
    a: *const [i8; 4],
) -> [[[S::I; C]; Q]; GROUPS] {
    let mut low = [[[S::zero_i(); C]; Q]; GROUPS];
    let mut high = [[[S::zero_i(); C]; Q]; GROUPS];
    for step in 0..if BITS == 4 { 4 } else { 8 } {
        let parts: [[S::I; 2]; Q] = std::array::from_fn(|q| {
            // SAFETY: the step's two quads are within the block.
            unsafe {
                if STORED && matches!(BITS, 5 | 6) {
                    return stored::<S, BITS>(levels.add(q), step, 0);
                }
                let raw = S::load_i(&*levels.add(step * 2 + q));
                [S::low_nibbles(raw), S::high_nibbles(raw)]
            }
        });
        let (lo, hi) = (parts.map(|[low, _]| low), parts.map(|[_, high]| high));
        for c in 0..C {
            // SAFETY: the step's levels of each row are within the block.
            let x = S::splat_4(unsafe { &*a.add(step * C + c) });
            if BITS == 4 {
                // Low nibbles are columns 0..16, high ones 16..32: the same sum, or two groups.
                // SAFETY: as above.
                let y = S::splat_4(unsafe { &*a.add((step + 4) * C + c) });
                for q in 0..Q {
                    low[0][q][c] = S::dot_i16(low[0][q][c], x, lo[q]);
                    low[GROUPS - 1][q][c] = S::dot_i16(low[GROUPS - 1][q][c], y, hi[q]);
                }
            } else {
                let group = step * GROUPS / 8;
                for q in 0..Q {
                    low[group][q][c] = S::dot_i16(low[group][q][c], x, lo[q]);
                    high[group][q][c] = S::dot_i16(high[group][q][c], x, hi[q]);
                }
            }
        }
    }
    std::array::from_fn(|g| {
        std::array::from_fn(|q| {
            std::array::from_fn(|c| {
                let dot = S::widen_dot(low[g][q][c], 1);
                if BITS == 4 { dot } else { S::add_i32(dot, S::widen_dot(high[g][q][c], 16)) }
            })
        })
    })
}

/// The dot products of `Q` quads of rows with `C` rows of activations over a group, with levels of five or six bits multiplied
/// whole: `[quad][row]`.
///
/// # Safety
/// As for [`block`].
#[inline(always)]
unsafe fn whole<
    S: Simd,
    const BITS: usize,
    const GROUPS: usize,
    const STORED: bool,
    const Q: usize,
    const C: usize,
>(
    levels: *const [u8; 16],
    a: *const [i8; 4],
    group: usize,
) -> [[S::I; C]; Q] {
    // What i16 holds.
    let steps = if BITS == 5 { 4 } else { 2 };
    let mut dots = [[S::zero_i(); C]; Q];
    for part in 0..8 / GROUPS / steps {
        let mut sums = [[S::zero_i(); Q]; C];
        for step in (0..steps).map(|step| group * 8 / GROUPS + part * steps + step) {
            let w: [S::I; Q] = std::array::from_fn(|q| {
                // SAFETY: the step's two quads are within the block.
                unsafe {
                    if STORED {
                        let [low, high] = stored::<S, BITS>(levels.add(q), step, 4);
                        return S::or(low, high);
                    }
                    S::load_i(&*levels.add(step * 2 + q))
                }
            });
            for (c, sums) in sums.iter_mut().enumerate() {
                // SAFETY: the step's levels of each row are within the group.
                let x = S::splat_4(unsafe { &*a.add(step * C + c) });
                sums.iter_mut().zip(w).for_each(|(sum, w)| *sum = S::dot_i16(*sum, x, w));
            }
        }
        for (c, sums) in sums.into_iter().enumerate() {
            for (dots, sum) in dots.iter_mut().zip(sums) {
                dots[c] = S::add_i32(dots[c], S::widen_dot(sum, 1));
            }
        }
    }
    dots
}

/// Sixteen-byte units of a block's scales and mins, and of all of it: of a stored panel, or of a widened one.
const fn block_units<const BITS: usize, const GROUPS: usize, const OFFSET: bool, const HALF: bool>(
    stored: bool,
) -> (usize, usize) {
    let factors = GROUPS * if HALF && stored { 1 } else { 2 } * if OFFSET { 1 } else { 2 };
    (factors, factors + if stored || BITS == 4 { level_units(BITS as u8) } else { 16 })
}

/// Adds the products of a block of a panel with a block of `C` rows of activations to their sums, `[row][quad]`.
///
/// # Safety
/// `units` is valid for a block of a panel, `a` for a block of a tile of `C` rows.
#[inline(always)]
unsafe fn add_block<
    S: Simd,
    const BITS: usize,
    const GROUPS: usize,
    const OFFSET: bool,
    const HALF: bool,
    const STORED: bool,
    const C: usize,
>(
    units: *const u128,
    a: *const u32,
    total: &mut [[S::F; 2]; C],
) {
    let (factor_units, _) = block_units::<BITS, GROUPS, OFFSET, HALF>(STORED);
    // SAFETY: all that is read is in the two blocks; units are aligned for f32.
    unsafe {
        let levels = units.add(factor_units).cast::<[u8; 16]>();
        let factor = |quad: usize| match HALF && STORED {
            true => factors::four::<S, true>(units.cast::<u8>().add(quad * 8)),
            false => factors::four::<S, false>(units.cast::<u8>().add(quad * 16)),
        };
        let (scales, terms) = (a.add(8 * C).cast::<f32>(), a.add(9 * C));
        let mut add = |dots: [S::I; C], group: usize, quad: usize| {
            let scales_of_rows = factor(group * 2 + quad);
            for (c, dot) in dots.into_iter().enumerate() {
                let scale = S::mul(scales_of_rows, S::splat(*scales.add(c)));
                let term = terms.add(group * C + c);
                let sum = &mut total[c][quad];
                if OFFSET {
                    let dot = S::add_i32(dot, S::splat_i32(*term.cast::<i32>()));
                    *sum = S::mul_add(S::to_f32(dot), scale, *sum);
                } else {
                    let min = factor((GROUPS + group) * 2 + quad);
                    *sum = S::mul_add(min, S::splat(*term.cast::<f32>()), *sum);
                    *sum = S::mul_add(S::to_f32(dot), scale, *sum);
                }
            }
        };
        if S::WHOLE_LEVELS && matches!(BITS, 5 | 6) {
            for group in 0..GROUPS {
                let a = a.cast();
                if C == 1 || GROUPS == 1 {
                    let dots = whole::<S, BITS, GROUPS, STORED, 2, C>(levels, a, group);
                    add(dots[0], group, 0);
                    add(dots[1], group, 1);
                } else {
                    for quad in 0..2 {
                        let [dots] = whole::<S, BITS, GROUPS, STORED, 1, C>(levels.add(quad), a, group);
                        add(dots, group, quad);
                    }
                }
            }
        } else if C == 1 || (BITS == 4 && GROUPS == 1) {
            let dots = block::<S, BITS, GROUPS, STORED, 2, C>(levels, a.cast());
            for (group, dots) in dots.into_iter().enumerate() {
                add(dots[0], group, 0);
                add(dots[1], group, 1);
            }
        } else {
            // More sums than registers: one quad at a time.
            for quad in 0..2 {
                let dots = block::<S, BITS, GROUPS, STORED, 1, C>(levels.add(quad), a.cast());
                dots.into_iter().enumerate().for_each(|(group, dots)| add(dots[0], group, quad));
            }
        }
    }
}

/// A stored panel with factors of f32, and levels of more than four bits in bytes, for many rows of activations.
fn widen<S: Simd, const BITS: usize, const GROUPS: usize, const OFFSET: bool, const HALF: bool>(
    panel: &[u128],
    wide: &mut Vec<u128>,
) {
    let (from_factors, from_units) = block_units::<BITS, GROUPS, OFFSET, HALF>(true);
    let (to_factors, to_units) = block_units::<BITS, GROUPS, OFFSET, HALF>(false);
    wide.resize(panel.len() / from_units * to_units, 0);
    for (from, to) in panel.chunks_exact(from_units).zip(wide.chunks_exact_mut(to_units)) {
        let (factors, levels) = to.split_at_mut(to_factors);
        if HALF {
            let (fours, _) = bytemuck::cast_slice_mut::<_, f32>(factors).as_chunks_mut::<4>();
            for (i, to) in fours.iter_mut().enumerate() {
                let halves: &[[i16; 4]] = bytemuck::cast_slice(&from[..from_factors]);
                // SAFETY: four halves are read of four.
                let x = unsafe { factors::four::<S, true>(halves[i].as_ptr().cast()) };
                S::store(S::mul(S::mul(x, S::splat(GROWN)), S::splat(GROWN)), to);
            }
        } else {
            factors.copy_from_slice(&from[..from_factors]);
        }
        let from = &from[from_factors..];
        if matches!(BITS, 5 | 6) {
            let bytes: &mut [[u8; 16]] = bytemuck::cast_slice_mut(levels);
            for (i, to) in bytes.iter_mut().enumerate() {
                // SAFETY: these are the levels of a block, and `i % 2` is a quad.
                let [low, high] =
                    unsafe { stored::<S, BITS>(from.as_ptr().cast::<[u8; 16]>().add(i % 2), i / 2, 4) };
                S::store_i(S::or(low, high), to);
            }
        } else {
            levels.copy_from_slice(from);
        }
    }
}

/// The sums of `P` panels by `C` rows of activations, `[panel][row][quad]`: a block of each panel in turn.
#[inline(always)]
fn sums<
    S: Simd,
    const BITS: usize,
    const GROUPS: usize,
    const OFFSET: bool,
    const HALF: bool,
    const STORED: bool,
    const P: usize,
    const C: usize,
>(
    panels: [&[u128]; P],
    words: &[u32],
    k: usize,
) -> [[[S::F; 2]; C]; P] {
    let (_, units) = block_units::<BITS, GROUPS, OFFSET, HALF>(STORED);
    let (n_blocks, block_words) = (k / BLOCK, C * (9 + GROUPS));
    assert!(words.len() >= n_blocks * block_words && panels.iter().all(|p| p.len() >= n_blocks * units));
    let mut totals = [[[S::splat(0.0); 2]; C]; P];
    for i in 0..n_blocks {
        for (panel, total) in panels.iter().zip(&mut totals) {
            // SAFETY: all slices have `n_blocks` such blocks, asserted above.
            unsafe {
                let (panel, words) = (panel.as_ptr().add(i * units), words.as_ptr().add(i * block_words));
                add_block::<S, BITS, GROUPS, OFFSET, HALF, STORED, C>(panel, words, total);
            }
        }
    }
    if HALF && STORED {
        totals.map(|rows| rows.map(|quads| quads.map(|x| S::mul(x, S::splat(GROWN)))))
    } else {
        totals
    }
}
