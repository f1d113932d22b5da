//! The largest elements of each row with their indices, the largest first and of equal ones the lowest index
//! first. ONNX TopK on the last axis. NaN counts as the least.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_dtype};
use crate::error::{Result, ensure, fail};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Dim, Shape, TensorType};

/// `f32 [.., n] → (values f32 [.., k], indices i32 [.., k])`.
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    /// How many, 1 to `n`.
    pub k: usize,
}

/// The most that the GPU finds, and the longest rows it finds them in.
const MAX_GPU: (usize, usize) = (256, 1 << 24);

impl OpDef for TopK {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        expect_dtype(x, DType::F32, "the input of a top-k")?;
        let columns = x.shape.0.last().and_then(Dim::known);
        ensure!(
            columns.is_some_and(|n| (1..=n).contains(&self.k)),
            ShapeMismatch,
            "the {} largest of the rows of {x} were asked for",
            self.k
        );
        let mut shape = x.shape.0.clone();
        shape.pop();
        shape.push(self.k.into());
        Ok(vec![TensorType::f32(Shape(shape.clone())), TensorType::new(DType::I32, Shape(shape))])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let [values, indices] = outputs else { return fail!(Internal, "two outputs are wanted") };
        let x = inputs[0].tensor()?;
        let (_, columns) = x.as_rows();
        let rows = x.data::<f32>()?.chunks_exact(columns.max(1));
        let values = values.data::<f32>()?.chunks_exact_mut(self.k);
        let indices = indices.data::<i32>()?.chunks_exact_mut(self.k);
        for ((row, values), indices) in rows.zip(values).zip(indices) {
            for ((value, index), best) in values.iter_mut().zip(indices).zip(top_k_row(row, self.k)) {
                (*value, *index) = (row[best as usize], best as i32);
            }
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        let columns = x.last().copied().unwrap_or(1);
        if self.k > MAX_GPU.0 || columns > MAX_GPU.1 {
            return Lowered::not_on_gpu(format!("the {} largest of {columns} are too many", self.k));
        }
        let rows = x.iter().product::<usize>() / columns.max(1);
        let params = Params { columns: columns as u32, k: self.k as u32 }.bytes();
        let bindings = vec![(0, Input(0)), (1, Output(0)), (2, Output(1))];
        Lowered::one(Dispatch::new("top_k", &[], bindings, params, [rows, 1, 1])?)
    }
}

params!("top_k": columns: u32, k: u32);

/// The indices of the `k` largest, in order.
fn top_k_row(row: &[f32], k: usize) -> Vec<u32> {
    // The NaN that has all bits set is less than everything.
    let value = |i: u32| Some(row[i as usize]).filter(|x| !x.is_nan()).unwrap_or(f32::from_bits(u32::MAX));
    let better = |a: &u32, b: &u32| value(*b).total_cmp(&value(*a)).then(a.cmp(b));
    let mut indices: Vec<u32> = (0..row.len() as u32).collect();
    if k < indices.len() {
        indices.select_nth_unstable_by(k, better);
        indices.truncate(k);
    }
    indices.sort_unstable_by(better);
    indices
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_top_k(x: &Array, k: usize) -> Vec<Array> {
        let (mut values, mut indices) = (Vec::new(), Vec::new());
        for row in x.rows() {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            values.extend(order[..k].iter().map(|&i| row[i]));
            indices.extend(order[..k].iter().map(|&i| i as f64));
        }
        let shape = [&x.shape[..x.shape.len() - 1], &[k]].concat();
        vec![Array::new(&shape, values), Array::new(&shape, indices)]
    }

    pub fn cases() -> Vec<Case> {
        let case = |name: String, k, x: Given| {
            let reference = |x: &[Option<Array>]| reference_top_k(x[0].as_ref().expect("an input"), k);
            Case::new(name, TopK { k }, vec![x], Tolerance::of(0.0), reference)
        };
        let ties: Vec<f32> = (0..600).map(|i| (i * 7 % 5) as f32 - 2.0).collect();
        let mut cases = vec![case("ties".into(), 130, Given::fed(&[2, 300], &ties))];
        for (shape, k) in [(&[1, 1][..], 1), (&[3, 255], 255), (&[1, 1000], 128), (&[2, 3, 300], 1)] {
            cases.push(case(format!("{k} of {shape:?}"), k, Given::noise(shape, 4)));
        }
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::top_k_row;

    #[test]
    fn the_lowest_index_comes_first_of_equals_and_nan_last() {
        let row = [1.0, 3.0, f32::NAN, 3.0, -1.0];
        assert_eq!(top_k_row(&row, 2), [1, 3]);
        assert_eq!(top_k_row(&row, 5), [1, 3, 0, 4, 2]);
        assert_eq!(top_k_row(&[7.0; 9], 3), [0, 1, 2]);
    }
}
