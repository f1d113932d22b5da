//! Launches of products of matrices that go through workgroup memory in tiles.

use super::dispatch::{Dispatch, Operand, params};
use super::walk::{Walk, vec4u};
use crate::error::Result;

/// Rows up to which a tile is narrow.
const NARROW: usize = 32;

/// The feature of the variant for `m` rows, and the rows and columns of its tile: see `shared/tile.wgsl`.
pub fn tile(m: usize) -> (&'static str, [usize; 2]) {
    if m <= NARROW { ("narrow", [16, 256]) } else { ("", [64, 64]) }
}

/// A product `[.., m, k] · [.., k, n]`. Inputs are a, b, bias and residual.
pub struct ProductLaunch<'a> {
    /// `m`, `k`, `n`.
    pub sizes: [usize; 3],
    /// The dimensions of the batch, and how far apart its matrices are in a and b.
    pub batch: (&'a [usize], [&'a [isize]; 2]),
    /// Whether a is `[.., k, m]`, and b `[.., n, k]`.
    pub transposed: [bool; 2],
    /// What the sums are multiplied by.
    pub scale: f32,
    /// Whether there are a bias and a residual.
    pub added: [bool; 2],
    /// The code and the attributes of what the sums become.
    pub function: (u32, f32, f32),
}

impl ProductLaunch<'_> {
    /// The launch. None when the batch has too many dimensions.
    pub fn dispatch(&self) -> Result<Option<Dispatch>> {
        let [m, k, n] = self.sizes;
        let Some(walk) = Walk::new(self.batch.0, self.batch.1).filter(|walk| walk.rank <= 4) else {
            return Ok(None);
        };
        let params = Params {
            m: m as u32,
            k: k as u32,
            n: n as u32,
            has_bias: self.added[0].into(),
            sizes: walk.sizes[0],
            a_strides: walk.strides[0][0],
            b_strides: walk.strides[1][0],
            has_residual: self.added[1].into(),
            function: self.function.0,
            alpha: self.function.1,
            beta: self.function.2,
            a_row: if self.transposed[0] { 1 } else { k as u32 },
            a_column: if self.transposed[0] { m as u32 } else { 1 },
            b_row: if self.transposed[1] { 1 } else { n as u32 },
            b_column: if self.transposed[1] { k as u32 } else { 1 },
            scale: self.scale,
        };
        let mut bindings = vec![(0, Operand::Input(0)), (1, Operand::Input(1)), (4, Operand::Output(0))];
        bindings.extend(self.added[0].then_some((2, Operand::Input(2))));
        bindings.extend(self.added[1].then_some((3, Operand::Input(3))));
        let (narrow, tile) = tile(m);
        let features = [if self.transposed[1] { "transposed" } else { "" }, narrow];
        let groups = [n.div_ceil(tile[1]), m.div_ceil(tile[0]), self.batch.0.iter().product()];
        Dispatch::new("product", &features, bindings, params.bytes(), groups).map(Some)
    }
}

params!("product": m: u32, k: u32, n: u32, has_bias: u32, sizes: vec4u, a_strides: vec4u, b_strides: vec4u,
    has_residual: u32, function: u32, alpha: f32, beta: f32, a_row: u32, a_column: u32, b_row: u32, b_column: u32, scale: f32);
