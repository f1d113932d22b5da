//! Products of one-hot rows.

use super::networks::Net;
use crate::graph::ValueId;
use crate::ops::binary::BinaryFunction::{Add, Equal, Mul};
use crate::ops::cast::Cast;
use crate::ops::one_hot::OneHot;
use crate::ops::product::Product;
use crate::ops::reshape::Reshape;
use crate::ops::unary::UnaryFunction;
use crate::tensor::Tensor;
use crate::types::DType;

/// A network whose input is integers of -8 to 8, `[b, 7]`.
fn integers(dtype: DType) -> (Net, ValueId) {
    let mut n = Net::new(&["b", "7"], &[3, 7]);
    let eight = n.scalar(8.4);
    let x = n.binary(Mul, n.x, eight);
    let x = n.op(Cast::to(dtype), &[x]);
    (n, x)
}

/// The operators left of rows that have their one where an index is one of `places`, times a matrix.
fn of_places(dtype: DType, places: [i32; 5], turned: bool) -> Vec<&'static str> {
    let (mut n, x) = integers(dtype);
    let axis = n.ints(&[-1]);
    let x = n.op(Reshape::Unsqueeze, &[x, axis]);
    let places = match dtype {
        DType::I32 => Tensor::new(&[1, 1, 5], &places),
        _ => Tensor::new(&[5], &places.map(i64::from)),
    };
    let places = n.graph.constant("places", places.unwrap());
    let hot = if turned { n.binary(Equal, places, x) } else { n.binary(Equal, x, places) };
    let hot = n.op(Cast::to(DType::F32), &[hot]);
    let (w, b) = (n.noise(&[5, 6], 1), n.noise(&[6], 2));
    let y = n.op(Product::default(), &[hot, w]);
    let y = n.binary(Add, y, b);
    let y = n.unary(UnaryFunction::Sigmoid, y);
    n.rewritten(&[y])
}

#[test]
fn rows_of_ones_at_counted_places_are_looked_up() {
    for ops in [
        of_places(DType::I32, [0, 1, 2, 3, 4], false),
        of_places(DType::I32, [0, 1, 2, 3, 4], true),
        of_places(DType::I64, [0, 1, 2, 3, 4], false),
    ] {
        // A factor and a cast make the integers; the rest keeps them in bounds.
        assert_eq!(ops, ["binary", "cast", "reshape", "binary", "binary", "reshape", "take"]);
    }
    for places in [[1, 2, 3, 4, 5], [0, 1, 2, 4, 3], [0, 1, 2, 2, 3]] {
        let ops = of_places(DType::I32, places, false);
        assert!(ops.contains(&"matmul") && !ops.contains(&"take"), "{ops:?}");
    }
}

/// The operators left of ONNX's one-hot rows, times a matrix.
fn of_one_hot(values: [f32; 2], axis: i64, rows: usize) -> Vec<&'static str> {
    let (mut n, x) = integers(DType::I64);
    let depth = n.graph.constant("depth", Tensor::new(&[], &[5i64]).unwrap());
    let values = n.graph.constant("values", Tensor::new(&[2], &values).unwrap());
    let hot = n.op(OneHot { axis }, &[x, depth, values]);
    let w = n.noise(&[rows, 6], 1);
    let y = n.op(Product::default(), &[hot, w]);
    n.rewritten(&[y])
}

#[test]
fn one_hot_rows_are_looked_up() {
    for axis in [-1, 2] {
        let ops = of_one_hot([0.0, 1.0], axis, 5);
        assert!(ops.contains(&"take") && !ops.contains(&"matmul") && !ops.contains(&"one_hot"), "{ops:?}");
    }
    for (values, axis, rows) in [([0.0, 2.0], -1, 5), ([1.0, 0.0], -1, 5), ([0.0, 1.0], 1, 7)] {
        let ops = of_one_hot(values, axis, rows);
        assert!(ops.contains(&"matmul") && ops.contains(&"one_hot"), "{ops:?}");
    }
}
