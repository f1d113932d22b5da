//! The types of outputs where sizes are open: by the kind of thing that an operator does to shapes.

use super::{Hint, Int};
use crate::error::Result;
use crate::kernels::window::Sliding;
use crate::ops::expand::Expand;
use crate::ops::quantize::Quantize;
use crate::ops::reshape::Reshape;
use crate::ops::resize::SizePolicy;
use crate::ops::{Known, Op, axis_of};
use crate::types::{DType, Dim, Shape, TensorType};

/// A size that stands for one that is open, where an operator treats each dimension by itself: large, and no multiple
/// of what strides are.
const PLACEHOLDER: usize = 1_000_003;

/// The types, as far as they hold whatever the open sizes are.
pub(super) fn of(
    op: &Op,
    inputs: &[Option<Hint>],
    known: &Known,
    fresh: &mut dyn FnMut() -> Dim,
) -> Option<Vec<TensorType>> {
    let ints = |i: usize| inputs.get(i)?.as_ref()?.ints.as_ref();
    let ty = |i: usize| inputs.get(i)?.as_ref()?.ty.as_ref();
    let typed = |dtype: DType, dims: Vec<Dim>| Some(vec![TensorType { dtype, shape: Shape(dims) }]);
    let same = || Some(vec![ty(0)?.clone()]);
    match op {
        Op::Shape(crate::ops::shape::Shape::Size) => typed(DType::I64, Vec::new()),
        Op::Shape(crate::ops::shape::Shape::Dimensions { start, end }) => {
            let n = ty(0)?.shape.rank() as i64;
            let clamp = |at: i64| (if at < 0 { at.saturating_add(n) } else { at }).clamp(0, n);
            let n = (clamp(end.unwrap_or(n)) - clamp(*start)).max(0);
            Some(vec![TensorType::new(DType::I64, [n as usize])])
        }
        Op::Binary(binary) => {
            let (a, b) = (ty(0)?, ty(1)?);
            let dtype = if binary.function.compares() { DType::Bool } else { a.dtype };
            typed(dtype, broadcast(&a.shape.0, &b.shape.0, fresh))
        }
        Op::Select(_) => {
            let (condition, a, b) = (ty(0)?, ty(1)?, ty(2)?);
            let both = broadcast(&a.shape.0, &b.shape.0, fresh);
            typed(a.dtype, broadcast(&both, &condition.shape.0, fresh))
        }
        Op::BatchNorm(_) | Op::GroupNorm(_) | Op::Triangle(_) | Op::Cumulative(_) => same(),
        Op::LayerNorm(norm) if norm.outputs == 1 => same(),
        Op::Dequantize(_) => typed(ty(1)?.dtype, ty(0)?.shape.0.clone()),
        Op::Quantize(Quantize::Given { dtype, .. }) => {
            typed(known.optional(2).map_or(*dtype, |zero| zero.dtype), ty(0)?.shape.0.clone())
        }
        Op::Conv(conv) if conv.transposed.is_none() => {
            by_dimension(op, known, strides_are_one(&conv.sliding), fresh)
        }
        Op::Conv(_) => by_dimension(op, known, false, fresh),
        Op::IntegerConv(conv) => by_dimension(op, known, strides_are_one(&conv.sliding), fresh),
        Op::Pool(pool) => match pool.kernel {
            // A window over everything leaves one element.
            None => {
                let x = ty(0)?;
                let dims = x
                    .shape
                    .0
                    .iter()
                    .enumerate()
                    .map(|(i, dim)| if i < 2 { dim.clone() } else { Dim::Known(1) });
                (pool.outputs == 1).then(|| vec![TensorType { dtype: x.dtype, shape: Shape(dims.collect()) }])
            }
            Some(_) => by_dimension(op, known, strides_are_one(&pool.sliding), fresh),
        },
        Op::Pad(_) => by_dimension(op, known, true, fresh).or_else(|| open(ty(0)?, None, fresh)),
        Op::Slice(_) => match by_dimension(op, known, false, fresh) {
            Some(types) => {
                Some(vec![slice(ty(0)?, types.into_iter().next()?, &|i| known.ints(i).ok().flatten())])
            }
            // Where the ends are not known, only the dimensions that are cut are open.
            None => open(ty(0)?, ints(3).and_then(|axes| axes_of(axes, ty(0)?.shape.rank())), fresh),
        },
        Op::Resize(resize) => {
            // Where a policy makes scales equal, no dimension is by itself.
            let apart = resize.policy == SizePolicy::Stretch;
            let types = if apart { by_dimension(op, known, false, fresh) } else { None };
            let (x, open) = (ty(0)?, types.is_none());
            let mut dims = types.map_or_else(
                || x.shape.0.iter().map(|_| fresh()).collect(),
                |types| types[0].shape.0.clone(),
            );
            if !open {
                keep_same(op, known, &x.shape.0, &mut dims);
            }
            typed(x.dtype, dims)
        }
        Op::Product(product) => {
            let (a, b) = (ty(0)?, ty(1)?);
            let ([batch_a @ .., a0, a1], [batch_b @ .., b0, b1]) = (&a.shape.0[..], &b.shape.0[..]) else {
                return None;
            };
            let m = if product.transposed[0] { a1 } else { a0 };
            let n = if product.transposed[1] { b0 } else { b1 };
            let mut dims = broadcast(batch_a, batch_b, fresh);
            dims.extend([m.clone(), n.clone()]);
            (a.dtype == b.dtype).then_some(())?;
            typed(a.dtype, dims)
        }
        Op::Concat(concat) => {
            let types = (0..inputs.len()).map(ty).collect::<Option<Vec<_>>>()?;
            let (first, axis) = (types.first()?, concat.axis);
            let axis = axis_of(axis, first.shape.rank()).ok()?;
            let alike =
                types.iter().all(|ty| ty.dtype == first.dtype && ty.shape.rank() == first.shape.rank());
            alike.then_some(())?;
            let of = |i: usize| {
                let mut sizes = types.iter().map(|ty| &ty.shape.0[i]);
                if i == axis {
                    let sum = sizes.try_fold(0usize, |sum, dim| sum.checked_add(dim.known()?));
                    return sum.map_or_else(&mut *fresh, Dim::Known);
                }
                // All are equal: a number says more than a symbol.
                let known = sizes.clone().find(|dim| dim.known().is_some());
                known.or(sizes.next()).cloned().unwrap_or(Dim::Known(1))
            };
            let dims = (0..first.shape.rank()).map(of).collect();
            typed(first.dtype, dims)
        }
        Op::Split(split) => {
            let x = ty(0)?;
            let axis = axis_of(split.axis, x.shape.rank()).ok()?;
            let sizes = ints(1).map(|sizes| sizes.iter().map(Int::known).collect::<Vec<_>>());
            let part = |i: usize| {
                let size = sizes.as_ref().and_then(|sizes| usize::try_from((*sizes.get(i)?)?).ok());
                let mut dims = x.shape.0.clone();
                dims[axis] = size.map_or_else(&mut *fresh, Dim::Known);
                TensorType { dtype: x.dtype, shape: Shape(dims) }
            };
            Some((0..split.parts.min(1 << 10)).map(part).collect())
        }
        Op::Expand(Expand::Broadcast) => {
            let wanted: Vec<Dim> = ints(1)?.iter().map(|int| dim_of(int, fresh)).collect();
            typed(ty(0)?.dtype, broadcast(&ty(0)?.shape.0, &wanted, fresh))
        }
        Op::Fill(_) => typed(ty(1)?.dtype, ints(0)?.iter().map(|int| dim_of(int, fresh)).collect()),
        Op::Range(_) => typed(ty(0)?.dtype, vec![fresh()]),
        Op::NonZero(_) => typed(DType::I64, vec![Dim::Known(ty(0)?.shape.rank()), fresh()]),
        Op::Reshape(reshape) => {
            let x = ty(0)?;
            typed(
                x.dtype,
                reshaped(reshape, &x.shape.0, ints(1), inputs.get(1).is_some_and(Option::is_some), fresh)?,
            )
        }
        _ => None,
    }
}

