//! A tensor with something around it, or cut. ONNX Pad.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure, fail};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::kernels::strided;
use crate::kernels::walk::{eight, vec4u};
use crate::kernels::window::for_each_index;
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::{DType, Shape, TensorType};
use std::ops::Range;

/// `(x, pads i64 [2r], value []?, axes i64 [r]?) → y` of any dtype. Negative pads cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// What is around.
    pub mode: PadMode,
}

/// What lies beyond the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadMode {
    /// The value, or zero.
    Constant,
    /// The element at the edge.
    Edge,
    /// The elements before it, backwards.
    Reflect,
    /// The elements of the other side.
    Wrap,
}

/// What each dimension has before and after, `(before, after)`.
fn pads_of(rank: usize, pads: &[i64], axes: Option<Vec<i64>>) -> Result<Vec<(i64, i64)>> {
    let axes = match axes {
        Some(axes) => super::axes_of(&axes, rank)?,
        None => (0..rank).collect(),
    };
    ensure!(pads.len() == 2 * axes.len(), ShapeMismatch, "{} pads for {} dimensions", pads.len(), axes.len());
    let mut both = vec![(0, 0); rank];
    axes.iter().enumerate().for_each(|(i, &axis)| both[axis] = (pads[i], pads[i + axes.len()]));
    Ok(both)
}

impl OpDef for Pad {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let mut shape = inputs.shape(0)?;
        let pads = pads_of(shape.len(), &inputs.ints(1)?.unwrap_or_default(), inputs.ints(3)?)?;
        for (n, (before, after)) in shape.iter_mut().zip(&pads) {
            let size = usize::try_from(*n as i64 + before + after);
            ensure!(
                size.is_ok(),
                ShapeMismatch,
                "a dimension of {n} cannot be padded by {before} and {after}"
            );
            let empty = *n == 0 && self.mode != PadMode::Constant;
            ensure!(!empty || size == Ok(0), ShapeMismatch, "an empty dimension has no edge to pad with");
            *n = size.unwrap_or_default();
        }
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let optional = |i: usize| inputs.get(i).map_or(Ok(None), Input::optional);
        let axes = optional(3)?.as_ref().map(TensorView::to_ints).transpose()?;
        let pads = pads_of(x.shape.len(), &inputs[1].tensor()?.to_ints()?, axes)?;
        let size = x.dtype.block_bytes();
        let value = optional(2)?.map_or(vec![0; size], |value| value.bytes.to_vec());
        if value.len() != size {
            return fail!(ShapeMismatch, "the value to pad with is not one element");
        }
        // For each dimension: which element of x each of y is, or none.
        let source = |axis: usize, i: usize| -> Option<usize> {
            let (n, at) = (x.shape[axis] as i64, i as i64 - pads[axis].0);
            let at = match self.mode {
                _ if (0..n).contains(&at) => at,
                PadMode::Constant => return None,
                PadMode::Edge => at.clamp(0, n - 1),
                PadMode::Wrap => at.rem_euclid(n),
                PadMode::Reflect if n == 1 => 0,
                PadMode::Reflect => {
                    let at = at.rem_euclid(2 * (n - 1));
                    at.min(2 * (n - 1) - at)
                }
            };
            Some(at as usize)
        };
        let tables: Vec<Vec<Option<usize>>> =
            (0..y.shape.len()).map(|axis| (0..y.shape[axis]).map(|i| source(axis, i)).collect()).collect();
        let Some((along, outer)) = tables.split_last() else {
            y.bytes.copy_from_slice(x.bytes);
            return Ok(());
        };
        // What a row has of x as it is lies side by side.
        let (n, before) = (along.len() as i64, pads[outer.len()].0);
        let start = before.clamp(0, n);
        let end = (before + x.shape[outer.len()] as i64).clamp(start, n);
        let (start, end, skipped) = (start as usize, end as usize, (start - before) as usize);
        let strides = strided::row_major(x.shape);
        let mut rows = y.bytes.chunks_exact_mut((along.len() * size).max(1));
        for_each_index(&y.shape[..outer.len()], |index| {
            let Some(row) = rows.next() else { return };
            let places = outer.iter().zip(index).zip(&strides);
            let at: Option<usize> =
                places.map(|((table, &i), stride)| Some(table[i]? * *stride as usize)).sum();
            let mut put = |range: Range<usize>| {
                let elements = row[range.start * size..range.end * size].chunks_exact_mut(size);
                for (to, from) in elements.zip(&along[range]) {
                    let from = at.zip(*from).map(|(at, i)| (at + i) * size);
                    to.copy_from_slice(from.map_or(&value[..], |from| &x.bytes[from..][..size]));
                }
            };
            let Some(at) = at.filter(|_| start < end) else { return put(0..along.len()) };
            put(0..start);
            put(end..along.len());
            let inside = &mut row[start * size..end * size];
            inside.copy_from_slice(&x.bytes[(at + skipped) * size..][..inside.len()]);
        });
        Ok(())
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1, 3]
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, y) = (types.input(0)?, types.output(0)?);
        let size = types.dtype(0).map_or(0, DType::block_bytes);
        if y.len() > 8 || !matches!(size, 1 | 4) {
            return Lowered::not_on_gpu("no kernel pads elements of this dtype along so many dimensions");
        }
        let pads = pads_of(x.len(), &types.ints(1)?.unwrap_or_default(), types.ints(3)?)?;
        let [sizes, more_sizes] = eight(y.iter().map(|n| *n as u32), 1);
        let [x_sizes, more_x_sizes] = eight(x.iter().map(|n| *n as u32), 1);
        let [x_strides, more_x_strides] =
            eight(strided::row_major(&x).into_iter().map(|stride| stride as u32), 0);
        let [before, more_before] = eight(pads.iter().map(|(before, _)| *before as i32 as u32), 0);
        let n = types.n_out()?;
        let params = Params {
            n: n as u32,
            rank: y.len() as u32,
            mode: self.mode as u32,
            unused: 0,
            sizes,
            more_sizes,
            x_sizes,
            more_x_sizes,
            x_strides,
            more_x_strides,
            before,
            more_before,
        };
        let mut bindings = vec![(0, Input(0)), (2, Output(0))];
        bindings.extend(types.has(2).then_some((1, Input(2))));
        let features = if size == 1 { "bytes" } else { "" };
        Lowered::one(Dispatch::of_each("pad", &[features], bindings, params.bytes(), n.div_ceil(4 / size))?)
    }
}

