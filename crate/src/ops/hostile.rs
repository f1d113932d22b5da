//! Inputs that a hostile or careless model gives its operators: a result or an error, never a panic.

use super::depth_space::{DepthSpace, DepthSpaceWay};
use super::gather_nd::GatherNd;
use super::quantize::Quantize;
use super::resize::{Resize, SizePolicy};
use super::sort_k::SortK;
use super::*;
use crate::kernels::resize::{Coordinates, Method, Nearest};

fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape, values).expect("values of the shape")
}

#[test]
fn an_index_without_parts_is_all_of_the_tensor() {
    let indices = Tensor::zeros(DType::I64, &[3, 0]).expect("no elements");
    let y =
        Op::from(GatherNd { batch_dims: 0 }).eval_now(&[Some(&floats(&[2], &[4.0, 5.0])), Some(&indices)]);
    assert_eq!(y.expect("three copies")[0].data::<f32>().expect("floats"), [4.0, 5.0, 4.0, 5.0, 4.0, 5.0]);
}

#[test]
fn what_is_no_number_sorts_above_all() {
    let values: Vec<f32> =
        (0..100).map(|i| if i % 3 == 0 { f32::NAN } else { (i * 37 % 100) as f32 }).collect();
    let k = Tensor::new(&[1], &[100i64]).expect("one element");
    let y = Op::from(SortK { axis: 0, largest: false }).eval_now(&[Some(&floats(&[100], &values)), Some(&k)]);
    let y = y.expect("an order")[0].clone();
    let y = y.data::<f32>().expect("floats");
    assert!(y[..66].is_sorted() && y[66..].iter().all(|x| x.is_nan()), "{y:?}");
}

#[test]
fn blocks_beyond_all_numbers_are_refused() {
    let x = floats(&[1, 4, 2, 2], &[0.0; 16]);
    for way in [DepthSpaceWay::ToSpace, DepthSpaceWay::ToDepth] {
        for block in [0, 1 << (usize::BITS / 2), usize::MAX] {
            let error = Op::from(DepthSpace { block, way }).eval_now(&[Some(&x)]).expect_err("no such block");
            assert!(error.message().contains("blocks"), "{error}");
        }
    }
}

#[test]
fn zeros_that_are_not_like_the_scales_are_refused() {
    let op = Op::from(Quantize::along(0, DType::U8));
    let (x, scale) = (floats(&[2], &[1.0, 2.0]), floats(&[2], &[1.0, 1.0]));
    let zero = Tensor::zeros(DType::U8, &[1]).expect("one element");
    let error = op.eval_now(&[Some(&x), Some(&scale), Some(&zero)]).expect_err("one zero for two scales");
    assert!(error.message().contains("zeros"), "{error}");
}

#[test]
fn nothing_cannot_become_something() {
    let op = Op::from(Resize {
        method: Method::Nearest(Nearest::Floor),
        coordinates: Coordinates::Asymmetric,
        axes: None,
        policy: SizePolicy::Stretch,
        exclude_outside: false,
        antialias: false,
        outside: 0.0,
    });
    let sizes = Tensor::new(&[1], &[3i64]).expect("one element");
    let error =
        op.eval_now(&[Some(&floats(&[0], &[])), None, None, Some(&sizes)]).expect_err("an empty image");
    assert!(error.message().contains("cannot become"), "{error}");
}
