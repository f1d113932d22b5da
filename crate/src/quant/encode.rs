//! Levels with scales and zeros of their own as blocks of a format, where one holds them: `w = scale · (level - zero)`.

use crate::types::BlockFormat;

/// Unsigned levels of 4 or 8 bits, row by row, with what they stand for.
pub struct Levels<'a> {
    /// Bits of a level.
    pub bits: usize,
    /// Rows and columns.
    pub size: (usize, usize),
    /// How many neighbours of a row share a scale and a zero.
    pub block: usize,
    /// The level of a row and column.
    pub level: &'a dyn Fn(usize, usize) -> u8,
    /// The scale of each block, row by row.
    pub scales: &'a [f64],
    /// The zero of each block; none for half of the range.
    pub zeros: Option<&'a [f64]>,
}

impl Levels<'_> {
    fn half(&self) -> f64 {
        f64::from(1u32 << (self.bits.clamp(1, 16) - 1))
    }

    /// The zero of a block.
    fn zero(&self, block: usize) -> f64 {
        self.zeros.map_or(self.half(), |zeros| zeros[block])
    }

    /// The value of a row and column.
    pub fn value(&self, row: usize, column: usize) -> f32 {
        let block = row * self.size.1.div_ceil(self.block) + column / self.block;
        ((f64::from((self.level)(row, column)) - self.zero(block)) * self.scales[block]) as f32
    }

    /// The same in a format of blocks, whose scales and mins are f16: none where rows are not whole blocks of 32, where the
    /// zeros of 8 bits differ, or where f16 does not hold a scale.
    pub fn blocks(&self) -> Option<(BlockFormat, Vec<u8>)> {
        let (rows, columns) = self.size;
        if !self.block.is_multiple_of(32) || !columns.is_multiple_of(32) || columns == 0 {
            return None;
        }
        let each = columns.div_ceil(self.block);
        let of_half = (0..self.scales.len()).all(|i| self.zero(i) == self.half());
        let format = match (self.bits, of_half) {
            (4, true) => BlockFormat::Q4_0,
            (4, false) => BlockFormat::Q4_1,
            (8, true) => BlockFormat::Q8_0,
            _ => return None,
        };
        // Below the normal numbers of f16, and above all of them, too little is left of a scale.
        let held = |x: f64| x == 0.0 || (6.2e-5..6.5e4).contains(&x.abs());
        let holds =
            |i: usize| held(self.scales[i]) && (of_half || (self.scales[i] * self.zero(i)).abs() < 6.5e4);
        if !(0..self.scales.len()).all(holds) {
            return None;
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(rows.checked_mul(columns / 32)?.checked_mul(format.block_bytes())?).ok()?;
        for (row, at) in (0..rows).flat_map(|row| (0..columns).step_by(32).map(move |at| (row, at))) {
            let block = row * each + at / self.block;
            let scale = self.scales[block];
            bytes.extend(half::f16::from_f64(scale).to_le_bytes());
            let level = |i: usize| (self.level)(row, at + i);
            if self.bits == 8 {
                bytes.extend((0..32).map(|i| level(i) ^ 128));
                continue;
            }
            if format == BlockFormat::Q4_1 {
                bytes.extend(half::f16::from_f64(-scale * self.zero(block)).to_le_bytes());
            }
            bytes.extend((0..16).map(|i| level(i) & 15 | level(i + 16) << 4));
        }
        Some((format, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::decode_row;

    #[test]
    fn blocks_hold_what_levels_stand_for() {
        let scales: Vec<f64> = (1..=9).map(|i| f64::from(i) / 64.0).collect();
        let zeros: Vec<f64> = (0..9).map(f64::from).collect();
        let level = |row: usize, column: usize| (row * 31 + column * 7) as u8;
        for (bits, zeros) in [(4, None), (4, Some(&zeros[..])), (8, None)] {
            let level = |row: usize, column: usize| level(row, column) & (255 >> (8 - bits)) as u8;
            let all = Levels { bits, size: (3, 160), block: 64, level: &level, scales: &scales, zeros };
            let (format, bytes) = all.blocks().unwrap();
            let mut values = vec![0.0; 480];
            decode_row(format, &bytes, &mut values);
            for (i, x) in values.iter().enumerate() {
                assert_eq!(*x, all.value(i / 160, i % 160), "{format:?} {i}");
            }
            assert!(Levels { block: 16, ..all }.blocks().is_none());
        }
        let zeros = [3.0; 9];
        let all = Levels {
            bits: 8,
            size: (3, 160),
            block: 64,
            level: &level,
            scales: &scales,
            zeros: Some(&zeros),
        };
        assert!(all.blocks().is_none());
    }
}
