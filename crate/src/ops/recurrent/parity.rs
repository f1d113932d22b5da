//! The naive reference, one number at a time as ONNX's formulas say, and cases.

use super::*;
use crate::ops::case::{Array, Case, Given, Tolerance, indices};

fn activation(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Affine { alpha, beta } => f64::from(alpha) * x + f64::from(beta),
        Activation::ScaledTanh { alpha, beta } => f64::from(alpha) * (f64::from(beta) * x).tanh(),
        Activation::Unary(UnaryFunction::Tanh) => x.tanh(),
        Activation::Unary(UnaryFunction::Sigmoid) => 1.0 / (1.0 + (-x).exp()),
        Activation::Unary(UnaryFunction::Relu) => x.max(0.0),
        Activation::Unary(UnaryFunction::HardSigmoid { alpha, beta }) => {
            (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
        }
        other => panic!("no case uses {other:?}"),
    }
}

/// As DynamicQuantizeLinear and back.
fn rounded(x: &[f64]) -> Vec<f64> {
    let (low, high) = x.iter().fold((0.0f64, 0.0f64), |(low, high), x| (low.min(*x), high.max(*x)));
    let step = if high > low { (high - low) / 255.0 } else { 1.0 };
    let zero = (-low / step).round_ties_even();
    x.iter().map(|x| (((x / step).round_ties_even() + zero).clamp(0.0, 255.0) - zero) * step).collect()
}

/// With `rounds`, of a batch of one.
fn reference_recurrent(op: &Recurrent, given: &[Option<Array>]) -> Vec<Array> {
    let array = |i: usize| given.get(i).and_then(Option::as_ref);
    let (x, w, r) = (array(0).expect("x"), array(1).expect("w"), array(2).expect("r"));
    let (dirs, hidden) = (r.shape[0], r.shape[2]);
    let met = |x: &[f64]| if op.rounds { rounded(x) } else { x.to_vec() };
    let x = &Array::new(&x.shape, met(&x.values));
    let (first, second, input) = (x.shape[0], x.shape[1], x.shape[2]);
    let (seq, batch) = if op.batch_first { (second, first) } else { (first, second) };
    let state_shape = if op.batch_first { [batch, dirs, hidden] } else { [dirs, batch, hidden] };
    let y_shape = if op.batch_first { [batch, seq, dirs, hidden] } else { [seq, dirs, batch, hidden] };
    let state_at = |d: usize, b: usize, j: usize| if op.batch_first { [b, d, j] } else { [d, b, j] };
    let mut y = Array::new(&y_shape, vec![0.0; seq * dirs * batch * hidden]);
    let mut last = [(); 2].map(|()| Array::new(&state_shape, vec![0.0; dirs * batch * hidden]));
    let put = |array: &mut Array, index: &[usize], value: f64| {
        let at = index.iter().zip(&array.shape).fold(0, |at, (i, n)| at * n + i);
        array.values[at] = value;
    };
    for (d, b) in (0..dirs).flat_map(|d| (0..batch).map(move |b| (d, b))) {
        let start = |i: usize, j: usize| array(i).map_or(0.0, |s| s.at(&state_at(d, b, j)));
        let mut h: Vec<f64> = (0..hidden).map(|j| start(5, j)).collect();
        let mut c: Vec<f64> = (0..hidden).map(|j| start(6, j)).collect();
        let length = array(4).map_or(seq, |lengths| lengths.values[b] as usize);
        let backwards = op.direction == Direction::Reverse || d == 1;
        for step in 0..length {
            let t = if backwards { length - 1 - step } else { step };
            let gates = op.cell.gates();
            let from_x = |gate: usize, j: usize| {
                let row = gate * hidden + j;
                let at = |i: usize| if op.batch_first { [b, t, i] } else { [t, b, i] };
                let product: f64 = (0..input).map(|i| x.at(&at(i)) * w.at(&[d, row, i])).sum();
                product + array(3).map_or(0.0, |bias| bias.at(&[d, row]))
            };
            let r_bias = |gate: usize, j: usize| {
                array(3).map_or(0.0, |bias| bias.at(&[d, (gates + gate) * hidden + j]))
            };
            let from_h = |gate: usize, j: usize, h: &[f64]| -> f64 {
                let h = met(h);
                (0..hidden).map(|i| h[i] * r.at(&[d, gate * hidden + j, i])).sum()
            };
            let peep =
                |gate: usize, j: usize, c: f64| array(7).map_or(0.0, |p| p.at(&[d, gate * hidden + j]) * c);
            let f = |index: usize, x: f64| {
                let x = op.clip.map_or(x, |limit| x.clamp(-f64::from(limit), f64::from(limit)));
                activation(op.activations[d * op.cell.functions() + index], x)
            };
            let plain =
                |gate: usize, j: usize, h: &[f64]| from_x(gate, j) + from_h(gate, j, h) + r_bias(gate, j);
            let mut new = vec![0.0; hidden];
            match op.cell {
                Cell::Rnn => (0..hidden).for_each(|j| new[j] = f(0, plain(0, j, &h))),
                Cell::Gru { linear_before_reset } => {
                    let reset: Vec<f64> = (0..hidden).map(|j| f(0, plain(1, j, &h))).collect();
                    let shrunk: Vec<f64> = reset.iter().zip(&h).map(|(r, h)| r * h).collect();
                    for j in 0..hidden {
                        let z = f(0, plain(0, j, &h));
                        let from_state = if linear_before_reset {
                            reset[j] * (from_h(2, j, &h) + r_bias(2, j))
                        } else {
                            from_h(2, j, &shrunk) + r_bias(2, j)
                        };
                        new[j] = (1.0 - z) * f(1, from_x(2, j) + from_state) + z * h[j];
                    }
                }
                Cell::Lstm { input_forget } => {
                    for j in 0..hidden {
                        let i = f(0, plain(0, j, &h) + peep(0, j, c[j]));
                        let forget =
                            if input_forget { 1.0 - i } else { f(0, plain(2, j, &h) + peep(2, j, c[j])) };
                        let cell = forget * c[j] + i * f(1, plain(3, j, &h));
                        let o = f(0, plain(1, j, &h) + peep(1, j, cell));
                        c[j] = cell;
                        new[j] = o * f(2, cell);
                    }
                }
            }
            h = new;
            for (j, h) in h.iter().enumerate() {
                let index = if op.batch_first { [b, t, d, j] } else { [t, d, b, j] };
                put(&mut y, &index, *h);
            }
        }
        for j in 0..hidden {
            put(&mut last[0], &state_at(d, b, j), h[j]);
            put(&mut last[1], &state_at(d, b, j), c[j]);
        }
    }
    let [h, c] = last;
    assert_eq!(indices(&y.shape).count(), y.values.len());
    [y, h, c].into_iter().take(op.outputs).collect()
}

