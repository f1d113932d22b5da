//! The product that all f32 kernels share: rows packed four by four, `[m / 4][k][4]`, times columns packed eight by
//! eight, `[n / 8][k][8]`, with what follows the sums. A tile of four rows by eight columns is summed in registers
//! along k: it is what sixteen registers hold with their operands, larger tiles spill and are slower. Convolutions pack
//! their filters as rows, products their weights as columns, each once, and the other side as they go.

use crate::kernels::simd::{Best, Simd};
use crate::kernels::threads::{Places, Threads};
use std::ops::Range;

/// Rows that are packed together; the last rows of a matrix may be fewer.
pub const TALL: usize = 4;
/// Columns that are packed together; the last columns of a matrix are filled up with zeros.
pub const WIDE: usize = 8;

/// Bytes of panels that stay in the cache while rows go by.
const CACHED: usize = 1 << 18;
/// Rows of two panels.
const PAIR: usize = 2 * TALL;

/// Tiles among which the next panel is shared out, to be read ahead.
const AHEAD: usize = 4;
/// Multiplications that are worth handing to another thread: some microseconds.
const WORTH: usize = 1 << 16;
/// Values that are worth handing to another thread to pack.
const WORTH_PACKING: usize = 1 << 13;

/// Packs the `m` rows of `a`, element `(r, i)` of which is `a[r · row + i · step]`, to `[m / 4][k][4]`. `out` has
/// `m · k` values. Rows that are left over are packed three, two or one together.
pub fn pack_rows(
    threads: Threads,
    a: &[f32],
    (row, step): (usize, usize),
    (m, k): (usize, usize),
    out: &mut [f32],
) {
    if k == 0 {
        return;
    }
    let out = Places::new(&mut out[..m * k]);
    threads.for_each(m.div_ceil(TALL), WORTH_PACKING / (TALL * k).max(1) + 1, |panels| {
        for panel in panels {
            let first = panel * TALL;
            let tall = (m - first).min(TALL);
            // SAFETY: each panel is packed once.
            let out = unsafe { out.range(first * k..(first + tall) * k) };
            for r in 0..tall {
                let values = a[(first + r) * row..].iter().step_by(step);
                out[r..].iter_mut().step_by(tall).zip(values).for_each(|(to, from)| *to = *from);
            }
        }
    });
}

/// Packs the `n` columns of `b`, element `(i, j)` of which is `b[i · row + j · step]`, to `[n / 8][k][8]`. `out` has room
/// for whole panels.
pub fn pack_columns(
    threads: Threads,
    b: &[f32],
    (row, step): (usize, usize),
    (k, n): (usize, usize),
    out: &mut [f32],
) {
    // Neighbouring panels together: what a row has for them lies in the same line of the cache.
    const TOGETHER: usize = 4;
    let out = Places::new(&mut out[..n.next_multiple_of(WIDE) * k]);
    let grain = WORTH_PACKING / (TOGETHER * WIDE * k).max(1) + 1;
    threads.for_each(n.div_ceil(TOGETHER * WIDE), grain, |groups| {
        for group in groups {
            let first = group * TOGETHER * WIDE;
            let wide = (n - first).min(TOGETHER * WIDE).next_multiple_of(WIDE);
            // SAFETY: each group is packed once.
            let out = unsafe { out.range(first * k..(first + wide) * k) };
            for i in 0..k {
                for (panel, out) in out.chunks_exact_mut(WIDE * k).enumerate() {
                    let column = first + panel * WIDE;
                    let from = &b[i * row + column * step..];
                    let to = &mut out[i * WIDE..][..WIDE];
                    match from.first_chunk::<WIDE>() {
                        Some(all) if step == 1 && column + WIDE <= n => to.copy_from_slice(all),
                        _ => {
                            to.fill(0.0);
                            let values = from.iter().step_by(step).take(n - column);
                            to.iter_mut().zip(values).for_each(|(to, from)| *to = *from);
                        }
                    }
                }
            }
        }
    });
}

/// A function of each element, on many of them at once.
pub type Activation<'a> = &'a (dyn Fn(&mut [f32]) + Sync);

/// What becomes of the sums of a product, in this order.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// Added to each row: one number a row.
    pub row_bias: Option<&'a [f32]>,
    /// Added to each column: one number a column.
    pub column_bias: Option<&'a [f32]>,
    /// Added, from where the same element of the result lies.
    pub residual: Option<&'a [f32]>,
    /// A function of each element.
    pub activation: Option<Activation<'a>>,
}

