//! Matrix products of two computed tensors, in batches that broadcast. ONNX MatMul, which is numpy's.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::product::{Matrix, Multiplier};
use crate::kernels::product_launch::ProductLaunch;
use crate::kernels::strided;
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};

/// `(a [.., m, k], b [.., k, n]) → y [.., m, n]` of one dtype. A vector `a` is a row, a vector `b` a column, and
/// their dimension is not in `y`.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Whether the last two dimensions of `a` and `b` are exchanged first: `a [.., k, m]`, `b [.., n, k]`. Vectors have
    /// none.
    pub transposed: [bool; 2],
    /// What the product is multiplied by.
    pub scale: f32,
}

impl Default for Product {
    /// As the operands come.
    fn default() -> Self {
        Self { transposed: [false; 2], scale: 1.0 }
    }
}

/// The sizes of a product.
struct Sizes {
    m: usize,
    k: usize,
    n: usize,
    batch_a: Vec<usize>,
    batch_b: Vec<usize>,
}

impl Product {
    fn sizes(&self, a: &[usize], b: &[usize]) -> Option<Sizes> {
        let ordered = |transposed: bool, rows: usize, columns: usize| {
            if transposed { (columns, rows) } else { (rows, columns) }
        };
        let (batch_a, (m, k)) = match a {
            [] => return None,
            [k] => (&[][..], (1, *k)),
            [batch @ .., rows, columns] => (batch, ordered(self.transposed[0], *rows, *columns)),
        };
        let (batch_b, (k_b, n)) = match b {
            [] => return None,
            [k] => (&[][..], (*k, 1)),
            [batch @ .., rows, columns] => (batch, ordered(self.transposed[1], *rows, *columns)),
        };
        (k == k_b).then(|| Sizes { m, k, n, batch_a: batch_a.to_vec(), batch_b: batch_b.to_vec() })
    }
}

impl OpDef for Product {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (a, b) = (inputs.shape(0)?, inputs.shape(1)?);
        let sizes = self.sizes(&a, &b).filter(|_| inputs.dtype(0).ok() == inputs.dtype(1).ok());
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
        let Some(Sizes { m, k, n, batch_a, batch_b }) = self.sizes(a.shape, b.shape) else { return Ok(()) };
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
        let steps_a = if self.transposed[0] && a.shape.len() > 1 { (1, m) } else { (k, 1) };
        let steps_b = if self.transposed[1] && b.shape.len() > 1 { (1, k) } else { (n, 1) };
        if y.dtype == DType::F32 {
            let (a, b) = (a.data::<f32>()?, b.data::<f32>()?);
            let mut multiplier = Multiplier::new((m, k, n), self.scale)?;
            for (y, (i, j)) in y.data::<f32>()?.chunks_exact_mut((m * n).max(1)).zip(at) {
                let a = Matrix { values: &a[i * m * k..][..m * k], steps: steps_a };
                let b = Matrix { values: &b[j * k * n..][..k * n], steps: steps_b };
                multiplier.multiply(a, b, y);
            }
            return Ok(());
        }
        let steps = (steps_a, steps_b);
        let product = match (a.widen()?, b.widen()?) {
            (Wide::Ints(a), Wide::Ints(b)) => Wide::Ints(naive(&a, &b, &at, (m, k, n), steps)),
            _ => {
                let y = naive(&a.to_floats()?, &b.to_floats()?, &at, (m, k, n), steps);
                Wide::Floats(y.into_iter().map(|y| y * f64::from(self.scale)).collect())
            }
        };
        y.narrow(product)
    }

    fn work(&self, types: &Types) -> u64 {
        let k = self
            .sizes(&types.input(0).unwrap_or_default(), &types.input(1).unwrap_or_default())
            .map_or(1, |sizes| sizes.k);
        (types.n_out().unwrap_or(0) as u64).saturating_mul(k as u64)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (a, b) = (types.input(0)?, types.input(1)?);
        let sizes = self.sizes(&a, &b);
        let Some(Sizes { m, k, n, batch_a, batch_b }) = sizes.filter(|_| types.dtype(0) == Some(DType::F32))
        else {
            return Lowered::not_on_gpu("no kernel multiplies matrices of this dtype");
        };
        let batch = super::broadcast_shape(&batch_a, &batch_b)?;
        let strides = |own: &[usize], matrix: usize| -> Vec<isize> {
            strided::broadcast(own, &batch).into_iter().map(|stride| stride * matrix as isize).collect()
        };
        let (of_a, of_b) = (strides(&batch_a, m * k), strides(&batch_b, k * n));
        let transposed = [self.transposed[0] && a.len() > 1, self.transposed[1] && b.len() > 1];
        let (none, scale, added) = ((u32::MAX, 0.0, 0.0), self.scale, [false; 2]);
        // One matrix for all of a batch is one product of more rows.
        let flat = of_b.iter().all(|stride| *stride == 0) && batch_a == batch && !transposed[0];
        let rows = if flat { m * batch.iter().product::<usize>() } else { m };
        let batch = if flat { (&[][..], [&[][..], &[]]) } else { (&batch[..], [&of_a[..], &of_b]) };
        let launch = ProductLaunch { sizes: [rows, k, n], batch, transposed, scale, added, function: none };
        match launch.dispatch()? {
            Some(dispatch) => Lowered::one(dispatch),
            None => Lowered::not_on_gpu("no kernel has batches of so many dimensions"),
        }
    }
}

