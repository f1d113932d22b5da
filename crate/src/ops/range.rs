//! Numbers at equal distances. ONNX Range.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure};
use crate::tensor::{TensorView, TensorViewMut, Wide};
use crate::types::TensorType;

/// `(start [], limit [], step []) → y [n]` of one dtype: from the start to before the limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Range;

/// How many numbers there are.
fn count(start: &TensorView, limit: &TensorView, step: &TensorView) -> Result<usize> {
    let single = [start, limit, step].iter().all(|view| view.len() == 1);
    ensure!(single, ShapeMismatch, "the start, limit and step of a range are single numbers");
    let n = match (start.widen()?, limit.widen()?, step.widen()?) {
        (Wide::Ints(start), Wide::Ints(limit), Wide::Ints(step)) => {
            ensure!(step[0] != 0, InvalidInput, "a range with a step of 0");
            let (span, step) = (limit[0] - start[0], step[0]);
            (span + step - step.signum()) / step
        }
        _ => ((limit.to_floats()?[0] - start.to_floats()?[0]) / step.to_floats()?[0]).ceil() as i128,
    };
    ensure!(n < 1 << 31, InvalidInput, "a range of {n} numbers");
    Ok(n.max(0) as usize)
}

impl OpDef for Range {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (Some(start), Some(limit), Some(step)) = (inputs.value(0)?, inputs.value(1)?, inputs.value(2)?)
        else {
            return crate::error::fail!(InvalidGraph, "a range wants a start, a limit and a step");
        };
        Ok(vec![TensorType::new(start.dtype, [count(&start, &limit, &step)?])])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (start, step, y) = (inputs[0].tensor()?, inputs[2].tensor()?, &mut outputs[0]);
        let values = match (start.widen()?, step.widen()?) {
            (Wide::Ints(start), Wide::Ints(step)) => {
                Wide::Ints((0..y.len() as i128).map(|i| start[0] + i * step[0]).collect())
            }
            _ => {
                let (start, step) = (start.to_floats()?[0], step.to_floats()?[0]);
                Wide::Floats((0..y.len()).map(|i| start + i as f64 * step).collect())
            }
        };
        y.narrow(values)
    }

    fn needs_values(&self) -> &'static [usize] {
        &[0, 1, 2]
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |start: i64, limit: i64, step: i64, want: &'static [f64]| {
            let one = |x: i64| Given::known(&[], &[x]);
            let inputs = vec![one(start), one(limit), one(step)];
            Case::new(format!("{start} to {limit} by {step}"), Range, inputs, Tolerance::of(0.0), |_| {
                vec![Array::new(&[want.len()], want.to_vec())]
            })
        };
        vec![case(1, 7, 2, &[1.0, 3.0, 5.0]), case(5, -2, -3, &[5.0, 2.0, -1.0])]
    }
}
