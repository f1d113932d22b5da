//! The layout of packed weights.
//!
//! Eight rows make a *panel*; along k a panel is a run of *blocks* of 32 columns. A quantised block is
//!
//! ```text
//! scales  [groups][8]          one per group of 32 or 16 columns and row: f32, or 16 bits (see `factors`)
//! mins    [groups][8]          likewise, only where the format has no constant offset
//! levels  8 bits: [8][2][16] bytes   step g, quad of rows q: byte 4r+j holds row 4q+r, column 4g+j
//!         fewer:  [4][2][16] bytes   step p, quad q: byte 4r+j holds, for row 4q+r, the level of column 4p+j in its low bits
//!                                    and in the others as many low bits of column 16+4p+j. The rest of the latter is behind:
//!         5 bits: [2][16] bytes      quad q: byte 4r+j holds two bits for each p, in bits 2p and 2p+1
//!         6 bits: [2][2][16] bytes   half h, quad q: byte 4r+j holds four bits for p = 2h, and for p = 2h + 1 above them
//! ```
//!
//! so that a product reads the weights once, front to back. A float panel is `[k][8]` f32.

use super::factors;
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::quant::{AffineBlock, AffineLayout, codec};
use crate::tensor::TensorView;
use crate::types::DType;

/// Rows of a panel.
pub const ROWS: usize = 8;
/// Columns of a block.
pub const BLOCK: usize = 32;

/// How the panels of a matrix are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// f32, `[k][8]`.
    Float,
    /// Levels, scales and perhaps mins.
    Affine(AffineLayout),
}

impl Layout {
    /// Groups of a block of 32.
    pub fn groups(affine: AffineLayout) -> usize {
        BLOCK / usize::from(affine.group).max(1)
    }

    /// Sixteen-byte units of scales and mins in a block of a panel.
    fn factor_units(affine: AffineLayout) -> usize {
        let factors = Self::groups(affine) * ROWS * if affine.offset.is_some() { 1 } else { 2 };
        factors / if affine.half_factors { 8 } else { 4 }
    }

    /// Sixteen-byte units of a block of a panel.
    fn block_units(self) -> usize {
        match self {
            Self::Float => BLOCK * ROWS * 4 / 16,
            Self::Affine(affine) => Self::factor_units(affine) + level_units(affine.bits),
        }
    }
}

/// A weight `[n, k]` in panels of eight rows.
pub struct PackedMatrix {
    n: usize,
    k: usize,
    pub(super) layout: Layout,
    /// Units of one panel.
    panel_units: usize,
    units: Vec<u128>,
}

impl PackedMatrix {
    /// Room for a weight of `n` rows and `k` columns that the file stores as `dtype`. Fails when the dtype is
    /// no float, `k` is not a whole number of blocks, or memory does not suffice.
    pub fn new(dtype: DType, n: usize, k: usize) -> Result<Self> {
        let layout = match dtype {
            DType::Block(format) => Layout::Affine(codec(format).affine_layout),
            DType::F32 | DType::F16 | DType::BF16 => Layout::Float,
            other => return fail!(UnsupportedFormat, "a weight of {other} cannot be multiplied with"),
        };
        ensure!(
            k.is_multiple_of(dtype.block_len()),
            Format,
            "rows of {k} values are not whole blocks of {dtype}"
        );
        let panel_units = match layout {
            Layout::Float => k * ROWS * 4 / 16,
            Layout::Affine(_) => k / BLOCK * layout.block_units(),
        };
        let total = n.div_ceil(ROWS).checked_mul(panel_units);
        let mut units = Vec::new();
        let reserved = total.is_some_and(|total| units.try_reserve_exact(total).is_ok());
        let Some(total) = total.filter(|_| reserved) else {
            return fail!(OutOfMemory, "no memory for a weight of {n} by {k} {dtype}: use a smaller model");
        };
        units.resize(total, 0);
        Ok(Self { n, k, layout, panel_units, units })
    }

