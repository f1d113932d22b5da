//! Matrix products of two computed tensors, in batches that broadcast. ONNX MatMul, which is numpy's.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::product_launch::ProductLaunch;
use crate::kernels::{product, strided};
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};

/// `(a [.., m, k], b [.., k, n]) → y [.., m, n]` of one dtype. A vector `a` is a row, a vector `b` a column, and
/// their dimension is not in `y`.
#[derive(Clone, Debug, PartialEq)]
pub struct Product;

/// The sizes of a product.
struct Sizes {
    m: usize,
    k: usize,
    n: usize,
    batch_a: Vec<usize>,
    batch_b: Vec<usize>,
}

impl Sizes {
    fn of(a: &[usize], b: &[usize]) -> Option<Self> {
        let (batch_a, m, k) = match a {
            [] => return None,
            [k] => (&[][..], 1, *k),
            [batch @ .., m, k] => (batch, *m, *k),
        };
        let (batch_b, k_b, n) = match b {
            [] => return None,
            [k] => (&[][..], *k, 1),
            [batch @ .., k, n] => (batch, *k, *n),
        };
        (k == k_b).then(|| Self { m, k, n, batch_a: batch_a.to_vec(), batch_b: batch_b.to_vec() })
    }
}

impl OpDef for Product {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (a, b) = (inputs.shape(0)?, inputs.shape(1)?);
        let sizes = Sizes::of(&a, &b).filter(|_| inputs.dtype(0).ok() == inputs.dtype(1).ok());
        ensure!(sizes.is_some(), ShapeMismatch, "{} and {} have no product", inputs.ty(0)?, inputs.ty(1)?);
        let Some(sizes) = sizes else { return Ok(Vec::new()) };
        let mut shape = super::broadcast_shape(&sizes.batch_a, &sizes.batch_b)?;
        if a.len() > 1 {
            shape.push(sizes.m);
        }
        if b.len() > 1 {
            shape.push(sizes.n);
        }
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (a, b, y) = (inputs[0].tensor()?, inputs[1].tensor()?, &mut outputs[0]);
        let Some(Sizes { m, k, n, batch_a, batch_b }) = Sizes::of(a.shape, b.shape) else { return Ok(()) };
        let mut batch = super::broadcast_shape(&batch_a, &batch_b)?;
        let strides = [&batch_a, &batch_b].map(|own| {
            let mut strides = strided::broadcast(own, &batch);
            strides.push(0);
            strides
        });
        // One more dimension, so that each position of the batch is a row.
        batch.push(1);
        let mut at = Vec::new();
        strided::for_each_row(&batch, [&strides[0], &strides[1]], |[i, j]| at.push((i as usize, j as usize)));
        if y.dtype == DType::F32 {
            let (a, b) = (a.data::<f32>()?, b.data::<f32>()?);
            for (y, (i, j)) in y.data::<f32>()?.chunks_exact_mut((m * n).max(1)).zip(at) {
                product::multiply(&a[i * m * k..][..m * k], &b[j * k * n..][..k * n], y, (m, k, n));
            }
            return Ok(());
        }
        let product = match (a.widen()?, b.widen()?) {
            (Wide::Ints(a), Wide::Ints(b)) => Wide::Ints(naive(&a, &b, &at, (m, k, n))),
            _ => Wide::Floats(naive(&a.to_floats()?, &b.to_floats()?, &at, (m, k, n))),
        };
        y.narrow(product)
    }

    fn work(&self, types: &Types) -> u64 {
        let k = types.input(0).ok().and_then(|a| a.last().copied()).unwrap_or(1);
        (types.n_out().unwrap_or(0) as u64).saturating_mul(k as u64)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let sizes = Sizes::of(&types.input(0)?, &types.input(1)?);
        let Some(Sizes { m, k, n, batch_a, batch_b }) = sizes.filter(|_| types.dtype(0) == Some(DType::F32)) else {
            return Lowered::not_on_gpu("no kernel multiplies matrices of this dtype");
        };
        let batch = super::broadcast_shape(&batch_a, &batch_b)?;
        let strides = |own: &[usize], matrix: usize| -> Vec<isize> {
            strided::broadcast(own, &batch).into_iter().map(|stride| stride * matrix as isize).collect()
        };
        let (of_a, of_b) = (strides(&batch_a, m * k), strides(&batch_b, k * n));
        let none = (u32::MAX, 0.0, 0.0);
        // One matrix for all of a batch is one product of more rows.
        let flat = of_b.iter().all(|stride| *stride == 0) && batch_a == batch;
        let launch = match flat {
            true => ProductLaunch {
                sizes: [m * batch.iter().product::<usize>(), k, n],
                batch: (&[], [&[], &[]]),
                transposed: false,
                added: [false; 2],
                function: none,
            },
            false => ProductLaunch {
                sizes: [m, k, n],
                batch: (&batch, [&of_a, &of_b]),
                transposed: false,
                added: [false; 2],
                function: none,
            },
        };
        match launch.dispatch()? {
            Some(dispatch) => Lowered::one(dispatch),
            None => Lowered::not_on_gpu("no kernel has batches of so many dimensions"),
        }
    }
}

fn naive<T>(a: &[T], b: &[T], at: &[(usize, usize)], (m, k, n): (usize, usize, usize)) -> Vec<T>
where
    T: Copy + std::ops::Mul<Output = T> + std::iter::Sum,
{
    let mut y = Vec::with_capacity(at.len() * m * n);
    for &(i, j) in at {
        let (a, b) = (&a[i * m * k..], &b[j * k * n..]);
        for (row, column) in (0..m * n).map(|i| (i / n, i % n)) {
            y.push((0..k).map(|x| a[row * k + x] * b[x * n + column]).sum());
        }
    }
    y
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    /// Of batches that are equal, or of which one is missing.
    fn reference_product(a: &Array, b: &Array, shape: &[usize]) -> Array {
        let k = *a.shape.last().expect("a matrix");
        let own = |x: &Array, index: &[usize], row: usize, column: usize| {
            let batch = index[..index.len() - 2].iter().copied();
            let batch: Vec<usize> = batch.skip(index.len() - x.shape.len()).collect();
            x.at(&[&batch[..], &[row, column]].concat())
        };
        let of = |index: Vec<usize>| {
            let (row, column) = (index[index.len() - 2], index[index.len() - 1]);
            (0..k).map(|i| own(a, &index, row, i) * own(b, &index, i, column)).sum()
        };
        Array::new(shape, indices(shape).map(of).collect())
    }

    pub fn cases() -> Vec<Case> {
        let case = |a: &[usize], b: &[usize], shape: &'static [usize]| {
            let inputs = vec![Given::noise(a, 1), Given::noise(b, 2)];
            Case::new(format!("{a:?} by {b:?}"), Product, inputs, Tolerance::of(1e-6), |x| {
                vec![reference_product(x[0].as_ref().expect("a"), x[1].as_ref().expect("b"), shape)]
            })
        };
        vec![
            case(&[3, 5], &[5, 7], &[3, 7]),
            case(&[2, 9, 33], &[2, 33, 17], &[2, 9, 17]),
            case(&[2, 2, 4, 8], &[8, 5], &[2, 2, 4, 5]),
            case(&[1, 65], &[65, 70], &[1, 70]),
        ]
    }
}
