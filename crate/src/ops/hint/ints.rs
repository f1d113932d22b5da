//! Small integer tensors that are known in part: what ONNX computes shapes with.

use super::Hint;
use crate::ops::Op;
use crate::ops::binary::BinaryFunction;
use crate::ops::shape::Shape;
use crate::ops::unary::UnaryFunction;
use crate::tensor::Tensor;
use crate::types::{DType, Dim};

/// Elements that are looked at, at most.
const MAX: usize = 64;

/// What is known of one integer.
#[derive(Clone, Debug, PartialEq)]
pub enum Int {
    /// The number.
    Known(i64),
    /// It is the size of this dimension, which is no number yet.
    Size(Dim),
    /// Nothing.
    Any,
}

impl Int {
    /// The integers of a constant, where they are few.
    pub fn of(tensor: &Tensor) -> Option<Vec<Self>> {
        let few = tensor.shape().len() <= 1 && tensor.view().len() <= MAX;
        let dtype = matches!(tensor.dtype(), DType::I64 | DType::I32 | DType::Bool);
        let ints = (few && dtype).then(|| tensor.view().to_ints().ok()).flatten()?;
        Some(ints.into_iter().map(Self::Known).collect())
    }

    /// The number, where it is one.
    pub fn known(&self) -> Option<i64> {
        match self {
            Self::Known(n) => Some(*n),
            _ => None,
        }
    }

    fn of_dim(dim: &Dim) -> Self {
        match dim {
            Dim::Known(n) => Self::Known(*n as i64),
            dim => Self::Size(dim.clone()),
        }
    }

    fn dim(&self) -> Option<Dim> {
        match self {
            Self::Known(n) => usize::try_from(*n).ok().map(Dim::Known),
            Self::Size(dim) => Some(dim.clone()),
            Self::Any => None,
        }
    }

    fn join(function: BinaryFunction, a: &Self, b: &Self) -> Self {
        use BinaryFunction::{Add, And, Div, Max, Min, Mul, Or, Sub};
        if function.compares() && !matches!(function, And | Or) {
            return Self::compared(function, a, b);
        }
        if let (Self::Known(a), Self::Known(b)) = (a, b) {
            let known = match function {
                And => Some((*a != 0 && *b != 0).into()),
                Or => Some((*a != 0 || *b != 0).into()),
                Add => a.checked_add(*b),
                Sub => a.checked_sub(*b),
                Mul => a.checked_mul(*b),
                Div => a.checked_div(*b),
                Max => Some(*a.max(b)),
                Min => Some(*a.min(b)),
                _ => None,
            };
            return known.map_or(Self::Any, Self::Known);
        }
        let (a, b) = match (function, a.dim(), b.dim()) {
            (Mul | Add, Some(Dim::Known(n)), Some(dim)) => (dim, Dim::Known(n)),
            (Mul | Add | Div, Some(a), Some(b)) => (a, b),
            _ => return Self::Any,
        };
        match (function, a, b) {
            (_, a, Dim::Known(1)) if function != Add => Self::Size(a),
            (Mul, a, Dim::Known(n)) if n > 0 => Self::Size(a.times(n)),
            (Add, a, b) => Self::Size(a.plus(&b)),
            (Div, Dim::Times(dim, m), Dim::Known(n)) if n > 0 && m.is_multiple_of(n) => {
                Self::of_dim(&dim.times(m / n))
            }
            (Div, a, b) if a == b => Self::Known(1),
            _ => Self::Any,
        }
    }

    /// Whether a comparison holds: a size is no negative number.
    fn compared(function: BinaryFunction, a: &Self, b: &Self) -> Self {
        use BinaryFunction::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        use std::cmp::Ordering;
        let order = match (a, b) {
            (Self::Known(a), Self::Known(b)) => a.cmp(b),
            (Self::Size(a), Self::Size(b)) if a == b => Ordering::Equal,
            (Self::Size(_), Self::Known(..0)) => Ordering::Greater,
            (Self::Known(..0), Self::Size(_)) => Ordering::Less,
            _ => return Self::Any,
        };
        let holds = match function {
            Equal => order.is_eq(),
            Greater => order.is_gt(),
            GreaterOrEqual => order.is_ge(),
            Less => order.is_lt(),
            LessOrEqual => order.is_le(),
            _ => return Self::Any,
        };
        Self::Known(holds.into())
    }
}

/// What is known of the integers of each output. Of bools, they are 1 where it holds, and 0.
pub(super) fn of(op: &Op, inputs: &[Option<Hint>]) -> Vec<Vec<Int>> {
    let mut outputs = found(op, inputs).unwrap_or_default();
    if outputs.iter().any(|ints| ints.len() > MAX) {
        outputs.clear();
    }
    outputs
}

