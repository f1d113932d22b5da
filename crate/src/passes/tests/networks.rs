//! Rewrites of networks whose sizes are open: each computes what it did, in fewer operators, and stays as it is where the
//! pattern is another.

use super::super::optimise;
use crate::backend::cpu::CpuBackend;
use crate::graph::{Graph, ValueId};
use crate::kernels::window::{Padding, Sliding};
use crate::ops::Op;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::binary::{Binary, BinaryFunction::*};
use crate::ops::cast::Cast;
use crate::ops::conv::{Conv, Transposed};
use crate::ops::layer_norm::LayerNorm;
use crate::ops::matmul::MatMul;
use crate::ops::pad::{Pad, PadMode};
use crate::ops::product::Product;
use crate::ops::reduce::{Reduce, ReduceFunction};
use crate::ops::reshape::Reshape;
use crate::ops::shape::Shape;
use crate::ops::slice::Slice;
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::take::Take;
use crate::ops::transpose::Transpose;
use crate::ops::unary::{Unary, UnaryFunction};
use crate::session::Session;
use crate::tensor::Tensor;
use crate::types::{DType, Dim, Shape as Dims, TensorType};

/// A network on its way, with one input `x`.
pub(super) struct Net {
    pub(super) graph: Graph,
    pub(super) x: ValueId,
    fed: Vec<usize>,
}

fn noise(dims: &[usize], seed: usize) -> Tensor {
    let n: usize = dims.iter().product();
    let values: Vec<f32> =
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect();
    Tensor::new(dims, &values).unwrap()
}

impl Net {
    /// Of an input whose named sizes are open, fed with these.
    pub(super) fn new(dims: &[&str], fed: &[usize]) -> Self {
        let dim = |dim: &&str| dim.parse().map_or_else(|_| Dim::symbol(dim), Dim::Known);
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::f32(Dims(dims.iter().map(dim).collect())));
        Self { graph, x, fed: fed.to_vec() }
    }

    pub(super) fn op(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.graph.defer("node", op, &inputs, &["node"])[0]
    }

    pub(super) fn unary(&mut self, function: UnaryFunction, x: ValueId) -> ValueId {
        self.op(Unary { function }, &[x])
    }

    pub(super) fn binary(
        &mut self,
        function: crate::ops::binary::BinaryFunction,
        a: ValueId,
        b: ValueId,
    ) -> ValueId {
        self.op(Binary { function }, &[a, b])
    }

    pub(super) fn scalar(&mut self, value: f32) -> ValueId {
        self.graph.constant("scalar", Tensor::new(&[], &[value]).unwrap())
    }

    pub(super) fn ints(&mut self, values: &[i64]) -> ValueId {
        self.graph.constant("ints", Tensor::new(&[values.len()], values).unwrap())
    }

    pub(super) fn noise(&mut self, dims: &[usize], seed: usize) -> ValueId {
        self.graph.constant("noise", noise(dims, seed))
    }

    /// Positive numbers.
    fn variances(&mut self, n: usize) -> ValueId {
        let values: Vec<f32> = (0..n).map(|i| 0.5 + i as f32).collect();
        self.graph.constant("variances", Tensor::new(&[n], &values).unwrap())
    }

    fn run(&self) -> Vec<Tensor> {
        let backend = CpuBackend::new(&self.graph, true).unwrap();
        let mut session = Session::new(self.graph.clone(), Box::new(backend));
        let n = self.graph.outputs().len();
        let names: Vec<String> = (0..n).map(|i| format!("y{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        pollster::block_on(session.run(vec![("x", noise(&self.fed, 3))], &names)).unwrap()
    }

    /// The names of the operators after all passes, once the outputs are found to be what they were.
    pub(super) fn rewritten(mut self, outputs: &[ValueId]) -> Vec<&'static str> {
        for (i, output) in outputs.iter().enumerate() {
            self.graph.output(&format!("y{i}"), *output);
        }
        let want = self.run();
        optimise(&mut self.graph).unwrap();
        for (got, want) in self.run().iter().zip(&want) {
            assert_eq!(got.ty(), want.ty());
            let (got, want) = (got.view().to_floats().unwrap(), want.view().to_floats().unwrap());
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() <= 2e-5 * want.abs().max(1.0), "{got} {want}\n{}", self.graph);
            }
        }
        self.graph.nodes().map(|(_, node)| node.op.name()).collect()
    }
}

