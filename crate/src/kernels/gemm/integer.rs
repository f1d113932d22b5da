//! Exact products of 8-bit integers. Both sides are widened to i16 as they are packed, two steps of k side by side, so
//! that one instruction multiplies eight pairs and adds neighbours: nothing saturates, and zeros of the left side are
//! taken away on the way. Tiles are those of [`tile`](super::tile): four rows by eight columns.

use super::tile::{TALL, WIDE};
use crate::error::{Result, ensure, fail};
use crate::kernels::simd::{Best, Simd};
use crate::kernels::threads::{Places, Threads};
use std::ops::Range;

/// Two i16 side by side, the first in the low half.
fn pair(first: i16, second: i16) -> u32 {
    u32::from(first.cast_unsigned()) | u32::from(second.cast_unsigned()) << 16
}

/// A byte as the number that it is.
fn number(byte: u8, signed: bool) -> i16 {
    if signed { i16::from(byte.cast_signed()) } else { i16::from(byte) }
}

fn room(n: Option<usize>) -> Result<Vec<u32>> {
    let mut words = Vec::new();
    match n.filter(|n| words.try_reserve_exact(*n).is_ok()) {
        Some(n) => words.resize(n, 0),
        None => return fail!(OutOfMemory, "no memory to pack a matrix of integers: use a smaller model"),
    }
    Ok(words)
}

/// A matrix `[k, n]` of 8-bit integers in panels of eight columns, `[n / 8][k / 2][8]` pairs.
pub struct IntegerMatrix {
    k: usize,
    n: usize,
    words: Vec<u32>,
}

impl IntegerMatrix {
    /// Packs `k` rows of `n` bytes, signed or not. Fails when there are not as many, or memory does not suffice.
    pub fn new(bytes: &[u8], signed: bool, (k, n): (usize, usize)) -> Result<Self> {
        ensure!(
            k.checked_mul(n) == Some(bytes.len()),
            ShapeMismatch,
            "{} bytes are not {k} by {n}",
            bytes.len()
        );
        let pairs = k.div_ceil(2);
        let mut words = room(n.div_ceil(WIDE).checked_mul(pairs * WIDE))?;
        for (panel, words) in words.chunks_exact_mut((pairs * WIDE).max(1)).enumerate() {
            let first = panel * WIDE;
            let wide = (n - first).min(WIDE);
            for (i, words) in words.chunks_exact_mut(WIDE).enumerate() {
                let row = |i: usize| bytes.get(i * n + first..).filter(|_| i < k);
                for (j, word) in words.iter_mut().enumerate().take(wide) {
                    let at = |i: usize| row(i).map_or(0, |row| number(row[j], signed));
                    *word = pair(at(2 * i), at(2 * i + 1));
                }
            }
        }
        Ok(Self { k, n, words })
    }

    /// Rows: the length of each dot product.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Bytes of the packed data.
    pub fn memory_bytes(&self) -> usize {
        self.words.len() * 4
    }
}

/// Multiplications that are worth handing to another thread: some microseconds.
const WORTH: usize = 1 << 17;
/// Bytes of packed rows that stay in the cache while all panels go by.
const CACHED: usize = 1 << 17;

/// The left side of a product: `m` rows of `k` bytes.
#[derive(Clone, Copy)]
pub struct IntegerRows<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Whether they are signed.
    pub signed: bool,
    /// What is taken away from the numbers: one for all, or one a row.
    pub zeros: &'a [i32],
}

/// What becomes of sums.
#[derive(Clone, Copy)]
pub enum Finish<'a> {
    /// They stay i32.
    Integers,
    /// `sum · scale + bias` in f32, rounded twice. Both have as many elements as columns, filled up to a multiple of eight.
    Floats {
        /// One a column.
        scales: &'a [f32],
        /// One a column.
        bias: Option<&'a [f32]>,
    },
}