/// A type of the same rank, of which these dimensions are open; all where nothing says which.
fn open(x: &TensorType, axes: Option<Vec<usize>>, fresh: &mut dyn FnMut() -> Dim) -> Option<Vec<TensorType>> {
    let is_open = |i: usize| axes.as_ref().is_none_or(|axes| axes.contains(&i));
    let dims = x.shape.0.iter().enumerate().map(|(i, dim)| if is_open(i) { fresh() } else { dim.clone() });
    Some(vec![TensorType { dtype: x.dtype, shape: Shape(dims.collect()) }])
}

fn dim_of(int: &Int, fresh: &mut dyn FnMut() -> Dim) -> Dim {
    match int {
        Int::Known(n) => usize::try_from(*n).map_or_else(|_| fresh(), Dim::Known),
        Int::Size(dim) => dim.clone(),
        Int::Any => fresh(),
    }
}

/// The shape that two shapes broadcast to: beside a number that is not 1, what is open is 1 or that number.
fn broadcast(a: &[Dim], b: &[Dim], fresh: &mut dyn FnMut() -> Dim) -> Vec<Dim> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[Dim], i: usize| {
        (i + shape.len()).checked_sub(rank).map_or(Dim::Known(1), |i| shape[i].clone())
    };
    let of = |i: usize| match (dim(a, i), dim(b, i)) {
        (a, b) if a == b => a,
        (Dim::Known(1), other) | (other, Dim::Known(1)) => other,
        (Dim::Known(n), _) | (_, Dim::Known(n)) => Dim::Known(n),
        _ => fresh(),
    };
    (0..rank).map(of).collect()
}

