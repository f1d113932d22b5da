//! Walks over several dimensions, as shaders take them: up to eight dimensions, the innermost first, those together
//! that follow each other. What only moves elements is one launch of `strided`.

use super::dispatch::{Dispatch, Operand, params};
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
    /// The launch that moves elements of that dtype. None when it takes too many dimensions, or elements are halves of words.
    pub fn launch(&self, dtype: DType) -> Result<Option<Dispatch>> {
        let ((from, x_start, x), (to, y_start, y)) = (self.from, self.to);
        let size = dtype.block_bytes();
        let words = match size {
            4 | 8 => size / 4,
            1 => 1,
            _ => return Ok(None),
        };
        // An element of two words is one more dimension.
        let widened = |strides: &[isize]| -> Vec<isize> {
            strides.iter().map(|stride| stride * words as isize).chain([1]).collect()
        };
        let (shape, [x, y]) = strided::merged(&[self.shape, &[words]].concat(), [&widened(x), &widened(y)]);
        let mut walk =
            Elements { shape, strides: [x, y], starts: [x_start, y_start].map(|at| at * words as isize) };
        let by_word = size != 1 || walk.become_words();
        let [x, y] = &walk.strides;
        let Some(Walk { rank, sizes, strides }) = Walk::new(&walk.shape, [x, y]) else { return Ok(None) };
        let n: usize = walk.shape.iter().product();
        let [[x_strides, more_x_strides], [y_strides, more_y_strides]] = strides;
        let params = Params {
            n: n as u32,
            rank,
            x_start: walk.starts[0] as u32,
            y_start: walk.starts[1] as u32,
            sizes: sizes[0],
            more_sizes: sizes[1],
            x_strides,
            more_x_strides,
            y_strides,
            more_y_strides,
        };
        let bindings = vec![(0, Operand::Input(from)), (1, Operand::Output(to))];
        let (features, threads) = if by_word { ("", n) } else { ("bytes", n.div_ceil(4)) };
        Dispatch::of_each("strided", &[features], bindings, params.bytes(), threads).map(Some)
    }
}

/// What a launch goes through.
struct Elements {
    shape: Vec<usize>,
    strides: [Vec<isize>; 2],
    starts: [isize; 2],
}

impl Elements {
    /// Makes words of bytes, where they lie as such on both sides; says whether they do.
    fn become_words(&mut self) -> bool {
        let four = |n: &isize| n % 4 == 0;
        let outer = self.shape.len().saturating_sub(1);
        let Some(last) = self.shape.last_mut() else { return false };
        let lie = |own: &Vec<isize>| own[outer] == 1 && own[..outer].iter().all(four);
        if !(last.is_multiple_of(4) && self.strides.iter().all(lie) && self.starts.iter().all(four)) {
            return false;
        }
        *last /= 4;
        self.starts.iter_mut().for_each(|at| *at /= 4);
        self.strides.iter_mut().flat_map(|own| &mut own[..outer]).for_each(|stride| *stride /= 4);
        true
    }
}

params!("strided": n: u32, rank: u32, x_start: u32, y_start: u32, sizes: vec4u, more_sizes: vec4u, x_strides: vec4u,
    more_x_strides: vec4u, y_strides: vec4u, more_y_strides: vec4u);
