//! Products of 8-bit integers with a matrix of such, as exact as integers are: `(a - a_zero) · (b - b_zero)`, and what makes
//! numbers of the sums. ONNX MatMulInteger with a constant matrix.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Packing, Types};
use crate::error::{Result, ensure};
use crate::kernels::gemm::integer::{Finish, IntegerMatrix, IntegerRows, multiply};
use crate::kernels::integer_launch::IntegerLaunch;
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::{DType, Shape, TensorType};

/// `(a u8 or i8 [.., k], b u8 or i8 [k, n], a_zero like a, one or one a row?, b_zero like b, one or [n]?, scale f32, one or
/// [n]?, bias f32 [n]?) → y i32 [.., n]`; with a scale, `y f32`: the sums times the scale, plus the bias.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerProduct;

fn is_integer(dtype: DType) -> bool {
    matches!(dtype, DType::U8 | DType::I8)
}

/// How many elements a type has, where that is known.
fn count(ty: &TensorType) -> Option<usize> {
    ty.shape.to_known().map(|dims| dims.iter().product())
}

impl OpDef for IntegerProduct {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (a, b) = (inputs.ty(0)?, inputs.ty(1)?);
        let fits = is_integer(a.dtype) && is_integer(b.dtype) && b.shape.rank() == 2;
        ensure!(
            fits && a.shape.rank() > 0 && a.shape.0.last() == b.shape.0.first(),
            ShapeMismatch,
            "{a} and {b} are no matrices of 8-bit integers that multiply"
        );
        let n = b.shape.0[1].clone();
        let rows = a.shape.to_known().map(|dims| dims[..dims.len() - 1].iter().product::<usize>());
        for (i, dtype, many) in [(2, a.dtype, rows), (3, b.dtype, n.known()), (4, DType::F32, n.known())] {
            let Some(ty) = inputs.optional(i) else { continue };
            let number = count(ty);
            let fits = ty.dtype == dtype
                && (number.is_none() || many.is_none() || number == Some(1) || number == many);
            ensure!(fits, ShapeMismatch, "input {i}, {ty}, does not go with {a} and {b}");
        }
        if let Some(bias) = inputs.optional(5) {
            let fits =
                bias.dtype == DType::F32 && bias.shape.0 == [n.clone()] && inputs.optional(4).is_some();
            ensure!(fits, ShapeMismatch, "a bias {bias} does not go with {b}, or there is no scale");
        }
        let mut dims = a.shape.0.clone();
        dims.pop();
        dims.push(n);
        let dtype = if inputs.optional(4).is_some() { DType::F32 } else { DType::I32 };
        Ok(vec![TensorType { dtype, shape: Shape(dims) }])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let optional = |i: usize| inputs.get(i).map_or(Ok(None), Input::optional);
        let a = inputs[0].tensor()?;
        let packed;
        let b = match &inputs[1] {
            Input::Integers(matrix) => *matrix,
            other => {
                packed = pack(other.tensor()?)?;
                &packed
            }
        };
        let filled = b.n().next_multiple_of(8);
        let ints = |i: usize| -> Result<Option<Vec<i32>>> {
            let ints = optional(i)?.map(|zero| zero.to_ints()).transpose()?;
            Ok(ints.map(|ints| ints.into_iter().map(|x| x as i32).collect()))
        };
        let floats = |i: usize| -> Result<Option<Vec<f32>>> {
            let values = optional(i)?.map(|values| values.data::<f32>()).transpose()?;
            Ok(values.map(|values| spread(values, b.n(), filled)))
        };
        let a_zeros = ints(2)?.unwrap_or_else(|| vec![0]);
        let b_zeros = ints(3)?.filter(|zeros| zeros.iter().any(|zero| *zero != 0));
        let b_zeros = b_zeros.map(|zeros| spread(&zeros, b.n(), filled));
        let (scales, bias) = (floats(4)?, floats(5)?);
        let finish = match &scales {
            Some(scales) => Finish::Floats { scales, bias: bias.as_deref() },
            None => Finish::Integers,
        };
        let rows = IntegerRows { bytes: a.bytes, signed: a.dtype == DType::I8, zeros: &a_zeros };
        multiply(rows, b, b_zeros.as_deref(), outputs[0].bytes, finish)
    }

    fn work(&self, types: &Types) -> u64 {
        let n = types.input(1).ok().and_then(|b| b.last().copied()).unwrap_or(0);
        let a = types.input(0).map_or(0, |a| a.iter().product::<usize>());
        (a as u64).saturating_mul(n as u64)
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (a, b) = (types.input(0)?, types.input(1)?);
        let count = |index: usize| types.input(index).map_or(0, |shape| shape.iter().product::<usize>());
        let (k, n) = (b[0], b[1]);
        let launch = IntegerLaunch {
            sizes: [a[..a.len() - 1].iter().product(), k, n],
            signed: [0, 1].map(|i| types.dtype(i) == Some(DType::I8)),
            zeros: [2, 3].map(|i| if types.has(i) { count(i) } else { 0 }),
            scales: types.has(4).then(|| (count(4), types.has(5))),
            function: (u32::MAX, 0.0, 0.0),
        };
        Lowered::one(launch.dispatch()?)
    }

    fn packs(&self, index: usize, shape: &[usize]) -> Option<Packing> {
        (index == 1 && shape.len() == 2).then_some(Packing::Integers)
    }
}