/// `y = (a - zeros) · (b - b_zeros)`, `[m, n]` words of four bytes. `b_zeros` has one number a column, filled up to a
/// multiple of eight, or is left out where all are 0. Fails when memory does not suffice.
pub fn multiply(
    threads: Threads,
    a: IntegerRows,
    b: &IntegerMatrix,
    b_zeros: Option<&[i32]>,
    y: &mut [u8],
    finish: Finish,
) -> Result<()> {
    let (k, n) = (b.k, b.n);
    let pairs = k.div_ceil(2);
    let m = y.len() / (4 * n).max(1);
    let block = (CACHED / 4 / pairs.max(1)).max(TALL).next_multiple_of(TALL).min(m);
    let mut packed = room(block.checked_mul(pairs))?;
    let mut sums = vec![0i32; block];
    for start in (0..m).step_by(block.max(1)) {
        let rows = block.min(m - start);
        for (i, sum) in sums.iter_mut().enumerate().take(rows) {
            let zero = a.zeros[if a.zeros.len() == 1 { 0 } else { start + i }] as i16;
            let row = &a.bytes[(start + i) * k..][..k];
            let tall = (rows - i / TALL * TALL).min(TALL);
            let to = packed[i / TALL * TALL * pairs + i % TALL..].iter_mut().step_by(tall);
            pack_row(row, a.signed, zero, to);
            if b_zeros.is_some() {
                let sum_of = row.iter().map(|x| i32::from(number(*x, a.signed) - zero));
                *sum = sum_of.fold(0, i32::wrapping_add);
            }
        }
        let y = &mut y[start * n * 4..][..rows * n * 4];
        let end = |row: usize, column: usize, mut sum: [<Best as Simd>::I; 2]| {
            if let Some(zeros) = b_zeros {
                let by = Best::splat_i32(sums[row].wrapping_neg());
                let (halves, _) = bytemuck::cast_slice::<i32, u8>(&zeros[column..][..WIDE]).as_chunks::<16>();
                for (sum, zeros) in sum.iter_mut().zip(halves) {
                    *sum = Best::add_i32(*sum, Best::mul_i32(Best::load_i(zeros), by));
                }
            }
            let Finish::Floats { scales, bias } = finish else { return sum };
            let halves = |values: &[f32]| -> [[f32; 4]; 2] {
                let (halves, _) = values[column..][..WIDE].as_chunks::<4>();
                [halves[0], halves[1]]
            };
            let scales = halves(scales);
            let bias = bias.map(halves);
            std::array::from_fn(|h| {
                let product = Best::mul(Best::to_f32(sum[h]), Best::load(&scales[h]));
                Best::bits(bias.map_or(product, |bias| Best::add(product, Best::load(&bias[h]))))
            })
        };
        blocks(threads, &packed, &b.words, (rows, k, n), y, &end);
    }
    Ok(())
}

/// Widens a row, pair by pair.
fn pack_row<'a>(row: &[u8], signed: bool, zero: i16, to: impl Iterator<Item = &'a mut u32>) {
    let (pairs, rest) = row.as_chunks::<2>();
    let wide = |x: u8| number(x, signed) - zero;
    let last = rest.first().map(|x| pair(wide(*x), 0));
    let words = pairs.iter().map(|[x, y]| pair(wide(*x), wide(*y)));
    to.zip(words.chain(last)).for_each(|(to, word)| *to = word);
}

/// All tiles of a block of rows.
fn blocks(
    threads: Threads,
    rows: &[u32],
    panels: &[u32],
    (m, k, n): (usize, usize, usize),
    y: &mut [u8],
    end: &(impl Fn(usize, usize, [<Best as Simd>::I; 2]) -> [<Best as Simd>::I; 2] + Sync),
) {
    let (pairs, y) = (k.div_ceil(2), Places::new(y));
    let block = |row: usize, column: usize| {
        let tall = (m - row).min(TALL);
        let rows: &[[i8; 4]] = bytemuck::cast_slice(&rows[row * pairs..][..tall * pairs]);
        let panel: &[[u8; 16]] = bytemuck::cast_slice(&panels[column * pairs..][..WIDE * pairs]);
        let mut put = |r: usize, sum: [<Best as Simd>::I; 2]| {
            let mut both = [[0; 16]; 2];
            let sum = end(row + r, column, sum);
            Best::store_i(sum[0], &mut both[0]);
            Best::store_i(sum[1], &mut both[1]);
            let wide = (n - column).min(WIDE);
            let at = ((row + r) * n + column) * 4;
            // SAFETY: each tile belongs to one thread.
            let y = unsafe { y.range(at..at + wide * 4) };
            y.copy_from_slice(&both.as_flattened()[..wide * 4]);
        };
        match tall {
            1 => tile::<Best, 1, 4>(rows, panel, &mut put),
            2 => tile::<Best, 2, 2>(rows, panel, &mut put),
            3 => tile::<Best, 3, 1>(rows, panel, &mut put),
            _ => tile::<Best, TALL, 1>(rows, panel, &mut put),
        }
    };
    let part = |rows: Range<usize>, columns: Range<usize>| {
        if columns.len() > rows.len() {
            for column in columns.step_by(WIDE) {
                rows.clone().step_by(TALL).for_each(|row| block(row, column));
            }
        } else {
            for row in rows.step_by(TALL) {
                columns.clone().step_by(WIDE).for_each(|column| block(row, column));
            }
        }
    };
    // The longer side is shared out, by whole tiles.
    if n >= m {
        let grain = WORTH / (WIDE * m * k).max(1) + 1;
        threads.for_each(n.div_ceil(WIDE), grain, |all| part(0..m, all.start * WIDE..n.min(all.end * WIDE)));
    } else {
        let grain = WORTH / (TALL * n * k).max(1) + 1;
        threads.for_each(m.div_ceil(TALL), grain, |all| part(all.start * TALL..m.min(all.end * TALL), 0..n));
    }
}

