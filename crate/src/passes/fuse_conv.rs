//! What is done to each channel, or element, of a convolution's result becomes part of it: batch norms, factors and sums by
//! constants go into its weight and bias; then it adds what has its own type, and applies the function after that. What is
//! done to its input goes into it too where that is the same: factors, sums where no padding lies beside them, and padding.

use super::matching::{binary_of, constant, each, either, ints, same_type, sole, unary_of};
use crate::error::Result;
use crate::graph::{Graph, Node, ValueId};
use crate::kernels::window::{Padding, Sliding};
use crate::ops::Op;
use crate::ops::binary::BinaryFunction;
use crate::ops::conv::Conv;
use crate::ops::pad::{Pad, PadMode};
use crate::ops::unary::UnaryFunction;
use crate::tensor::Tensor;

/// Rewrites every convolution that it can.
pub fn run(graph: &mut Graph) -> Result<usize> {
    each(graph, |graph, node| match &node.op {
        Op::BatchNorm(norm) => batch_norm(graph, node, norm.epsilon),
        Op::Binary(_) => match affine(graph, node)? {
            None => residual(graph, node),
            found => Ok(found),
        },
        Op::Unary(_) => match negated(graph, node)? {
            None => activation(graph, node),
            found => Ok(found),
        },
        Op::Conv(conv) => input(graph, node, conv),
        _ => Ok(None),
    })
}

/// Whether a convolution or a product can apply a function last.
pub(super) fn is_activation(function: UnaryFunction) -> bool {
    use UnaryFunction::*;
    matches!(
        function,
        Clip { .. }
            | Elu { .. }
            | Gelu { .. }
            | HardSigmoid { .. }
            | HardSwish
            | LeakyRelu { .. }
            | Mish
            | Relu
            | Sigmoid
            | Silu
            | Softplus
            | Swish { .. }
            | Tanh
    )
}

/// A convolution that nothing is fused into but a bias, with a constant weight.
struct Plain {
    op: Conv,
    x: ValueId,
    w: Tensor,
    bias: Option<Tensor>,
    filters: usize,
}

/// The convolution that computes `value` for one user.
fn plain(graph: &Graph, value: ValueId) -> Option<Plain> {
    of_node(graph, sole(graph, value)?)
}

fn of_node(graph: &Graph, node: &Node) -> Option<Plain> {
    let Op::Conv(op @ Conv { activation: None, .. }) = &node.op else { return None };
    let input = |i: usize| node.inputs.get(i).copied().flatten();
    let (x, w, None) = (input(0)?, constant(graph, input(1)?)?.clone(), input(3)) else { return None };
    let bias = match input(2) {
        Some(bias) => Some(constant(graph, bias)?.clone()),
        None => None,
    };
    let per_group = *w.shape().get(usize::from(op.transposed.is_some()))?;
    let filters = if op.transposed.is_some() { per_group.checked_mul(op.groups)? } else { per_group };
    (w.data::<f32>().is_ok() && filters > 0 && op.groups > 0 && filters.is_multiple_of(op.groups))
        .then(|| Plain { op: op.clone(), x, w, bias, filters })
}

impl Plain {
    /// The filter that each element of the weight belongs to.
    fn filter_of(&self) -> impl Fn(usize) -> usize + use<> {
        let shape = self.w.shape();
        let (transposed, groups) = (self.op.transposed.is_some(), self.op.groups);
        let (inner, second, rows) = (shape[2..].iter().product::<usize>().max(1), shape[1].max(1), shape[0]);
        move |i| match (i / (inner * second), i / inner % second) {
            (row, column) if transposed => row / (rows / groups).max(1) * second + column,
            (row, _) => row,
        }
    }

    /// The channel of the input that each element of the weight meets.
    fn channel_of(&self) -> impl Fn(usize) -> usize + use<> {
        let shape = self.w.shape();
        let (transposed, per_group) = (self.op.transposed.is_some(), (self.filters / self.op.groups).max(1));
        let (inner, second) = (shape[2..].iter().product::<usize>().max(1), shape[1].max(1));
        move |i| match (i / (inner * second), i / inner % second) {
            (row, _) if transposed => row,
            (row, column) => row / per_group * second + column,
        }
    }

    fn channels(&self) -> usize {
        let shape = self.w.shape();
        if self.op.transposed.is_some() { shape[0] } else { shape[1] * self.op.groups }
    }

    /// Multiplies the result by a number for each filter, and adds one.
    fn scale_result(&mut self, scale: &[f64], shift: &[f64]) -> Result<()> {
        let filter_of = self.filter_of();
        for (i, w) in self.w.data_mut::<f32>()?.iter_mut().enumerate() {
            *w = (f64::from(*w) * scale[filter_of(i)]) as f32;
        }
        self.set_bias(|i, bias| bias * scale[i] + shift[i])
    }