fn strides_are_one(sliding: &Sliding) -> bool {
    sliding.strides.as_ref().is_none_or(|strides| strides.iter().all(|stride| *stride == 1))
}

/// The types that an operator infers that treats each dimension by itself: with a number in place of what is open, of
/// which the rest does not depend. With `shifts`, an output dimension is the input's plus a constant; where that is 0,
/// it is the same dimension.
fn by_dimension(
    op: &Op,
    known: &Known,
    shifts: bool,
    fresh: &mut dyn FnMut() -> Dim,
) -> Option<Vec<TensorType>> {
    let x = known.optional(0)?;
    let open = |i: usize| x.shape.0.get(i).is_some_and(|dim| dim.known().is_none());
    let inferred = infer_with(op, known, PLACEHOLDER).ok()?;
    let mut outputs = Vec::with_capacity(inferred.len());
    for ty in inferred {
        let spatial = matches!(op, Op::Conv(_) | Op::IntegerConv(_) | Op::Pool(_));
        let dim = |(i, dim): (usize, Dim)| match i {
            _ if !open(i) || (spatial && i == 1) => dim,
            0 if spatial => x.shape.0[i].clone(),
            _ if shifts && dim == Dim::Known(PLACEHOLDER) => x.shape.0[i].clone(),
            _ => fresh(),
        };
        // The channels of a pooling are the input's.
        let channels = matches!(op, Op::Pool(_)).then(|| x.shape.0.get(1).cloned()).flatten();
        let mut dims: Vec<Dim> = ty.shape.0.into_iter().enumerate().map(dim).collect();
        if let (Some(channels), Some(dim)) = (channels, dims.get_mut(1)) {
            *dim = channels;
        }
        outputs.push(TensorType { dtype: ty.dtype, shape: Shape(dims) });
    }
    Some(outputs)
}

/// What an operator infers when every open size of its first input is `size`.
fn infer_with(op: &Op, known: &Known, size: usize) -> Result<Vec<TensorType>> {
    let x = known.ty(0)?;
    // Channels of a convolution are those of its weight.
    let channels = match op {
        Op::Conv(conv) => known.optional(1).and_then(|w| {
            let axis = if conv.transposed.is_some() { 0 } else { 1 };
            let groups = if conv.transposed.is_some() { 1 } else { conv.groups };
            w.shape.0.get(axis)?.known()?.checked_mul(groups)
        }),
        Op::IntegerConv(conv) => {
            known.optional(1).and_then(|w| w.shape.0.get(1)?.known()?.checked_mul(conv.groups))
        }
        _ => None,
    };
    let dims = x.shape.0.iter().enumerate().map(|(i, dim)| match (i, channels) {
        _ if dim.known().is_some() => dim.clone(),
        (1, Some(channels)) => Dim::Known(channels),
        (0, _) if matches!(op, Op::Conv(_) | Op::IntegerConv(_) | Op::Pool(_)) => Dim::Known(1),
        _ => Dim::Known(size),
    });
    let ty = TensorType { dtype: x.dtype, shape: Shape(dims.collect()) };
    op.def().infer(&known.with_first(&ty, &mut Vec::new()))
}

/// A slice takes what is open whole where it begins at 0 and ends beyond any size.
fn slice(x: &TensorType, mut y: TensorType, ints: &dyn Fn(usize) -> Option<Vec<i64>>) -> TensorType {
    let (Some(starts), Some(ends)) = (ints(1), ints(2)) else { return y };
    let axes = ints(3).unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = ints(4).unwrap_or_else(|| vec![1; starts.len()]);
    for (i, dim) in x.shape.0.iter().enumerate() {
        let at = axes.iter().position(|axis| axis_of(*axis, x.shape.rank()).ok() == Some(i));
        let whole = at.is_none_or(|at| {
            starts.get(at) == Some(&0)
                && ends.get(at).is_some_and(|end| *end >= i64::from(i32::MAX))
                && steps.get(at) == Some(&1)
        });
        if whole {
            y.shape.0[i] = dim.clone();
        }
    }
    y
}

