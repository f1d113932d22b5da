//! Numbers put in place of others, as a list says. ONNX (ai.onnx.ml) LabelEncoder of numbers.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::Result;
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, TensorType};
use std::collections::HashMap;
use std::sync::Arc;

/// `x → y` of the same shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Relabel {
    /// What becomes of each number.
    pub labels: Arc<Vec<(f64, f64)>>,
    /// What becomes of any other.
    pub other: f64,
    /// The dtype of what they become.
    pub dtype: DType,
}

/// Numbers that are equal have one key, also those that are none.
fn key(x: f64) -> u64 {
    if x == 0.0 {
        0
    } else if x.is_nan() {
        f64::NAN.to_bits()
    } else {
        x.to_bits()
    }
}

impl OpDef for Relabel {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        Ok(vec![TensorType { dtype: self.dtype, shape: inputs.ty(0)?.shape.clone() }])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        // Of a number that is there twice, the first counts.
        let labels: HashMap<u64, f64> =
            self.labels.iter().rev().map(|(from, to)| (key(*from), *to)).collect();
        let values = inputs[0].tensor()?.to_floats()?;
        let y = values.iter().map(|x| labels.get(&key(*x)).copied().unwrap_or(self.other)).collect();
        outputs[0].narrow(Wide::Floats(y))
    }
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let labels = Arc::new(vec![(1.0, 0.5), (-3.0, 2.0), (1.0, 9.0)]);
        let op = Relabel { labels, other: -1.0, dtype: DType::F32 };
        vec![Case::new(
            "integers to floats",
            op,
            vec![Given::fed(&[4], &[1i64, 2, -3, 1])],
            Tolerance::of(0.0),
            |_| vec![Array::new(&[4], vec![0.5, -1.0, 2.0, 0.5])],
        )]
    }
}