impl<'a> Epilogue<'a> {
    /// The same, of a part of the result that begins at `at`; biases stay as they are.
    pub fn from(&self, at: usize) -> Self {
        Self { residual: self.residual.map(|residual| &residual[at..]), ..*self }
    }

    /// What comes of the sums of columns from `column` on, of one row, in a piece of the result that begins at `at`.
    pub fn finish_columns(&self, y: &mut [f32], column: usize, at: usize) {
        if let Some(bias) = self.column_bias {
            y.iter_mut().zip(&bias[column..]).for_each(|(y, b)| *y += b);
        }
        self.finish(y, at);
    }

    /// What comes after the biases, of a piece of the result that begins at `at`.
    pub fn finish(&self, y: &mut [f32], at: usize) {
        if let Some(residual) = self.residual {
            y.iter_mut().zip(&residual[at..]).for_each(|(y, x)| *y += x);
        }
        if let Some(activation) = self.activation {
            activation(y);
        }
    }
}

/// Row `r` of the product, `n` values, begins at `y[r · stride]`. `rows` is packed `[m / 4][k][4]`, `panels`
/// `[n / 8][k][8]`; the sizes are `(m, k, n)`.
pub fn multiply(
    threads: Threads,
    rows: &[f32],
    panels: &[f32],
    (m, k, n): (usize, usize, usize),
    y: &mut [f32],
    stride: usize,
    epilogue: &Epilogue,
) {
    if m == 0 || n == 0 {
        return;
    }
    let product = Product { rows, panels, sizes: (m, k, n), y: Places::new(y), stride, epilogue };
    // The longer side is shared out, by whole tiles.
    if n >= m {
        let grain = WORTH / (WIDE * m * k.max(1)) + 1;
        threads.for_each(n.div_ceil(WIDE), grain, |part| {
            // SAFETY: the parts do not overlap.
            unsafe { product.part(0..m, part.start * WIDE..n.min(part.end * WIDE)) };
        });
    } else {
        let grain = WORTH / (TALL * n * k.max(1)) + 1;
        threads.for_each(m.div_ceil(TALL), grain, |part| {
            // SAFETY: the parts do not overlap.
            unsafe { product.part(part.start * TALL..m.min(part.end * TALL), 0..n) };
        });
    }
}

/// A product under way, as [`multiply`] has it; threads compute parts of it that do not overlap.
pub(super) struct Product<'a> {
    pub rows: &'a [f32],
    pub panels: &'a [f32],
    pub sizes: (usize, usize, usize),
    pub y: Places<'a, f32>,
    pub stride: usize,
    pub epilogue: &'a Epilogue<'a>,
}