fn sliding(pad: usize) -> Sliding {
    Sliding { strides: None, dilations: None, padding: Padding::Given(vec![pad; 4]) }
}

pub(super) fn conv(pad: usize, groups: usize) -> Conv {
    Conv { sliding: sliding(pad), groups, transposed: None, activation: None }
}

pub(super) fn image() -> Net {
    Net::new(&["b", "4", "h", "w"], &[2, 4, 5, 6])
}

#[test]
fn functions_spelt_out_are_seen_in_any_order() {
    let hard_swish = |divide_first: bool, shift: f32| {
        let mut n = image();
        let (x, three, six) = (n.x, n.scalar(shift), n.scalar(6.0));
        let sum = n.binary(Add, x, three);
        let clip = n.unary(UnaryFunction::Clip { min: 0.0, max: 6.0 }, sum);
        let y = if divide_first {
            let gate = n.binary(Div, clip, six);
            n.binary(Mul, gate, x)
        } else {
            let product = n.binary(Mul, x, clip);
            n.binary(Div, product, six)
        };
        n.rewritten(&[y])
    };
    assert_eq!(hard_swish(false, 3.0), ["unary"]);
    assert_eq!(hard_swish(true, 3.0), ["unary"]);
    assert_eq!(hard_swish(false, 2.5).len(), 4);
    let gelu = |half_first: bool, half: f32| {
        let mut n = image();
        let (x, root, one, half) = (n.x, n.scalar(std::f32::consts::SQRT_2), n.scalar(1.0), n.scalar(half));
        let inner = n.binary(Div, x, root);
        let erf = n.unary(UnaryFunction::Erf, inner);
        let sum = n.binary(Add, one, erf);
        let (a, b) = if half_first { (x, half) } else { (x, sum) };
        let product = n.binary(Mul, a, b);
        let y = if half_first { n.binary(Mul, sum, product) } else { n.binary(Mul, product, half) };
        n.rewritten(&[y])
    };
    assert_eq!(gelu(false, 0.5), ["unary"]);
    assert_eq!(gelu(true, 0.5), ["unary"]);
    assert!(gelu(true, 0.6).len() > 3);
    let tanh_gelu = |third: f32| {
        let mut n = image();
        let (x, cube, factor) = (n.x, n.scalar(third), n.scalar(0.044715));
        let (root, one, half) = (n.scalar((2.0 / std::f32::consts::PI).sqrt()), n.scalar(1.0), n.scalar(0.5));
        let cube = n.binary(Pow, x, cube);
        let cube = n.binary(Mul, factor, cube);
        let sum = n.binary(Add, x, cube);
        let inner = n.binary(Mul, sum, root);
        let tanh = n.unary(UnaryFunction::Tanh, inner);
        let sum = n.binary(Add, tanh, one);
        let product = n.binary(Mul, x, sum);
        let y = n.binary(Mul, half, product);
        n.rewritten(&[y])
    };
    assert_eq!(tanh_gelu(3.0), ["unary"]);
    assert!(tanh_gelu(2.0).len() > 5);
    let silu = |shown: bool| {
        let mut n = image();
        let x = n.x;
        let gate = n.unary(UnaryFunction::Sigmoid, x);
        let y = n.binary(Mul, gate, x);
        n.rewritten(&[y, gate][..1 + usize::from(shown)])
    };
    assert_eq!(silu(false), ["unary"]);
    assert_eq!(silu(true).len(), 2);
    let mut n = image();
    let soft = n.unary(UnaryFunction::Softplus, n.x);
    let tanh = n.unary(UnaryFunction::Tanh, soft);
    let y = n.binary(Mul, n.x, tanh);
    assert_eq!(n.rewritten(&[y]), ["unary"]);
}