/// Words of `m` rows of `k` numbers, packed as the left side of [`sums`].
pub fn row_words(m: usize, k: usize) -> Option<usize> {
    m.checked_mul(k.div_ceil(2))
}

/// Packs `m` rows of `k` bytes as the left side of [`sums`], `[m / 4][k / 2][4]` pairs. Fails when memory does not suffice.
pub fn pack_rows(bytes: &[u8], signed: bool, (m, k): (usize, usize)) -> Result<Vec<u32>> {
    let pairs = k.div_ceil(2);
    let mut words = room(row_words(m, k))?;
    for (i, row) in bytes.chunks_exact(k.max(1)).take(m).enumerate() {
        let tall = (m - i / TALL * TALL).min(TALL);
        let to = words[i / TALL * TALL * pairs + i % TALL..].iter_mut().step_by(tall);
        pack_row(row, signed, 0, to);
    }
    Ok(words)
}

/// Numbers side by side in a word, as [`sums`] reads them.
pub fn pairs<const N: usize>(first: &[i16; N], second: &[i16; N]) -> [u32; N] {
    std::array::from_fn(|i| pair(first[i], second[i]))
}

/// `y [m, n]`: rows that [`pack_rows`] packed times panels of columns `[n / 8][k / 2][8]` pairs.
pub fn sums(threads: Threads, rows: &[u32], panels: &[u32], sizes: (usize, usize, usize), y: &mut [i32]) {
    blocks(threads, rows, panels, sizes, bytemuck::cast_slice_mut(y), &|_, _, sum| sum);
}

/// The tile of `R` rows; `U` steps have sums of their own, so that few rows do not wait for each other's additions.
#[inline(always)]
fn tile<S: Simd, const R: usize, const U: usize>(
    rows: &[[i8; 4]],
    panel: &[[u8; 16]],
    put: &mut impl FnMut(usize, [S::I; 2]),
) {
    let mut sums = [[[S::zero_i(); 2]; R]; U];
    let step = |row: &[[i8; 4]; R], columns: &[[u8; 16]; 2], sums: &mut [[S::I; 2]; R]| {
        let columns = [S::load_i(&columns[0]), S::load_i(&columns[1])];
        for (sums, x) in sums.iter_mut().zip(row) {
            let x = S::splat_4(x);
            sums[0] = S::dot_pairs(sums[0], x, columns[0]);
            sums[1] = S::dot_pairs(sums[1], x, columns[1]);
        }
    };
    let (steps, rest) = rows.as_chunks::<R>().0.as_chunks::<U>();
    let (panels, panel_rest) = panel.as_chunks::<2>().0.as_chunks::<U>();
    for (rows, panels) in steps.iter().zip(panels) {
        for u in 0..U {
            step(&rows[u], &panels[u], &mut sums[u]);
        }
    }
    for (row, columns) in rest.iter().zip(panel_rest) {
        step(row, columns, &mut sums[0]);
    }
    for (r, first) in sums[0].iter().enumerate() {
        let sum =
            (1..U).fold(*first, |[a, b], u| [S::add_i32(a, sums[u][r][0]), S::add_i32(b, sums[u][r][1])]);
        put(r, sum);
    }
}
