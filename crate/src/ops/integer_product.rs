//! Products of 8-bit integers with a matrix of such, as exact as integers are: `(a - a_zero) · (b - b_zero)`, and what
//! [becomes](super::finish) of the sums. ONNX MatMulInteger and QLinearMatMul with a constant matrix.

use super::finish::{self, Finish, is_byte};
use super::unary::UnaryFunction;
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Packing, Types};
use crate::error::{Result, ensure};
use crate::kernels::gemm::integer::{self, IntegerMatrix, IntegerRows, multiply};
use crate::kernels::integer_launch::{ByteSums, IntegerLaunch};
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::{Shape, TensorType};

/// `(a u8 or i8 [.., k], b u8 or i8 [k, n], a_zero like a, one or one a row?, b_zero like b, one or [n]?, scale f32, one or
/// [n]?, bias f32 [n]?, y_scale f32?, y_zero u8 or i8?) → y [.., n]`, i32, f32 or like y_zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntegerProduct {
    /// What numbers become.
    pub activation: Option<UnaryFunction>,
}

/// Numbers between the sums and the levels of a result that are in work.
const NUMBERS: usize = 1 << 15;

impl OpDef for IntegerProduct {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (a, b) = (inputs.ty(0)?, inputs.ty(1)?);
        let fits = is_byte(a.dtype) && is_byte(b.dtype) && b.shape.rank() == 2;
        ensure!(
            fits && a.shape.rank() > 0 && a.shape.0.last() == b.shape.0.first(),
            ShapeMismatch,
            "{a} and {b} are no matrices of 8-bit integers that multiply"
        );
        let n = b.shape.0[1].clone();
        let rows = a.shape.to_known().map(|dims| dims[..dims.len() - 1].iter().product::<usize>());
        finish::expect_each(inputs, 2, a.dtype, rows)?;
        finish::expect_each(inputs, 3, b.dtype, n.known())?;
        let dtype = finish::dtype_of(inputs, n.known(), self.activation)?;
        let mut dims = a.shape.0.clone();
        dims.pop();
        dims.push(n);
        Ok(vec![TensorType { dtype, shape: Shape(dims) }])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let a = inputs[0].tensor()?;
        let packed;
        let b = match &inputs[1] {
            Input::Integers(matrix) => *matrix,
            other => {
                packed = pack(other.tensor()?)?;
                &packed
            }
        };
        let (k, n) = (b.k(), b.n());
        let filled = n.next_multiple_of(8);
        let a_zeros = finish::ints(inputs, 2)?.unwrap_or_else(|| vec![0]);
        let b_zeros = finish::nonzero(finish::ints(inputs, 3)?).map(|zeros| spread(&zeros, n, filled));
        let finish = Finish::of(inputs, self.activation)?;
        let each = |values: &Option<Vec<f32>>| values.as_ref().map(|values| spread(values, n, filled));
        let (scales, bias) = (each(&finish.scales), each(&finish.bias));
        let then = match &scales {
            Some(scales) => integer::Finish::Floats { scales, bias: bias.as_deref() },
            None => integer::Finish::Integers,
        };
        let signed = a.dtype == crate::types::DType::I8;
        let all = IntegerRows { bytes: a.bytes, signed, zeros: &a_zeros };
        if finish.is_plain() {
            return multiply(cx.threads, all, b, b_zeros.as_deref(), outputs[0].bytes, then);
        }
        let size = outputs[0].dtype.block_bytes();
        let rows = (NUMBERS / n.max(1)).next_multiple_of(4);
        let mut numbers = vec![0.0f32; (rows * n).min(outputs[0].len())];
        for (i, y) in outputs[0].bytes.chunks_mut((rows * n * size).max(1)).enumerate() {
            let (numbers, first) = (&mut numbers[..y.len() / size], i * rows);
            let many = y.len() / size / n.max(1);
            let zeros = if all.zeros.len() == 1 { all.zeros } else { &all.zeros[first..][..many] };
            let part = IntegerRows { bytes: &a.bytes[first * k..][..many * k], zeros, ..all };
            multiply(cx.threads, part, b, b_zeros.as_deref(), bytemuck::cast_slice_mut(numbers), then)?;
            finish.apply(numbers, y);
        }
        Ok(())
    }

    fn work(&self, types: &Types) -> u64 {
        let n = types.input(1).ok().and_then(|b| b.last().copied()).unwrap_or(0);
        let a = types.input(0).map_or(0, |a| a.iter().product::<usize>());
        (a as u64).saturating_mul(n as u64)
    }

    fn lower_gpu(&self, caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (a, b) = (types.input(0)?, types.input(1)?);
        let sizes = [a[..a.len() - 1].iter().product(), b[0], b[1]];
        let launch = |sums: &ByteSums| IntegerLaunch { sizes, sums: *sums }.dispatch();
        finish::lower(caps, types, self.activation, b[1].is_multiple_of(4), &launch)
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
    use crate::types::DType;
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
        let level = |x: f64| match array(7) {
            Some(zero) => ((x / one(6, 0, 1.0)).round_ties_even() + zero.values[0]).clamp(-128.0, 127.0),
            None => x,
        };
        Array::new(shape, (0..shape.iter().product()).map(|at| level(of(at))).collect())
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
            cases.push(Case::new(
                name,
                IntegerProduct::default(),
                inputs,
                Tolerance::of(tolerance),
                move |x| vec![reference_integer_product(x, &shape)],
            ));
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
            add("scaled", a, scaled.clone(), n, 1e-6);
            let levels =
                [scaled.clone(), vec![Given::fed(&[], &[1000.0f32]), Given::fed(&[], &[-7i8])]].concat();
            // A sum halfway between two levels may go to either.
            add("levels", a, levels, n, 0.008);
            let known = vec![Given::known(&[], &[1000.0f32]), Given::known(&[], &[-7i8])];
            add("known levels", a, [scaled, known].concat(), n, 0.008);
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
