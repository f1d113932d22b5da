//! Exact convolution of 8-bit integers: as the [product](super::product) of floats, with both sides widened to i16 and two steps
//! of k side by side ([`gemm::integer`](crate::kernels::gemm::integer)). The zero of the image is taken away before it is
//! padded, so that padding is 0.

use super::frame::Frame;
use super::{Sizes, product_of};
use crate::error::{Result, ensure, fail};
use crate::kernels::gemm::integer;
use crate::kernels::gemm::tile::WIDE;
use crate::kernels::threads::Threads;

/// Bytes of the panels that are in work.
const PANELS: usize = 96 << 10;
/// Bytes of the strip of padded images that they are made of.
const STRIP: usize = 256 << 10;

/// Filters of 8-bit integers, packed for their convolution once.
pub struct IntegerFilters {
    shape: Vec<usize>,
    groups: usize,
    /// Filters of a group.
    each: usize,
    /// Values of a filter.
    k: usize,
    words: Vec<u32>,
}

impl IntegerFilters {
    /// Packs `w [groups · each, c, kernel…]`, signed or not. Fails when memory does not suffice.
    pub fn new(w: &[u8], signed: bool, shape: &[usize], groups: usize) -> Result<Self> {
        let (groups, filters) = (groups.max(1), shape.first().copied().unwrap_or(0));
        let (each, k) = (filters / groups, w.len() / filters.max(1));
        let mut words = Vec::new();
        for w in w.chunks_exact((each * k).max(1)) {
            let packed = integer::pack_rows(w, signed, (each, k))?;
            if words.is_empty() && groups == 1 {
                words = packed;
            } else {
                words.extend(packed);
            }
        }
        Ok(Self { shape: shape.to_vec(), groups, each, k, words })
    }

    /// The shape that they came in.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes of the packed values.
    pub fn memory_bytes(&self) -> usize {
        self.words.len() * 4
    }

    fn group(&self, group: usize) -> &[u32] {
        let own = self.each * self.k.div_ceil(2);
        &self.words[group * own..][..own]
    }
}

/// An image `[n, c, in…]` of 8-bit integers.
#[derive(Clone, Copy)]
pub struct IntegerImage<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Whether they are signed.
    pub signed: bool,
    /// What is taken away from the numbers.
    pub zero: i32,
}

/// Gives the sums of each filter for a stretch of outputs to `put(sums, filter, at)`, `at` counting elements of
/// `y [n, groups · each, out…]`. `zeros` are taken away from the filters' numbers: one for all or one a filter; none where
/// all are 0. Fails when memory does not suffice.
pub fn conv(
    threads: Threads,
    image: IntegerImage,
    filters: &IntegerFilters,
    zeros: Option<&[i32]>,
    sizes: &Sizes,
    put: &mut dyn FnMut(&mut [i32], usize, usize),
) -> Result<()> {
    let IntegerFilters { groups, each, k, .. } = *filters;
    let channels = k / sizes.taps().max(1);
    let own = channels * sizes.pixels();
    let outputs = sizes.outputs();
    if own == 0 || outputs == 0 || each == 0 {
        ensure!(outputs == 0 || each == 0, ShapeMismatch, "a convolution of an image without elements");
        return Ok(());
    }
    let frame = Frame::new(sizes)?;
    let slab = frame.slab()?;
    let rows = if frame.bare {
        sizes.out[0]
    } else {
        let halo = Frame::rows(sizes, 1);
        let fit = (STRIP / 2 / (slab * channels).max(1)).max(2 * halo).saturating_sub(halo);
        (fit / sizes.windows.strides[0] + 1).min(sizes.out[0])
    };
    let plane = if frame.bare { sizes.pixels() } else { product_of([Frame::rows(sizes, rows), slab])? };
    product_of([plane, channels, 4])?;
    let window = frame.taps(sizes);
    let of = |channel: usize| window.iter().map(move |tap| tap + (channel * plane) as u32);
    let mut taps: Vec<u32> = (0..channels).flat_map(of).collect();
    let starts = frame.starts(sizes, rows);
    if taps.len() % 2 == 1 {
        // Beside the last value of a filter lies a zero.
        taps.push(taps[0]);
    }
    let fit = (PANELS / 2 / taps.len()).max(WIDE) / WIDE * WIDE;
    let columns = fit.min(outputs.next_multiple_of(WIDE));
    let mut strip = room::<i16>(if frame.bare { 0 } else { product_of([plane, channels])? })?;
    let mut panels = room::<u32>(product_of([columns, taps.len() / 2])?)?;
    let mut sums = room::<i32>(product_of([columns, each])?)?;
    let mut numbers = room::<i16>(own)?;
    let inner = outputs / sizes.out[0].max(1);
    for (nth, bytes) in image.bytes.chunks_exact(own).enumerate() {
        let (n, group) = (nth / groups, nth % groups);
        let zero = image.zero as i16;
        if image.signed {
            numbers.iter_mut().zip(bytes).for_each(|(to, x)| *to = i16::from(x.cast_signed()) - zero);
        } else {
            numbers.iter_mut().zip(bytes).for_each(|(to, x)| *to = i16::from(*x) - zero);
        }
        for row in (0..sizes.out[0]).step_by(rows.max(1)) {
            let rows = rows.min(sizes.out[0] - row);
            let first = row * sizes.windows.strides[0];
            let from = if frame.bare {
                &numbers[first * (plane / sizes.input[0].max(1))..]
            } else {
                let covered = Frame::rows(sizes, rows);
                for (image, out) in numbers.chunks_exact(sizes.pixels()).zip(strip.chunks_exact_mut(plane)) {
                    frame.fill(sizes, image, first, covered, out);
                }
                &strip[..]
            };
            for column in (0..rows * inner).step_by(columns) {
                let wide = columns.min(rows * inner - column);
                let filled = wide.next_multiple_of(WIDE);
                let panels = &mut panels[..filled * taps.len() / 2];
                pack_windows(from, &starts[column..][..wide], &taps, panels);
                let sums = &mut sums[..each * wide];
                integer::sums(threads, filters.group(group), panels, (each, k, wide), sums);
                let zeros = zeros.map(|zeros| (zeros, column_sums(panels, k, wide)));
                for (i, sums) in sums.chunks_exact_mut(wide).enumerate() {
                    let filter = group * each + i;
                    if let Some((zeros, of_columns)) = &zeros {
                        let zero = zeros[if zeros.len() == 1 { 0 } else { filter }];
                        let pairs = sums.iter_mut().zip(of_columns);
                        pairs.for_each(|(sum, of)| *sum = sum.wrapping_sub(zero.wrapping_mul(*of)));
                    }
                    put(sums, filter, (n * groups * each + filter) * outputs + row * inner + column);
                }
            }
        }
    }
    Ok(())
}