fn found(op: &Op, inputs: &[Option<Hint>]) -> Option<Vec<Vec<Int>>> {
    let hint = |i: usize| inputs.get(i)?.as_ref();
    let ints = |i: usize| hint(i)?.ints.as_ref();
    let numbers = |i: usize| ints(i)?.iter().map(Int::known).collect::<Option<Vec<i64>>>();
    let rank = |i: usize| Some(hint(i)?.ty.as_ref()?.shape.rank());
    let one = |ints: Vec<Int>| Some(vec![ints]);
    match op {
        Op::Shape(shape) => {
            let dims: Vec<Int> = hint(0)?.ty.as_ref()?.shape.0.iter().map(Int::of_dim).collect();
            match shape {
                Shape::Size => one(vec![
                    dims.into_iter()
                        .reduce(|a, b| Int::join(BinaryFunction::Mul, &a, &b))
                        .unwrap_or(Int::Known(1)),
                ]),
                Shape::Dimensions { start, end } => {
                    let n = dims.len() as i64;
                    let clamp =
                        |at: i64| (if at < 0 { at.saturating_add(n) } else { at }).clamp(0, n) as usize;
                    let (start, end) = (clamp(*start), clamp(end.unwrap_or(n)));
                    one(dims[start.min(end)..end].to_vec())
                }
            }
        }
        Op::Take(_) if rank(0) == Some(1) && rank(1)? <= 1 => {
            let all = ints(0)?;
            let at = |i: &i64| {
                all.get(usize::try_from(if *i < 0 { i.saturating_add(all.len() as i64) } else { *i }).ok()?)
            };
            one(numbers(1)?.iter().map(|i| at(i).cloned()).collect::<Option<_>>()?)
        }
        Op::Slice(_) if rank(0) == Some(1) => {
            let (all, starts, ends) = (ints(0)?, numbers(1)?, numbers(2)?);
            let n = all.len() as i64;
            let steps_one = inputs.get(4).is_none_or(Option::is_none) || numbers(4)? == [1];
            let clamp = |at: i64| (if at < 0 { at.saturating_add(n) } else { at }).clamp(0, n) as usize;
            let (&[start], &[end], true) = (&starts[..], &ends[..], steps_one) else { return None };
            let (start, end) = (clamp(start), clamp(end));
            one(all[start.min(end)..end].to_vec())
        }
        Op::Concat(_) => {
            let of_one = (0..inputs.len()).all(|i| rank(i) == Some(1));
            let parts = (0..inputs.len()).map(|i| ints(i).cloned()).collect::<Option<Vec<_>>>()?;
            of_one.then(|| vec![parts.concat()])
        }
        // Elements in another shape, which has at most one dimension where the type says so.
        Op::Reshape(_) => one(ints(0)?.clone()),
        Op::Cast(cast) => {
            let wide = matches!(cast.to, Some(DType::I64 | DType::I32));
            let fits = |int: &Int| int.known().is_none_or(|n| i32::try_from(n).is_ok());
            wide.then(|| ints(0))
                .flatten()
                .filter(|ints| ints.iter().all(fits))
                .map(|ints| vec![ints.clone()])
        }
        Op::Binary(binary) if rank(0)? <= 1 && rank(1)? <= 1 => {
            let (a, b) = (ints(0)?, ints(1)?);
            let n = if a.len() == 1 { b.len() } else { a.len() };
            let fits = |ints: &Vec<Int>| ints.len() == n || ints.len() == 1;
            let of = |ints: &Vec<Int>, i: usize| ints[if ints.len() == 1 { 0 } else { i }].clone();
            (fits(a) && fits(b))
                .then(|| vec![(0..n).map(|i| Int::join(binary.function, &of(a, i), &of(b, i))).collect()])
        }
        Op::Unary(unary) if unary.function == UnaryFunction::Not => {
            let not = |int: &Int| int.known().map_or(Int::Any, |n| Int::Known((n == 0).into()));
            one(ints(0)?.iter().map(not).collect())
        }
        Op::Fill(_) => {
            let (wanted, value) = (numbers(0)?, ints(1)?);
            let n = wanted.iter().try_fold(1usize, |n, size| n.checked_mul(usize::try_from(*size).ok()?))?;
            let [value] = &value[..] else { return None };
            (wanted.len() <= 1 && n <= MAX).then(|| vec![vec![value.clone(); n]])
        }
        Op::Select(_) if (0..3).all(|i| rank(i).is_some_and(|rank| rank <= 1)) => {
            let all = [ints(0)?, ints(1)?, ints(2)?];
            let n = all.iter().map(|ints| ints.len()).find(|n| *n != 1).unwrap_or(1);
            all.iter().all(|ints| [1, n].contains(&ints.len())).then_some(())?;
            let of = |ints: &Vec<Int>, i: usize| ints[if ints.len() == 1 { 0 } else { i }].clone();
            let chosen = |i| match of(all[0], i) {
                Int::Known(condition) => of(all[if condition != 0 { 1 } else { 2 }], i),
                _ if of(all[1], i) == of(all[2], i) => of(all[1], i),
                _ => Int::Any,
            };
            one((0..n).map(chosen).collect())
        }
        _ => None,
    }
}