    /// Does the same for each channel of the input, of which none is padding where something is added.
    fn scale_input(&mut self, scale: &[f64], shift: &[f64]) -> Result<()> {
        let (filter_of, channel_of) = (self.filter_of(), self.channel_of());
        let mut added = vec![0.0; self.filters];
        for (i, w) in self.w.data_mut::<f32>()?.iter_mut().enumerate() {
            added[filter_of(i)] += f64::from(*w) * shift[channel_of(i)];
            *w = (f64::from(*w) * scale[channel_of(i)]) as f32;
        }
        if shift.iter().all(|shift| *shift == 0.0) {
            return Ok(());
        }
        self.set_bias(|i, bias| bias + added[i])
    }

    fn set_bias(&mut self, of: impl Fn(usize, f64) -> f64) -> Result<()> {
        let old = match &self.bias {
            Some(bias) => bias.data::<f32>()?.to_vec(),
            None => vec![0.0; self.filters],
        };
        let new: Vec<f32> = old.iter().enumerate().map(|(i, bias)| of(i, f64::from(*bias)) as f32).collect();
        self.bias = Some(Tensor::new(&[self.filters], &new)?);
        Ok(())
    }

    fn emit(self, graph: &mut Graph, name: &str) -> Result<Option<ValueId>> {
        let w = graph.constant(&format!("{name}.weight"), self.w);
        let bias = self.bias.map(|bias| graph.constant(&format!("{name}.bias"), bias));
        let mut inputs = vec![Some(self.x), Some(w)];
        inputs.extend(bias.map(Some));
        graph.emit1(name, self.op, &inputs).map(Some)
    }
}

/// A constant as a number for each of `n` channels, beside an image of that rank.
fn per_channel(graph: &Graph, value: ValueId, n: usize, rank: usize) -> Option<Vec<f64>> {
    let tensor = constant(graph, value)?;
    let data = tensor.data::<f32>().ok()?;
    let shape = tensor.shape();
    // Counted from the end, all but the channels are 1.
    let of_channels =
        shape.iter().rev().enumerate().all(|(i, size)| *size == 1 || (i + 2 == rank && *size == n));
    let fits = shape.len() <= rank && of_channels;
    match data {
        &[one] if fits => Some(vec![f64::from(one); n]),
        many if fits && many.len() == n => Some(many.iter().map(|x| f64::from(*x)).collect()),
        _ => None,
    }
}

/// The scale and shift of a batch norm.
fn statistics(graph: &Graph, node: &Node, epsilon: f32) -> Option<[Vec<f64>; 2]> {
    let of = |i: usize| constant(graph, (*node.inputs.get(i)?)?)?.data::<f32>().ok();
    let (scale, bias, mean, variance) = (of(1)?, of(2)?, of(3)?, of(4)?);
    let alike = [bias, mean, variance].iter().all(|other| other.len() == scale.len());
    let factor = |i: usize| f64::from(scale[i]) / (f64::from(variance[i]) + f64::from(epsilon)).sqrt();
    alike.then(|| {
        let scales: Vec<f64> = (0..scale.len()).map(factor).collect();
        let shifts = (0..scale.len()).map(|i| f64::from(bias[i]) - f64::from(mean[i]) * scales[i]).collect();
        [scales, shifts]
    })
}

fn batch_norm(graph: &mut Graph, node: &Node, epsilon: f32) -> Result<Option<ValueId>> {
    let found = node.input(0).and_then(|x| Some((plain(graph, x)?, statistics(graph, node, epsilon)?)));
    let Some((mut conv, [scale, shift])) = found else { return Ok(None) };
    if scale.len() != conv.filters {
        return Ok(None);
    }
    conv.scale_result(&scale, &shift)?;
    conv.emit(graph, &node.name)
}

/// A factor or a sum by constants for each channel, on a value: the value, scale and shift.
pub(super) fn affine_of(
    graph: &Graph,
    node: &Node,
    n: usize,
    rank: usize,
) -> Option<(ValueId, Vec<f64>, Vec<f64>)> {
    use BinaryFunction::{Add, Div, Mul, Sub};
    let (function, a, b) = binary_of(node)?;
    let (x, numbers, swapped) = match per_channel(graph, b, n, rank) {
        Some(numbers) => (a, numbers, false),
        None => (b, per_channel(graph, a, n, rank)?, true),
    };
    let (ones, zeros) = (vec![1.0; n], vec![0.0; n]);
    Some(match (function, swapped) {
        (Add, _) => (x, ones, numbers),
        (Mul, _) => (x, numbers, zeros),
        (Sub, false) => (x, ones, numbers.iter().map(|x| -x).collect()),
        (Sub, true) => (x, vec![-1.0; n], numbers),
        (Div, false) => (x, numbers.iter().map(|x| 1.0 / x).collect(), zeros),
        _ => return None,
    })
}

