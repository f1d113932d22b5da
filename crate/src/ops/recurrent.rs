//! Recurrent layers: along a sequence, each step's output depends on the step before. ONNX RNN, GRU and LSTM in all
//! their forms; LSTM: Hochreiter and Schmidhuber 1997, GRU: Cho et al. 2014, arXiv:1406.1078.
//!
//! Where inputs meet weights is one product over all steps; what remains for a step is one product with the state,
//! and functions of its gates.

mod launches;
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity;
mod steps;

use super::unary::UnaryFunction;
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure, fail};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::tensor::{TensorView, TensorViewMut};
use crate::types::{DType, Shape, TensorType};

/// `(x f32 [seq, batch, in], w [dirs, gates·h, in], r [dirs, gates·h, h], bias [dirs, 2·gates·h]?, lengths int [batch]?,
/// h₀ [dirs, batch, h]?, c₀ [dirs, batch, h]?, peepholes [dirs, 3·h]?) → (y [seq, dirs, batch, h], h [dirs, batch, h],
/// c [dirs, batch, h])`, of which the last may be left out; `c` and the last two inputs are an LSTM's. Gates are in
/// ONNX's order: z, r, h of a GRU, i, o, f, c of an LSTM.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrent {
    /// What a step computes.
    pub cell: Cell,
    /// Which way the sequence is read.
    pub direction: Direction,
    /// The functions of each direction: f of an RNN, f and g of a GRU, f, g and h of an LSTM.
    pub activations: Vec<Activation>,
    /// To what what goes into the functions is bounded, above and below.
    pub clip: Option<f32>,
    /// Whether tensors begin with the batch: `x [batch, seq, in]`, `y [batch, seq, dirs, h]`, states `[batch, dirs, h]`.
    pub batch_first: bool,
    /// Whether what meets weights is rounded to 8 bits first, as [`Quantize::Dynamic`](super::quantize::Quantize) does: the
    /// inputs of all steps at once, states at each step.
    pub rounds: bool,
    /// How many outputs the node has.
    pub outputs: usize,
}

/// What a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// `h = f(x·Wᵀ + h·Rᵀ + b)`.
    Rnn,
    /// Gated: `h = (1 - z)·g(…) + z·h`.
    Gru {
        /// Whether the reset gate multiplies what the state's product with its weights gives, not the state.
        linear_before_reset: bool,
    },
    /// With a cell beside the state.
    Lstm {
        /// Whether what is forgotten is what is not taken in.
        input_forget: bool,
    },
}

impl Cell {
    /// How many vectors of the state's size a step computes.
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }

    /// How many functions a direction has.
    pub fn functions(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru { .. } => 2,
            Self::Lstm { .. } => 3,
        }
    }
}

/// Which way a sequence is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Direction {
    Forward,
    Reverse,
    /// Forward, and once more in reverse with other weights.
    Both,
}

/// A function of a gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// One of the catalogue.
    Unary(UnaryFunction),
    /// `alpha·x + beta`.
    #[allow(missing_docs, reason = "the formula names them")]
    Affine { alpha: f32, beta: f32 },
    /// `alpha·tanh(beta·x)`.
    #[allow(missing_docs, reason = "the formula names them")]
    ScaledTanh { alpha: f32, beta: f32 },
}

impl Activation {
    fn apply_all(self, values: &mut [f32]) {
        match self {
            Self::Unary(function) => function.apply_all(values),
            Self::Affine { alpha, beta } => {
                math::map::<S>(values, |x| S::mul_add(x, S::splat(alpha), S::splat(beta)));
            }
            Self::ScaledTanh { alpha, beta } => {
                math::map::<S>(values, |x| {
                    S::mul(S::splat(alpha), math::tanh::<S>(S::mul(x, S::splat(beta))))
                });
            }
        }
    }
}

/// The sizes of a layer.
#[derive(Clone, Copy)]
struct Sizes {
    seq: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    dirs: usize,
}