    /// A matrix `[n, k]`, packed.
    pub fn of(tensor: TensorView) -> Result<Self> {
        let &[n, k] = tensor.shape else {
            return fail!(ShapeMismatch, "a weight {:?} is no matrix", tensor.shape);
        };
        let mut matrix = Self::new(tensor.dtype, n, k)?;
        Packer::new(tensor.dtype, k).push(&mut matrix, tensor.bytes)?;
        Ok(matrix)
    }

    /// Rows: the columns of a product.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Columns: the length of each dot product.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Panels.
    pub fn n_panels(&self) -> usize {
        self.n.div_ceil(ROWS)
    }

    /// Bytes of the packed data.
    pub fn memory_bytes(&self) -> usize {
        self.units.len() * 16
    }

    /// The units of one panel.
    pub(super) fn panel(&self, panel: usize) -> &[u128] {
        &self.units[panel * self.panel_units..][..self.panel_units]
    }

    /// The units of all panels.
    pub(super) fn all_panels(&self) -> &[u128] {
        &self.units
    }

    /// Decodes row `row` (below `n`) into `out`, which has `k` values.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        let panel = self.panel(row / ROWS);
        match self.layout {
            Layout::Float => {
                let panel: &[f32] = bytemuck::cast_slice(panel);
                out.iter_mut().zip(panel.chunks_exact(ROWS)).for_each(|(x, rows)| *x = rows[row % ROWS]);
            }
            Layout::Affine(affine) => {
                let mut decoded = [0.0; BLOCK * ROWS];
                for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
                    self.decode_block(affine, panel, block, &mut decoded);
                    let (columns, _) = decoded.as_chunks::<ROWS>();
                    out.iter_mut().zip(columns).for_each(|(x, rows)| *x = rows[row % ROWS]);
                }
            }
        }
    }

    /// Decodes block `block` of a quantised panel to f32 `[32][8]`.
    pub(super) fn decode_block(&self, affine: AffineLayout, panel: &[u128], block: usize, out: &mut [f32]) {
        let units = self.layout.block_units();
        let (factors, levels) = panel[block * units..][..units].split_at(Layout::factor_units(affine));
        let factors_of = |group: usize| -> [f32; ROWS] {
            let at = group * ROWS;
            std::array::from_fn(|row| match affine.half_factors {
                true => factors::from_half(bytemuck::cast_slice(factors)[at + row]),
                false => bytemuck::cast_slice(factors)[at + row],
            })
        };
        let (words, _) = bytemuck::cast_slice(levels).as_chunks();
        let groups = Layout::groups(affine);
        let (out, _) = out.as_chunks_mut::<ROWS>();
        for (group, out) in out.chunks_exact_mut(BLOCK / groups).enumerate() {
            let scales = factors_of(group);
            let (offset, mins) = match affine.offset {
                Some(offset) => (f32::from(offset), [0.0; ROWS]),
                None => (0.0, factors_of(groups + group)),
            };
            for (step, out) in out.chunks_exact_mut(4).enumerate() {
                let fours = fours(affine.bits, words, group * BLOCK / groups / 4 + step);
                for (column, out) in out.iter_mut().enumerate() {
                    for row in 0..ROWS {
                        let level = (fours[row] >> (8 * column) & 255) as f32;
                        out[row] = scales[row] * (level - offset) + mins[row];
                    }
                }
            }
        }
    }

    /// Writes one row of the file's bytes. Fails when it needs more memory than there is.
    fn write_row(&mut self, dtype: DType, row: usize, bytes: &[u8]) -> Result<()> {
        if !self.try_row(dtype, row, bytes) {
            self.widen_factors()?;
            self.try_row(dtype, row, bytes);
        }
        Ok(())
    }

    /// Makes room for scales and mins that 16 bits do not hold.
    fn widen_factors(&mut self) -> Result<()> {
        let Layout::Affine(mut affine) = self.layout else { return Ok(()) };
        let narrow = Layout::factor_units(affine);
        let source_units = self.layout.block_units();
        affine.half_factors = false;
        let layout = Layout::Affine(affine);
        let (wide, block_units) = (Layout::factor_units(affine), layout.block_units());
        let blocks = self.units.len() / source_units;
        let mut units = Vec::new();
        if units.try_reserve_exact(blocks * block_units).is_err() {
            return fail!(OutOfMemory, "no memory for the f32 scales of a weight: use a smaller model");
        }
        units.resize(blocks * block_units, 0u128);
        for (from, to) in self.units.chunks_exact(source_units).zip(units.chunks_exact_mut(block_units)) {
            let halves: &[u16] = bytemuck::cast_slice(&from[..narrow]);
            let floats: &mut [f32] = bytemuck::cast_slice_mut(&mut to[..wide]);
            floats.iter_mut().zip(halves).for_each(|(to, from)| *to = factors::from_half(*from));
            to[wide..].copy_from_slice(&from[narrow..]);
        }
        self.panel_units = self.panel_units / source_units * block_units;
        (self.layout, self.units) = (layout, units);
        Ok(())
    }

    /// Writes one row of the file's bytes; whether its scales and mins fit.
    fn try_row(&mut self, dtype: DType, row: usize, bytes: &[u8]) -> bool {
        let start = row / ROWS * self.panel_units;
        let panel = &mut self.units[start..start + self.panel_units];
        let row = row % ROWS;
        if let (DType::Block(format), Layout::Affine(affine)) = (dtype, self.layout) {
            let codec = codec(format);
            let mut decoded = AffineBlock::default();
            let units = self.layout.block_units();
            let blocks_each = format.block_len() / BLOCK;
            let targets = panel.chunks_exact_mut(units * blocks_each);
            for (source, target) in bytes.chunks_exact(format.block_bytes()).zip(targets) {
                (codec.affine)(source, &mut decoded);
                for (i, target) in target.chunks_exact_mut(units).enumerate() {
                    if !write_block_row(affine, &decoded, i, row, target) {
                        return false;
                    }
                }
            }
            return true;
        }
        let panel: &mut [f32] = bytemuck::cast_slice_mut(panel);
        let columns = panel.chunks_exact_mut(ROWS).map(|rows| &mut rows[row]);
        match dtype {
            DType::F16 => columns.zip(bytes.chunks_exact(2)).for_each(|(to, from)| {
                *to = half::f16::from_le_bytes([from[0], from[1]]).to_f32();
            }),
            DType::BF16 => columns.zip(bytes.chunks_exact(2)).for_each(|(to, from)| {
                *to = half::bf16::from_le_bytes([from[0], from[1]]).to_f32();
            }),
            _ => columns.zip(bytes.chunks_exact(4)).for_each(|(to, from)| {
                *to = f32::from_le_bytes([from[0], from[1], from[2], from[3]]);
            }),
        }
        true
    }
}

