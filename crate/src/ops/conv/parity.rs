//! The naive references, and cases.

use super::*;
use crate::ops::case::{Array, Case, Given, Tolerance, indices};
use crate::ops::unary::parity::{applied, functions};

/// In two dimensions, every output anew.
fn reference_conv(
    x: &Array,
    w: &Array,
    bias: &Array,
    stride: usize,
    pad: usize,
    groups: usize,
    shape: &[usize],
) -> Array {
    let filters = w.shape[0] / groups;
    let of = |index: Vec<usize>| {
        let mut sum = bias.values[index[1]];
        for tap in indices(&w.shape[1..]) {
            let channel = index[1] / filters * w.shape[1] + tap[0];
            let at = |i: usize| {
                (index[2 + i] * stride + tap[1 + i]).checked_sub(pad).filter(|at| *at < x.shape[2 + i])
            };
            if let (Some(row), Some(column)) = (at(0), at(1)) {
                sum += x.at(&[index[0], channel, row, column]) * w.at(&[&[index[1]], &tap[..]].concat());
            }
        }
        sum
    };
    Array::new(shape, indices(shape).map(of).collect())
}

/// The gradient, in two dimensions: every pixel anew.
fn reference_transposed(
    x: &Array,
    w: &Array,
    stride: usize,
    pad: usize,
    groups: usize,
    shape: &[usize],
) -> Array {
    let (own, each) = (x.shape[1] / groups, w.shape[1]);
    let of = |index: Vec<usize>| {
        let (group, filter) = (index[1] / each, index[1] % each);
        let mut sum = 0.0;
        for tap in indices(&w.shape[2..]) {
            let at = |i: usize| {
                let at = (index[2 + i] + pad).checked_sub(tap[i])?;
                (at.is_multiple_of(stride) && at / stride < x.shape[2 + i]).then_some(at / stride)
            };
            let (Some(row), Some(column)) = (at(0), at(1)) else { continue };
            for channel in group * own..(group + 1) * own {
                sum += x.at(&[index[0], channel, row, column]) * w.at(&[channel, filter, tap[0], tap[1]]);
            }
        }
        sum
    };
    Array::new(shape, indices(shape).map(of).collect())
}

fn square(stride: usize, pad: usize) -> Sliding {
    Sliding { strides: Some(vec![stride; 2]), dilations: None, padding: Padding::Given(vec![pad; 4]) }
}

/// With a weight of the file and all that may follow the sums.
fn fused(
    x: &[usize],
    w: &[usize],
    stride: usize,
    pad: usize,
    groups: usize,
    shape: &'static [usize],
) -> Case {
    let (sliding, activation) = (square(stride, pad), Some(UnaryFunction::HardSwish));
    let op = Conv { sliding, groups, transposed: None, activation };
    let Given::Fed(weight) = Given::noise(w, 2) else { panic!("noise is fed") };
    let given = [Given::noise(x, 1), Given::Known(weight), Given::noise(&w[..1], 3), Given::noise(shape, 4)];
    Case::new(format!("fused, {x:?} by {w:?}"), op, given.to_vec(), Tolerance::of(4e-6), move |given| {
        let [Some(x), Some(w), Some(bias), Some(residual)] = given else { panic!("four inputs") };
        let mut y = reference_conv(x, w, bias, stride, pad, groups, shape);
        y.values.iter_mut().zip(&residual.values).for_each(|(y, r)| *y += r);
        y.values.iter_mut().for_each(|y| *y *= (*y / 6.0 + 0.5).clamp(0.0, 1.0));
        vec![y]
    })
}

fn transposed(
    x: &[usize],
    w: &[usize],
    stride: usize,
    pad: usize,
    groups: usize,
    shape: &'static [usize],
) -> Case {
    let transposed = Some(Transposed { output_padding: None, output_shape: None });
    let op = Conv { sliding: square(stride, pad), groups, transposed, activation: None };
    let given = vec![Given::noise(x, 1), Given::noise(w, 2)];
    Case::new(format!("transposed, {x:?} by {w:?}"), op, given, Tolerance::of(2e-6), move |given| {
        let [Some(x), Some(w)] = given else { panic!("two inputs") };
        vec![reference_transposed(x, w, stride, pad, groups, shape)]
    })
}

