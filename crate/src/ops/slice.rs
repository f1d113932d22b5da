//! Every so-many-th element of a range along some dimensions. ONNX Slice.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::strided;
use crate::kernels::walk::Moved;
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::{Shape, TensorType};

/// `(x, starts [r], ends [r], axes [r]?, steps [r]?) → y` of any dtype. Starts and ends may be negative and
/// beyond the dimension; steps may be negative.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice;

/// Start, step and number of elements along one dimension.
type Range = (isize, isize, usize);

fn ranges(
    shape: &[usize],
    starts: &[i64],
    ends: &[i64],
    axes: Option<Vec<i64>>,
    steps: Option<Vec<i64>>,
) -> Result<Vec<Range>> {
    let mut ranges: Vec<Range> = shape.iter().map(|&n| (0, 1, n)).collect();
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    let same = [ends.len(), axes.len(), steps.len()].iter().all(|n| *n == starts.len());
    ensure!(same, ShapeMismatch, "starts, ends, axes and steps differ in length");
    for (i, axis) in super::axes_of(&axes, shape.len())?.into_iter().enumerate() {
        let (n, step) = (shape[axis] as i64, steps[i]);
        ensure!(step != 0, InvalidInput, "a step of 0");
        let from_end = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        let start = from_end(starts[i]).clamp(low.max(0), high.max(0));
        let end = from_end(ends[i]).clamp(low, high);
        let count = if n == 0 {
            0
        } else if step > 0 {
            (end - start + step - 1) / step
        } else {
            (start - end - step - 1) / -step
        };
        ranges[axis] = (start as isize, step.clamp(-n.max(1), n.max(1)) as isize, count.max(0) as usize);
    }
    Ok(ranges)
}

impl OpDef for Slice {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (starts, ends) = (inputs.ints(1)?.unwrap_or_default(), inputs.ints(2)?.unwrap_or_default());
        let ranges = ranges(&inputs.shape(0)?, &starts, &ends, inputs.ints(3)?, inputs.ints(4)?)?;
        let shape: Vec<usize> = ranges.iter().map(|(_, _, n)| *n).collect();
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let ints = |i: usize| -> Result<Option<Vec<i64>>> {
            let view = inputs.get(i).map_or(Ok(None), Input::optional)?;
            view.as_ref().map(TensorView::to_ints).transpose()
        };
        let ranges = ranges(
            x.shape,
            &ints(1)?.unwrap_or_default(),
            &ints(2)?.unwrap_or_default(),
            ints(3)?,
            ints(4)?,
        )?;
        let strides = strided::row_major(x.shape);
        let offset = ranges.iter().zip(&strides).map(|((start, ..), stride)| start * stride).sum();
        let strides: Vec<isize> =
            ranges.iter().zip(&strides).map(|((_, step, _), stride)| step * stride).collect();
        strided::copy(x.dtype.block_bytes(), x.bytes, offset, &strides, y.bytes, y.shape);
        Ok(())
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1, 2, 3, 4]
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, y) = (types.input(0)?, types.output(0)?);
        let ints = |i: usize| types.ints(i);
        let ranges =
            ranges(&x, &ints(1)?.unwrap_or_default(), &ints(2)?.unwrap_or_default(), ints(3)?, ints(4)?)?;
        let strides = strided::row_major(&x);
        let start = ranges.iter().zip(&strides).map(|((start, ..), stride)| start * stride).sum();
        let strides: Vec<isize> =
            ranges.iter().zip(&strides).map(|((_, step, _), stride)| step * stride).collect();
        let moved = Moved { shape: &y, from: (0, start, &strides), to: (0, 0, &strided::row_major(&y)) };
        Lowered::moved(&[moved], types)
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        type Of = fn(&[usize], u64) -> Given;
        let case = |given: Of, start: i64, end: i64, step: i64, picked: &'static [usize]| {
            let one = |x: i64| Given::known(&[1], &[x]);
            let inputs = vec![given(&[3, 7], 1), one(start), one(end), one(-1), one(step)];
            Case::new(
                format!("{start}:{end}:{step} of {}", inputs[0].dtype().expect("an input")),
                Slice,
                inputs,
                Tolerance::of(0.0),
                |x| {
                    let x = x[0].as_ref().expect("an input");
                    let values = x.rows().flat_map(|row| picked.iter().map(|&i| row[i])).collect();
                    vec![Array::new(&[3, picked.len()], values)]
                },
            )
        };
        vec![
            case(Given::noise, 1, 4, 1, &[1, 2, 3]),
            case(Given::noise, -2, -100, -2, &[5, 3, 1]),
            case(Given::noise, 0, i64::MAX, 3, &[0, 3, 6]),
            case(Given::bytes, -2, -100, -2, &[5, 3, 1]),
        ]
    }
}
