//! Sums of products over named dimensions: `ij,jk->ik`. ONNX Einsum, which is numpy's. Operands are joined from the left,
//! each pair by a product of matrices: dimensions that both and the rest have are its batch, those that only the pair has
//! are summed.

use super::{CpuContext, Input, Known, OpDef};
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::kernels::product::{Matrix, Multiplier};
use crate::kernels::strided;
use crate::kernels::threads::Threads;
use crate::tensor::{TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};

/// `x… → y` of one dtype.
#[derive(Clone, Debug, PartialEq)]
pub struct Einsum {
    /// The equation.
    pub equation: String,
}

/// A dimension's name: a letter, or one of those that dots stand for, counted from the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Letter(char),
    Dots(usize),
}

/// Elements and the names of their dimensions.
struct Operand {
    names: Vec<Name>,
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Einsum {
    /// The names of each operand's dimensions, and of the result's.
    fn names(&self, ranks: &[usize]) -> Result<(Vec<Vec<Name>>, Vec<Name>)> {
        let wrong = || {
            Error::new(
                ErrorKind::InvalidGraph,
                format!("the equation '{}' does not fit operands of {ranks:?} dimensions", self.equation),
            )
        };
        let equation: String = self.equation.split_whitespace().collect();
        let (left, right) = match equation.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (&equation[..], None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        ensure!(
            terms.len() == ranks.len(),
            InvalidGraph,
            "'{}' has {} operands, and the node {}",
            self.equation,
            terms.len(),
            ranks.len()
        );
        let parse = |term: &str, rank: usize| {
            let (before, after) = match term.split_once("...") {
                Some((before, after)) => (before, after),
                None => (term, ""),
            };
            let letters = before.chars().count() + after.chars().count();
            let dots = rank.checked_sub(letters).filter(|dots| *dots == 0 || term.contains("..."))?;
            let valid = term.replacen("...", "", 1).chars().all(|c| c.is_ascii_alphabetic());
            let middle = (0..dots).rev().map(Name::Dots);
            valid.then(|| {
                before
                    .chars()
                    .map(Name::Letter)
                    .chain(middle)
                    .chain(after.chars().map(Name::Letter))
                    .collect()
            })
        };
        let operands = terms.iter().zip(ranks).map(|(term, rank)| parse(term, *rank));
        let operands = operands.collect::<Option<Vec<Vec<Name>>>>().ok_or_else(wrong)?;
        let most = operands
            .iter()
            .flatten()
            .filter(|name| matches!(name, Name::Dots(_)))
            .map(|name| if let Name::Dots(i) = name { i + 1 } else { 0 })
            .max()
            .unwrap_or(0);
        let result = match right {
            Some(term) => {
                let letters = term.chars().filter(|c| *c != '.').count();
                let dots = if term.contains("...") { most } else { 0 };
                parse(term, letters + dots).ok_or_else(wrong)?
            }
            None => {
                let mut letters: Vec<char> = left
                    .chars()
                    .filter(|c| c.is_ascii_alphabetic() && left.matches(*c).count() == 1)
                    .collect();
                letters.sort_unstable();
                (0..most).rev().map(Name::Dots).chain(letters.into_iter().map(Name::Letter)).collect()
            }
        };
        let known = result.iter().enumerate().all(|(i, name)| {
            operands.iter().flatten().any(|other| other == name) && !result[..i].contains(name)
        });
        if known { Ok((operands, result)) } else { Err(wrong()) }
    }
}

/// The size of each name. Sizes of 1 stretch.
fn sizes(operands: &[Vec<Name>], shapes: &[Vec<usize>]) -> Result<Vec<(Name, usize)>> {
    let mut sizes: Vec<(Name, usize)> = Vec::new();
    for (name, n) in operands.iter().flatten().copied().zip(shapes.iter().flatten().copied()) {
        match sizes.iter_mut().find(|(other, _)| *other == name) {
            None => sizes.push((name, n)),
            Some((_, size)) if *size == 1 => *size = n,
            Some((_, size)) if *size == n || n == 1 => {}
            Some((_, size)) => {
                return fail!(ShapeMismatch, "a dimension of the equation has {size} and {n} elements");
            }
        }
    }
    Ok(sizes)
}

impl OpDef for Einsum {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let shapes = (0..inputs.len()).map(|i| inputs.shape(i)).collect::<Result<Vec<_>>>()?;
        let dtype = inputs.dtype(0)?;
        ensure!(
            (0..inputs.len()).all(|i| inputs.dtype(i).ok() == Some(dtype)),
            ShapeMismatch,
            "operands differ in dtype"
        );
        let (operands, result) = self.names(&shapes.iter().map(Vec::len).collect::<Vec<_>>())?;
        let sizes = sizes(&operands, &shapes)?;
        Ok(vec![TensorType::new(dtype, Shape::known(&lookup(&result, &sizes)))])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let views = inputs.iter().map(Input::tensor).collect::<Result<Vec<_>>>()?;
        let shapes: Vec<Vec<usize>> = views.iter().map(|view| view.shape.to_vec()).collect();
        let (names, result) = self.names(&shapes.iter().map(Vec::len).collect::<Vec<_>>())?;
        let sizes = sizes(&names, &shapes)?;
        let exact = outputs[0].dtype != DType::F32;
        let mut rest = names.iter().zip(&views).map(|(names, view)| {
            Ok(Operand { names: names.clone(), shape: view.shape.to_vec(), values: view.to_floats()? })
        });
        let Some(first) = rest.next() else { return Ok(()) };
        let mut joined: Operand = first?;
        for (i, next) in rest.enumerate() {
            let later = |name: &Name| {
                result.contains(name) || names[i + 2..].iter().flatten().any(|other| other == name)
            };
            joined = join(cx.threads, &joined, &next?, later, &sizes, exact)?;
        }
        let gone: Vec<Name> =
            unique(&joined.names).into_iter().filter(|name| !result.contains(name)).collect();
        outputs[0].narrow(Wide::Floats(summed_out(&joined, result, &gone, &sizes).values))
    }
}

fn lookup(names: &[Name], sizes: &[(Name, usize)]) -> Vec<usize> {
    names.iter().map(|name| sizes.iter().find(|(other, _)| other == name).map_or(1, |(_, n)| *n)).collect()
}

fn unique(names: &[Name]) -> Vec<Name> {
    let mut once: Vec<Name> = Vec::new();
    names.iter().for_each(|name| {
        if !once.contains(name) {
            once.push(*name);
        }
    });
    once
}

/// The elements in the order of these names: a name that an operand has twice is its diagonal, one that it lacks or has
/// with size 1 repeats.
fn arranged(x: &Operand, order: &[Name], sizes: &[(Name, usize)]) -> Vec<f64> {
    let shape = lookup(order, sizes);
    let own = strided::row_major(&x.shape);
    let stride = |name: &Name| {
        let dims = (0..x.names.len()).filter(|i| x.names[*i] == *name && x.shape[*i] != 1);
        dims.map(|i| own[i]).sum::<isize>()
    };
    let strides: Vec<isize> = order.iter().map(stride).collect();
    let mut values = vec![0.0f64; shape.iter().product()];
    if !values.is_empty() {
        strided::copy(
            8,
            bytemuck::cast_slice(&x.values),
            0,
            &strides,
            bytemuck::cast_slice_mut(&mut values),
            &shape,
        );
    }
    values
}

/// An operand with these dimensions, the others summed.
fn summed_out(x: &Operand, names: Vec<Name>, gone: &[Name], sizes: &[(Name, usize)]) -> Operand {
    let values = arranged(x, &[&names[..], gone].concat(), sizes);
    let n: usize = lookup(gone, sizes).iter().product();
    let shape = lookup(&names, sizes);
    let values = match n {
        0 => vec![0.0; shape.iter().product()],
        1 => values,
        _ => values.chunks_exact(n).map(|part| part.iter().sum()).collect(),
    };
    Operand { names, shape, values }
}

/// Two operands as one, without the dimensions that nothing later has.
fn join(
    threads: Threads,
    a: &Operand,
    b: &Operand,
    later: impl Fn(&Name) -> bool,
    sizes: &[(Name, usize)],
    exact: bool,
) -> Result<Operand> {
    // What one operand alone has and nothing later is summed there first.
    let alone = |x: &Operand, other: &Operand| {
        let (kept, gone): (Vec<Name>, Vec<Name>) =
            unique(&x.names).into_iter().partition(|name| other.names.contains(name) || later(name));
        summed_out(x, kept, &gone, sizes)
    };
    let (a, b) = (&alone(a, b), &alone(b, a));
    let (of_a, of_b) = (a.names.clone(), b.names.clone());
    let (mut batch, mut rows, mut columns, mut summed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for name in unique(&[&of_a[..], &of_b[..]].concat()) {
        let to = match (of_a.contains(&name), of_b.contains(&name), later(&name)) {
            (true, true, true) => &mut batch,
            (true, false, true) => &mut rows,
            (false, true, true) => &mut columns,
            _ => &mut summed,
        };
        to.push(name);
    }
    let count = |names: &[Name]| lookup(names, sizes).iter().product::<usize>();
    let (m, k, n) = (count(&rows), count(&summed), count(&columns));
    let a = arranged(a, &[&batch[..], &rows, &summed].concat(), sizes);
    let b = arranged(b, &[&batch[..], &summed, &columns].concat(), sizes);
    let mut values = vec![0.0f64; count(&batch) * m * n];
    if exact {
        for (i, y) in values.chunks_exact_mut((m * n).max(1)).enumerate() {
            let (a, b) = (&a[i * m * k..][..m * k], &b[i * k * n..][..k * n]);
            y.iter_mut()
                .enumerate()
                .for_each(|(at, y)| *y = (0..k).map(|x| a[at / n * k + x] * b[x * n + at % n]).sum());
        }
    } else {
        let narrow = |x: Vec<f64>| x.into_iter().map(|x| x as f32).collect::<Vec<_>>();
        let (a, b, mut sums) = (narrow(a), narrow(b), vec![0.0f32; m * n]);
        let mut products = Multiplier::new((m, k, n), 1.0)?;
        for (i, y) in values.chunks_exact_mut((m * n).max(1)).enumerate() {
            let left = Matrix { values: &a[i * m * k..][..m * k], steps: (k, 1) };
            products.multiply(
                threads,
                left,
                Matrix { values: &b[i * k * n..][..k * n], steps: (n, 1) },
                &mut sums,
            );
            y.iter_mut().zip(&sums).for_each(|(y, sum)| *y = f64::from(*sum));
        }
    }
    let names = [batch, rows, columns].concat();
    Ok(Operand { shape: lookup(&names, sizes), names, values })
}

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    pub fn cases() -> Vec<Case> {
        let op = |equation: &str| Einsum { equation: equation.into() };
        let pair = || vec![Given::noise(&[2, 3, 4], 1), Given::noise(&[2, 4, 5], 2)];
        let batches = |x: &[Option<Array>], shape: &[usize], of: &dyn Fn(&[usize]) -> [usize; 3]| {
            let (a, b) = (x[0].as_ref().expect("a"), x[1].as_ref().expect("b"));
            let sum = |at: Vec<usize>| {
                let [batch, row, column] = of(&at);
                (0..4).map(|k| a.at(&[batch, row, k]) * b.at(&[batch, k, column])).sum()
            };
            vec![Array::new(shape, indices(shape).map(sum).collect())]
        };
        vec![
            Case::new("batches", op("...ij, ...jk -> ...ik"), pair(), Tolerance::of(1e-6), move |x| {
                batches(x, &[2, 3, 5], &|at| [at[0], at[1], at[2]])
            }),
            Case::new("turned", op("bij,bjk->kbi"), pair(), Tolerance::of(1e-6), move |x| {
                batches(x, &[5, 2, 3], &|at| [at[1], at[2], at[0]])
            }),
            Case::new("a trace", op("ii"), vec![Given::noise(&[4, 4], 1)], Tolerance::of(1e-6), |x| {
                let x = x[0].as_ref().expect("a matrix");
                vec![Array::new(&[], vec![(0..4).map(|i| x.at(&[i, i])).sum()])]
            }),
            Case::new(
                "one alone is summed",
                op("ij,jk,l->k"),
                vec![Given::noise(&[2, 3], 1), Given::noise(&[3, 4], 2), Given::noise(&[5], 3)],
                Tolerance::of(1e-6),
                |x| {
                    let [Some(a), Some(b), Some(c)] = x else { panic!("three operands") };
                    let of = |k: usize| {
                        indices(&[2, 3, 5]).map(|i| a.at(&i[..2]) * b.at(&[i[1], k]) * c.values[i[2]]).sum()
                    };
                    vec![Array::new(&[4], (0..4).map(of).collect())]
                },
            ),
        ]
    }
}
