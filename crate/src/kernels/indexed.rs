//! Launches that read or write elements of a large tensor by index.

use super::dispatch::{Dispatch, Operand, params};
use super::strided::row_major;
use super::walk::{eight, vec4u};
use crate::error::Result;
use crate::types::DType;

/// What an index names.
pub enum Named {
    /// A slice of the large tensor: rows of `numbers` indices name places along its dimensions from `batch_dims` on, which
    /// it shares with the indices.
    Slices {
        /// Numbers in a row.
        numbers: usize,
        /// Dimensions at the front that both have.
        batch_dims: usize,
    },
    /// The place along a dimension; the other coordinates are the index's own.
    Along(usize),
}

/// Elements by index.
pub struct Indexed<'a> {
    /// What an index names.
    pub named: Named,
    /// Whether the large tensor is written, the small one read; else the other way.
    pub scatter: bool,
    /// The dtypes of the elements and of the indices.
    pub dtypes: [DType; 2],
    /// The shapes of the large tensor, of the indices, and of the small tensor.
    pub shapes: [&'a [usize]; 3],
    /// The tensor that is read, the indices, and the one that is written.
    pub operands: [Operand; 3],
}

impl Indexed<'_> {
    /// The launch; none where no kernel has elements or indices of these dtypes, or so many dimensions.
    pub fn launch(&self) -> Result<Option<Dispatch>> {
        let [large, indices, small] = self.shapes;
        let words = match self.dtypes[0].block_bytes() {
            4 => 1,
            8 => 2,
            _ => return Ok(None),
        };
        let wide = match self.dtypes[1] {
            DType::I32 => "",
            DType::I64 => "wide",
            _ => return Ok(None),
        };
        let n = small.iter().product::<usize>() * words;
        let strides = row_major(large).into_iter().map(|stride| (stride as usize * words) as u32);
        let strides: Vec<u32> = strides.collect();
        let whole = |shape: &[usize]| shape.iter().product::<usize>() as u32;
        let (along, dims, sizes, inner, [rows, batch], [axis, size]) = match self.named {
            Named::Slices { numbers, batch_dims } => {
                let dims = batch_dims..batch_dims + numbers;
                let rows = whole(&indices[batch_dims..indices.len().saturating_sub(1)]);
                let inner = whole(&large[dims.end..]) * words as u32;
                let batch = whole(&large[batch_dims..]) * words as u32;
                ("", dims.clone(), &large[dims], inner, [rows.max(1), batch], [0, 0])
            }
            Named::Along(axis) => {
                let from_end = (large.len() - 1 - axis) as u32;
                ("along", 0..large.len(), indices, words as u32, [1, 0], [from_end, large[axis] as u32])
            }
        };
        if dims.len() > 8 {
            return Ok(None);
        }
        let [sizes, more_sizes] = eight(sizes.iter().map(|n| *n as u32), 1);
        let [strides, more_strides] = eight(strides[dims.clone()].iter().copied(), 0);
        let params = Params {
            n: n as u32,
            rank: dims.len() as u32,
            inner: inner.max(1),
            rows,
            batch,
            axis,
            unused0: 0,
            unused1: 0,
            sizes,
            more_sizes,
            strides,
            more_strides,
            size,
        };
        let bindings = (0..).zip(self.operands).collect();
        let scatter = if self.scatter { "scatter" } else { "" };
        Dispatch::of_each("indexed", &[along, scatter, wide], bindings, params.bytes(), n).map(Some)
    }
}

params!("indexed": n: u32, rank: u32, inner: u32, rows: u32, batch: u32, axis: u32, unused0: u32, unused1: u32,
    sizes: vec4u, more_sizes: vec4u, strides: vec4u, more_strides: vec4u, size: u32);