#[test]
fn what_follows_a_convolution_is_part_of_it() {
    for groups in [1, 2] {
        for transposed in [false, true] {
            let mut n = image();
            let dims = if transposed { [4, 6 / groups, 3, 3] } else { [6, 4 / groups, 3, 3] };
            let w = n.noise(&dims, 1);
            let mut op = conv(1, groups);
            op.transposed = transposed.then_some(Transposed { output_padding: None, output_shape: None });
            let y = n.op(op, &[n.x, w]);
            let stats = [n.noise(&[6], 2), n.noise(&[6], 3), n.noise(&[6], 4), n.variances(6)];
            let y = n.op(BatchNorm { epsilon: 1e-5 }, &[y, stats[0], stats[1], stats[2], stats[3]]);
            let factor = n.noise(&[6, 1, 1], 5);
            let y = n.binary(Mul, factor, y);
            let shift = n.noise(&[1, 6, 1, 1], 6);
            let y = n.binary(Sub, y, shift);
            let y = n.unary(UnaryFunction::Neg, y);
            let y = n.unary(UnaryFunction::Relu, y);
            assert_eq!(n.rewritten(&[y]), ["conv"], "{groups} {transposed}");
        }
    }
}

#[test]
fn a_sum_of_another_shape_or_a_result_with_other_users_stays() {
    for (shown, wide, want) in [(false, false, 1), (true, false, 3), (false, true, 3)] {
        let mut n = image();
        let w = n.noise(&[4, 4, 3, 3], 1);
        let y = n.op(conv(1, 1), &[n.x, w]);
        let other = if wide { n.noise(&[1, 1, 1, 6], 2) } else { n.x };
        let sum = n.binary(Add, other, y);
        let out = n.unary(UnaryFunction::HardSwish, sum);
        let names = n.rewritten(&[out, y][..1 + usize::from(shown)]);
        assert_eq!(names.len(), want, "{shown} {wide}");
    }
}

#[test]
fn what_comes_before_a_convolution_goes_into_it_where_no_padding_is_beside_it() {
    for (pad, want) in [(0, &["conv"][..]), (1, &["batch_norm", "conv"])] {
        let mut n = image();
        let (scale, shift) = (n.scalar(1.5), n.scalar(-0.5));
        let y = n.binary(Mul, scale, n.x);
        let y = n.binary(Add, y, shift);
        let w = n.noise(&[6, 2, 3, 3], 1);
        let y = n.op(conv(pad, 2), &[y, w]);
        assert_eq!(n.rewritten(&[y]), want);
    }
    for (value, mode, want) in
        [(0.0, PadMode::Constant, 1), (1.0, PadMode::Constant, 2), (0.0, PadMode::Edge, 2)]
    {
        let mut n = image();
        let (pads, value) = (n.ints(&[0, 0, 1, 0, 0, 0, 2, 1]), n.scalar(value));
        let y = n.op(Pad { mode }, &[n.x, pads, value]);
        let w = n.noise(&[6, 4, 3, 3], 1);
        let y = n.op(conv(0, 1), &[y, w]);
        assert_eq!(n.rewritten(&[y]).len(), want);
    }
}

pub(super) fn rows() -> Net {
    Net::new(&["b", "s", "64"], &[2, 5, 64])
}

#[test]
fn what_follows_a_product_is_part_of_it() {
    for (shown, want) in [(false, 1), (true, 4)] {
        let mut n = rows();
        let w = n.noise(&[64, 64], 1);
        let y = n.op(Product::default(), &[n.x, w]);
        let half = n.scalar(0.5);
        let scaled = n.binary(Mul, y, half);
        let bias = n.noise(&[64], 2);
        let y = n.binary(Add, bias, scaled);
        let y = n.binary(Add, y, n.x);
        let y = n.unary(UnaryFunction::Gelu { tanh: false }, y);
        let names = n.rewritten(&[y, scaled][..1 + usize::from(shown)]);
        assert_eq!(names.len(), want, "{names:?}");
    }
}

