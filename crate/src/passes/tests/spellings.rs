//! Attention and conditions as today's exporters spell them.

use super::networks::{Net, rows};
use crate::graph::ValueId;
use crate::ops::binary::BinaryFunction::*;
use crate::ops::choose::Choose;
use crate::ops::concat::Concat;
use crate::ops::expand::Expand;
use crate::ops::product::Product;
use crate::ops::reshape::Reshape;
use crate::ops::select::Select;
use crate::ops::shape::Shape;
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::take::Take;
use crate::ops::transpose::Transpose;
use crate::ops::unary::UnaryFunction;
use crate::tensor::Tensor;

fn reshape(n: &mut Net, x: ValueId, shape: &[i64]) -> ValueId {
    let shape = n.ints(shape);
    n.op(Reshape::To { allow_zero: false }, &[x, shape])
}

fn heads(n: &mut Net, seed: usize, heads: usize) -> ValueId {
    let w = n.noise(&[64, 16 * heads], seed);
    let y = n.op(Product::default(), &[n.x, w]);
    let y = reshape(n, y, &[0, 0, heads as i64, 16]);
    n.op(Transpose { order: Some(vec![0, 2, 1, 3]) }, &[y])
}

/// How an attention is spelt.
#[derive(Clone, Copy)]
struct Spelling {
    /// What takes the place of shares that are no numbers.
    guard: Option<f32>,
    /// What takes the place of scores that a mask hides, and whether the mask says which stay.
    filled: Option<(f32, bool)>,
    /// Whether two masks are added.
    masks: bool,
    /// Whether keys are transposed in three dimensions.
    three: bool,
    /// Whether heads of keys and values are repeated, and those of keys in the order of those of values.
    repeated: Option<bool>,
}

const PLAIN: Spelling = Spelling { guard: None, filled: None, masks: false, three: false, repeated: None };

/// Repeats each head twice.
fn twice(n: &mut Net, x: ValueId) -> ValueId {
    let axes = n.ints(&[2]);
    let x = n.op(Reshape::Unsqueeze, &[x, axes]);
    let shape = n.ints(&[1, 1, 2, 1, 1]);
    let x = n.op(Expand::Broadcast, &[x, shape]);
    reshape(n, x, &[0, 4, -1, 16])
}

fn spelt(spelling: Spelling) -> Vec<&'static str> {
    let mut n = rows();
    let kv_heads = if spelling.repeated.is_some() { 2 } else { 4 };
    let (q, k, v) = (heads(&mut n, 1, 4), heads(&mut n, 2, kv_heads), heads(&mut n, 3, kv_heads));
    let (mut k, mut v) = (k, v);
    if let Some(alike) = spelling.repeated {
        v = twice(&mut n, v);
        k = if alike {
            twice(&mut n, k)
        } else {
            let times = n.ints(&[1, 2, 1, 1]);
            n.op(Expand::Tile, &[k, times])
        };
    }
    let k = if spelling.three {
        let size = |n: &mut Net, start, end| n.op(Shape::Dimensions { start, end: Some(end) }, &[k]);
        let (outer, rows) = (size(&mut n, 0, 2), size(&mut n, 2, 3));
        let (rest, depth) = (n.ints(&[-1]), n.ints(&[16]));
        let flat = n.op(Concat { axis: 0 }, &[rest, rows, depth]);
        let flat = n.op(Reshape::To { allow_zero: false }, &[k, flat]);
        let flat = n.op(Transpose { order: Some(vec![0, 2, 1]) }, &[flat]);
        let apart = n.op(Concat { axis: 0 }, &[outer, depth, rows]);
        n.op(Reshape::To { allow_zero: false }, &[flat, apart])
    } else {
        n.op(Transpose { order: Some(vec![0, 1, 3, 2]) }, &[k])
    };
    let root = n.scalar(0.2);
    let (q, k) = (n.binary(Mul, q, root), n.binary(Mul, k, root));
    let mut scores = n.op(Product::default(), &[q, k]);
    if let Some((number, kept)) = spelling.filled {
        let noise = n.noise(&[1, 1, 5, 5], 7);
        let zero = n.scalar(0.3);
        let seen = n.binary(if kept { Less } else { Greater }, noise, zero);
        let number = n.scalar(number);
        let [a, b] = if kept { [scores, number] } else { [number, scores] };
        scores = n.op(Select, &[seen, a, b]);
    }
    if spelling.masks {
        let (bias, mask) = (n.noise(&[1, 4, 5, 5], 8), n.noise(&[2, 1, 1, 5], 9));
        scores = n.binary(Add, scores, bias);
        scores = n.binary(Add, mask, scores);
    }
    let mut shares =
        n.op(Softmax { function: SoftmaxFunction::Softmax, axis: -1, flatten: false }, &[scores]);
    if let Some(instead) = spelling.guard {
        let none = n.unary(UnaryFunction::IsNan, shares);
        let instead = n.scalar(instead);
        shares = n.op(Select, &[none, instead, shares]);
    }
    let y = n.op(Product::default(), &[shares, v]);
    let y = n.op(Transpose { order: Some(vec![0, 2, 1, 3]) }, &[y]);
    let y = reshape(&mut n, y, &[0, 0, -1]);
    n.rewritten(&[y])
}

