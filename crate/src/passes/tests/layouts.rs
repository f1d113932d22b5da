//! Rewrites of where elements lie: transposes that sink and meet, reshapes around them, and columns of products.

use super::networks::{Net, conv, image, rows};
use crate::graph::ValueId;
use crate::ops::binary::BinaryFunction::*;
use crate::ops::concat::Concat;
use crate::ops::expand::Expand;
use crate::ops::matmul::MatMul;
use crate::ops::pad::{Pad, PadMode};
use crate::ops::reduce::{Reduce, ReduceAxes, ReduceFunction};
use crate::ops::reshape::Reshape;
use crate::ops::slice::Slice;
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::split::Split;
use crate::ops::take::Take;
use crate::ops::transpose::Transpose;
use crate::ops::unary::UnaryFunction;

const LAST: [usize; 4] = [0, 2, 3, 1];
const FIRST: [usize; 4] = [0, 3, 1, 2];

fn turn(n: &mut Net, x: ValueId, order: &[usize]) -> ValueId {
    n.op(Transpose { order: Some(order.to_vec()) }, &[x])
}

fn reshape(n: &mut Net, x: ValueId, shape: &[i64]) -> ValueId {
    let shape = n.ints(shape);
    n.op(Reshape::To { allow_zero: false }, &[x, shape])
}

/// Convolutions between which channels lie last, as TensorFlow has them; `shown` shows what lies so.
fn channels_last(shown: bool) -> Vec<&'static str> {
    let mut n = image();
    let (a, b) = (n.noise(&[4, 4, 3, 3], 1), n.noise(&[6, 4, 1, 1], 2));
    let y = n.op(conv(1, 1), &[n.x, a]);
    let y = turn(&mut n, y, &LAST);
    let (scale, shift) = (n.noise(&[4], 3), n.noise(&[1, 1, 1, 4], 4));
    let y = n.binary(Mul, y, scale);
    let y = n.binary(Add, shift, y);
    let last = n.unary(UnaryFunction::Relu, y);
    let y = turn(&mut n, last, &FIRST);
    let y = n.op(conv(0, 1), &[y, b]);
    n.rewritten(&[y, last][..1 + usize::from(shown)])
}

#[test]
fn transposes_between_convolutions_meet() {
    assert_eq!(channels_last(false), ["conv", "conv"]);
    assert_eq!(channels_last(true).iter().filter(|name| **name == "transpose").count(), 1);
}

#[test]
fn a_sum_of_two_that_are_transposed_is_transposed_once() {
    let mut n = image();
    let other = n.unary(UnaryFunction::Neg, n.x);
    let x = n.x;
    let (a, b) = (turn(&mut n, x, &LAST), turn(&mut n, other, &LAST));
    let y = n.binary(Add, a, b);
    assert_eq!(n.rewritten(&[y]), ["unary", "binary", "transpose"]);
    // Beside one in another order, both stay where they are.
    let mut n = Net::new(&["b", "4", "4", "4"], &[2, 4, 4, 4]);
    let x = n.x;
    let (a, b) = (turn(&mut n, x, &LAST), turn(&mut n, x, &FIRST));
    let y = n.binary(Sub, a, b);
    assert_eq!(n.rewritten(&[y]), ["transpose", "transpose", "binary"]);
    // A function alone moves nothing less.
    let mut n = image();
    let x = n.x;
    let a = turn(&mut n, x, &LAST);
    let y = n.unary(UnaryFunction::Exp, a);
    assert_eq!(n.rewritten(&[y]), ["transpose", "unary"]);
}

#[test]
fn axes_follow_transposes_that_pass() {
    let through = |op: &dyn Fn(&mut Net, ValueId) -> ValueId| {
        let mut n = image();
        let x = n.x;
        let x = turn(&mut n, x, &LAST);
        let y = op(&mut n, x);
        let y = n.unary(UnaryFunction::Neg, y);
        let y = turn(&mut n, y, &FIRST);
        n.rewritten(&[y])
    };
    let softmax =
        |n: &mut Net, x| n.op(Softmax { function: SoftmaxFunction::Softmax, axis: -1, flatten: false }, &[x]);
    assert_eq!(through(&softmax), ["softmax", "unary"]);
    let padded = |n: &mut Net, x| {
        let pads = n.ints(&[0, 1, 0, 2, 0, 0, 1, 0]);
        n.op(Pad { mode: PadMode::Constant }, &[x, pads])
    };
    assert_eq!(through(&padded), ["pad", "unary"]);
    let cut = |n: &mut Net, x| {
        let (start, end, axis) = (n.ints(&[1]), n.ints(&[3]), n.ints(&[3]));
        n.op(Slice, &[x, start, end, axis])
    };
    assert_eq!(through(&cut), ["slice", "unary"]);
    let summed = |n: &mut Net, x| {
        let axes = n.ints(&[-1]);
        let mean = Reduce {
            function: ReduceFunction::Mean,
            axes: ReduceAxes::Given { none_is_none: false },
            keep: true,
        };
        n.op(mean, &[x, axes])
    };
    assert_eq!(through(&summed), ["reduce", "unary"]);
    let joined = |n: &mut Net, x| {
        let twice = n.unary(UnaryFunction::Exp, x);
        n.op(Concat { axis: 3 }, &[x, twice])
    };
    assert_eq!(through(&joined), ["unary", "concat", "unary"]);
    // The reshape puts what lies last beside what lies before it: it must be transposed.
    let flat = |n: &mut Net, x| {
        let y = reshape(n, x, &[0, 0, -1, 1]);
        n.unary(UnaryFunction::Exp, y)
    };
    assert!(through(&flat).contains(&"transpose"));
}

