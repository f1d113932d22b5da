//! Walks over several dimensions, as shaders take them: up to eight dimensions, the innermost first, those together
//! that follow each other. What only moves elements is one launch of `strided`.

use super::dispatch::{Dispatch, Operand, params, spread};
use super::strided;
use crate::error::Result;
use crate::types::DType;

/// Four words of a uniform block, by the name that WGSL gives the type.
#[allow(non_camel_case_types, reason = "WGSL's name, which the fields of Params are checked against")]
pub type vec4u = [u32; 4];

/// A walk over `N` operands at once.
pub struct Walk<const N: usize> {
    /// How many dimensions there are.
    pub rank: u32,
    /// Their sizes, four and four.
    pub sizes: [vec4u; 2],
    /// How far apart neighbours are, by operand.
    pub strides: [[vec4u; 2]; N],
}

impl<const N: usize> Walk<N> {
    /// The walk over `shape` by these strides. None when it takes more than eight dimensions.
    pub fn new(shape: &[usize], strides: [&[isize]; N]) -> Option<Self> {
        let (shape, strides) = strided::merged(shape, strides);
        (shape.len() <= 8).then(|| Self {
            rank: shape.len() as u32,
            sizes: eight(shape.iter().map(|n| *n as u32), 1),
            // Negative strides wrap, as the sums of the shader do.
            strides: strides.map(|own| eight(own.iter().map(|stride| *stride as i32 as u32), 0)),
        })
    }
}

/// Numbers of dimensions, the innermost first, filled up.
pub fn eight(numbers: impl DoubleEndedIterator<Item = u32>, rest: u32) -> [vec4u; 2] {
    let mut all = [[rest; 4]; 2];
    numbers.rev().zip(all.iter_mut().flatten()).for_each(|(number, place)| *place = number);
    all
}

/// Elements that move: from regular distances in an input to regular distances in an output.
pub struct Moved<'a> {
    /// How many, by dimension.
    pub shape: &'a [usize],
    /// The input's index, its first element, and how far apart neighbours are.
    pub from: (usize, isize, &'a [isize]),
    /// The same of the output.
    pub to: (usize, isize, &'a [isize]),
}

impl Moved<'_> {
    /// The launch that moves elements of that dtype. None when it takes too many dimensions, or the elements are no
    /// words.
    pub fn launch(&self, dtype: DType) -> Result<Option<Dispatch>> {
        let words = match dtype.block_bytes() {
            4 => 1,
            8 => 2,
            _ => return Ok(None),
        };
        // An element of two words is one more dimension.
        let shape = [self.shape, &[words]].concat();
        let widened = |strides: &[isize]| -> Vec<isize> {
            strides.iter().map(|stride| stride * words as isize).chain([1]).collect()
        };
        let (x, y) = (widened(self.from.2), widened(self.to.2));
        let Some(walk) = Walk::new(&shape, [&x, &y]) else { return Ok(None) };
        let n: usize = shape.iter().product();
        let [[x_strides, more_x_strides], [y_strides, more_y_strides]] = walk.strides;
        let params = Params {
            n: n as u32,
            rank: walk.rank,
            x_start: (self.from.1 * words as isize) as u32,
            y_start: (self.to.1 * words as isize) as u32,
            sizes: walk.sizes[0],
            more_sizes: walk.sizes[1],
            x_strides,
            more_x_strides,
            y_strides,
            more_y_strides,
        };
        let bindings = vec![(0, Operand::Input(self.from.0)), (1, Operand::Output(self.to.0))];
        let (x, z) = spread(n.div_ceil(64));
        Dispatch::new("strided", &[], bindings, params.bytes(), [x, 1, z]).map(Some)
    }
}

params!("strided": n: u32, rank: u32, x_start: u32, y_start: u32, sizes: vec4u, more_sizes: vec4u, x_strides: vec4u,
    more_x_strides: vec4u, y_strides: vec4u, more_y_strides: vec4u);
