//! Operators whose meaning is a graph, the *body*, that runs any number of times. ONNX Loop and Scan. The session runs
//! it between two plans; nothing here computes.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Result, fail};
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// The outputs are the values carried, after the last round, and then what each round gave, stacked.
#[derive(Clone, Debug, PartialEq)]
pub enum Iterate {
    /// `(most rounds i64?, condition bool?, carried…, captured…)`: the body takes `(round, condition, carried…,
    /// captured…)` and gives `(condition, carried…, stacked…)`. It runs as long as the condition holds, and the rounds
    /// last.
    Loop {
        /// Which of the graph's bodies.
        body: usize,
        /// How many values are carried.
        carried: usize,
        /// What each round gives as far as the file says it, for when there is none.
        stacked: Vec<(DType, Vec<usize>)>,
    },
    /// `(lengths?, carried…, sliced…, captured…)`: the body takes `(carried…, a slice of each…, captured…)` and gives
    /// `(carried…, stacked…)`. It runs once for each slice.
    Scan {
        /// Which of the graph's bodies.
        body: usize,
        /// How many values are carried.
        carried: usize,
        /// How each input is sliced.
        sliced: Vec<Along>,
        /// How what each round gives is stacked.
        stacked: Vec<Along>,
        /// Whether dimension 0 of all inputs is a batch, each part of which is scanned on its own, as far as the lengths
        /// say.
        batched: bool,
    },
}

/// Slices along a dimension, in its order or backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Along {
    /// The dimension; negative ones count from the end.
    pub axis: i64,
    /// Whether the last comes first.
    pub backwards: bool,
}

impl OpDef for Iterate {
    fn infer(&self, _inputs: &Known) -> Result<Vec<TensorType>> {
        fail!(Internal, "a body's types come with its outputs")
    }

    fn body(&self) -> Option<usize> {
        let (Self::Loop { body, .. } | Self::Scan { body, .. }) = self;
        Some(*body)
    }

    fn eval_cpu(&self, _cx: &CpuContext, _inputs: &[Input], _outputs: &mut [TensorViewMut]) -> Result<()> {
        fail!(Internal, "a body reached a back end")
    }
}

/// A body is not a case: `crate/tests/control_flow.rs` has them.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use crate::ops::case::Case;

    pub fn cases() -> Vec<Case> {
        Vec::new()
    }
}