/// Sixteen-byte units of the levels in a block of a panel.
pub const fn level_units(bits: u8) -> usize {
    match bits {
        4..=6 => bits as usize * 2,
        _ => 16,
    }
}

/// Bits of the second of two levels that do not fit into a byte with the first.
pub const fn rest_bits(bits: u8) -> usize {
    (2 * bits as usize).saturating_sub(8)
}

/// The lowest `bits` bits of each byte of a word.
fn each(bits: usize) -> u32 {
    0x0101_0101 * ((1 << bits) - 1)
}

/// The levels of step `step`, columns `4 step` to `4 step + 3`, of a block: a word for each row and a byte for each column.
fn fours(bits: u8, words: &[[u32; ROWS]], step: usize) -> [u32; ROWS] {
    if level_units(bits) == 16 {
        return words[step];
    }
    let (both, bits, rest_bits) = (&words[step % 4], usize::from(bits), rest_bits(bits));
    if step < 4 {
        return both.map(|both| both & each(bits));
    }
    let low = both.map(|both| both >> bits & each(8 - bits));
    if rest_bits == 0 {
        return low;
    }
    let at = (step - 4) * rest_bits;
    let rest = &words[4 + at / 8];
    std::array::from_fn(|row| low[row] | (rest[row] >> (at % 8) & each(rest_bits)) << (8 - bits))
}

