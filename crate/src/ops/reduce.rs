//! One number of many, along some dimensions. ONNX ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd, ReduceL1,
//! ReduceL2, ReduceLogSum, ReduceLogSumExp, ReduceSumSquare.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, MAX_LINE, MAX_ROUNDS, Operand::*, params, spread};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::kernels::strided;
use crate::kernels::walk::{Walk, vec4u};
use crate::tensor::{TensorView, TensorViewMut, Wide};
use crate::types::{DType, Dim, Shape, TensorType};

/// `(x [..], axes integers [..]?) → y` of the same dtype, in f32, or wider, sums.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// What becomes of the elements.
    pub function: ReduceFunction,
    /// Which dimensions go.
    pub axes: ReduceAxes,
    /// Whether the dimensions stay, as 1.
    pub keep: bool,
}

/// The dimensions that a reduction takes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceAxes {
    /// The last.
    Last,
    /// Those of input 1; without it, or with none in it, all.
    Given {
        /// Whether none in it means none.
        none_is_none: bool,
    },
}

/// The functions of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum ReduceFunction {
    Mean,
    Sum,
    L1,
    L2,
    LogSum,
    LogSumExp,
    Max,
    Min,
    Prod,
    SumSquare,
}

impl ReduceFunction {
    fn of_floats(self, values: &[f64]) -> f64 {
        let sum = |f: &dyn Fn(f64) -> f64| values.iter().map(|x| f(*x)).sum::<f64>();
        let largest = |of: f64, x: &f64| if *x > of || x.is_nan() { *x } else { of };
        let smallest = |of: f64, x: &f64| if *x < of || x.is_nan() { *x } else { of };
        match self {
            Self::Mean => sum(&|x| x) / values.len() as f64,
            Self::Sum => sum(&|x| x),
            Self::L1 => sum(&f64::abs),
            Self::L2 => sum(&|x| x * x).sqrt(),
            Self::LogSum => sum(&|x| x).ln(),
            Self::LogSumExp => {
                let top = values.iter().fold(f64::NEG_INFINITY, largest);
                let shift = if top.is_finite() { top } else { 0.0 };
                shift + sum(&|x| (x - shift).exp()).ln()
            }
            Self::Max => values.iter().fold(f64::NEG_INFINITY, largest),
            Self::Min => values.iter().fold(f64::INFINITY, smallest),
            Self::Prod => values.iter().product(),
            Self::SumSquare => sum(&|x| x * x),
        }
    }

    fn of_ints(self, values: &[i128], dtype: DType) -> i128 {
        let sum = |f: &dyn Fn(i128) -> i128| values.iter().map(|x| f(*x)).sum::<i128>();
        let limits = || match dtype {
            DType::Bool => (0, 1),
            DType::U8 | DType::U16 | DType::U32 | DType::U64 => (0, (1 << (8 * dtype.block_bytes())) - 1),
            _ => (-(1 << (8 * dtype.block_bytes() - 1)), (1 << (8 * dtype.block_bytes() - 1)) - 1),
        };
        match self {
            Self::Mean => sum(&|x| x).checked_div(values.len() as i128).unwrap_or(0),
            Self::Sum => sum(&|x| x),
            Self::L1 => sum(&i128::abs),
            Self::Max => values.iter().copied().max().unwrap_or(limits().0),
            Self::Min => values.iter().copied().min().unwrap_or(limits().1),
            Self::Prod => values.iter().fold(1i128, |a, x| a.wrapping_mul(*x)),
            Self::SumSquare => sum(&|x| x * x),
            _ => self.of_floats(&values.iter().map(|x| *x as f64).collect::<Vec<_>>()) as i128,
        }
    }
}

/// Numbers that are summed in f32, one after the other: more are better summed in f64.
const MAX_IN_TURN: usize = 1024;

