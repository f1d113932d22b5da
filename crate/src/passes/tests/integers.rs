//! Products and convolutions of dequantised values become those of integers, and stay numbers where the pattern is another.

use super::super::optimise;
use crate::graph::{Graph, ValueId};
use crate::kernels::window::{Padding, Sliding};
use crate::ops::Op;
use crate::ops::conv::Conv;
use crate::ops::dequantize::Dequantize;
use crate::ops::product::Product;
use crate::ops::quantize::Quantize;
use crate::ops::transpose::Transpose;
use crate::tensor::Tensor;
use crate::types::{DType, TensorType};

fn op(graph: &mut Graph, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
    let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
    graph.defer("node", op, &inputs, &["node"])[0]
}

/// Levels of that type as numbers, with `n` scales along an axis.
fn numbers(graph: &mut Graph, x: ValueId, n: usize, axis: i64) -> ValueId {
    let shape: &[usize] = if n == 1 { &[] } else { &[n] };
    let scale = graph.constant("scale", Tensor::new(shape, &vec![0.25f32; n]).unwrap());
    let zero = graph.constant("zero", Tensor::new(shape, &vec![3i8; n]).unwrap());
    op(graph, Dequantize::along(axis), &[x, scale, zero])
}

fn levels(graph: &mut Graph, x: ValueId, scale: f32) -> ValueId {
    let scale = graph.constant("scale", Tensor::new(&[], &[scale]).unwrap());
    let zero = graph.constant("zero", Tensor::new(&[], &[3i8]).unwrap());
    op(graph, Quantize::along(0, DType::I8), &[x, scale, zero])
}

fn names(mut graph: Graph, y: ValueId) -> Vec<&'static str> {
    graph.output("y", y);
    optimise(&mut graph).unwrap();
    graph.nodes().map(|(_, node)| node.op.name()).collect()
}

#[test]
fn products_of_levels() {
    // Scales of the activations, scales of the matrix along an axis.
    let cases: [(usize, usize, i64, &[&str]); 4] = [
        (1, 1, 1, &["integer_product"]),
        (1, 4, 1, &["integer_product"]),
        (1, 6, 0, &["dequantize", "matmul", "quantize"]),
        (6, 1, 1, &["dequantize", "matmul", "quantize"]),
    ];
    for (of_x, of_w, axis, wanted) in cases {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::new(DType::I8, [2usize, 6]));
        let w = graph.constant("w", Tensor::new(&[6, 4], &[5i8; 24]).unwrap());
        let x = numbers(&mut graph, x, of_x, 1);
        let w = numbers(&mut graph, w, of_w, axis);
        let y = op(&mut graph, Product::default(), &[x, w]);
        let y = levels(&mut graph, y, 0.5);
        assert_eq!(names(graph, y), wanted, "{of_x}, {of_w} along {axis}");
    }
}

#[test]
fn convolutions_of_levels() {
    let cases: [(usize, i64, &[&str]); 3] =
        [(1, 0, &["integer_conv"]), (4, 0, &["integer_conv"]), (2, 1, &["dequantize", "conv", "quantize"])];
    for (of_w, axis, wanted) in cases {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::new(DType::I8, [1usize, 2, 6, 6]));
        let w = graph.constant("w", Tensor::new(&[4, 2, 3, 3], &[5i8; 72]).unwrap());
        let x = numbers(&mut graph, x, 1, 0);
        let w = numbers(&mut graph, w, of_w, axis);
        let sliding = Sliding { strides: None, dilations: None, padding: Padding::Valid };
        let conv = Conv { sliding, groups: 1, transposed: None, activation: None };
        let y = op(&mut graph, conv, &[x, w]);
        let y = levels(&mut graph, y, 0.5);
        assert_eq!(names(graph, y), wanted, "{of_w} along {axis}");
    }
}

#[test]
fn levels_move_where_their_scale_stays() {
    for (scale, wanted) in [(0.25, &["transpose"][..]), (0.5, &["dequantize", "transpose", "quantize"][..])] {
        let mut graph = Graph::new();
        let x = graph.input("x", TensorType::new(DType::I8, [2usize, 6, 3]));
        let x = numbers(&mut graph, x, 1, 0);
        let y = op(&mut graph, Transpose { order: Some(vec![2, 0, 1]) }, &[x]);
        let y = levels(&mut graph, y, scale);
        assert_eq!(names(graph, y), wanted, "{scale}");
    }
}