impl Recurrent {
    fn dirs(&self) -> usize {
        if self.direction == Direction::Both { 2 } else { 1 }
    }

    fn sizes(&self, x: &[usize], r: &[usize]) -> Option<Sizes> {
        let (&[first, second, input], &[dirs, _, hidden]) = (x, r) else { return None };
        let (seq, batch) = if self.batch_first { (second, first) } else { (first, second) };
        Some(Sizes { seq, batch, input, hidden, dirs })
    }

    fn clip(&self, values: &mut [f32]) {
        if let Some(limit) = self.clip {
            UnaryFunction::Clip { min: -limit, max: limit }.apply_all(values);
        }
    }

    /// Clips, and applies function `index` of direction `dir`.
    fn activate(&self, dir: usize, index: usize, values: &mut [f32]) {
        self.clip(values);
        self.activations[dir * self.cell.functions() + index].apply_all(values);
    }
}

impl OpDef for Recurrent {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let dtype = inputs.dtype(0)?;
        ensure!(dtype.is_float(), UnsupportedOp, "a recurrent layer of {dtype}");
        for i in [1, 2, 3, 5, 6, 7] {
            if let Some(ty) = inputs.optional(i).filter(|ty| ty.dtype != dtype) {
                return fail!(ShapeMismatch, "input {i} is {ty}, and the sequence is {dtype}");
            }
        }
        let gates = self.cell.gates();
        let sizes = self.sizes(&inputs.shape(0)?, &inputs.shape(2)?);
        let Some(s) = sizes.filter(|s| s.dirs == self.dirs()) else {
            return fail!(ShapeMismatch, "{} and {} are no recurrent layer", inputs.ty(0)?, inputs.ty(2)?);
        };
        let state = if self.batch_first { [s.batch, s.dirs, s.hidden] } else { [s.dirs, s.batch, s.hidden] };
        let rows = gates.checked_mul(s.hidden);
        let twice = rows.and_then(|rows| rows.checked_mul(2));
        let wanted: [(usize, Option<Vec<usize>>); 7] = [
            (1, rows.map(|rows| vec![s.dirs, rows, s.input])),
            (2, rows.map(|rows| vec![s.dirs, rows, s.hidden])),
            (3, twice.map(|rows| vec![s.dirs, rows])),
            (4, Some(vec![s.batch])),
            (5, Some(state.to_vec())),
            (6, Some(state.to_vec())),
            (7, s.hidden.checked_mul(3).map(|n| vec![s.dirs, n])),
        ];
        for (i, want) in wanted {
            if let Some(ty) = inputs.optional(i) {
                let fits = want.as_ref() == Some(&ty.known_shape()?);
                ensure!(
                    fits,
                    ShapeMismatch,
                    "input {i} is {ty}, and {:?} is wanted",
                    want.unwrap_or_default()
                );
            } else {
                ensure!(i > 2, InvalidGraph, "a recurrent layer has no input {i}");
            }
        }
        let is_lstm = matches!(self.cell, Cell::Lstm { .. });
        let most = if is_lstm { 3 } else { 2 };
        ensure!(self.outputs <= most, InvalidGraph, "{} outputs of a layer that has {most}", self.outputs);
        let functions = self.dirs() * self.cell.functions();
        ensure!(
            self.activations.len() == functions,
            InvalidGraph,
            "{} functions, and {functions} are wanted",
            self.activations.len()
        );
        let y = if self.batch_first {
            [s.batch, s.seq, s.dirs, s.hidden]
        } else {
            [s.seq, s.dirs, s.batch, s.hidden]
        };
        let state = TensorType::new(dtype, Shape::known(&state));
        Ok([TensorType::new(dtype, Shape::known(&y)), state.clone(), state]
            .into_iter()
            .take(self.outputs)
            .collect())
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let optional = |i: usize| inputs.get(i).map_or(Ok(None), Input::optional);
        let floats = |i: usize| -> Result<Option<&[f32]>> { optional(i)?.map(|t| t.data()).transpose() };
        let (x, r) = (inputs[0].tensor()?, inputs[2].tensor()?);
        let Some(s) = self.sizes(x.shape, r.shape) else {
            return fail!(Internal, "a recurrent layer of other sizes than inferred");
        };
        let lengths = match optional(4)? {
            Some(lengths) => lengths.to_ints()?.iter().map(|&n| n.clamp(0, s.seq as i64) as usize).collect(),
            None => vec![s.seq; s.batch],
        };
        let mut outputs = outputs.iter_mut();
        let mut y = outputs.next().map(TensorViewMut::data::<f32>).transpose()?;
        let mut last_h = outputs.next().map(TensorViewMut::data::<f32>).transpose()?;
        let mut last_c = outputs.next().map(TensorViewMut::data::<f32>).transpose()?;
        if let (Some(y), true) = (&mut y, lengths.iter().any(|n| *n < s.seq)) {
            y.fill(0.0);
        }
        for dir in 0..s.dirs {
            let of_dir = |values: Option<&[f32]>| {
                values.map(|values: &[f32]| {
                    let n = values.len() / s.dirs;
                    values[dir * n..][..n].to_vec()
                })
            };
            let state_at =
                |b: usize| if self.batch_first { b * s.dirs + dir } else { dir * s.batch + b } * s.hidden;
            let state = |values: Option<&[f32]>| -> Result<Vec<f32>> {
                let mut state = zeros(s.batch, s.hidden)?;
                if let Some(values) = values {
                    for (b, row) in state.chunks_exact_mut(s.hidden.max(1)).enumerate() {
                        row.copy_from_slice(&values[state_at(b)..][..s.hidden]);
                    }
                }
                Ok(state)
            };
            let (mut h, mut c) = (state(floats(5)?)?, state(floats(6)?)?);
            let layer = steps::Layer {
                cx,
                op: self,
                s,
                dir,
                lengths: &lengths,
                x: x.data()?,
                w: part(inputs[1].tensor()?, dir)?,
                r: part(r, dir)?,
                bias: of_dir(floats(3)?),
                peepholes: of_dir(floats(7)?),
            };
            layer.run(&mut h, &mut c, y.as_deref_mut())?;
            for (last, state) in [(&mut last_h, &h), (&mut last_c, &c)] {
                let Some(last) = last else { continue };
                for (b, row) in state.chunks_exact(s.hidden.max(1)).enumerate() {
                    last[state_at(b)..][..s.hidden].copy_from_slice(row);
                }
            }
        }
        Ok(())
    }

    fn work(&self, types: &Types) -> u64 {
        let of = |index: usize| types.input(index).unwrap_or_default();
        let Some(s) = self.sizes(&of(0), &of(2)) else { return 0 };
        let each = (s.input as u64 + s.hidden as u64).saturating_mul((self.cell.gates() * s.dirs) as u64);
        each.saturating_mul(s.hidden as u64).saturating_mul(s.seq as u64 * s.batch as u64)
    }

    fn lower_gpu(&self, caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        launches::lower(self, caps, types)
    }
}

/// The part of a tensor that belongs to a direction.
fn part<'a>(tensor: TensorView<'a>, dir: usize) -> Result<&'a [f32]> {
    let n: usize = tensor.shape[1..].iter().product();
    Ok(&tensor.data()?[dir * n..][..n])
}

/// Room for `rows` rows of `n`, zeros. Fails when memory does not suffice.
fn zeros(rows: usize, n: usize) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    let n = rows.checked_mul(n).filter(|n| values.try_reserve_exact(*n).is_ok());
    let Some(n) = n else { return fail!(OutOfMemory, "no memory for the gates of a recurrent layer") };
    values.resize(n, 0.0);
    Ok(values)
}