/// Packs the windows that begin at `starts` as columns, two steps a word: their elements lie `taps` from there.
fn pack_windows(image: &[i16], starts: &[u32], taps: &[u32], panels: &mut [u32]) {
    let most = |of: &[u32]| of.iter().copied().max().unwrap_or(0) as usize;
    assert!(starts.is_empty() || most(starts) + most(taps) < image.len());
    let (taps, _) = taps.as_chunks::<2>();
    for (starts, panel) in starts.chunks(WIDE).zip(panels.chunks_exact_mut((taps.len() * WIDE).max(1))) {
        let columns = panel.as_chunks_mut::<WIDE>().0.iter_mut().zip(taps);
        let (first, last) = (starts[0] as usize, starts[starts.len() - 1] as usize);
        let side_by_side = starts.len() == WIDE && last - first == WIDE - 1;
        for (column, taps) in columns {
            let [a, b] = taps.map(|tap| {
                if side_by_side {
                    // SAFETY: the windows rise one by one to the last, of which every element lies in the image.
                    return unsafe {
                        image.as_ptr().add(first + tap as usize).cast::<[i16; WIDE]>().read_unaligned()
                    };
                }
                let mut all = [0; WIDE];
                for (to, &start) in all.iter_mut().zip(starts) {
                    // SAFETY: every element of every window lies in the image.
                    *to = unsafe { *image.get_unchecked(start as usize + tap as usize) };
                }
                all
            });
            *column = integer::pairs(&a, &b);
        }
    }
}

/// The sum of each window.
fn column_sums(panels: &[u32], k: usize, wide: usize) -> Vec<i32> {
    let pairs = k.div_ceil(2);
    let of = |column: usize| {
        let words = panels[column / WIDE * WIDE * pairs + column % WIDE..].iter().step_by(WIDE);
        let both = |(i, word): (usize, &u32)| {
            let second = if 2 * i + 1 < k { (*word >> 16) as u16 } else { 0 };
            i32::from((*word as u16).cast_signed()) + i32::from(second.cast_signed())
        };
        words.take(pairs).enumerate().map(both).sum()
    };
    (0..wide).map(of).collect()
}

/// Room for `n` values, all zero.
fn room<T: Clone + Default>(n: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    if n > u32::MAX as usize || values.try_reserve_exact(n).is_err() {
        return fail!(OutOfMemory, "no memory for {n} values of a convolution: use a smaller image");
    }
    values.resize(n, T::default());
    Ok(values)
}