pub fn cases() -> Vec<Case> {
    use UnaryFunction::{HardSigmoid, Relu, Sigmoid, Tanh};
    let unary = Activation::Unary;
    let defaults = |cell: Cell| match cell {
        Cell::Rnn => vec![unary(Tanh)],
        Cell::Gru { .. } => vec![unary(Sigmoid), unary(Tanh)],
        Cell::Lstm { .. } => vec![unary(Sigmoid), unary(Tanh), unary(Tanh)],
    };
    let mut cases = Vec::new();
    let mut add =
        |op: Recurrent, [seq, batch, input, hidden]: [usize; 4], lengths: Option<Vec<i32>>, peeps: bool| {
            let (dirs, gates) = (op.dirs(), op.cell.gates());
            let is_lstm = matches!(op.cell, Cell::Lstm { .. });
            let x = if op.batch_first { [batch, seq, input] } else { [seq, batch, input] };
            let state = if op.batch_first { [batch, dirs, hidden] } else { [dirs, batch, hidden] };
            let optional = |yes: bool, given: Given| if yes { given } else { Given::Absent };
            let all = lengths.is_some();
            let inputs = vec![
                Given::noise(&x, 1),
                Given::noise(&[dirs, gates * hidden, input], 2),
                Given::noise(&[dirs, gates * hidden, hidden], 3),
                optional(all, Given::noise(&[dirs, 2 * gates * hidden], 4)),
                lengths.map_or(Given::Absent, |lengths| Given::fed(&[batch], &lengths)),
                optional(all, Given::noise(&state, 5)),
                optional(all && is_lstm, Given::noise(&state, 6)),
                optional(peeps, Given::noise(&[dirs, 3 * hidden], 7)),
            ];
            let name =
                format!("{:?} {:?} {seq}x{batch}x{input}x{hidden}, {all} {peeps}", op.cell, op.direction);
            let reference = op.clone();
            cases.push(Case::new(name, op, inputs, Tolerance::of(2e-5), move |x| {
                reference_recurrent(&reference, x)
            }));
        };
    let cells = [
        Cell::Rnn,
        Cell::Gru { linear_before_reset: false },
        Cell::Gru { linear_before_reset: true },
        Cell::Lstm { input_forget: false },
        Cell::Lstm { input_forget: true },
    ];
    for cell in cells {
        let is_lstm = matches!(cell, Cell::Lstm { .. });
        let outputs = if is_lstm { 3 } else { 2 };
        for direction in [Direction::Forward, Direction::Reverse, Direction::Both] {
            let dirs = if direction == Direction::Both { 2 } else { 1 };
            let activations = defaults(cell).repeat(dirs);
            for batch_first in [false, true] {
                let op = Recurrent {
                    cell,
                    direction,
                    activations: activations.clone(),
                    clip: None,
                    batch_first,
                    rounds: false,
                    outputs,
                };
                add(op.clone(), [3, 2, 5, 9], None, false);
                add(op, [4, 5, 6, 8], Some(vec![4, 1, 0, 3, 2]), is_lstm);
            }
        }
        let mut activations = vec![unary(HardSigmoid { alpha: 0.3, beta: 0.4 })];
        activations.push(Activation::ScaledTanh { alpha: 1.5, beta: 0.7 });
        activations.push(Activation::Affine { alpha: 0.9, beta: 0.1 });
        activations.truncate(cell.functions());
        let op = Recurrent {
            cell,
            direction: Direction::Forward,
            activations,
            clip: Some(0.6),
            batch_first: false,
            rounds: false,
            outputs,
        };
        add(op.clone(), [7, 3, 4, 6], None, is_lstm);
        let relu = vec![unary(Relu); cell.functions()];
        add(Recurrent { activations: relu, clip: None, outputs: 1, ..op.clone() }, [2, 1, 3, 4], None, false);
        if is_lstm {
            let op = Recurrent { activations: defaults(cell), clip: None, rounds: true, ..op };
            add(op, [4, 1, 5, 6], None, false);
        }
    }
    cases
}
