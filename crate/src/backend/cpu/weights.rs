//! The weights of a graph, as the kernels of the CPU want them.

use crate::error::{Result, fail};
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::kernels::conv::Filters;
use crate::kernels::conv::integer::IntegerFilters;
use crate::kernels::gemm::integer::IntegerMatrix;
use crate::kernels::gemm::{PackedMatrix, Packer};
use crate::ops::{Packing, integer_product};
use crate::tensor::Tensor;
use crate::types::DType;
use std::collections::HashMap;

/// A weight in its place.
pub enum Weight {
    Packed { matrix: PackedMatrix, packer: Packer },
    Filters(Filters),
    Integers(IntegerMatrix),
    IntegerFilters(IntegerFilters),
    Plain(Tensor),
}

impl Weight {
    /// Takes bytes: see [`Backend::write_weight`](crate::backend::Backend::write_weight).
    pub fn write(&mut self, first_row: usize, offset: usize, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Packed { matrix, packer } => {
                if offset == 0 {
                    packer.start(first_row);
                }
                packer.push(matrix, bytes)
            }
            Self::Filters(_) | Self::Integers(_) | Self::IntegerFilters(_) => {
                fail!(Internal, "filters and integers are packed from a constant")
            }
            Self::Plain(tensor) => {
                let row_bytes = tensor.bytes().len() / tensor.shape().first().copied().unwrap_or(1).max(1);
                let start = first_row * row_bytes + offset;
                match tensor.view_mut().bytes.get_mut(start..start + bytes.len()) {
                    Some(place) => place.copy_from_slice(bytes),
                    None => return fail!(Format, "a tensor has more bytes than its shape"),
                }
                Ok(())
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Self::Packed { matrix, .. } => matrix.memory_bytes(),
            Self::Filters(filters) => filters.memory_bytes(),
            Self::Integers(matrix) => matrix.memory_bytes(),
            Self::IntegerFilters(filters) => filters.memory_bytes(),
            Self::Plain(tensor) => tensor.bytes().len(),
        }
    }
}

/// All weights of a graph. Most lie in the order in which its layers use them.
#[derive(Default)]
pub struct Weights {
    all: Vec<Weight>,
    places: HashMap<ValueId, usize>,
}

impl Weights {
    /// Room for a weight of the file.
    pub fn allocate(&mut self, graph: &Graph, id: ValueId, users: &[NodeId]) -> Result<()> {
        let weight = new_weight(graph, id, users).map_err(|e| e.at(&*graph.value(id).name))?;
        self.put(id, weight);
        Ok(())
    }

    /// Repacks a constant, where its users want that and it was not done before.
    pub fn pack(&mut self, graph: &Graph, id: ValueId, users: &[NodeId]) -> Result<()> {
        if let (Source::Const(tensor), false) = (&graph.value(id).source, self.places.contains_key(&id)) {
            let weight = packed(graph, id, users, tensor).map_err(|e| e.at(&*graph.value(id).name))?;
            weight.into_iter().for_each(|weight| self.put(id, weight));
        }
        Ok(())
    }

    fn put(&mut self, id: ValueId, weight: Weight) {
        self.places.insert(id, self.all.len());
        self.all.push(weight);
    }

    /// Which of them a value is.
    pub fn place(&self, id: ValueId) -> Option<usize> {
        self.places.get(&id).copied()
    }

    /// The one in that place.
    pub fn at(&self, place: usize) -> &Weight {
        &self.all[place]
    }

    /// The same, to be written.
    pub fn at_mut(&mut self, place: usize) -> &mut Weight {
        &mut self.all[place]
    }

    /// The bytes that all of them take.
    pub fn memory_bytes(&self) -> usize {
        self.all.iter().map(Weight::memory_bytes).sum()
    }
}

/// Room for a weight of the file, as its users want it.
fn new_weight(graph: &Graph, id: ValueId, users: &[NodeId]) -> Result<Weight> {
    let ty = graph.ty(id)?;
    let shape = ty.known_shape()?;
    if let (Some(Packing::Matrix), &[n, k]) = (packing(graph, id, users, &shape), &shape[..]) {
        let matrix = PackedMatrix::new(ty.dtype, n, k)?;
        return Ok(Weight::Packed { packer: Packer::new(ty.dtype, k), matrix });
    }
    Ok(Weight::Plain(Tensor::zeros(ty.dtype, &shape)?))
}

/// A constant as its users want it; none where they take it as it is.
fn packed(graph: &Graph, id: ValueId, users: &[NodeId], tensor: &Tensor) -> Result<Option<Weight>> {
    match packing(graph, id, users, tensor.shape()) {
        Some(Packing::Matrix) if tensor.dtype().is_float() => {
            let packer = Packer::new(tensor.dtype(), 0);
            Ok(Some(Weight::Packed { matrix: PackedMatrix::of(tensor.view())?, packer }))
        }
        Some(packing @ (Packing::Filters { .. } | Packing::Tiles)) if tensor.dtype() == DType::F32 => {
            Ok(Some(Weight::Filters(packing.filters(tensor.view())?)))
        }
        Some(Packing::Integers) if matches!(tensor.dtype(), DType::U8 | DType::I8) => {
            Ok(Some(Weight::Integers(integer_product::pack(tensor.view())?)))
        }
        Some(Packing::IntegerFilters { groups }) if matches!(tensor.dtype(), DType::U8 | DType::I8) => {
            let signed = tensor.dtype() == DType::I8;
            let filters = IntegerFilters::new(tensor.bytes(), signed, tensor.shape(), groups)?;
            Ok(Some(Weight::IntegerFilters(filters)))
        }
        _ => Ok(None),
    }
}

/// How all users of a weight want it, where they agree.
fn packing(graph: &Graph, id: ValueId, users: &[NodeId], shape: &[usize]) -> Option<Packing> {
    let mut wanted = users.iter().flat_map(|&node| {
        let node = graph.node(node);
        let uses = (0..node.inputs.len()).filter(|&i| node.inputs[i] == Some(id));
        uses.map(|i| node.op.def().packs(i, shape))
    });
    let first = wanted.next()??;
    wanted.all(|other| other == Some(first)).then_some(first)
}