#[test]
fn spellings_of_attention_are_one_operator() {
    let low = f32::MIN;
    for (what, spelling, want) in [
        ("plain", PLAIN, 4),
        ("guarded", Spelling { guard: Some(0.0), ..PLAIN }, 4),
        ("filled where hidden", Spelling { filled: Some((low, false)), ..PLAIN }, 5),
        ("filled where not seen", Spelling { filled: Some((f32::NEG_INFINITY, true)), ..PLAIN }, 5),
        ("two masks", Spelling { masks: true, ..PLAIN }, 5),
        ("keys in three dimensions", Spelling { three: true, ..PLAIN }, 4),
        ("repeated heads", Spelling { repeated: Some(true), ..PLAIN }, 4),
    ] {
        let names = spelt(spelling);
        assert!(names.contains(&"full_attention") && names.len() == want, "{what}: {names:?}");
        assert!(!names.contains(&"expand"), "{what}");
    }
}

#[test]
fn what_is_not_quite_attention_stays() {
    for (what, spelling) in [
        ("shares that become one", Spelling { guard: Some(1.0), ..PLAIN }),
        ("scores that count", Spelling { filled: Some((-2.0, false)), ..PLAIN }),
    ] {
        assert!(!spelt(spelling).contains(&"full_attention"), "{what}");
    }
    // Heads that are repeated in another order are so still.
    assert!(spelt(Spelling { repeated: Some(false), ..PLAIN }).contains(&"expand"));
}

/// One way where the size of dimension `axis` is `equal`, else the other.
fn chosen(axis: i64, equal: i64) -> Vec<&'static str> {
    let mut n = rows();
    let shape = n.op(Shape::Dimensions { start: 0, end: None }, &[n.x]);
    let at = n.graph.constant("at", Tensor::new(&[], &[axis]).unwrap());
    let size = n.op(Take { axis: 0 }, &[shape, at]);
    let wanted = n.graph.constant("wanted", Tensor::new(&[], &[equal]).unwrap());
    let condition = n.binary(Equal, size, wanted);
    let (a, b) = (n.unary(UnaryFunction::Neg, n.x), n.unary(UnaryFunction::Exp, n.x));
    let y = n.op(Choose, &[condition, a, b]);
    n.rewritten(&[y])
}

#[test]
fn a_condition_on_a_size_is_known_when_the_size_is() {
    assert_eq!(chosen(2, 64), ["unary"]);
    assert_eq!(chosen(2, 65), ["unary"]);
    assert_eq!(chosen(1, -1), ["unary"]);
    assert!(chosen(1, 5).contains(&"choose"));
}

#[test]
fn a_shape_without_what_is_not_there_is_known() {
    // `where(wanted == -1 · ones, ones, wanted)`, as a repetition to a shape is spelt.
    let mut n = rows();
    let shape = n.op(Shape::Dimensions { start: 0, end: None }, &[n.x]);
    let length = n.ints(&[3]);
    let one = n.graph.constant("one", Tensor::new(&[1], &[1i64]).unwrap());
    let ones = n.op(crate::ops::fill::Fill, &[length, one]);
    let minus = n.graph.constant("minus", Tensor::new(&[], &[-1i64]).unwrap());
    let none = n.binary(Mul, ones, minus);
    let hidden = n.binary(Equal, shape, none);
    let shape = n.op(Select, &[hidden, ones, shape]);
    let small = n.noise(&[1, 1, 64], 4);
    let wide = n.op(Expand::Broadcast, &[small, shape]);
    let y = n.binary(Add, n.x, wide);
    assert_eq!(n.rewritten(&[y]), ["binary"]);
}