impl Product<'_> {
    /// Some rows of some columns; both begin where tiles do.
    ///
    /// # Safety
    /// Nobody else uses these places of the result meanwhile, and rows of the result do not overlap.
    pub unsafe fn part(&self, rows: Range<usize>, columns: Range<usize>) {
        let finishes = self.epilogue.residual.is_some() || self.epilogue.activation.is_some();
        let finish = |rows: Range<usize>| {
            for row in rows.filter(|_| finishes) {
                let at = row * self.stride + columns.start;
                // SAFETY: nobody else has these places.
                self.epilogue.finish(unsafe { self.y.range(at..at + columns.len()) }, at);
            }
        };
        let k = self.sizes.1;
        if columns.len() * k * 4 > CACHED && rows.len() < columns.len() {
            // The panels go by once; the rows stay in the cache. While the first tiles of a panel are summed, the next
            // panel comes from memory.
            for column in columns.clone().step_by(WIDE) {
                let part = WIDE / AHEAD * k;
                for (nth, row) in rows.clone().step_by(TALL).enumerate() {
                    let tall = (rows.end - row).min(TALL);
                    let whole = tall == TALL && column + WIDE <= columns.end && nth < AHEAD;
                    let next = self.panels.get((column + WIDE) * k + nth * part..).filter(|_| whole);
                    // SAFETY: these are tiles of the caller's places.
                    unsafe {
                        match next.and_then(|next| next.get(..part)) {
                            Some(next) => self.tile_ahead(row, column, next),
                            None => self.tile(row, tall, column),
                        }
                    }
                }
            }
            return finish(rows);
        }
        let mut row = rows.start;
        while row < rows.end {
            let tall = match rows.end - row {
                PAIR.. if columns.len() <= WIDE / 2 => PAIR,
                left => left.min(TALL),
            };
            // SAFETY: as above.
            columns.clone().step_by(WIDE).for_each(|column| unsafe { self.tile(row, tall, column) });
            finish(row..row + tall);
            row += tall;
        }
    }

    /// The whole tile that begins there, and meanwhile a look at its part of the next panel.
    ///
    /// # Safety
    /// As for [`part`](Self::part).
    unsafe fn tile_ahead(&self, row: usize, column: usize, next: &[f32]) {
        let k = self.sizes.1;
        let rows = self.rows[row * k..][..TALL * k].as_chunks::<TALL>().0;
        let panel = self.panels[column * k..][..WIDE * k].as_chunks().0;
        let at = Corner { row, column, wide: WIDE, stride: self.stride };
        let mut sums = start::<Best, TALL>(at, self.epilogue);
        let next = next.as_chunks::<{ WIDE / AHEAD }>().0;
        let mut ahead = next.iter();
        along([rows], &panel[..next.len()], |[row], columns| {
            if let Some(next) = ahead.next() {
                // SAFETY: it is a value. Nothing is done with it: it is read so that its line of the cache is near.
                unsafe { std::ptr::read_volatile(&next[0]) };
            }
            step::<Best, TALL>(row, columns, &mut sums);
        });
        for (r, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller vouches for the places.
            unsafe { put::<Best>(sums, r, at, &self.y) };
        }
    }

    /// The tile of `tall` rows that begins there: of a pair of panels where the result is narrow.
    ///
    /// # Safety
    /// As for [`part`](Self::part).
    unsafe fn tile(&self, row: usize, tall: usize, column: usize) {
        let (_, k, n) = self.sizes;
        let rows = &self.rows[row * k..][..tall * k];
        let panel = self.panels[column * k..][..WIDE * k].as_chunks().0;
        let at = Corner { row, column, wide: (n - column).min(WIDE), stride: self.stride };
        // SAFETY: the caller vouches for the places.
        unsafe {
            match (tall, at.wide) {
                // Rows are summed in one order, whether in a pair or not.
                (PAIR, 1) => narrow::<Best, 2, 1, 4>(rows, panel, at, &self.y, self.epilogue),
                (PAIR, 2) => narrow::<Best, 2, 2, 2>(rows, panel, at, &self.y, self.epilogue),
                (PAIR, 3) => narrow::<Best, 2, 3, 1>(rows, panel, at, &self.y, self.epilogue),
                (PAIR, _) => narrow::<Best, 2, 4, 1>(rows, panel, at, &self.y, self.epilogue),
                (TALL, 1) => narrow::<Best, 1, 1, 4>(rows, panel, at, &self.y, self.epilogue),
                (TALL, 2) => narrow::<Best, 1, 2, 2>(rows, panel, at, &self.y, self.epilogue),
                (TALL, 3) => narrow::<Best, 1, 3, 1>(rows, panel, at, &self.y, self.epilogue),
                (TALL, 4) => narrow::<Best, 1, 4, 1>(rows, panel, at, &self.y, self.epilogue),
                (1, _) => tile::<Best, 1, 4>(rows, panel, at, &self.y, self.epilogue),
                (2, _) => tile::<Best, 2, 2>(rows, panel, at, &self.y, self.epilogue),
                (3, _) => tile::<Best, 3, 1>(rows, panel, at, &self.y, self.epilogue),
                _ => tile::<Best, TALL, 1>(rows, panel, at, &self.y, self.epilogue),
            }
        }
    }
}

/// Where a tile lies in the result.
#[derive(Clone, Copy)]
struct Corner {
    row: usize,
    column: usize,
    /// Columns that the result has there.
    wide: usize,
    stride: usize,
}