/// One value for all of `n`, or one each, filled up.
fn spread<T: Copy + Default>(values: &[T], n: usize, filled: usize) -> Vec<T> {
    let one =
        |i: usize| if values.len() == 1 { values[0] } else { values.get(i).copied().unwrap_or_default() };
    (0..filled).map(|i| if i < n { one(i) } else { T::default() }).collect()
}

/// Packs a matrix of 8-bit integers.
pub fn pack(b: TensorView) -> Result<IntegerMatrix> {
    let sizes = (b.shape.first().copied().unwrap_or(0), b.shape.get(1).copied().unwrap_or(0));
    IntegerMatrix::new(b.bytes, b.dtype == DType::I8, sizes)
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_integer_product(given: &[Option<Array>], shape: &[usize]) -> Array {
        let array = |i: usize| given.get(i).and_then(Option::as_ref);
        let (a, b) = (array(0).expect("a"), array(1).expect("b"));
        let (k, n) = (b.shape[0], b.shape[1]);
        let one = |i: usize, at: usize, otherwise: f64| match array(i) {
            Some(x) if x.values.len() == 1 => x.values[0],
            Some(x) => x.values[at],
            None => otherwise,
        };
        let of = |at: usize| {
            let (row, column) = (at / n, at % n);
            let product = |i: usize| {
                (a.values[row * k + i] - one(2, row, 0.0)) * (b.values[i * n + column] - one(3, column, 0.0))
            };
            (0..k).map(product).sum::<f64>() * one(4, column, 1.0) + one(5, column, 0.0)
        };
        Array::new(shape, (0..shape.iter().product()).map(of).collect())
    }

    pub fn cases() -> Vec<Case> {
        let bytes =
            |n: usize, seed: usize| (0..n).map(move |i| (((i * 7 + seed) * 2_654_435_761) >> 7) as u8);
        let unsigned = |shape: &[usize], seed: usize| {
            Given::fed(shape, &bytes(shape.iter().product(), seed).collect::<Vec<u8>>())
        };
        let signed = |shape: &[usize], seed: usize| {
            bytes(shape.iter().product(), seed).map(u8::cast_signed).collect::<Vec<i8>>()
        };
        let mut cases = Vec::new();
        let mut add = |what: &str, a: &[usize], inputs: Vec<Given>, n: usize, tolerance: f64| {
            let mut shape = a.to_vec();
            *shape.last_mut().expect("rows") = n;
            let name = format!("{what}, {a:?} by {n}");
            cases.push(Case::new(name, IntegerProduct, inputs, Tolerance::of(tolerance), move |x| {
                vec![reference_integer_product(x, &shape)]
            }));
        };
        for (a, n) in [(&[1, 5][..], 3), (&[2, 3, 33], 17), (&[9, 64], 8), (&[300, 260], 11), (&[2, 7], 9)] {
            let k = a[a.len() - 1];
            let b = signed(&[k, n], 2);
            let plain = vec![unsigned(a, 1), Given::known(&[k, n], &b)];
            add("plain", a, plain, n, 0.0);
            let rows = a[..a.len() - 1].iter().product::<usize>();
            let all = vec![
                unsigned(a, 1),
                Given::fed(&[k, n], &b),
                unsigned(&[rows], 3),
                Given::fed(&[n], &signed(&[n], 4)),
            ];
            add("zeros", a, all, n, 0.0);
            let scaled = vec![
                unsigned(a, 1),
                Given::known(&[k, n], &b),
                unsigned(&[], 3),
                Given::fed(&[], &[0i8]),
                Given::noise(&[n], 5),
                Given::noise(&[n], 6),
            ];
            add("scaled", a, scaled, n, 1e-6);
        }
        let extremes = vec![
            Given::fed(&[4, 512], &[255u8; 2048]),
            Given::known(&[512, 8], &[-128i8; 4096]),
            Given::fed(&[1], &[0u8]),
            Given::fed(&[1], &[127i8]),
            Given::fed(&[], &[0.5f32]),
        ];
        add("extremes", &[4, 512], extremes, 8, 0.0);
        cases
    }
}
