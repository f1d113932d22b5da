//! Dimensions. A graph is built with symbols where a size is known only at run time (`seq_len`, `batch`);
//! a plan binds every symbol to a number.

use crate::error::{Result, fail};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The numbers that symbols stand for in one run, by name.
pub type Bindings = BTreeMap<Arc<str>, usize>;

/// One dimension of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A number.
    Known(usize),
    /// A symbol, bound when a plan is made.
    Symbol(Arc<str>),
    /// The product of a dimension and a number.
    Times(Arc<Dim>, usize),
    /// The sum of two dimensions.
    Plus(Arc<Dim>, Arc<Dim>),
    /// The exact quotient of a dimension and a number.
    Over(Arc<Dim>, usize),
}

impl Dim {
    /// The symbol of that name.
    pub fn symbol(name: &str) -> Self {
        Self::Symbol(name.into())
    }

    /// The number, where it is one.
    pub fn known(&self) -> Option<usize> {
        match self {
            Self::Known(n) => Some(*n),
            _ => None,
        }
    }

    /// The product with a number, folded where both are known.
    pub fn times(&self, n: usize) -> Self {
        match self {
            Self::Known(m) => Self::Known(m.saturating_mul(n)),
            Self::Times(dim, m) => Self::Times(dim.clone(), m.saturating_mul(n)),
            other if n == 1 => other.clone(),
            other => Self::Times(Arc::new(other.clone()), n),
        }
    }

    /// The sum of two dimensions, folded where both are known.
    pub fn plus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => Self::Known(a.saturating_add(*b)),
            (a, Self::Known(0)) | (Self::Known(0), a) => a.clone(),
            (a, b) => Self::Plus(Arc::new(a.clone()), Arc::new(b.clone())),
        }
    }

    /// The quotient by a number that divides it; a symbol's divisibility is checked when it is bound.
    pub fn over(&self, n: usize) -> Self {
        match self {
            Self::Known(m) => Self::Known(m / n.max(1)),
            Self::Times(dim, m) if m.is_multiple_of(n) => dim.times(m / n),
            other if n == 1 => other.clone(),
            other => Self::Over(Arc::new(other.clone()), n),
        }
    }

    /// The number that this dimension is under `bindings`. Fails on an unbound symbol or an inexact quotient.
    pub fn bind(&self, bindings: &Bindings) -> Result<usize> {
        match self {
            Self::Known(n) => Ok(*n),
            Self::Symbol(name) => match bindings.get(name) {
                Some(n) => Ok(*n),
                None => fail!(ShapeMismatch, "no input gives the dimension '{name}' a size"),
            },
            Self::Times(dim, n) => Ok(dim.bind(bindings)? * n),
            Self::Plus(a, b) => Ok(a.bind(bindings)? + b.bind(bindings)?),
            Self::Over(dim, n) => {
                let size = dim.bind(bindings)?;
                if !size.is_multiple_of(*n) {
                    return fail!(ShapeMismatch, "the dimension {dim} is {size}, not a multiple of {n}");
                }
                Ok(size / n)
            }
        }
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Self {
        Self::Known(n)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(n) => write!(f, "{n}"),
            Self::Symbol(name) => write!(f, "{name}"),
            Self::Times(dim, n) => write!(f, "{n}·{dim}"),
            Self::Plus(a, b) => write!(f, "({a}+{b})"),
            Self::Over(dim, n) => write!(f, "{dim}/{n}"),
        }
    }
}

/// The dimensions of a tensor, outermost first, row-major.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// A shape of numbers.
    pub fn known(dims: &[usize]) -> Self {
        Self(dims.iter().map(|&n| Dim::Known(n)).collect())
    }

    /// How many dimensions there are.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The dimensions as numbers, where all are known.
    pub fn to_known(&self) -> Option<Vec<usize>> {
        self.0.iter().map(Dim::known).collect()
    }

    /// The dimensions as numbers under `bindings`.
    pub fn bind(&self, bindings: &Bindings) -> Result<Vec<usize>> {
        self.0.iter().map(|dim| dim.bind(bindings)).collect()
    }
}

impl<D: Into<Dim>, const N: usize> From<[D; N]> for Shape {
    fn from(dims: [D; N]) -> Self {
        Self(dims.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.0.iter().map(Dim::to_string).collect();
        write!(f, "[{}]", dims.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_bind_and_fold() {
        let s = Dim::symbol("s");
        let bindings = Bindings::from([("s".into(), 6)]);
        assert_eq!(s.times(4).over(2), s.times(2));
        assert_eq!(s.times(4).bind(&bindings).unwrap(), 24);
        assert_eq!(s.plus(&Dim::Known(1)).bind(&bindings).unwrap(), 7);
        assert!(s.over(4).bind(&bindings).is_err());
        assert!(Dim::symbol("t").bind(&bindings).is_err());
    }
}