/// How far apart the rows and the columns of a matrix lie.
type Steps = (usize, usize);

fn naive<T>(
    a: &[T],
    b: &[T],
    at: &[(usize, usize)],
    (m, k, n): (usize, usize, usize),
    ((a_row, a_column), (b_row, b_column)): (Steps, Steps),
) -> Vec<T>
where
    T: Copy + std::ops::Mul<Output = T> + std::iter::Sum,
{
    let mut y = Vec::with_capacity(at.len() * m * n);
    for &(i, j) in at {
        let (a, b) = (&a[i * m * k..], &b[j * k * n..]);
        for (row, column) in (0..m * n).map(|i| (i / n, i % n)) {
            y.push((0..k).map(|x| a[row * a_row + x * a_column] * b[x * b_row + column * b_column]).sum());
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
            Case::new(format!("{a:?} by {b:?}"), Product::default(), inputs, Tolerance::of(1e-6), |x| {
                vec![reference_product(x[0].as_ref().expect("a"), x[1].as_ref().expect("b"), shape)]
            })
        };
        let turned = |transposed: [bool; 2], [m, k, n]: [usize; 3]| {
            let (a, b) = (
                if transposed[0] { [2, k, m] } else { [2, m, k] },
                if transposed[1] { [n, k] } else { [k, n] },
            );
            let op = Product { transposed, scale: 0.25 };
            let inputs = vec![Given::noise(&a, 1), Given::noise(&b, 2)];
            Case::new(format!("{a:?} by {b:?}, {transposed:?}"), op, inputs, Tolerance::of(1e-6), move |x| {
                let upright = |x: &Array, turned: bool| {
                    let mut shape = x.shape.clone();
                    let rank = shape.len();
                    if !turned {
                        return x.clone();
                    }
                    shape.swap(rank - 1, rank - 2);
                    let of = |mut index: Vec<usize>| {
                        index.swap(rank - 1, rank - 2);
                        x.at(&index)
                    };
                    Array::new(&shape, indices(&shape).map(of).collect())
                };
                let [Some(a), Some(b)] = x else { panic!("two inputs") };
                let (a, b) = (upright(a, transposed[0]), upright(b, transposed[1]));
                let mut y = reference_product(&a, &b, &[2, m, n]);
                y.values.iter_mut().for_each(|y| *y *= 0.25);
                vec![y]
            })
        };
        let mut cases = vec![
            case(&[3, 5], &[5, 7], &[3, 7]),
            case(&[2, 9, 33], &[2, 33, 17], &[2, 9, 17]),
            case(&[2, 2, 4, 8], &[8, 5], &[2, 2, 4, 5]),
            case(&[1, 65], &[65, 70], &[1, 70]),
            case(&[40, 21], &[21, 70], &[40, 70]),
        ];
        for transposed in [[false, true], [true, false], [true, true]] {
            cases.extend([[5, 6, 11], [1, 9, 4], [2, 3, 17]].map(|sizes| turned(transposed, sizes)));
        }
        cases
    }
}
