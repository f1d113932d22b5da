//! Elementwise functions of two tensors that broadcast to one shape. ONNX Add, Sub, Mul, Div, Pow, Mod, Min, Max,
//! PRelu, the comparisons, And, Or, Xor and their bitwise kin.

#[cfg(any(test, feature = "parity"))]
pub(super) mod parity;

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure, fail};
use crate::kernels::dispatch::{Dispatch, Operand, Operand::*, params};
use crate::kernels::strided;
use crate::kernels::threads::{Threads, WORTH};
use crate::kernels::walk::{Walk, vec4u};
use crate::tensor::{TensorView, TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};

/// `(a, b) → y` of one dtype; comparisons give bool.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// Which function.
    pub function: BinaryFunction,
}

/// The functions of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum BinaryFunction {
    Add,
    Div,
    Mul,
    Sub,
    And,
    BitAnd,
    BitOr,
    BitXor,
    Equal,
    /// The remainder with the sign of the dividend.
    Fmod,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Max,
    Min,
    /// The remainder with the sign of the divisor.
    Mod,
    Or,
    Pow,
    /// `a` where it is not negative, else `a·b`.
    PRelu,
    ShiftLeft,
    ShiftRight,
    Xor,
}

impl BinaryFunction {
    /// Whether the result is bool.
    pub fn compares(self) -> bool {
        use BinaryFunction::*;
        matches!(self, And | Equal | Greater | GreaterOrEqual | Less | LessOrEqual | Or | Xor)
    }

    fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Div => a / b,
            Self::Mul => a * b,
            Self::Sub => a - b,
            Self::Max => {
                if a > b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Self::Min => {
                if a < b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Self::PRelu => {
                if a < 0.0 {
                    a * b
                } else {
                    a
                }
            }
            Self::Pow if b == 2.0 => a * a,
            Self::Pow => a.powf(b),
            other => other.of_floats(f64::from(a), f64::from(b)) as f32,
        }
    }

    /// A row of results: each of `a` and `b` steps along it, or stays where it is. Without `a` the row is that.
    fn of_row(self, a: Option<&[f32]>, b: &[f32], steps: (usize, usize), row: &mut [f32]) {
        /// One loop a function and way, without a choice in it: it vectorises.
        fn each(
            a: Option<&[f32]>,
            b: &[f32],
            steps: (usize, usize),
            row: &mut [f32],
            of: impl Fn(f32, f32) -> f32,
        ) {
            match (a, steps) {
                (None, (_, 0)) => row.iter_mut().for_each(|y| *y = of(*y, b[0])),
                (None, _) => row.iter_mut().zip(b).for_each(|(y, b)| *y = of(*y, *b)),
                (Some(a), _) => along(a, b, steps, row, of),
            }
        }
        if row.is_empty() {
            return;
        }
        match self {
            Self::Add => each(a, b, steps, row, |a, b| a + b),
            Self::Sub => each(a, b, steps, row, |a, b| a - b),
            Self::Mul => each(a, b, steps, row, |a, b| a * b),
            Self::Div => each(a, b, steps, row, |a, b| a / b),
            Self::Max => each(a, b, steps, row, |a, b| if a > b || a.is_nan() { a } else { b }),
            Self::Min => each(a, b, steps, row, |a, b| if a < b || a.is_nan() { a } else { b }),
            Self::PRelu => each(a, b, steps, row, |a, b| if a < 0.0 { a * b } else { a }),
            _ => each(a, b, steps, row, |a, b| self.apply(a, b)),
        }
    }

    /// A row of truths, as [`of_row`](Self::of_row).
    fn of_truths<T: Copy + PartialOrd + Default>(
        self,
        a: &[T],
        b: &[T],
        steps: (usize, usize),
        row: &mut [u8],
    ) {
        let holds = |x: T| x != T::default();
        match self {
            _ if row.is_empty() => {}
            Self::Equal => along(a, b, steps, row, |a, b| u8::from(a == b)),
            Self::Greater => along(a, b, steps, row, |a, b| u8::from(a > b)),
            Self::GreaterOrEqual => along(a, b, steps, row, |a, b| u8::from(a >= b)),
            Self::Less => along(a, b, steps, row, |a, b| u8::from(a < b)),
            Self::LessOrEqual => along(a, b, steps, row, |a, b| u8::from(a <= b)),
            Self::And => along(a, b, steps, row, |a, b| u8::from(holds(a) && holds(b))),
            Self::Or => along(a, b, steps, row, |a, b| u8::from(holds(a) || holds(b))),
            _ => along(a, b, steps, row, |a, b| u8::from(holds(a) != holds(b))),
        }
    }