/// In any number of dimensions, both ways: what each tap of each window adds.
fn reference_of_any_rank(op: &Conv, x: &Array, w: &Array) -> Array {
    let rank = x.shape.len() - 2;
    let (windows, out) = op.windows(&x.shape, &w.shape).expect("windows that fit");
    let transposed = op.transposed.is_some();
    let filters = if transposed { w.shape[1] * op.groups } else { w.shape[0] };
    let (own, each) = (x.shape[1] / op.groups, filters / op.groups);
    let shape = [&[x.shape[0], filters], &out[..]].concat();
    let mut y = Array::new(&shape, vec![0.0; shape.iter().product()]);
    // Windows slide over the image, transposed over the output.
    let (slides, over) = if transposed { (&x.shape[2..], &out[..]) } else { (&out[..], &x.shape[2..]) };
    for (window, tap) in indices(slides).flat_map(|o| indices(&w.shape[2..]).map(move |tap| (o.clone(), tap)))
    {
        let place = |i: usize| {
            let at = window[i] * windows.strides[i] + tap[i] * windows.dilations[i];
            at.checked_sub(windows.pads[i].0).filter(|at| *at < over[i])
        };
        let Some(place) = (0..rank).map(place).collect::<Option<Vec<_>>>() else { continue };
        let (of_x, of_y) = if transposed { (&window, &place) } else { (&place, &window) };
        for index in indices(&[x.shape[0], filters, own]) {
            let [n, filter, c] = index[..] else { continue };
            let channel = filter / each * own + c;
            let of_w = if transposed { [channel, filter % each] } else { [filter, c] };
            let product = x.at(&[&[n, channel], &of_x[..]].concat()) * w.at(&[&of_w, &tap[..]].concat());
            let at = [&[n, filter], &of_y[..]].concat();
            y.values[at.iter().zip(&shape).fold(0, |at, (i, n)| at * n + i)] += product;
        }
    }
    y
}

/// With strides and dilations that differ by dimension, and a padding at the beginning only.
fn of_any_rank(x: &[usize], w: &[usize], groups: usize, transposed: bool) -> Case {
    let rank = x.len() - 2;
    let sliding = Sliding {
        strides: Some((1..=rank).collect()),
        dilations: Some((1..=rank).rev().collect()),
        padding: Padding::Given([vec![1; rank], vec![0; rank]].concat()),
    };
    let transposed = transposed.then_some(Transposed { output_padding: None, output_shape: None });
    let name = if transposed.is_some() { "transposed, " } else { "" };
    let op = Conv { sliding, groups, transposed, activation: None };
    let own = op.clone();
    let name = format!("{name}{rank} dimensions, {x:?} by {w:?}");
    let given = vec![Given::noise(x, 1), Given::noise(w, 2)];
    Case::new(name, op, given, Tolerance::of(4e-6), move |given| {
        let [Some(x), Some(w)] = given else { panic!("two inputs") };
        vec![reference_of_any_rank(&own, x, w)]
    })
}

/// Every function that may follow, by product and element by element.
fn activated() -> Vec<Case> {
    let all = functions()
        .into_iter()
        .filter(|function| !matches!(function, UnaryFunction::Sqrt | UnaryFunction::Ln));
    let of = |function: UnaryFunction| {
        [(1, [6, 20, 1, 1]), (6, [6, 1, 3, 3])].map(|(groups, w)| {
            let op = Conv { sliding: square(1, 0), groups, transposed: None, activation: Some(function) };
            let (own, c) = (op.clone(), w[1] * groups);
            // Far from zero, where a reciprocal is large.
            let bias = Given::fed(&[6], &[40.0f32, -40.0, 50.0, -50.0, 60.0, -60.0]);
            let bias = if function == UnaryFunction::Reciprocal { bias } else { Given::noise(&[6], 3) };
            let given = vec![Given::noise(&[1, c, 5, 5], 1), Given::noise(&w, 2), bias];
            Case::new(
                format!("{function:?}, {groups} groups"),
                op,
                given,
                Tolerance::of(3e-5),
                move |given| {
                    let [Some(x), Some(w), Some(bias)] = given else { panic!("three inputs") };
                    let mut y = reference_of_any_rank(&own, x, w);
                    let pixels = y.values.len() / 6;
                    y.values.iter_mut().enumerate().for_each(|(i, y)| *y += bias.values[i / pixels]);
                    applied(function, &mut y);
                    vec![y]
                },
            )
        })
    };
    all.filter(|function| {
        !matches!(function, UnaryFunction::Ceil | UnaryFunction::Floor | UnaryFunction::Round)
    })
    .flat_map(of)
    .collect()
}