/// A norm in parts; of `mean_of` the mean is taken away.
fn layer_norm(power: bool, other: bool) -> Vec<&'static str> {
    let mut n = rows();
    let mean_of = if other { n.unary(UnaryFunction::Neg, n.x) } else { n.x };
    let axes = n.ints(&[-1]);
    let mean = |n: &mut Net, x| {
        let axes_given = crate::ops::reduce::ReduceAxes::Given { none_is_none: false };
        n.op(Reduce { function: ReduceFunction::Mean, axes: axes_given, keep: true }, &[x, axes])
    };
    let m = mean(&mut n, mean_of);
    let d = n.binary(Sub, n.x, m);
    let two = n.scalar(2.0);
    let square = if power { n.binary(Pow, d, two) } else { n.binary(Mul, d, d) };
    let variance = mean(&mut n, square);
    let epsilon = n.scalar(1e-5);
    let sum = n.binary(Add, epsilon, variance);
    let root = n.unary(UnaryFunction::Sqrt, sum);
    let normed = if power {
        n.binary(Div, d, root)
    } else {
        let inverse = n.unary(UnaryFunction::Reciprocal, root);
        n.binary(Mul, inverse, d)
    };
    let (weight, bias) = (n.noise(&[64], 1), n.noise(&[64], 2));
    let scaled = n.binary(Mul, weight, normed);
    let y = n.binary(Add, scaled, bias);
    n.rewritten(&[y])
}

#[test]
fn a_layer_norm_is_seen_in_its_parts() {
    assert_eq!(layer_norm(true, false), ["layer_norm"]);
    assert_eq!(layer_norm(false, false), ["layer_norm"]);
    // Of another mean, what is left is a norm without one.
    assert!(!layer_norm(true, true).contains(&"layer_norm"));
}

/// Attention of two heads, as exporters spell it; `sum` leaves the softmax out of use, `shown` shows it.
fn attention(scale_first: bool, masked: bool, shown: bool) -> Vec<&'static str> {
    let mut n = rows();
    let heads = |n: &mut Net, seed: usize, order: &[usize]| {
        let w = n.noise(&[64, 64], seed);
        let y = n.op(Product::default(), &[n.x, w]);
        let shape = n.op(Shape::Dimensions { start: 0, end: None }, &[y]);
        let (zero, one, two) = (n.ints(&[0]), n.ints(&[1]), n.ints(&[2, -1]));
        let batch = n.op(Slice, &[shape, zero, one]);
        let rows = n.op(Take { axis: 0 }, &[shape, one]);
        let shape = n.op(crate::ops::concat::Concat { axis: 0 }, &[batch, rows, two]);
        let y = n.op(Reshape::To { allow_zero: false }, &[y, shape]);
        n.op(Transpose { order: Some(order.to_vec()) }, &[y])
    };
    let mut q = heads(&mut n, 1, &[0, 2, 1, 3]);
    let (k, v) = (heads(&mut n, 2, &[0, 2, 3, 1]), heads(&mut n, 3, &[0, 2, 1, 3]));
    let scale = n.scalar(0.05);
    if scale_first {
        q = n.binary(Mul, q, scale);
    }
    let mut scores = n.op(Product::default(), &[q, k]);
    if !scale_first {
        scores = n.binary(Mul, scores, scale);
    }
    if masked {
        let mask = n.noise(&[1, 1, 5, 5], 9);
        scores = n.binary(Add, scores, mask);
    }
    let shares = n.op(Softmax { function: SoftmaxFunction::Softmax, axis: -1, flatten: false }, &[scores]);
    let y = n.op(Product::default(), &[shares, v]);
    let y = n.op(Transpose { order: Some(vec![0, 2, 1, 3]) }, &[y]);
    let shape = n.ints(&[0, 0, -1]);
    let y = n.op(Reshape::To { allow_zero: false }, &[y, shape]);
    n.rewritten(&[y, shares][..1 + usize::from(shown)])
}