impl ReduceFunction {
    /// Reduces `x [.., n, inner]`; false where there is no fast way.
    fn of_f32(self, x: &[f32], n: usize, inner: usize, y: &mut [f32]) -> bool {
        let mean = if self == Self::Mean { 1.0 / n as f32 } else { 1.0 };
        let is_sum = matches!(self, Self::Mean | Self::Sum);
        if n == 0 && is_sum {
            y.fill(0.0 * mean);
            return true;
        }
        if n == 0 || inner == 0 || inner > 1 && n > MAX_IN_TURN {
            return false;
        }
        if inner == 1 {
            let square = |x: <S as Simd>::F| S::mul(x, x);
            let has_nan = |row: &[f32]| row.iter().fold(false, |has, x| has | x.is_nan());
            let or_nan = |row: &[f32], y: f32| if has_nan(row) { f32::NAN } else { y };
            let mut each = |f: &dyn Fn(&[f32]) -> f32| {
                y.iter_mut().zip(x.chunks_exact(n)).for_each(|(y, row)| *y = f(row));
                true
            };
            return match self {
                Self::Mean | Self::Sum => each(&|row| math::sum::<S>(row, |x| x) * mean),
                Self::L1 => each(&|row| math::sum::<S>(row, math::abs::<S>)),
                Self::L2 => each(&|row| math::sum::<S>(row, square).sqrt()),
                Self::SumSquare => each(&|row| math::sum::<S>(row, square)),
                Self::Max => each(&|row| or_nan(row, math::largest::<S>(row))),
                Self::Min => each(&|row| or_nan(row, math::smallest::<S>(row))),
                _ => false,
            };
        }
        let mut lines = |f: &dyn Fn(&mut [f32], &[f32])| {
            for (y, x) in y.chunks_exact_mut(inner).zip(x.chunks_exact(n * inner)) {
                y.copy_from_slice(&x[..inner]);
                x.chunks_exact(inner).skip(1).for_each(|x| f(y, x));
                if self == Self::Mean {
                    y.iter_mut().for_each(|y| *y *= mean);
                }
            }
            true
        };
        match self {
            Self::Mean | Self::Sum => lines(&|y, x| y.iter_mut().zip(x).for_each(|(y, x)| *y += x)),
            Self::Max => lines(&|y, x| {
                y.iter_mut().zip(x).for_each(|(y, x)| *y = if *x > *y || x.is_nan() { *x } else { *y });
            }),
            Self::Min => lines(&|y, x| {
                y.iter_mut().zip(x).for_each(|(y, x)| *y = if *x < *y || x.is_nan() { *x } else { *y });
            }),
            _ => false,
        }
    }
}

impl Reduce {
    /// Of rows, whose dimension stays as 1.
    pub fn last(function: ReduceFunction) -> Self {
        Self { function, axes: ReduceAxes::Last, keep: true }
    }

    /// Which of `rank` dimensions go, and whether any does.
    fn gone(&self, rank: usize, given: Option<Vec<i64>>) -> Result<Vec<bool>> {
        let axes = match (self.axes, given) {
            (ReduceAxes::Last, _) => vec![super::axis_of(-1, rank)?],
            (ReduceAxes::Given { .. }, Some(axes)) if !axes.is_empty() => super::axes_of(&axes, rank)?,
            (ReduceAxes::Given { none_is_none: true }, _) => Vec::new(),
            (ReduceAxes::Given { none_is_none: false }, _) => (0..rank).collect(),
        };
        Ok((0..rank).map(|i| axes.contains(&i)).collect())
    }
}

impl OpDef for Reduce {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let x = inputs.ty(0)?;
        let gone = self.gone(x.shape.rank(), inputs.ints(1)?)?;
        let dims = x.shape.0.iter().zip(&gone).filter(|(_, gone)| self.keep || !**gone);
        let dims = dims.map(|(dim, gone)| if *gone { Dim::Known(1) } else { dim.clone() }).collect();
        Ok(vec![TensorType { dtype: x.dtype, shape: Shape(dims) }])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let axes = inputs.get(1).map_or(Ok(None), Input::optional)?;
        let gone = self.gone(x.shape.len(), axes.as_ref().map(TensorView::to_ints).transpose()?)?;
        let first = gone.iter().position(|gone| *gone).unwrap_or(gone.len());
        let end = gone.iter().rposition(|gone| *gone).map_or(first, |last| last + 1);
        if x.dtype == DType::F32 && gone[first..end].iter().all(|gone| *gone) && first < end {
            let n: usize = x.shape[first..end].iter().product();
            let inner: usize = x.shape[end..].iter().product();
            if self.function.of_f32(x.data()?, n, inner, y.data()?) {
                return Ok(());
            }
        }
        // Walk x with the dimensions that go last: what belongs together then lies together.
        let order: Vec<usize> =
            (0..gone.len()).filter(|&i| !gone[i]).chain((0..gone.len()).filter(|&i| gone[i])).collect();
        let strides = strided::row_major(x.shape);
        let (shape, strides): (Vec<usize>, Vec<isize>) =
            order.iter().map(|&i| (x.shape[i], strides[i])).unzip();
        let mut together = vec![0u128; x.bytes.len().div_ceil(16)];
        let together = &mut bytemuck::cast_slice_mut::<u128, u8>(&mut together)[..x.bytes.len()];
        strided::copy(x.dtype.block_bytes(), x.bytes, 0, &strides, together, &shape);
        let n: usize = (0..gone.len()).filter(|&i| gone[i]).map(|i| x.shape[i]).product();
        let lines = TensorView { bytes: together, ..x };
        let part = |i: usize| i * n..(i + 1) * n;
        let y_len = y.len();
        let values = match lines.widen()? {
            Wide::Floats(all) => {
                Wide::Floats((0..y_len).map(|i| self.function.of_floats(&all[part(i)])).collect())
            }
            Wide::Ints(all) => {
                Wide::Ints((0..y_len).map(|i| self.function.of_ints(&all[part(i)], x.dtype)).collect())
            }
        };
        y.narrow(values)
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1]
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        if types.dtype(0) != Some(DType::F32) {
            return Lowered::not_on_gpu("no kernel reduces elements of this dtype");
        }
        let gone = self.gone(x.len(), types.ints(1)?)?;
        self.function.launch(&x, &gone)
    }
}