#[test]
fn dimensions_of_one_come_and_go_beside_transposes() {
    let mut n = rows();
    let x = n.x;
    let x = turn(&mut n, x, &[0, 2, 1]);
    let axes = n.ints(&[2]);
    let x = n.op(Reshape::Unsqueeze, &[x, axes]);
    let x = n.unary(UnaryFunction::Exp, x);
    let x = n.op(Reshape::Squeeze, &[x, axes]);
    let y = turn(&mut n, x, &[0, 2, 1]);
    let names = n.rewritten(&[y]);
    assert!(!names.contains(&"transpose"), "{names:?}");
}

#[test]
fn a_transpose_between_reshapes_is_one_of_more_dimensions() {
    for (middle, together) in [([-1, 8, 8], true), ([-1, 4, 16], false)] {
        let mut n = Net::new(&["b", "4", "8", "8"], &[2, 4, 8, 8]);
        let x = n.x;
        let y = reshape(&mut n, x, &middle);
        let y = turn(&mut n, y, &[0, 2, 1]);
        let y = reshape(&mut n, y, &[-1, 4, 8, 8]);
        let names = n.rewritten(&[y]);
        assert_eq!(names.len() == 1, together, "{names:?}");
    }
}

/// A product of which queries, keys and values are parts, taken apart as `how` says.
fn parts(how: usize, shown: bool) -> Vec<&'static str> {
    let mut n = rows();
    let (w, bias) = (n.noise(&[96, 64], 1), n.noise(&[96], 2));
    let all = n.op(MatMul::default(), &[n.x, w, bias]);
    let outputs: Vec<ValueId> = match how {
        0 => {
            let op = Split { axis: -1, parts: 3 };
            n.graph.defer("split", op, &[Some(all)], &["a", "b", "c"])
        }
        1 => {
            let cut = |n: &mut Net, i: i64| {
                let (start, end, axis) = (n.ints(&[32 * i]), n.ints(&[32 * i + 32]), n.ints(&[2]));
                n.op(Slice, &[all, start, end, axis])
            };
            (0..3).map(|i| cut(&mut n, i)).collect()
        }
        _ => {
            let apart = reshape(&mut n, all, &[0, 0, 3, 2, 16]);
            let turned = turn(&mut n, apart, &[2, 0, 3, 1, 4]);
            let take = |n: &mut Net, i: i64| {
                let i = n.graph.constant("i", crate::tensor::Tensor::new(&[], &[i]).unwrap());
                n.op(Take { axis: 0 }, &[turned, i])
            };
            (0..3).map(|i| take(&mut n, i)).collect()
        }
    };
    let mut outputs: Vec<ValueId> = outputs.iter().map(|x| n.unary(UnaryFunction::Exp, *x)).collect();
    outputs.extend(shown.then_some(all));
    n.rewritten(&outputs)
}

#[test]
fn columns_that_are_taken_apart_are_products_of_their_own() {
    let count = |names: &[&str], name: &str| names.iter().filter(|own| **own == name).count();
    for how in 0..3 {
        let names = parts(how, false);
        assert_eq!(
            (count(&names, "matmul"), count(&names, "slice"), count(&names, "split")),
            (3, 0, 0),
            "{how}"
        );
        assert_eq!(count(&parts(how, true), "matmul"), 1, "{how}");
    }
}

#[test]
fn a_product_of_rows_put_together_takes_them_as_they_are() {
    for (like, want) in [(true, 1), (false, 3)] {
        let mut n = rows();
        let w = n.noise(&[32, 64], 1);
        let x = n.x;
        let flat = reshape(&mut n, x, &[-1, 64]);
        let y = n.op(MatMul::default(), &[flat, w]);
        let y = if like { reshape_like(&mut n, y) } else { reshape(&mut n, y, &[5, -1, 32]) };
        assert_eq!(n.rewritten(&[y]).len(), want);
    }
}

/// Rows taken apart again by sizes that are computed from the input.
fn reshape_like(n: &mut Net, y: ValueId) -> ValueId {
    let shape = n.op(crate::ops::shape::Shape::Dimensions { start: 0, end: Some(2) }, &[n.x]);
    let last = n.ints(&[32]);
    let shape = n.op(Concat { axis: 0 }, &[shape, last]);
    n.op(Reshape::To { allow_zero: false }, &[y, shape])
}

#[test]
fn what_is_repeated_for_a_sum_is_not() {
    for (dims, want) in [(&[1i64, 1, 64][..], 2), (&[3, 2, 5, 64], 3)] {
        let mut n = rows();
        let axes = n.ints(&[1, 2]);
        let mean = Reduce {
            function: ReduceFunction::Mean,
            axes: ReduceAxes::Given { none_is_none: false },
            keep: true,
        };
        let small = n.op(mean, &[n.x, axes]);
        let shape = if want == 2 {
            n.op(crate::ops::shape::Shape::Dimensions { start: 0, end: None }, &[n.x])
        } else {
            n.ints(dims)
        };
        let wide = n.op(Expand::Broadcast, &[small, shape]);
        let y = n.binary(Mul, n.x, wide);
        assert_eq!(n.rewritten(&[y]).len(), want);
    }
}
