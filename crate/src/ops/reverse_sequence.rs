//! The beginning of each sequence, reversed. ONNX ReverseSequence.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, ensure, fail};
use crate::tensor::TensorViewMut;
use crate::types::{Shape, TensorType};

/// `(x, lengths integers [b]) → y` like `x`, whose first two dimensions are time and batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ReverseSequence {
    /// Whether the batch comes before time.
    pub batch_first: bool,
}

impl OpDef for ReverseSequence {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, lengths) = (inputs.ty(0)?, inputs.ty(1)?);
        let shape = inputs.shape(0)?;
        let batch = shape.get(usize::from(!self.batch_first)).copied().unwrap_or(0);
        let fits = shape.len() >= 2 && lengths.shape == Shape::known(&[batch]);
        ensure!(fits, ShapeMismatch, "lengths {lengths} of sequences {x}");
        Ok(vec![x.clone()])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, lengths, y) = (inputs[0].tensor()?, inputs[1].tensor()?.to_ints()?, &mut outputs[0]);
        let row = x.shape[2..].iter().product::<usize>() * x.dtype.block_bytes();
        let second = x.shape[1];
        let time = x.shape[usize::from(self.batch_first)];
        if let Some(length) = lengths.iter().find(|length| !(0..=time as i64).contains(*length)) {
            return fail!(InvalidInput, "a sequence of {length} of {time} elements");
        }
        for (i, slot) in y.bytes.chunks_exact_mut(row.max(1)).enumerate() {
            let (time, batch) =
                if self.batch_first { (i % second, i / second) } else { (i / second, i % second) };
            let length = lengths[batch] as usize;
            let from = if time < length { length - 1 - time } else { time };
            let from = if self.batch_first { batch * second + from } else { from * second + batch };
            slot.copy_from_slice(&x.bytes[from * row..][..row]);
        }
        Ok(())
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let inputs = vec![Given::noise(&[3, 2, 1], 1), Given::fed(&[2], &[3i64, 2])];
        vec![Case::new(
            "time first",
            ReverseSequence { batch_first: false },
            inputs,
            Tolerance::of(0.0),
            |x| {
                let x = &x[0].as_ref().expect("sequences").values;
                vec![Array::new(&[3, 2, 1], [4, 3, 2, 1, 0, 5].iter().map(|&i| x[i]).collect())]
            },
        )]
    }
}
