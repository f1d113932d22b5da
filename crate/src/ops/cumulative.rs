//! Sums or products of all elements before, along one dimension. ONNX CumSum and CumProd.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, MAX_LINE, Operand, params, spread};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, TensorType};

/// `(x, axis integer []) → y` like `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cumulative {
    /// Whether elements are multiplied, or added.
    pub product: bool,
    /// Whether an element is left out of its own result.
    pub exclusive: bool,
    /// Whether it goes from the end.
    pub reverse: bool,
}

impl OpDef for Cumulative {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        inputs.ty(1)?;
        Ok(vec![inputs.ty(0)?.clone()])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, axis) = (inputs[0].tensor()?, inputs[1].tensor()?.to_ints()?);
        let axis = super::axis_of(axis.first().copied().unwrap_or(0), x.shape.len())?;
        let (n, inner) = (x.shape[axis], x.shape[axis + 1..].iter().product::<usize>());
        let values = match x.widen()? {
            Wide::Floats(x) => Wide::Floats(self.over(
                x,
                n,
                inner,
                |a, b| if self.product { a * b } else { a + b },
                if self.product { 1.0 } else { 0.0 },
            )),
            Wide::Ints(x) => Wide::Ints(self.over(
                x,
                n,
                inner,
                |a, b| if self.product { a.wrapping_mul(b) } else { a + b },
                i128::from(self.product),
            )),
        };
        outputs[0].narrow(values)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        let features: &[&str] = match types.dtype(0) {
            Some(DType::F32) => &[],
            Some(DType::I32) => &["int"],
            _ => return Lowered::not_on_gpu("no kernel sums elements of this dtype"),
        };
        let Some(axis) = types.ints(1)? else {
            return Lowered::not_on_gpu("along which dimension is known only while it runs");
        };
        let axis = super::axis_of(axis.first().copied().unwrap_or(0), x.len())?;
        if x[axis] > MAX_LINE {
            return Lowered::too_long(x[axis]);
        }
        let n = x.iter().product::<usize>() / x[axis].max(1);
        let params = Params {
            n: n as u32,
            count: x[axis] as u32,
            inner: x[axis + 1..].iter().product::<usize>() as u32,
            product: self.product.into(),
            exclusive: self.exclusive.into(),
            reverse: self.reverse.into(),
        };
        let bindings = vec![(0, Operand::Input(0)), (1, Operand::Output(0))];
        if x[axis] < 64 {
            return Lowered::one(Dispatch::of_each("cumulative", features, bindings, params.bytes(), n)?);
        }
        let features = [features, &["line"]].concat();
        let (x, z) = spread(n);
        Lowered::one(Dispatch::new("cumulative", &features, bindings, params.bytes(), [x, 1, z])?)
    }
}

impl Cumulative {
    fn over<T: Copy>(
        &self,
        mut values: Vec<T>,
        n: usize,
        inner: usize,
        join: impl Fn(T, T) -> T,
        none: T,
    ) -> Vec<T> {
        for block in values.chunks_exact_mut((n * inner).max(1)) {
            for column in 0..inner {
                let mut so_far = none;
                for i in 0..n {
                    let at = if self.reverse { n - 1 - i } else { i } * inner + column;
                    let joined = join(so_far, block[at]);
                    block[at] = if self.exclusive { so_far } else { joined };
                    so_far = joined;
                }
            }
        }
        values
    }
}

params!("cumulative": n: u32, count: u32, inner: u32, product: u32, exclusive: u32, reverse: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |product: bool, exclusive: bool, reverse: bool, want: &'static [f64]| {
            let inputs = vec![Given::fed(&[2, 3], &[1i32, 2, 3, 4, 5, 6]), Given::known(&[], &[1i64])];
            let op = Cumulative { product, exclusive, reverse };
            Case::new(format!("{op:?}"), op, inputs, Tolerance::of(0.0), |_| {
                vec![Array::new(&[2, 3], want.to_vec())]
            })
        };
        let floats = |n: usize| {
            let op = Cumulative { product: false, exclusive: true, reverse: false };
            let inputs = vec![Given::noise(&[2, n, 3], 1), Given::known(&[], &[-2i64])];
            Case::new(format!("{n} floats"), op, inputs, Tolerance::of(2e-6), |x| {
                let x = x[0].as_ref().expect("an input");
                let of = |i: Vec<usize>| (0..i[1]).map(|j| x.at(&[i[0], j, i[2]])).sum();
                vec![Array::new(&x.shape, crate::ops::case::indices(&x.shape).map(of).collect())]
            })
        };
        let op = Cumulative { product: false, exclusive: false, reverse: true };
        let whole: Vec<i32> = (0..2 * 131).map(|i| i * 37 % 101 - 50).collect();
        let inputs = vec![Given::fed(&[2, 131], &whole), Given::known(&[], &[1i64])];
        let whole = Case::new("of a line of integers", op, inputs, Tolerance::of(0.0), |x| {
            let x = x[0].as_ref().expect("an input");
            let of = |i: Vec<usize>| (i[1]..131).map(|j| x.at(&[i[0], j])).sum();
            vec![Array::new(&x.shape, crate::ops::case::indices(&x.shape).map(of).collect())]
        });
        let op = Cumulative { product: true, exclusive: true, reverse: false };
        let factors: Vec<f32> = (0..150).map(|i| 1.0 + 0.01 * (i % 7) as f32 - 0.03).collect();
        let inputs = vec![Given::fed(&[150], &factors), Given::known(&[], &[0i64])];
        let products = Case::new("products of a line", op, inputs, Tolerance::of(1e-5), |x| {
            let x = x[0].as_ref().expect("an input");
            let of = |i: usize| x.values[..i].iter().product();
            vec![Array::new(&x.shape, (0..150).map(of).collect())]
        });
        vec![
            whole,
            products,
            floats(7),
            floats(70),
            case(false, false, false, &[1.0, 3.0, 6.0, 4.0, 9.0, 15.0]),
            case(false, true, true, &[5.0, 3.0, 0.0, 11.0, 6.0, 0.0]),
            case(true, false, false, &[1.0, 2.0, 6.0, 4.0, 20.0, 120.0]),
        ]
    }
}