/// Whether scales and mins fit.
fn write_block_row(
    affine: AffineLayout,
    source: &AffineBlock,
    index: usize,
    row: usize,
    target: &mut [u128],
) -> bool {
    let groups = Layout::groups(affine);
    let (factors, levels) = target.split_at_mut(Layout::factor_units(affine));
    let scales = source.scales[index * groups..][..groups].iter();
    let mins = source.mins[index * groups..][..if affine.offset.is_none() { groups } else { 0 }].iter();
    for (at, factor) in scales.chain(mins).enumerate() {
        let at = at * ROWS + row;
        if !affine.half_factors {
            bytemuck::cast_slice_mut::<_, f32>(factors)[at] = *factor;
            continue;
        }
        let Some(half) = factors::to_half(*factor) else { return false };
        bytemuck::cast_slice_mut::<_, u16>(factors)[at] = half;
    }
    let words: &mut [u32] = bytemuck::cast_slice_mut(levels);
    let (fours, _) = source.levels[index * BLOCK..][..BLOCK].as_chunks::<4>();
    let fours: [u32; BLOCK / 4] = std::array::from_fn(|i| u32::from_ne_bytes(fours[i]));
    let mut words = words.iter_mut().skip(row).step_by(ROWS);
    let mut put = |four: u32| words.next().into_iter().for_each(|word| *word = four);
    if level_units(affine.bits) == 16 {
        fours.into_iter().for_each(put);
        return true;
    }
    let bits = usize::from(affine.bits);
    (0..4).for_each(|step| put(fours[step] | (fours[step + 4] & each(8 - bits)) << bits));
    let rest_bits = rest_bits(affine.bits);
    let rest = |step: usize| (fours[step] >> (8 - bits)) & each(rest_bits);
    let steps = 8 / rest_bits.max(1);
    for first in (4..8).step_by(steps).filter(|_| rest_bits > 0) {
        put((0..steps).fold(0, |byte, step| byte | rest(first + step) << (step * rest_bits)));
    }
    true
}

/// Takes the bytes of a weight in file order, in chunks of any size, and packs each row as it completes. It
/// keeps at most one row.
pub struct Packer {
    dtype: DType,
    row_bytes: usize,
    next_row: usize,
    partial: Vec<u8>,
}

impl Packer {
    /// A packer of rows of `k` values stored as `dtype`.
    pub fn new(dtype: DType, k: usize) -> Self {
        let row_bytes = dtype.bytes_for(k).unwrap_or(0).max(1);
        Self { dtype, row_bytes, next_row: 0, partial: Vec::new() }
    }

    /// What is pushed next belongs to row `row` and those after it.
    pub fn start(&mut self, row: usize) {
        self.next_row = row;
        self.partial.clear();
    }

    /// Packs the next bytes into `target`. Fails when they run past its last row.
    pub fn push(&mut self, target: &mut PackedMatrix, mut bytes: &[u8]) -> Result<()> {
        let excess = || Error::new(ErrorKind::Format, "a tensor has more bytes than its shape");
        if !self.partial.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(self.row_bytes - self.partial.len()));
            self.partial.extend_from_slice(head);
            bytes = rest;
            if self.partial.len() < self.row_bytes {
                return Ok(());
            }
            ensure!(self.next_row < target.n, Format, "{}", excess().message());
            target.write_row(self.dtype, self.next_row, &self.partial)?;
            self.next_row += 1;
            self.partial.clear();
        }
        let rows = bytes.chunks_exact(self.row_bytes);
        self.partial.extend_from_slice(rows.remainder());
        for row in rows {
            if self.next_row >= target.n {
                return Err(excess());
            }
            target.write_row(self.dtype, self.next_row, row)?;
            self.next_row += 1;
        }
        Ok(())
    }
}