    fn of_floats(self, a: f64, b: f64) -> f64 {
        let truth = |x: bool| f64::from(u8::from(x));
        match self {
            Self::Add => a + b,
            Self::Div => a / b,
            Self::Mul => a * b,
            Self::Sub => a - b,
            Self::Equal => truth(a == b),
            Self::Greater => truth(a > b),
            Self::GreaterOrEqual => truth(a >= b),
            Self::Less => truth(a < b),
            Self::LessOrEqual => truth(a <= b),
            Self::And | Self::BitAnd => truth(a != 0.0 && b != 0.0),
            Self::Or | Self::BitOr => truth(a != 0.0 || b != 0.0),
            Self::Xor | Self::BitXor => truth((a != 0.0) != (b != 0.0)),
            Self::Fmod => a % b,
            // The remainder takes the sign of the divisor, also where that is infinite.
            Self::Mod => match a % b {
                0.0 => 0f64.copysign(b),
                rest if (rest < 0.0) != (b < 0.0) => rest + b,
                rest => rest,
            },
            Self::Max => {
                if a > b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Self::Min => {
                if a < b || a.is_nan() {
                    a
                } else {
                    b
                }
            }
            Self::Pow => a.powf(b),
            Self::PRelu => {
                if a < 0.0 {
                    a * b
                } else {
                    a
                }
            }
            Self::ShiftLeft | Self::ShiftRight => f64::NAN,
        }
    }

    fn of_ints(self, a: i128, b: i128) -> i128 {
        let truth = i128::from;
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul | Self::PRelu if self == Self::Mul || a < 0 => a.wrapping_mul(b),
            Self::Mul | Self::PRelu => a,
            Self::Div => a.checked_div(b).unwrap_or(0),
            Self::Fmod => a.checked_rem(b).unwrap_or(0),
            Self::Mod => match a.checked_rem(b) {
                Some(rest) if rest != 0 && (rest < 0) != (b < 0) => rest + b,
                rest => rest.unwrap_or(0),
            },
            Self::Equal => truth(a == b),
            Self::Greater => truth(a > b),
            Self::GreaterOrEqual => truth(a >= b),
            Self::Less => truth(a < b),
            Self::LessOrEqual => truth(a <= b),
            Self::And => truth(a != 0 && b != 0),
            Self::Or => truth(a != 0 || b != 0),
            Self::Xor => truth((a != 0) != (b != 0)),
            Self::BitAnd => a & b,
            Self::BitOr => a | b,
            Self::BitXor => a ^ b,
            Self::Max => a.max(b),
            Self::Min => a.min(b),
            Self::Pow => u32::try_from(b).map_or(0, |b| a.wrapping_pow(b)),
            Self::ShiftLeft => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)).unwrap_or(0),
            Self::ShiftRight => u32::try_from(b).ok().and_then(|b| a.checked_shr(b)).unwrap_or(a >> 127),
        }
    }
}