impl ReduceFunction {
    /// The launch that reduces input 0, of shape `x`, along those dimensions.
    pub(super) fn launch(self, x: &[usize], gone: &[bool]) -> Result<Lowered> {
        let strides = strided::row_major(x);
        // What stays and what goes, each with its neighbours together, up to four dimensions.
        let part = |goes: bool| -> Option<(usize, vec4u, vec4u)> {
            let of = (0..x.len()).filter(|&i| gone[i] == goes);
            let (shape, own): (Vec<usize>, Vec<isize>) = of.map(|i| (x[i], strides[i])).unzip();
            let walk = Walk::new(&shape, [&own]).filter(|walk| walk.rank <= 4)?;
            Some((shape.iter().product(), walk.sizes[0], walk.strides[0][0]))
        };
        let (Some((n, kept_sizes, kept_strides)), Some((count, gone_sizes, gone_strides))) =
            (part(false), part(true))
        else {
            return Lowered::not_on_gpu("no kernel reduces along so many dimensions");
        };
        let params = Params {
            n: n as u32,
            count: count as u32,
            function: self as u32,
            unused: 0,
            kept_sizes,
            kept_strides,
            gone_sizes,
            gone_strides,
        };
        if count > if self == Self::Prod { MAX_ROUNDS } else { MAX_LINE } {
            return Lowered::too_long(count);
        }
        let bindings = vec![(0, Input(0)), (1, Output(0))];
        if count < 64 || self == Self::Prod {
            return Lowered::one(Dispatch::of_each("reduce", &["each"], bindings, params.bytes(), n)?);
        }
        let (x, z) = spread(n);
        Lowered::one(Dispatch::new("reduce", &[], bindings, params.bytes(), [x, 1, z])?)
    }
}

params!("reduce": n: u32, count: u32, function: u32, unused: u32, kept_sizes: vec4u, kept_strides: vec4u,
    gone_sizes: vec4u, gone_strides: vec4u);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    fn reference_reduce(function: ReduceFunction, x: &Array) -> Array {
        let of = |row: &[f64]| match function {
            ReduceFunction::Mean => row.iter().sum::<f64>() / row.len() as f64,
            ReduceFunction::Sum => row.iter().sum(),
            ReduceFunction::Max => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ReduceFunction::Min => row.iter().copied().fold(f64::INFINITY, f64::min),
            ReduceFunction::L2 => row.iter().map(|x| x * x).sum::<f64>().sqrt(),
            other => panic!("no case uses {other:?}"),
        };
        let shape = [&x.shape[..x.shape.len() - 1], &[1]].concat();
        Array::new(&shape, x.rows().map(of).collect())
    }

    pub fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        let functions = [
            ReduceFunction::Mean,
            ReduceFunction::Sum,
            ReduceFunction::Max,
            ReduceFunction::Min,
            ReduceFunction::L2,
        ];
        for (function, axis) in
            functions.into_iter().flat_map(|function| [(function, 0), (function, 1), (function, 2)])
        {
            let inputs = vec![Given::noise(&[3, 5, 17], 3), Given::known(&[1], &[axis as i64])];
            let op = Reduce { function, axes: ReduceAxes::Given { none_is_none: false }, keep: false };
            cases.push(Case::new(
                format!("{function:?} on {axis}"),
                op,
                inputs,
                Tolerance::of(2e-5),
                move |x| {
                    let x = x[0].as_ref().expect("an input");
                    let mut shape = x.shape.clone();
                    let n = shape.remove(axis);
                    let of = |mut index: Vec<usize>| {
                        index.insert(axis, 0);
                        let line = (0..n).map(|i| {
                            index[axis] = i;
                            x.at(&index)
                        });
                        reference_reduce(function, &Array::new(&[1, n], line.collect())).values[0]
                    };
                    vec![Array::new(&shape, indices(&shape).map(of).collect())]
                },
            ));
        }
        for function in [ReduceFunction::Mean, ReduceFunction::Sum, ReduceFunction::Max] {
            for shape in [&[1][..], &[3, 63], &[2, 3, 576]] {
                let inputs = vec![Given::noise(shape, 3)];
                // Values of both signs nearly cancel.
                let tolerance = Tolerance::of(2e-5);
                cases.push(Case::new(
                    format!("{function:?} of {shape:?}"),
                    Reduce::last(function),
                    inputs,
                    tolerance,
                    |x| vec![reference_reduce(function, x[0].as_ref().expect("an input"))],
                ));
            }
        }
        cases
    }
}