params!("pad": n: u32, rank: u32, mode: u32, unused: u32, sizes: vec4u, more_sizes: vec4u, x_sizes: vec4u,
    more_x_sizes: vec4u, x_strides: vec4u, more_x_strides: vec4u, before: vec4u, more_before: vec4u);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |mode: PadMode, want: &'static [f64]| {
            let inputs = vec![Given::fed(&[1, 3], &[1.0f32, 2.0, 3.0]), Given::known(&[4], &[0i64, 2, 0, 1])];
            Case::new(format!("{mode:?}"), Pad { mode }, inputs, Tolerance::of(0.0), |_| {
                vec![Array::new(&[1, 6], want.to_vec())]
            })
        };
        let cut = |mode: PadMode, want: &'static [f64]| {
            let inputs = vec![
                Given::fed(&[2, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]),
                Given::known(&[4], &[1i64, -1, 0, 1]),
            ];
            Case::new(format!("{mode:?}, cut"), Pad { mode }, inputs, Tolerance::of(0.0), |_| {
                vec![Array::new(&[3, 3], want.to_vec())]
            })
        };
        let bytes = |shape: &[usize], pads: &[i64], mode: PadMode, want: &'static [f64]| {
            let n = shape.iter().product::<usize>() as u8;
            let x = Given::fed(shape, &(1..=n).collect::<Vec<u8>>());
            let pads = Given::known(&[pads.len()], pads);
            let inputs = vec![x, pads, Given::fed(&[], &[200u8])];
            let shape = [want.len() / shape[1], shape[1]];
            Case::new(format!("{mode:?} of bytes"), Pad { mode }, inputs, Tolerance::of(0.0), move |_| {
                vec![Array::new(&shape, want.to_vec())]
            })
        };
        vec![
            bytes(
                &[1, 3],
                &[1, 0, 2, 0],
                PadMode::Constant,
                &[200.0, 200.0, 200.0, 1.0, 2.0, 3.0, 200.0, 200.0, 200.0, 200.0, 200.0, 200.0],
            ),
            bytes(
                &[2, 5],
                &[1, -1, 0, 1],
                PadMode::Edge,
                &[2.0, 3.0, 4.0, 5.0, 5.0, 2.0, 3.0, 4.0, 5.0, 5.0, 7.0, 8.0, 9.0, 10.0, 10.0],
            ),
            cut(PadMode::Constant, &[0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0]),
            cut(PadMode::Edge, &[2.0, 3.0, 3.0, 2.0, 3.0, 3.0, 5.0, 6.0, 6.0]),
            cut(PadMode::Wrap, &[5.0, 6.0, 4.0, 2.0, 3.0, 1.0, 5.0, 6.0, 4.0]),
            case(PadMode::Constant, &[0.0, 0.0, 1.0, 2.0, 3.0, 0.0]),
            case(PadMode::Edge, &[1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
            case(PadMode::Reflect, &[3.0, 2.0, 1.0, 2.0, 3.0, 2.0]),
            case(PadMode::Wrap, &[2.0, 3.0, 1.0, 2.0, 3.0, 1.0]),
        ]
    }
}