/// The tile of `R` rows. `U` steps of k have sums of their own: few rows alone would wait for each other's additions.
///
/// # Safety
/// Nobody else uses the tile's places meanwhile.
#[inline(always)]
unsafe fn tile<S: Simd, const R: usize, const U: usize>(
    rows: &[f32],
    panel: &[[f32; WIDE]],
    at: Corner,
    y: &Places<f32>,
    epilogue: &Epilogue,
) {
    let mut sums = [[[S::splat(0.0); 2]; R]; U];
    sums[0] = start::<S, R>(at, epilogue);
    let (steps, rest) = rows.as_chunks::<R>().0.as_chunks::<U>();
    let (panels, panel_rest) = panel.as_chunks::<U>();
    along([steps], panels, |[rows], panels| {
        for u in 0..U {
            step::<S, R>(&rows[u], &panels[u], &mut sums[u]);
        }
    });
    along([rest], panel_rest, |[row], columns| step::<S, R>(row, columns, &mut sums[0]));
    for r in 0..R {
        let sums = (1..U).fold(sums[0][r], |[a, b], u| [S::add(a, sums[u][r][0]), S::add(b, sums[u][r][1])]);
        // SAFETY: the caller vouches for it.
        unsafe { put::<S>(sums, r, at, y) };
    }
}

/// What the sums of a tile begin with.
#[inline(always)]
fn start<S: Simd, const R: usize>(at: Corner, epilogue: &Epilogue) -> [[S::F; 2]; R] {
    let columns = match epilogue.column_bias.map(|bias| &bias[at.column..]) {
        None => [S::splat(0.0); 2],
        Some(bias) => match bias.first_chunk() {
            Some(all) => halves::<S>(all),
            None => {
                let mut columns = [0.0; WIDE];
                columns.iter_mut().zip(bias).for_each(|(to, from)| *to = *from);
                halves::<S>(&columns)
            }
        },
    };
    std::array::from_fn(|r| match epilogue.row_bias {
        Some(bias) => columns.map(|x| S::add(x, S::splat(bias[at.row + r]))),
        None => columns,
    })
}

/// Writes row `r` of a tile.
///
/// # Safety
/// Nobody else uses the tile's places meanwhile.
#[inline(always)]
unsafe fn put<S: Simd>(sums: [S::F; 2], r: usize, at: Corner, y: &Places<f32>) {
    let write = |to: &mut [f32; WIDE]| {
        let (halves, _) = to.as_chunks_mut::<4>();
        S::store(sums[0], &mut halves[0]);
        S::store(sums[1], &mut halves[1]);
    };
    let start = (at.row + r) * at.stride + at.column;
    // SAFETY: the caller vouches for it.
    let y = unsafe { y.range(start..start + at.wide) };
    match y.as_mut_array() {
        Some(y) => write(y),
        None => {
            let mut all = [0.0; WIDE];
            write(&mut all);
            y.copy_from_slice(&all[..at.wide]);
        }
    }
}

/// The tiles of `P` times four rows where the result has `C` columns, at most half of what a panel has: a vector has four
/// rows of a column. `U` as for [`tile`].
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn narrow<S: Simd, const P: usize, const C: usize, const U: usize>(
    rows: &[f32],
    panel: &[[f32; WIDE]],
    at: Corner,
    y: &Places<f32>,
    epilogue: &Epilogue,
) {
    let of_column = |c: usize| epilogue.column_bias.map_or(0.0, |bias| bias[at.column + c]);
    let mut sums = [[[S::splat(0.0); C]; P]; U];
    sums[0] = std::array::from_fn(|p| {
        let of_rows = epilogue.row_bias.and_then(|bias| bias[at.row + p * TALL..].first_chunk::<TALL>());
        let of_rows = of_rows.map_or(S::splat(0.0), S::load);
        std::array::from_fn(|c| S::add(of_rows, S::splat(of_column(c))))
    });
    let k = panel.len();
    let rows: [&[[f32; TALL]]; P] = std::array::from_fn(|p| &rows.as_chunks::<TALL>().0[p * k..][..k]);
    let step = |rows: [&[f32; TALL]; P], columns: &[f32; WIDE], sums: &mut [[S::F; C]; P]| {
        let rows = rows.map(S::load);
        for c in 0..C {
            let x = S::splat(columns[c]);
            for (sums, row) in sums.iter_mut().zip(rows) {
                sums[c] = S::mul_add(x, row, sums[c]);
            }
        }
    };
    let (panels, panel_rest) = panel.as_chunks::<U>();
    let split = rows.map(|rows| rows.as_chunks::<U>());
    along(split.map(|(rows, _)| rows), panels, |rows, columns| {
        for u in 0..U {
            step(rows.map(|rows| &rows[u]), &columns[u], &mut sums[u]);
        }
    });
    along(split.map(|(_, rest)| rest), panel_rest, |rows, columns| step(rows, columns, &mut sums[0]));
    let total = |p: usize, c: usize| (1..U).fold(sums[0][p][c], |sum, u| S::add(sum, sums[u][p][c]));
    for p in 0..P {
        let mut columns = [[0.0; TALL]; C];
        columns.iter_mut().enumerate().for_each(|(c, column)| S::store(total(p, c), column));
        for r in 0..TALL {
            let start = (at.row + p * TALL + r) * at.stride + at.column;
            // SAFETY: the caller vouches for it.
            let y = unsafe { y.range(start..start + C) };
            y.iter_mut().zip(&columns).for_each(|(y, column)| *y = column[r]);
        }
    }
}