impl OpDef for Binary {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (a, b) = (inputs.ty(0)?, inputs.ty(1)?);
        // The exponent of a power may have a dtype of its own.
        let same = a.dtype == b.dtype || self.function == BinaryFunction::Pow;
        ensure!(same, ShapeMismatch, "operands {a} and {b} differ in dtype");
        let shape = Shape(super::broadcast_shape(&a.shape.0, &b.shape.0)?);
        Ok(vec![TensorType { dtype: if self.function.compares() { DType::Bool } else { a.dtype }, shape }])
    }

    fn moves_elements(&self) -> bool {
        self.function == BinaryFunction::Equal
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let y = &mut outputs[0];
        let b = inputs[1].tensor()?;
        match inputs[0].optional()? {
            Some(a) if b.dtype == DType::F32 && a.dtype == DType::F32 && y.dtype == DType::F32 => {
                self.eval_f32(cx.threads, Some(a), b, y)
            }
            Some(a) if self.function.compares() && y.dtype == DType::Bool => match a.dtype {
                DType::F32 => self.eval_truths::<f32>(cx.threads, a, b, y),
                DType::I32 => self.eval_truths::<i32>(cx.threads, a, b, y),
                DType::I64 => self.eval_truths::<i64>(cx.threads, a, b, y),
                DType::U8 | DType::Bool => self.eval_truths::<u8>(cx.threads, a, b, y),
                _ => self.eval_wide(a, b, y),
            },
            Some(a) => self.eval_wide(a, b, y),
            None if b.dtype == DType::F32 && y.dtype == DType::F32 => self.eval_f32(cx.threads, None, b, y),
            None => {
                let bytes = y.bytes.to_vec();
                let mut a = crate::tensor::Tensor::zeros(y.dtype, y.shape)?;
                a.view_mut().bytes.copy_from_slice(&bytes);
                self.eval_wide(a.view(), b, y)
            }
        }
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        use BinaryFunction::*;
        let (a, b, y) = (types.input(0)?, types.input(1)?, types.output(0)?);
        let arithmetic = matches!(self.function, Add | Mul | Sub | Max | Min | PRelu);
        let logical = matches!(self.function, And | Or | Xor);
        let features: &[&str] = match (types.dtype(0), types.dtype(1)) {
            (Some(DType::F32), Some(DType::F32)) if arithmetic || matches!(self.function, Div | Pow) => &[],
            (Some(DType::I32), Some(DType::I32))
                if arithmetic || matches!(self.function, BitAnd | BitOr | BitXor) =>
            {
                &["int"]
            }
            (Some(DType::F32), Some(DType::F32)) if self.function.compares() && !logical => &["compare"],
            (Some(DType::I32), Some(DType::I32)) if self.function.compares() && !logical => {
                &["int", "compare"]
            }
            (Some(DType::Bool), Some(DType::Bool)) if logical || self.function == Equal => {
                &["bools", "compare"]
            }
            _ => return Lowered::not_on_gpu("no kernel has this function of this dtype"),
        };
        let (a, b) = (strided::broadcast(&a, &y), strided::broadcast(&b, &y));
        let Some(walk) = Walk::new(&y, [&a, &b]) else {
            return Lowered::not_on_gpu("it broadcasts along more dimensions than the kernel has");
        };
        let bindings = vec![(0, Input(0)), (1, Input(1)), (2, Output(0))];
        self.launch(features, &walk, bindings, y.iter().product())
    }

    fn in_place(&self) -> &'static [(usize, usize)] {
        &[(0, 0)]
    }
}

impl Binary {
    /// The launch over `n` truths, each with false.
    pub(super) fn with_nothing(&self, n: usize) -> Result<Lowered> {
        let Some(walk) = Walk::new(&[n], [&[1], &[0]]) else {
            return Lowered::not_on_gpu("a walk over one dimension has too many");
        };
        let bindings = vec![(0, Input(0)), (2, Output(0))];
        self.launch(&["bools", "compare"], &walk, bindings, n)
    }

    fn launch(
        &self,
        features: &[&str],
        walk: &Walk<2>,
        bindings: Vec<(u32, Operand)>,
        n: usize,
    ) -> Result<Lowered> {
        let [[a_strides, more_a_strides], [b_strides, more_b_strides]] = walk.strides;
        let [sizes, more_sizes] = walk.sizes;
        let params = Params {
            n: n as u32,
            rank: walk.rank,
            function: self.function as u32,
            unused: 0,
            sizes,
            more_sizes,
            a_strides,
            more_a_strides,
            b_strides,
            more_b_strides,
        };
        let threads = if self.function.compares() { n.div_ceil(4) } else { n };
        Lowered::one(Dispatch::of_each("binary", features, bindings, params.bytes(), threads)?)
    }

    /// `y = f(a, b)`; of y where there is no `a`.
    fn eval_f32(
        &self,
        threads: Threads,
        a: Option<TensorView>,
        b: TensorView,
        y: &mut TensorViewMut,
    ) -> Result<()> {
        let shapes = [a.map_or(y.shape, |a| a.shape), b.shape, y.shape];
        let a = a.map(|a| a.data::<f32>()).transpose()?;
        let (b, function) = (b.data::<f32>()?, self.function);
        for_rows(threads, shapes, y.data::<f32>()?, |at_a, at_b, steps, row| {
            function.of_row(a.map(|a| &a[at_a..]), &b[at_b..], steps, row);
        });
        Ok(())
    }

