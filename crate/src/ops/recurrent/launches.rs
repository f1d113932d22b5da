//! A recurrent layer on the GPU: where inputs meet weights is one product over all steps; the state's weights are turned,
//! so that neighbouring threads read neighbours; then a workgroup for each item of the batch and direction takes the
//! steps one after the other, its state in shared memory.

use super::{Activation, Cell, Direction, Recurrent, Sizes};
use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, MAX_ROUNDS, Operand, params};
use crate::kernels::product_launch::ProductLaunch;
use crate::kernels::walk::Moved;
use crate::ops::{GpuCaps, Lowered, Types};
use crate::types::DType;

/// The most elements of a state that fit shared memory.
const MAX_HIDDEN: usize = 1024;

/// The code and the attributes of a function, as `shared/functions.wgsl` knows them.
fn code(activation: Activation) -> Option<[u32; 4]> {
    match activation {
        Activation::Unary(function) => {
            function.code().map(|(code, alpha, beta)| [code, alpha.to_bits(), beta.to_bits(), 0])
        }
        Activation::Affine { .. } | Activation::ScaledTanh { .. } => None,
    }
}

pub(super) fn lower(op: &Recurrent, caps: &GpuCaps, types: &Types) -> Result<Lowered> {
    let Some(s) = op.sizes(&types.input(0)?, &types.input(2)?) else {
        return Lowered::not_on_gpu("it is no recurrent layer");
    };
    if op.rounds {
        return Lowered::not_on_gpu("no kernel rounds what meets its weights");
    }
    if s.seq > MAX_ROUNDS {
        return Lowered::too_long(s.seq);
    }
    if s.hidden > MAX_HIDDEN {
        return Lowered::not_on_gpu(format!("a state of {} elements is too long", s.hidden));
    }
    if types.has(4) && types.value(4).is_none() {
        return Lowered::not_on_gpu("how long its sequences are is known only while it runs");
    }
    let Some(functions) = op.activations.iter().map(|f| code(*f)).collect::<Option<Vec<_>>>() else {
        return Lowered::not_on_gpu("no kernel has these functions");
    };
    let (n, steps) = (op.cell.gates() * s.hidden, s.seq * s.batch);
    let (state, words) = (s.dirs * s.batch * s.hidden, s.dirs * n * steps.max(s.hidden));
    if (words * 4) as u64 > caps.max_binding_bytes {
        return Lowered::not_on_gpu("what its inputs give to all steps is larger than the GPU's bindings");
    }
    let given = Operand::Scratch(0, s.dirs * steps * n * 4);
    let turned = Operand::Scratch(1, s.dirs * n * s.hidden * 4);
    let initial = Operand::Scratch(2, 2 * state * 4);
    let last = Operand::Scratch(3, 2 * state * 4);
    let of_inputs = ProductLaunch {
        sizes: [steps, s.input, n],
        batch: (&[s.dirs], [&[0], &[(n * s.input) as isize]]),
        transposed: [false, true],
        scale: 1.0,
        added: [false; 2],
        function: (u32::MAX, 0.0, 0.0),
    };
    let moved = |shape: &[usize], from: (usize, isize, &[isize]), to: (usize, isize, &[isize])| {
        Moved { shape, from, to }.launch(DType::F32)
    };
    let (each, row) = ((n * s.hidden) as isize, s.hidden as isize);
    let turn = moved(&[s.dirs, s.hidden, n], (2, 0, &[each, 1, row]), (0, 0, &[each, n as isize, 1]))?;
    let (Some(of_inputs), Some(turn)) = (of_inputs.dispatch()?, turn) else {
        return Lowered::not_on_gpu("no kernel has its products");
    };
    let output = Operand::Output(0);
    let mut launches = vec![of_inputs.rebound(output, given), turn.rebound(output, turned)];
    for (i, start) in [(5, 0), (6, state as isize)] {
        if types.has(i) {
            let copy = moved(&[state], (i, 0, &[1]), (0, start, &[1]))?;
            launches.extend(copy.map(|copy| copy.rebound(output, initial)));
        }
    }
    launches.push(of_steps(op, s, functions, types, [given, turned, initial, last])?);
    for (i, start) in [(1, 0), (2, state as isize)] {
        if i < op.outputs {
            let copy = moved(&[state], (0, start, &[1]), (i, 0, &[1]))?;
            launches.extend(copy.map(|copy| copy.rebound(Operand::Input(0), last)));
        }
    }
    Ok(Lowered::Dispatches(launches))
}

fn of_steps(
    op: &Recurrent,
    s: Sizes,
    functions: Vec<[u32; 4]>,
    types: &Types,
    [given, turned, initial, last]: [Operand; 4],
) -> Result<Dispatch> {
    let each = op.cell.functions();
    let mut table = vec![[0u32; 4]; 6];
    for (i, function) in functions.into_iter().enumerate() {
        table[i / each * 3 + i % each] = function;
    }
    let lengths = types.ints(4)?.unwrap_or_else(|| vec![s.seq as i64; s.batch]);
    table.extend(lengths.iter().map(|&length| [length.clamp(0, s.seq as i64) as u32, 0, 0, 0]));
    let params = Params {
        seq: s.seq as u32,
        batch: s.batch as u32,
        hidden: s.hidden as u32,
        dirs: s.dirs as u32,
        cell: match op.cell {
            Cell::Rnn => 0,
            Cell::Gru { linear_before_reset } => 1 + u32::from(linear_before_reset),
            Cell::Lstm { input_forget } => 3 + u32::from(input_forget),
        },
        gates: op.cell.gates() as u32,
        batch_first: op.batch_first.into(),
        reverse: (op.direction == Direction::Reverse).into(),
        has_bias: types.has(3).into(),
        has_h: types.has(5).into(),
        has_c: types.has(6).into(),
        has_peepholes: types.has(7).into(),
        clip: op.clip.unwrap_or(f32::MAX),
    };
    let mut bindings = vec![(0, given), (1, turned), (6, Operand::Output(0)), (7, last)];
    bindings.extend(types.has(3).then_some((2, Operand::Input(3))));
    bindings.extend((types.has(5) || types.has(6)).then_some((3, initial)));
    bindings.extend(types.has(7).then_some((5, Operand::Input(7))));
    let mut dispatch = Dispatch::new("recurrent", &[], bindings, params.bytes(), [s.batch, s.dirs, 1])?;
    dispatch.table = Some((4, bytemuck::cast_slice(&table).to_vec()));
    Ok(dispatch)
}

params!("recurrent": seq: u32, batch: u32, hidden: u32, dirs: u32, cell: u32, gates: u32, batch_first: u32, reverse: u32,
    has_bias: u32, has_h: u32, has_c: u32, has_peepholes: u32, clip: f32);
