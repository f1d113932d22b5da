//! The naive reference, and cases.

use super::*;
use crate::ops::case::{Array, Case, Given, Tolerance, indices};

fn reference_binary(function: BinaryFunction, a: f64, b: f64) -> f64 {
    let truth = |holds: bool| f64::from(u8::from(holds));
    let bits = |of: fn(i64, i64) -> i64| of(a as i64, b as i64) as f64;
    match function {
        BinaryFunction::Add => a + b,
        BinaryFunction::Div => a / b,
        BinaryFunction::Mul => a * b,
        BinaryFunction::Sub => a - b,
        BinaryFunction::Less => truth(a < b),
        BinaryFunction::LessOrEqual => truth(a <= b),
        BinaryFunction::Greater => truth(a > b),
        BinaryFunction::GreaterOrEqual => truth(a >= b),
        BinaryFunction::Equal => truth(a == b),
        BinaryFunction::And => truth(a != 0.0 && b != 0.0),
        BinaryFunction::Or => truth(a != 0.0 || b != 0.0),
        BinaryFunction::Xor => truth((a != 0.0) != (b != 0.0)),
        BinaryFunction::Max => a.max(b),
        BinaryFunction::Min => a.min(b),
        BinaryFunction::Mod => a.rem_euclid(b),
        BinaryFunction::Pow => a.powf(b),
        BinaryFunction::PRelu => {
            if a < 0.0 {
                a * b
            } else {
                a
            }
        }
        BinaryFunction::BitAnd => bits(|a, b| a & b),
        BinaryFunction::BitOr => bits(|a, b| a | b),
        BinaryFunction::BitXor => bits(|a, b| a ^ b),
        other => panic!("no case uses {other:?}"),
    }
}

fn reference_broadcast(function: BinaryFunction, a: &Array, b: &Array, shape: &[usize]) -> Array {
    let of = |x: &Array, index: &[usize]| {
        let own = index[shape.len() - x.shape.len()..].iter().zip(&x.shape);
        x.at(&own.map(|(&i, &n)| if n == 1 { 0 } else { i }).collect::<Vec<_>>())
    };
    let values = indices(shape).map(|index| reference_binary(function, of(a, &index), of(b, &index)));
    Array::new(shape, values.collect())
}

fn broadcasts() -> Vec<Case> {
    let case = |function, a: Given, b: Given, shape: &'static [usize]| {
        Case::new(
            format!("{function:?} to {shape:?}"),
            Binary { function },
            vec![a, b],
            Tolerance::of(1e-6),
            |x| {
                let (a, b) = (x[0].as_ref().expect("an input"), x[1].as_ref().expect("an input"));
                vec![reference_broadcast(function, a, b, shape)]
            },
        )
    };
    vec![
        case(BinaryFunction::Sub, Given::noise(&[2, 1, 5], 1), Given::noise(&[3, 1], 2), &[2, 3, 5]),
        case(BinaryFunction::Max, Given::noise(&[7], 1), Given::noise(&[2, 7], 2), &[2, 7]),
        case(BinaryFunction::Less, Given::noise(&[4, 6], 1), Given::noise(&[4, 6], 2), &[4, 6]),
        case(BinaryFunction::Mod, Given::fed(&[4], &[7i64, 8, 9, 3]), Given::fed(&[1], &[5i64]), &[4]),
        case(BinaryFunction::BitXor, Given::fed(&[3], &[7i32, 8, 9]), Given::fed(&[3], &[5i32, 1, 9]), &[3]),
    ]
}

/// Every function that shaders have, of every dtype that it has there.
fn functions() -> Vec<Case> {
    use BinaryFunction::*;
    let floats =
        [Given::fed(&[5, 1], &[-2.5f32, 0.0, 1.5, 3.0, -1.0]), Given::fed(&[3], &[2.0f32, -1.0, 1.5])];
    let positive =
        [Given::fed(&[5, 1], &[2.5f32, 0.25, 1.5, 3.0, 1.0]), Given::fed(&[3], &[2.0f32, -1.0, 1.5])];
    let whole = [Given::fed(&[5, 1], &[-2i32, 0, 1, 3, -1]), Given::fed(&[3], &[2i32, -1, 1])];
    let truths = |shape: &[usize], bytes: &[u8]| {
        let mut tensor = crate::tensor::Tensor::zeros(DType::Bool, shape).expect("a small tensor");
        tensor.view_mut().bytes.copy_from_slice(bytes);
        Given::Fed(tensor)
    };
    let truths = [truths(&[5, 1], &[1, 0, 0, 1, 1]), truths(&[3], &[1, 0, 1])];
    let case = |function: BinaryFunction, what: &str, inputs: &[Given; 2]| {
        let name = format!("{function:?}, {what}");
        Case::new(name, Binary { function }, inputs.to_vec(), Tolerance::of(2e-6), move |x| {
            let [Some(a), Some(b)] = x else { panic!("two inputs") };
            vec![reference_broadcast(function, a, b, &[5, 3])]
        })
    };
    let compare = [Less, LessOrEqual, Greater, GreaterOrEqual, Equal];
    let both = [Add, Mul, Sub, Max, Min, PRelu].into_iter().chain(compare);
    let of_floats = both.clone().chain([Div]).map(|function| case(function, "floats", &floats));
    let of_ints = both.chain([BitAnd, BitOr, BitXor]).map(|function| case(function, "integers", &whole));
    let of_truths = [And, Or, Xor, Equal].into_iter().map(|function| case(function, "truths", &truths));
    of_floats.chain(of_ints).chain(of_truths).chain([case(Pow, "floats", &positive)]).collect()
}

pub fn cases() -> Vec<Case> {
    use BinaryFunction::*;
    let mut cases = [broadcasts(), functions()].concat();
    for function in [Add, Div, Mul, Sub] {
        for (a, b) in [
            (&[1][..], &[1][..]),
            (&[5, 67], &[5, 67]),
            (&[3, 70], &[70]),
            (&[2, 3, 33], &[33]),
            (&[2, 3, 33], &[2, 3, 1]),
        ] {
            let inputs = vec![Given::noise(a, 1), Given::noise(b, 2)];
            cases.push(Case::new(
                format!("{function:?} of {a:?} and {b:?}"),
                Binary { function },
                inputs,
                Tolerance::of(1e-6),
                |x| {
                    let (a, b) = (x[0].as_ref().expect("an input"), x[1].as_ref().expect("an input"));
                    let column = b.shape.len() > 1 && b.shape.last() == Some(&1);
                    let n = a.shape.last().copied().unwrap_or(1);
                    let second =
                        |i: usize| if column { b.values[i / n] } else { b.values[i % b.values.len()] };
                    let y =
                        a.values.iter().enumerate().map(|(i, a)| reference_binary(function, *a, second(i)));
                    vec![Array::new(&a.shape, y.collect())]
                },
            ));
        }
    }
    cases
}