/// A convolution whose result changes its sign.
fn negated(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = unary_of(node).filter(|(function, _)| *function == UnaryFunction::Neg);
    let Some(mut conv) = found.and_then(|(_, x)| plain(graph, x)) else { return Ok(None) };
    let n = conv.filters;
    conv.scale_result(&vec![-1.0; n], &vec![0.0; n])?;
    conv.emit(graph, &node.name)
}

fn affine(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = binary_of(node).and_then(|(_, a, b)| {
        let conv = plain(graph, a).or_else(|| plain(graph, b))?;
        let (_, scale, shift) = affine_of(graph, node, conv.filters, conv.w.shape().len())?;
        Some((conv, scale, shift))
    });
    let Some((mut conv, scale, shift)) = found else { return Ok(None) };
    conv.scale_result(&scale, &shift)?;
    conv.emit(graph, &node.name)
}

/// The sum of a convolution with what has its type.
fn residual(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = either(node, BinaryFunction::Add).find_map(|(conv, other)| {
        let Node { op: op @ Op::Conv(Conv { activation: None, .. }), inputs, .. } = sole(graph, conv)? else {
            return None;
        };
        let free = inputs.get(3).copied().flatten().is_none();
        (free && same_type(graph, conv, other)).then(|| (op.clone(), inputs.clone(), other))
    });
    let Some((op, mut inputs, other)) = found else { return Ok(None) };
    inputs.resize(3, None);
    inputs.push(Some(other));
    graph.emit1(&node.name, op, &inputs).map(Some)
}

fn activation(graph: &mut Graph, node: &Node) -> Result<Option<ValueId>> {
    let found = unary_of(node).and_then(|(function, x)| {
        let Node { op: Op::Conv(op @ Conv { activation: None, .. }), inputs, .. } = sole(graph, x)? else {
            return None;
        };
        is_activation(function).then(|| (Conv { activation: Some(function), ..op.clone() }, inputs.clone()))
    });
    match found {
        Some((op, inputs)) => graph.emit1(&node.name, op, &inputs).map(Some),
        None => Ok(None),
    }
}

/// What is done to the input: padding, and numbers for each channel.
fn input(graph: &mut Graph, node: &Node, op: &Conv) -> Result<Option<ValueId>> {
    if let Some((x, sliding)) = padded(graph, node, op) {
        let mut inputs = node.inputs.clone();
        inputs[0] = Some(x);
        return graph.emit1(&node.name, Conv { sliding, ..op.clone() }, &inputs).map(Some);
    }
    // The function and what else is added come after, and stay.
    let bare = Node { op: Op::Conv(Conv { activation: None, ..op.clone() }), ..node.clone() };
    let Some(mut conv) = of_node(graph, &bare) else { return Ok(None) };
    let mut made = false;
    while let Some(before) = sole(graph, conv.x)
        && let Some((x, scale, shift)) = affine_of(graph, before, conv.channels(), conv.w.shape().len())
    {
        let adds = shift.iter().any(|shift| *shift != 0.0);
        if adds && !(op.transposed.is_none() && is_unpadded(&op.sliding.padding)) {
            break;
        }
        conv.scale_input(&scale, &shift)?;
        conv.x = x;
        made = true;
    }
    conv.op.activation = op.activation;
    if made { conv.emit(graph, &node.name) } else { Ok(None) }
}

fn is_unpadded(padding: &Padding) -> bool {
    match padding {
        Padding::Given(pads) => pads.iter().all(|pad| *pad == 0),
        Padding::Valid => true,
        _ => false,
    }
}

/// The input before zeros were put around it, and the padding with them.
fn padded(graph: &Graph, node: &Node, op: &Conv) -> Option<(ValueId, Sliding)> {
    let Node { op: Op::Pad(Pad { mode: PadMode::Constant }), inputs, .. } = sole(graph, node.input(0)?)?
    else {
        return None;
    };
    let optional = |i: usize| inputs.get(i).copied().flatten();
    let (x, pads, None) = (optional(0)?, ints(graph, optional(1)?)?, optional(3)) else { return None };
    if let Some(value) = optional(2)
        && constant(graph, value)?.data::<f32>().ok()?.iter().any(|x| *x != 0.0)
    {
        return None;
    }
    let rank = pads.len() / 2;
    let (before, after) = pads.split_at(rank);
    let inside = |pads: &[i64]| pads.iter().take(2).all(|pad| *pad == 0) && pads.iter().all(|pad| *pad >= 0);
    (op.transposed.is_none() && rank > 2 && inside(before) && inside(after)).then_some(())?;
    let own = match &op.sliding.padding {
        Padding::Valid => vec![0; 2 * (rank - 2)],
        Padding::Given(own) if own.len() == 2 * (rank - 2) => own.clone(),
        _ => return None,
    };
    let added = before[2..].iter().chain(&after[2..]);
    let sum = own.iter().zip(added).map(|(own, pad)| own.checked_add(usize::try_from(*pad).ok()?));
    let padding = Padding::Given(sum.collect::<Option<_>>()?);
    Some((x, Sliding { padding, ..op.sliding.clone() }))
}
