//! What is known of a node's inputs before it runs: their types, and the elements of those that are constant
//! or have been computed already.

use crate::error::{Result, fail};
use crate::tensor::{Tensor, TensorView};
use crate::types::{DType, TensorType};

/// The inputs of a node, as far as they are known.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    types: &'a [Option<&'a TensorType>],
    values: &'a [Option<&'a Tensor>],
}

impl<'a> Known<'a> {
    /// Inputs of these types; `None` where an optional one is absent.
    pub fn types(types: &'a [Option<&'a TensorType>]) -> Self {
        Self { types, values: &[] }
    }

    /// Inputs of these types, some of whose elements are known.
    pub fn with_values(types: &'a [Option<&'a TensorType>], values: &'a [Option<&'a Tensor>]) -> Self {
        Self { types, values }
    }

    /// The same with another type of the first input.
    pub(super) fn with_first<'b>(
        &self,
        ty: &'b TensorType,
        types: &'b mut Vec<Option<&'b TensorType>>,
    ) -> Known<'b>
    where
        'a: 'b,
    {
        types.clear();
        types.push(Some(ty));
        types.extend(self.types.iter().skip(1));
        Known { types, values: self.values }
    }

    /// How many there are, absent ones included.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// The type of a required input, or an error that names its position.
    pub fn ty(&self, index: usize) -> Result<&'a TensorType> {
        match self.optional(index) {
            Some(ty) => Ok(ty),
            None => fail!(InvalidGraph, "input {index} is missing"),
        }
    }

    /// The type of an input, where it is there.
    pub fn optional(&self, index: usize) -> Option<&'a TensorType> {
        self.types.get(index).copied().flatten()
    }

    /// The dimensions of a required input. Fails when one is not known yet.
    pub fn shape(&self, index: usize) -> Result<Vec<usize>> {
        self.ty(index)?.known_shape()
    }

    /// The dtype of a required input.
    pub fn dtype(&self, index: usize) -> Result<DType> {
        Ok(self.ty(index)?.dtype)
    }

    /// The elements of an input that the operator [needs](super::OpDef::needs_values), where it is there.
    pub fn value(&self, index: usize) -> Result<Option<TensorView<'a>>> {
        match (self.optional(index), self.values.get(index).copied().flatten()) {
            (None, _) => Ok(None),
            (Some(_), Some(tensor)) => Ok(Some(tensor.view())),
            (Some(ty), None) => fail!(Internal, "the elements of input {index} ({ty}) are not known yet"),
        }
    }

    /// The elements of an integer input, where it is there: any integer dtype, as i64.
    pub fn ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        self.value(index)?.map(|view| view.to_ints()).transpose()
    }
}
