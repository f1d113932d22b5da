//! What is known of an operator's outputs before sizes are: hints, by which rewrites see ranks, dtypes and the dimensions
//! that no size changes. A plan infers every type anew from the sizes at hand and never reads a hint.
//!
//! A hint may be vague, and is never wrong of tensors that have elements: where the operator's own inference wants
//! numbers that are not there, the rules here say what holds whatever they are, or nothing.

mod ints;
mod shapes;

pub use ints::Int;

use super::{Known, Op};
use crate::tensor::Tensor;
use crate::types::{Dim, TensorType};

/// Elements that a tensor may have for what is known of it to be trusted: products of sizes then stay far from overflow.
const MAX_ELEMENTS: u64 = 1 << 40;

/// What is known of a value before sizes are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hint {
    /// The type; a dimension that nothing is known of is a symbol of its own.
    pub ty: Option<TensorType>,
    /// Of a few integers in at most one dimension, what is known of each.
    pub ints: Option<Vec<Int>>,
}

impl Op {
    /// What is known of the outputs, given what is known of the inputs, of which some are constants. `fresh` makes a
    /// symbol that nothing else has.
    pub fn hint(
        &self,
        inputs: &[Option<Hint>],
        constants: &[Option<&Tensor>],
        fresh: &mut dyn FnMut() -> Dim,
    ) -> Vec<Hint> {
        let types: Option<Vec<Option<&TensorType>>> = inputs
            .iter()
            .map(|input| match input {
                None => Some(None),
                Some(hint) => hint.ty.as_ref().filter(|ty| is_small(ty)).map(Some),
            })
            .collect();
        let mut outputs: Vec<Hint> = match &types {
            Some(types) => {
                let known = Known::with_values(types, constants);
                let inferred = self.def().infer(&known).ok();
                let inferred =
                    inferred.or_else(|| shapes::of(self, inputs, &known, fresh)).unwrap_or_default();
                inferred.into_iter().map(|ty| Hint { ty: Some(ty), ints: None }).collect()
            }
            // Of these the integers alone decide.
            None => shapes::of(self, inputs, &Known::with_values(&[], &[]), fresh)
                .into_iter()
                .flatten()
                .map(|ty| Hint { ty: Some(ty), ints: None })
                .collect(),
        };
        outputs
            .iter_mut()
            .filter(|hint| hint.ty.as_ref().is_some_and(|ty| !is_small(ty)))
            .for_each(|hint| hint.ty = None);
        for (output, found) in outputs.iter_mut().zip(ints::of(self, inputs)) {
            let fits = |ty: &TensorType| match ty.shape.0[..] {
                [] => found.len() == 1,
                [ref n] => n.known().is_none_or(|n| n == found.len()),
                _ => false,
            };
            if output.ty.as_ref().is_some_and(fits) {
                output.ints = Some(found);
            }
        }
        outputs
    }
}

/// Whether the known dimensions of a type multiply to a number that a tensor can have.
fn is_small(ty: &TensorType) -> bool {
    let known = ty.shape.0.iter().filter_map(Dim::known);
    known.map(|n| n.max(1)).try_fold(1usize, usize::checked_mul).is_some_and(|n| n as u64 <= MAX_ELEMENTS)
}

#[cfg(test)]
mod tests;