/// What lies at the same place of some slices and of another that is as long, front to back by pointers: an index would be shifted
/// and added anew for each.
#[inline(always)]
fn along<A, B, const P: usize>(some: [&[A]; P], other: &[B], mut visit: impl FnMut([&A; P], &B)) {
    assert!(some.iter().all(|slice| slice.len() >= other.len()));
    let mut some = some.map(<[A]>::as_ptr);
    for other in other {
        // SAFETY: every slice is as long, asserted above.
        visit(some.map(|at| unsafe { &*at }), other);
        // SAFETY: as above, and one past the last at most.
        some = some.map(|at| unsafe { at.add(1) });
    }
}

#[inline(always)]
fn step<S: Simd, const R: usize>(row: &[f32; R], columns: &[f32; WIDE], sums: &mut [[S::F; 2]; R]) {
    let columns = halves::<S>(columns);
    for (r, sums) in sums.iter_mut().enumerate() {
        let x = S::splat(row[r]);
        sums[0] = S::mul_add(x, columns[0], sums[0]);
        sums[1] = S::mul_add(x, columns[1], sums[1]);
    }
}

#[inline(always)]
fn halves<S: Simd>(columns: &[f32; WIDE]) -> [S::F; 2] {
    let (halves, _) = columns.as_chunks::<4>();
    [S::load(&halves[0]), S::load(&halves[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut x = seed;
        let next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 8) as f32 / 8_388_608.0 - 1.0
        };
        std::iter::repeat_with(next).take(n).collect()
    }

    #[test]
    fn packed_products_are_those_of_the_textbook() {
        for (m, k, n) in
            [(1, 1, 1), (4, 7, 8), (6, 17, 30), (3, 0, 2), (9, 8, 25), (30, 5, 11), (8, 9, 1), (5, 6, 12)]
        {
            // `a` is stored transposed, `b` as it is; rows of the result are three values apart.
            let (a, b) = (noise(m * k, 1), noise(k * n, 2));
            let (row_bias, column_bias, residual) = (noise(m, 3), noise(n, 4), noise(m * (n + 3), 5));
            let (mut rows, mut panels) = (vec![0.0; m * k], vec![9.0; k * n.next_multiple_of(WIDE)]);
            pack_rows(Threads::single(), &a, (1, m), (m, k), &mut rows);
            pack_columns(Threads::single(), &b, (n, 1), (k, n), &mut panels);
            let mut again = vec![7.0; panels.len()];
            let transposed: Vec<f32> = (0..k * n).map(|i| b[i % k * n + i / k]).collect();
            pack_columns(Threads::single(), &transposed, (1, k), (k, n), &mut again);
            assert_eq!(panels, again);
            let double = |y: &mut [f32]| y.iter_mut().for_each(|y| *y *= 2.0);
            let epilogue = Epilogue {
                row_bias: Some(&row_bias),
                column_bias: Some(&column_bias),
                residual: Some(&residual),
                activation: Some(&double),
            };
            let mut y = vec![77.0; m * (n + 3)];
            multiply(Threads::single(), &rows, &panels, (m, k, n), &mut y, n + 3, &epilogue);
            for (at, y) in y.iter().enumerate() {
                let (r, j) = (at / (n + 3), at % (n + 3));
                if j >= n {
                    assert_eq!(*y, 77.0, "between the rows");
                    continue;
                }
                let sum: f32 = (0..k).map(|i| a[i * m + r] * b[i * n + j]).sum();
                let want = 2.0 * (sum + row_bias[r] + column_bias[j] + residual[at]);
                assert!((y - want).abs() < 1e-5, "{m} {k} {n}: {y} at {r}, {j} is not {want}");
            }
        }
    }
}