#[test]
fn attention_spelt_out_is_one_operator_unless_its_scores_are_shown() {
    for (scale_first, masked) in [(false, false), (false, true), (true, false), (true, true)] {
        let names = attention(scale_first, masked, false);
        assert_eq!(names, ["matmul", "matmul", "matmul", "full_attention"], "{scale_first} {masked}");
    }
    assert!(!attention(false, true, true).contains(&"full_attention"));
}

#[test]
fn what_moves_nothing_goes() {
    let mut n = rows();
    let cast = n.op(Cast::to(DType::F32), &[n.x]);
    let there = n.op(Transpose { order: Some(vec![0, 2, 1]) }, &[cast]);
    let back = n.op(Transpose { order: Some(vec![0, 2, 1]) }, &[there]);
    let axes = n.ints(&[1]);
    let wide = n.op(Reshape::Unsqueeze, &[back, axes]);
    let narrow = n.op(Reshape::Squeeze, &[wide, axes]);
    let (start, end) = (n.ints(&[0]), n.ints(&[i64::MAX]));
    let all = n.op(Slice, &[narrow, start, end]);
    let zero = n.scalar(0.0);
    let same = n.binary(Add, all, zero);
    let y = n.unary(UnaryFunction::Neg, same);
    assert_eq!(n.rewritten(&[y]), ["unary"]);
    let mut n = rows();
    let (start, end) = (n.ints(&[1]), n.ints(&[i64::MAX]));
    let part = n.op(Slice, &[n.x, start, end]);
    let turned = n.op(Transpose { order: Some(vec![0, 2, 1]) }, &[part]);
    assert_eq!(n.rewritten(&[turned]), ["slice", "transpose"]);
}

#[test]
fn a_choice_that_is_known_is_made() {
    for known in [true, false] {
        let mut n = rows();
        let condition = if known {
            n.graph.constant("condition", Tensor::zeros(DType::Bool, &[1]).unwrap())
        } else {
            let axes = crate::ops::reduce::ReduceAxes::Given { none_is_none: false };
            let sum = n.op(Reduce { function: ReduceFunction::Sum, axes, keep: false }, &[n.x]);
            let zero = n.scalar(0.0);
            n.binary(Greater, sum, zero)
        };
        let (a, b) = (n.unary(UnaryFunction::Neg, n.x), n.unary(UnaryFunction::Exp, n.x));
        let y = n.op(crate::ops::choose::Choose, &[condition, a, b]);
        let names = n.rewritten(&[y]);
        assert_eq!(names.contains(&"choose"), !known);
        assert!(!known || names == ["unary"]);
    }
}

#[test]
fn what_is_computed_twice_is_computed_once() {
    let mut n = rows();
    let (a, b) = (n.unary(UnaryFunction::Exp, n.x), n.unary(UnaryFunction::Exp, n.x));
    let c = n.unary(UnaryFunction::Neg, n.x);
    let sum = n.binary(Add, a, c);
    let y = n.binary(Mul, sum, b);
    assert_eq!(n.rewritten(&[y]).len(), 4);
}

#[test]
fn kept_forms_stay() {
    // A norm and a product that are operators already are left as they are.
    let mut n = rows();
    let (weight, bias, w) = (n.noise(&[64], 1), n.noise(&[64], 2), n.noise(&[32, 64], 3));
    let y = n.op(LayerNorm { axis: -1, centre: true, epsilon: 1e-5, outputs: 1 }, &[n.x, weight, bias]);
    let y = n.op(MatMul::default(), &[y, w]);
    assert_eq!(n.rewritten(&[y]), ["layer_norm", "matmul"]);
}