pub fn cases() -> Vec<Case> {
    let case =
        |x: &[usize], w: &[usize], stride: usize, pad: usize, groups: usize, shape: &'static [usize]| {
            let sliding = Sliding {
                strides: Some(vec![stride; 2]),
                dilations: None,
                padding: Padding::Given(vec![pad; 4]),
            };
            let op = Conv { sliding, groups, transposed: None, activation: None };
            let inputs = vec![Given::noise(x, 1), Given::noise(w, 2), Given::noise(&w[..1], 3)];
            Case::new(format!("{x:?} by {w:?}"), op, inputs, Tolerance::of(2e-6), |given| {
                let [Some(x), Some(w), Some(bias)] = given else { panic!("three inputs") };
                vec![reference_conv(x, w, bias, stride, pad, groups, shape)]
            })
        };
    let mut cases = vec![
        // By product and by element, in few and many filters.
        of_any_rank(&[2, 6, 41], &[9, 6, 5], 1, false),
        of_any_rank(&[1, 12, 70], &[40, 6, 3], 2, false),
        of_any_rank(&[1, 3, 9, 10], &[40, 3, 3, 2], 1, false),
        of_any_rank(&[1, 5, 33], &[5, 1, 4], 5, false),
        case(&[2, 17, 5, 14], &[35, 17, 1, 1], 1, 0, 1, &[2, 35, 5, 14]),
        of_any_rank(&[1, 5, 33], &[7, 5, 1], 1, false),
        of_any_rank(&[2, 6, 41], &[6, 3, 5], 1, true),
        of_any_rank(&[1, 4, 9, 10], &[4, 2, 3, 2], 2, true),
        of_any_rank(&[2, 3, 6, 7, 13], &[5, 3, 2, 3, 2], 1, false),
        of_any_rank(&[1, 4, 6, 7, 13], &[70, 2, 2, 3, 2], 2, false),
        of_any_rank(&[1, 4, 6, 7, 13], &[4, 1, 2, 3, 2], 4, false),
        of_any_rank(&[1, 4, 3, 4, 5], &[4, 3, 2, 3, 2], 2, true),
        case(&[2, 3, 9, 11], &[4, 3, 3, 3], 1, 1, 1, &[2, 4, 9, 11]),
        case(&[1, 6, 8, 8], &[6, 1, 3, 3], 2, 1, 6, &[1, 6, 4, 4]),
        case(&[1, 5, 40, 30], &[7, 5, 1, 1], 1, 0, 1, &[1, 7, 40, 30]),
        case(&[1, 4, 12, 40], &[6, 2, 5, 5], 3, 2, 2, &[1, 6, 4, 14]),
        case(&[1, 6, 17, 37], &[6, 1, 5, 5], 1, 2, 6, &[1, 6, 17, 37]),
        // Most of a window is padding.
        case(&[1, 6, 2, 20], &[6, 1, 5, 5], 1, 2, 6, &[1, 6, 2, 20]),
        case(&[2, 6, 3, 20], &[6, 1, 5, 5], 2, 2, 6, &[2, 6, 2, 10]),
        case(&[1, 9, 11, 13], &[10, 9, 1, 1], 2, 0, 1, &[1, 10, 6, 7]),
        fused(&[2, 20, 13, 13], &[6, 20, 3, 3], 1, 1, 1, &[2, 6, 13, 13]),
        fused(&[1, 12, 20, 21], &[12, 1, 3, 3], 2, 1, 12, &[1, 12, 10, 11]),
        fused(&[2, 18, 15, 21], &[17, 18, 3, 3], 1, 1, 1, &[2, 17, 15, 21]),
        transposed(&[2, 6, 7, 9], &[6, 5, 2, 2], 2, 0, 1, &[2, 5, 14, 18]),
        transposed(&[1, 4, 5, 6], &[4, 3, 3, 3], 2, 1, 2, &[1, 6, 9, 11]),
    ];
    cases.extend(activated());
    cases
}