    /// The truths of a function of two elements.
    fn eval_truths<T: Copy + PartialOrd + Default + bytemuck::Pod + Sync>(
        &self,
        threads: Threads,
        a: TensorView,
        b: TensorView,
        y: &mut TensorViewMut,
    ) -> Result<()> {
        let (of_a, of_b): (&[T], &[T]) = (bytemuck::cast_slice(a.bytes), bytemuck::cast_slice(b.bytes));
        for_rows(threads, [a.shape, b.shape, y.shape], y.bytes, |at_a, at_b, steps, row| {
            self.function.of_truths(&of_a[at_a..], &of_b[at_b..], steps, row);
        });
        Ok(())
    }

    /// Any dtype, element by element in the widest type of its kind.
    fn eval_wide(&self, a: TensorView, b: TensorView, y: &mut TensorViewMut) -> Result<()> {
        let (of_a, of_b) = (strided::broadcast(a.shape, y.shape), strided::broadcast(b.shape, y.shape));
        let positions = |then: &mut dyn FnMut(usize, usize)| {
            let n = y.shape.last().copied().unwrap_or(1);
            strided::for_each_row(y.shape, [&of_a, &of_b], |[at_a, at_b]| {
                (0..n).for_each(|i| then(at_a as usize + i * last(&of_a), at_b as usize + i * last(&of_b)));
            });
        };
        let values = match (a.widen()?, b.widen()?) {
            (Wide::Ints(a), Wide::Ints(b)) => {
                let mut values = Vec::with_capacity(y.len());
                let mut zero = false;
                positions(&mut |i, j| {
                    zero |= b[j] == 0;
                    values.push(self.function.of_ints(a[i], b[j]));
                });
                use BinaryFunction::{Div, Fmod, Mod};
                if zero && matches!(self.function, Div | Fmod | Mod) {
                    return fail!(InvalidInput, "an integer is divided by 0");
                }
                Wide::Ints(values)
            }
            _ => {
                let (a, b) = (a.to_floats()?, b.to_floats()?);
                let mut values = Vec::with_capacity(y.len());
                positions(&mut |i, j| values.push(self.function.of_floats(a[i], b[j])));
                Wide::Floats(values)
            }
        };
        y.narrow(values)
    }
}

/// Calls `of` with each row of `y`, where `a` and `b` are along it, and whether they step: of shapes `[a, b, y]`.
fn for_rows<Y: Send>(
    threads: Threads,
    [a, b, shape]: [&[usize]; 3],
    y: &mut [Y],
    of: impl Fn(usize, usize, (usize, usize), &mut [Y]) + Sync,
) {
    let (of_a, of_b) = (strided::broadcast(a, shape), strided::broadcast(b, shape));
    let (shape, [of_a, of_b]) = strided::merged(shape, [&of_a, &of_b]);
    let steps = (last(&of_a), last(&of_b));
    let inner: usize = shape.iter().skip(1).product();
    threads.for_rows(y, inner, WORTH / inner.max(1) + 1, |first, y| {
        // A part of the first dimension.
        let mut part = shape.clone();
        let at = |strides: &[isize]| strides.first().map_or(0, |step| first * *step as usize);
        let (from_a, from_b) = (at(&of_a), at(&of_b));
        if let Some(n) = part.first_mut() {
            *n = y.len() / inner.max(1);
        }
        let mut rows = y.chunks_exact_mut(part.last().copied().unwrap_or(1).max(1));
        strided::for_each_row(&part, [&of_a, &of_b], |[at_a, at_b]| {
            let Some(row) = rows.next() else { return };
            of(from_a + at_a as usize, from_b + at_b as usize, steps, row);
        });
    });
}

/// `row = of(a, b)`, each of which steps along it, or stays where it is.
fn along<T: Copy, Y: Copy>(a: &[T], b: &[T], steps: (usize, usize), row: &mut [Y], of: impl Fn(T, T) -> Y) {
    match steps {
        (0, 0) => row.fill(of(a[0], b[0])),
        (0, _) => row.iter_mut().zip(b).for_each(|(y, b)| *y = of(a[0], *b)),
        (_, 0) => row.iter_mut().zip(a).for_each(|(y, a)| *y = of(*a, b[0])),
        _ => row.iter_mut().zip(a.iter().zip(b)).for_each(|(y, (a, b))| *y = of(*a, *b)),
    }
}

/// The last stride; 0 or 1 of a broadcast.
fn last(strides: &[isize]) -> usize {
    strides.last().map_or(0, |stride| *stride as usize)
}

params!("binary": n: u32, rank: u32, function: u32, unused: u32, sizes: vec4u, more_sizes: vec4u, a_strides: vec4u,
    more_a_strides: vec4u, b_strides: vec4u, more_b_strides: vec4u);
