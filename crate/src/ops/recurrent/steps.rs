//! The steps of a recurrent layer.

use super::{Cell, Direction, Recurrent, Sizes, zeros};
use crate::error::Result;
use crate::kernels::gemm::tile::Epilogue;
use crate::kernels::gemm::{PackedMatrix, Packer};
use crate::kernels::math;
use crate::kernels::simd::{Best as S, Simd};
use crate::ops::CpuContext;
use crate::types::DType;
use std::borrow::Cow;

/// Rows of activations from which on a weight is worth packing for one run.
const WORTH_PACKING: usize = 16;

/// A weight `[n, k]` that is multiplied with `uses` rows of activations, `together` at a time.
enum Matrix<'a> {
    Rows(&'a [f32]),
    Packed(PackedMatrix),
}

impl<'a> Matrix<'a> {
    fn new(weight: &'a [f32], k: usize, uses: usize, together: usize) -> Result<Self> {
        if uses < WORTH_PACKING || together < 4 || k == 0 {
            return Ok(Self::Rows(weight));
        }
        let mut packed = PackedMatrix::new(DType::F32, weight.len() / k, k)?;
        Packer::new(DType::F32, k).push(&mut packed, bytemuck::cast_slice(weight))?;
        Ok(Self::Packed(packed))
    }

    /// `y = x·Wᵀ` of `m` rows.
    fn multiply(&self, cx: &CpuContext, x: &[f32], m: usize, k: usize, y: &mut [f32]) {
        match self {
            Self::Packed(packed) => packed.matmul(cx.threads, x, m, y, &Epilogue::default(), true),
            Self::Rows(_) if k == 0 => y.fill(0.0),
            Self::Rows(weight) => {
                let n = weight.len() / k;
                for (x, y) in x.chunks_exact(k).zip(y.chunks_exact_mut(n.max(1))) {
                    let (blocks, rest) = y.as_chunks_mut::<8>();
                    let done = blocks.len() * 8;
                    for (y, rows) in blocks.iter_mut().zip(weight.chunks_exact(8 * k)) {
                        *y = math::dot::<S, 8>(rows, x);
                    }
                    for (y, row) in rest.iter_mut().zip(weight[done * k..].chunks_exact(k)) {
                        [*y] = math::dot::<S, 1>(row, x);
                    }
                }
            }
        }
    }
}

/// Numbers rounded to 255 steps from the least to the largest, zero among them.
fn rounded(x: &[f32]) -> Vec<f32> {
    let (low, high) = (math::smallest::<S>(x).min(0.0), math::largest::<S>(x).max(0.0));
    let step = if high > low { (high - low) / 255.0 } else { 1.0 };
    let zero = (-low / step).clamp(0.0, 255.0).round_ties_even();
    let level = |x: f32| ((x / step).round_ties_even() + zero).clamp(0.0, 255.0);
    x.iter().map(|x| (level(*x) - zero) * step).collect()
}

/// One direction of a layer, with what it works on.
pub(super) struct Layer<'a> {
    pub cx: &'a CpuContext<'a>,
    pub op: &'a Recurrent,
    pub s: Sizes,
    pub dir: usize,
    /// How many steps each item of the batch has.
    pub lengths: &'a [usize],
    pub x: &'a [f32],
    pub w: &'a [f32],
    pub r: &'a [f32],
    pub bias: Option<Vec<f32>>,
    pub peepholes: Option<Vec<f32>>,
}

