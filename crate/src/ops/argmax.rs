//! The index of the largest element of each row, the lowest one on a tie. ONNX ArgMax on the last axis.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::kernels::math;
use crate::kernels::simd::Best as S;
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `f32 [.., n] → i32 [..]`. NaN is never the largest.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgMax;

impl OpDef for ArgMax {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        expect_dtype(x, DType::F32, "the input of argmax")?;
        ensure!(x.shape.rank() > 0, ShapeMismatch, "argmax wants at least one dimension");
        Ok(vec![TensorType::new(DType::I32, Shape(x.shape.0[..x.shape.rank() - 1].to_vec()))])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let (_, columns) = x.as_rows();
        let rows = x.data::<f32>()?.chunks_exact(columns.max(1));
        outputs[0].data::<i32>()?.iter_mut().zip(rows).for_each(|(y, row)| *y = argmax_row(row) as i32);
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        let columns = x.last().copied().unwrap_or(1);
        let rows = x.iter().product::<usize>() / columns.max(1);
        let params = Params { columns: columns as u32 }.bytes();
        Lowered::one(Dispatch::new("argmax", &[], vec![(0, Input(0)), (1, Output(0))], params, [rows, 1, 1])?)
    }
}

params!("argmax": columns: u32);

/// Elements whose largest is found four at a time before where it is.
const BLOCK: usize = 1024;

/// Where the first of the largest elements is; 0 where none is above minus infinity.
fn argmax_row(row: &[f32]) -> usize {
    let (mut start, mut best) = (0, f32::NEG_INFINITY);
    for (i, block) in row.chunks(BLOCK).enumerate() {
        let largest = math::largest::<S>(block);
        if largest > best {
            (start, best) = (i * BLOCK, largest);
        }
    }
    let found = row[start..].iter().position(|&x| x == best);
    if best == f32::NEG_INFINITY { 0 } else { found.map_or(0, |i| start + i) }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_argmax(x: &Array) -> Array {
        let best = x.rows().map(|row| {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter().position(|&v| v == largest).map_or(0.0, |i| i as f64)
        });
        Array::new(&x.shape[..x.shape.len() - 1], best.collect())
    }

    pub fn cases() -> Vec<Case> {
        let reference = |x: &[Option<Array>]| vec![reference_argmax(x[0].as_ref().expect("an input"))];
        let ties = Given::fed(&[2, 5], &[0.0f32, 3.0, 3.0, -1.0, 3.0, -2.0, -2.0, -3.0, -2.0, -9.0]);
        let mut cases = vec![Case::new("ties", ArgMax, vec![ties], Tolerance::of(0.0), reference)];
        for shape in [&[1, 1][..], &[3, 255], &[1, 1000], &[2, 3, 300], &[2, 5000]] {
            let x = vec![Given::noise(shape, 3)];
            cases.push(Case::new(format!("{shape:?}"), ArgMax, x, Tolerance::of(0.0), reference));
        }
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::argmax_row;

    #[test]
    fn the_lowest_index_wins_a_tie_and_nan_never_does() {
        assert_eq!(argmax_row(&[1.0, 3.0, f32::NAN, 3.0]), 1);
        assert_eq!(argmax_row(&[f32::NEG_INFINITY; 4]), 0);
        assert_eq!(argmax_row(&[f32::NAN, f32::NEG_INFINITY]), 0);
        let mut many = vec![f32::NAN; 5000];
        for at in [4321, 2050, 2049] {
            (many[at], many[at - 2000]) = (0.5, -1.0);
            assert_eq!(argmax_row(&many), at);
        }
    }
}
