use super::*;
use crate::graph::{Graph, ValueId};
use crate::kernels::window::{Padding, Sliding};
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::concat::Concat;
use crate::ops::conv::Conv;
use crate::ops::pool::{Pool, PoolFunction};
use crate::ops::product::Product;
use crate::ops::reshape::Reshape;
use crate::ops::shape::Shape;
use crate::ops::slice::Slice;
use crate::ops::take::Take;
use crate::types::{DType, Shape as Dims};

fn input(graph: &mut Graph, name: &str, dims: &[&str]) -> ValueId {
    let dim = |dim: &&str| dim.parse().map_or_else(|_| Dim::symbol(dim), Dim::Known);
    graph.input(name, TensorType::f32(Dims(dims.iter().map(dim).collect())))
}

fn ints(graph: &mut Graph, values: &[i64]) -> ValueId {
    graph.constant("ints", Tensor::new(&[values.len()], values).unwrap())
}

fn apply(graph: &mut Graph, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
    let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
    graph.defer("y", op, &inputs, &["y"])[0]
}

/// The type of a value as text, `?` for sizes that nothing is known of.
fn ty(graph: &Graph, id: ValueId) -> String {
    let Some(ty) = &graph.value(id).ty else { return "nothing".into() };
    let dim = |dim: &Dim| if dim.to_string().starts_with('?') { "?".into() } else { dim.to_string() };
    ty.shape.0.iter().map(dim).collect::<Vec<_>>().join(" ")
}

fn conv(stride: usize, padding: Padding) -> Conv {
    let sliding = Sliding { strides: Some(vec![stride; 2]), dilations: None, padding };
    Conv { sliding, groups: 1, transposed: None, activation: None }
}

#[test]
fn windows_keep_what_they_do_not_change() {
    let g = &mut Graph::new();
    let x = input(g, "x", &["b", "3", "h", "64"]);
    let w = g.constant("w", Tensor::zeros(DType::F32, &[8, 3, 3, 3]).unwrap());
    for (op, want) in [
        (conv(1, Padding::Given(vec![1; 4])), "b 8 h 64"),
        (conv(1, Padding::SameUpper), "b 8 h 64"),
        (conv(1, Padding::Valid), "b 8 ? 62"),
        (conv(2, Padding::Given(vec![1; 4])), "b 8 ? 32"),
    ] {
        let y = apply(g, op, &[x, w]);
        assert_eq!(ty(g, y), want);
    }
    let sliding = Sliding { strides: None, dilations: None, padding: Padding::Valid };
    let function = PoolFunction::Average { count_pads: false };
    let pool = Pool { function, kernel: None, sliding, ceil: false, outputs: 1 };
    let y = apply(g, pool, &[x]);
    assert_eq!(ty(g, y), "b 3 1 1");
}

#[test]
fn what_broadcasts_is_known_where_a_number_decides() {
    let g = &mut Graph::new();
    let x = input(g, "x", &["b", "s", "64"]);
    let add = || Binary { function: BinaryFunction::Add };
    for (dims, want) in [
        (&["64"][..], "b s 64"),
        (&["b", "1", "1"], "b s 64"),
        (&["b", "s", "n"], "b s 64"),
        (&["t", "1"], "b ? 64"),
        (&["7", "64"], "b 7 64"),
    ] {
        let other = input(g, "other", dims);
        let y = apply(g, add(), &[x, other]);
        assert_eq!(ty(g, y), want, "{dims:?}");
    }
}

#[test]
fn shapes_are_followed_through_arithmetic() {
    let g = &mut Graph::new();
    let x = input(g, "x", &["b", "s", "384"]);
    let shape = apply(g, Shape::Dimensions { start: 0, end: None }, &[x]);
    let mut parts = Vec::new();
    for i in 0..2 {
        let index = g.constant("i", Tensor::new(&[], &[i as i64]).unwrap());
        let at = apply(g, Take { axis: 0 }, &[shape, index]);
        let zero = ints(g, &[0]);
        parts.push(apply(g, Reshape::Unsqueeze, &[at, zero]));
    }
    let rest = ints(g, &[12, -1]);
    parts.push(rest);
    let wanted = apply(g, Concat { axis: 0 }, &parts);
    let heads = apply(g, Reshape::To { allow_zero: false }, &[x, wanted]);
    assert_eq!(ty(g, heads), "b s 12 32");
    let flat = ints(g, &[0, -1]);
    let flat = apply(g, Reshape::To { allow_zero: false }, &[x, flat]);
    assert_eq!(ty(g, flat), "b 384·s");
    let other = input(g, "other", &["b", "384", "t"]);
    let y = apply(g, Product::default(), &[x, other]);
    assert_eq!(ty(g, y), "b s t");
    let last = apply(g, Shape::Dimensions { start: -1, end: None }, &[x]);
    assert_eq!(g.value(last).ints, Some(vec![Int::Known(384)]));
}

#[test]
fn a_slice_that_some_size_would_cut_says_nothing() {
    let g = &mut Graph::new();
    let x = input(g, "x", &["b", "s", "384"]);
    for (start, end, axis, want) in [
        (0, i64::MAX, 1, "b s 384"),
        (0, 512, 1, "b ? 384"),
        (1, i64::MAX, 1, "b ? 384"),
        (2, -1, 2, "b s 381"),
    ] {
        let inputs = [x, ints(g, &[start]), ints(g, &[end]), ints(g, &[axis])];
        let y = apply(g, Slice, &inputs);
        assert_eq!(ty(g, y), want);
    }
}

#[test]
fn sizes_that_no_tensor_has_are_not_trusted() {
    let g = &mut Graph::new();
    let huge = (1usize << 62).to_string();
    let x = input(g, "x", &["1", "3", &huge, &huge]);
    let w = g.constant("w", Tensor::zeros(DType::F32, &[8, 3, 3, 3]).unwrap());
    let y = apply(g, conv(1, Padding::Valid), &[x, w]);
    assert_eq!(ty(g, y), "nothing");
}