impl Layer<'_> {
    /// Reads the sequence: `h` and `c` `[batch, hidden]` become the last states, `y` the states of every step.
    pub(super) fn run(&self, h: &mut [f32], c: &mut [f32], mut y: Option<&mut [f32]>) -> Result<()> {
        let Sizes { seq, batch, input, hidden, dirs } = self.s;
        let n = self.op.cell.gates() * hidden;
        if n == 0 || batch == 0 || seq == 0 {
            return Ok(());
        }
        let resets_state = matches!(self.op.cell, Cell::Gru { linear_before_reset: false });
        let adds_later = matches!(self.op.cell, Cell::Gru { linear_before_reset: true });
        // What the inputs give to all gates of all steps, with both biases.
        let steps = seq * batch;
        let mut given = zeros(steps, n)?;
        let x = self.met(self.x);
        Matrix::new(self.w, input, steps, steps)?.multiply(self.cx, &x, steps, input, &mut given);
        let mut late_bias = vec![0.0; hidden];
        if let Some(bias) = &self.bias {
            let (of_input, of_state) = bias.split_at(n);
            let mut both = of_input.to_vec();
            let now = if adds_later { n - hidden } else { n };
            both[..now].iter_mut().zip(of_state).for_each(|(a, b)| *a += b);
            late_bias.copy_from_slice(&of_state[n - hidden..]);
            given.chunks_exact_mut(n).for_each(|row| math::zip::<S>(row, &both, S::add));
        }
        // A GRU's last gate may need the state that its reset gate has been applied to.
        let at_once = if resets_state { n - hidden } else { n };
        let (first, later) = self.r.split_at(at_once * hidden);
        let first = Matrix::new(first, hidden, steps, batch)?;
        let later = Matrix::new(later, hidden, steps, batch)?;
        let mut gates = zeros(batch, n)?;
        let (mut products, mut kept) = (zeros(batch, at_once)?, zeros(batch, hidden)?);
        let mut last = zeros(batch, hidden)?;
        let reverse = self.op.direction == Direction::Reverse || self.dir == 1;
        for step in 0..self.lengths.iter().copied().max().unwrap_or(0) {
            first.multiply(self.cx, &self.met(h), batch, hidden, &mut products);
            let running = |b: usize| {
                let length = self.lengths[b];
                let at = if reverse { (length.max(1) - 1).checked_sub(step) } else { Some(step) };
                at.filter(|_| step < length)
            };
            for b in 0..batch {
                let Some(t) = running(b) else { continue };
                let row = if self.op.batch_first { b * seq + t } else { t * batch + b };
                let gates = &mut gates[b * n..][..n];
                gates.copy_from_slice(&given[row * n..][..n]);
                let from_state = &mut products[b * at_once..][..at_once];
                if adds_later {
                    math::zip::<S>(&mut from_state[2 * hidden..], &late_bias, S::add);
                    math::zip::<S>(&mut gates[..2 * hidden], &from_state[..2 * hidden], S::add);
                } else {
                    math::zip::<S>(&mut gates[..at_once], from_state, S::add);
                }
                let state = &mut h[b * hidden..][..hidden];
                match self.op.cell {
                    Cell::Rnn => {
                        self.op.activate(self.dir, 0, gates);
                        state.copy_from_slice(gates);
                    }
                    Cell::Lstm { input_forget } => {
                        self.lstm(gates, state, &mut c[b * hidden..][..hidden], input_forget);
                    }
                    Cell::Gru { .. } => {
                        let (zr, last) = gates.split_at_mut(2 * hidden);
                        self.op.activate(self.dir, 0, zr);
                        if adds_later {
                            let reset = &mut from_state[2 * hidden..];
                            math::zip::<S>(reset, &zr[hidden..], S::mul);
                            math::zip::<S>(last, reset, S::add);
                        } else {
                            let kept = &mut kept[b * hidden..][..hidden];
                            kept.copy_from_slice(state);
                            math::zip::<S>(kept, &zr[hidden..], S::mul);
                        }
                    }
                }
            }
            if let Cell::Gru { .. } = self.op.cell {
                if resets_state {
                    later.multiply(self.cx, &self.met(&kept), batch, hidden, &mut last);
                }
                for b in (0..batch).filter(|b| running(*b).is_some()) {
                    let (zr, new) = gates[b * n..][..n].split_at_mut(2 * hidden);
                    if resets_state {
                        math::zip::<S>(new, &last[b * hidden..][..hidden], S::add);
                    }
                    self.op.activate(self.dir, 1, new);
                    // (1 - z)·new + z·h = new + z·(h - new).
                    let state = &mut h[b * hidden..][..hidden];
                    math::zip::<S>(state, new, S::sub);
                    math::zip::<S>(state, &zr[..hidden], S::mul);
                    math::zip::<S>(state, new, S::add);
                }
            }
            if let Some(y) = &mut y {
                for (b, h) in h.chunks_exact(hidden).enumerate() {
                    let Some(t) = running(b) else { continue };
                    let at = match self.op.batch_first {
                        true => (b * seq + t) * dirs + self.dir,
                        false => (t * dirs + self.dir) * batch + b,
                    };
                    y[at * hidden..][..hidden].copy_from_slice(h);
                }
            }
        }
        Ok(())
    }

    /// What meets weights of what is given.
    fn met<'x>(&self, x: &'x [f32]) -> Cow<'x, [f32]> {
        if self.op.rounds { rounded(x).into() } else { x.into() }
    }

    /// A step of an LSTM, from its gates before their functions.
    fn lstm(&self, gates: &mut [f32], h: &mut [f32], c: &mut [f32], input_forget: bool) {
        let n = h.len();
        let (input, rest) = gates.split_at_mut(n);
        let (output, rest) = rest.split_at_mut(n);
        let (forget, new) = rest.split_at_mut(n);
        let peep = |gate: &mut [f32], index: usize, c: &[f32]| {
            if let Some(peepholes) = &self.peepholes {
                let own = peepholes[index * n..][..n].iter().zip(c);
                gate.iter_mut().zip(own).for_each(|(gate, (p, c))| *gate += p * c);
            }
        };
        peep(input, 0, c);
        self.op.activate(self.dir, 0, input);
        if input_forget {
            forget.copy_from_slice(input);
            math::map::<S>(forget, |x| S::sub(S::splat(1.0), x));
        } else {
            peep(forget, 2, c);
            self.op.activate(self.dir, 0, forget);
        }
        self.op.activate(self.dir, 1, new);
        math::zip::<S>(new, input, S::mul);
        math::zip::<S>(c, forget, S::mul);
        math::zip::<S>(c, new, S::add);
        peep(output, 1, c);
        self.op.activate(self.dir, 0, output);
        h.copy_from_slice(c);
        self.op.activate(self.dir, 2, h);
        math::zip::<S>(h, output, S::mul);
    }
}