/// Dimensions that a resize leaves as they are, whatever they are: those that two different sizes both show unchanged
/// have a scale of 1, since an output is the input times a constant, or a constant.
fn keep_same(op: &Op, known: &Known, x: &[Dim], dims: &mut [Dim]) {
    let [Ok(small), Ok(large)] = [64, PLACEHOLDER].map(|size| infer_with(op, known, size)) else { return };
    for (i, dim) in dims.iter_mut().enumerate() {
        let of = |types: &[TensorType]| types.first().and_then(|ty| ty.shape.0.get(i)?.known());
        if x[i].known().is_none() && of(&small) == Some(64) && of(&large) == Some(PLACEHOLDER) {
            *dim = x[i].clone();
        }
    }
}

/// The shape that a reshape gives.
fn reshaped(
    op: &Reshape,
    x: &[Dim],
    ints: Option<&Vec<Int>>,
    has_ints: bool,
    fresh: &mut dyn FnMut() -> Dim,
) -> Option<Vec<Dim>> {
    match op {
        Reshape::Same => Some(x.to_vec()),
        Reshape::Flatten(axis) => {
            let rank = x.len() as i64;
            let cut = usize::try_from(if *axis < 0 { axis.saturating_add(rank) } else { *axis }).ok()?;
            (cut <= x.len()).then_some(())?;
            Some(vec![whole(&x[..cut], fresh), whole(&x[cut..], fresh)])
        }
        Reshape::Squeeze if has_ints => {
            let axes = axes_of(ints?, x.len())?;
            Some((0..x.len()).filter(|i| !axes.contains(i)).map(|i| x[i].clone()).collect())
        }
        // Which dimensions are 1 is open.
        Reshape::Squeeze | Reshape::Align { .. } => None,
        Reshape::Unsqueeze => {
            let rank = x.len() + ints?.len();
            let axes = axes_of(ints?, rank)?;
            let mut own = x.iter();
            Some(
                (0..rank)
                    .map(|i| {
                        if axes.contains(&i) {
                            Dim::Known(1)
                        } else {
                            own.next().cloned().unwrap_or(Dim::Known(1))
                        }
                    })
                    .collect(),
            )
        }
        Reshape::To { allow_zero } => {
            let mut rest = None;
            let mut dims = Vec::new();
            for (i, int) in ints?.iter().enumerate() {
                dims.push(match int {
                    Int::Known(-1) if rest.is_none() => {
                        rest = Some(i);
                        Dim::Known(1)
                    }
                    Int::Known(0) if !allow_zero => x.get(i)?.clone(),
                    // A size that a reshape may take for -1 or 0 is never one of these of a tensor with elements.
                    other => dim_of(other, fresh),
                });
            }
            if let Some(at) = rest {
                let mut others = dims.clone();
                others.remove(at);
                dims[at] = quotient(x, &others).unwrap_or_else(fresh);
            }
            Some(dims)
        }
    }
}

fn axes_of(ints: &[Int], rank: usize) -> Option<Vec<usize>> {
    ints.iter().map(|int| axis_of(int.known()?, rank).ok()).collect()
}

/// The product of dimensions.
fn whole(dims: &[Dim], fresh: &mut dyn FnMut() -> Dim) -> Dim {
    quotient(dims, &[]).unwrap_or_else(fresh)
}

/// The product of some dimensions over that of others, where it comes out: what both have goes first.
fn quotient(of: &[Dim], by: &[Dim]) -> Option<Dim> {
    let (of, n) = factors(of)?;
    let (by, divisor) = factors(by)?;
    let mut symbols = of;
    for dim in by {
        let at = symbols.iter().position(|own| *own == dim)?;
        symbols.swap_remove(at);
    }
    (divisor > 0 && n.is_multiple_of(divisor)).then_some(())?;
    match symbols[..] {
        [] => Some(Dim::Known(n / divisor)),
        [one] if n / divisor > 0 => Some(one.times(n / divisor)),
        _ => None,
    }
}

/// The dimensions of a product that are no numbers, and the product of those that are.
fn factors(dims: &[Dim]) -> Option<(Vec<&Dim>, usize)> {
    let (mut symbols, mut n) = (Vec::new(), 1usize);
    for dim in dims {
        n = match dim {
            Dim::Known(own) => n.checked_mul(*own)?,
            Dim::Times(symbol, own) => {
                symbols.push(&**symbol);
                n.checked_mul(*own)?
            }
            symbol => {
                symbols.push(symbol);
                n
            }
        };
    }
    Some((symbols, n))
}
