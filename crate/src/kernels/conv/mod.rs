//! Convolution of images `[c, in…]` by filters. A convolution of whole channels is a product: the windows are packed as
//! the columns that the packed filters multiply (`product`), a cacheful at a time. One channel a group is summed
//! directly (`depthwise`), and filters of three by three meet whole tiles of outputs (`tiled`). The gradient is a product whose columns are spread over the image (`spread`).

mod depthwise;
mod frame;
pub mod integer;
mod product;
mod spread;
mod tiled;

use super::gemm::tile::{self, Epilogue};
use super::threads::{Places, Threads};
use super::window::Windows;
use crate::error::{Error, ErrorKind, Result, ensure, fail};

/// Filters, packed for their convolution once.
pub struct Filters {
    /// The shape that they came in.
    shape: Vec<usize>,
    groups: usize,
    /// Filters of a group.
    each: usize,
    /// Values of a filter.
    k: usize,
    /// Whether they are transformed for tiles; k then counts channels.
    tiled: bool,
    values: Vec<f32>,
}

impl Filters {
    /// Packs `w [groups · each, c, kernel…]` for [`conv`].
    pub fn new(w: &[f32], shape: &[usize], groups: usize) -> Result<Self> {
        let (groups, filters) = (groups.max(1), shape.first().copied().unwrap_or(0));
        let (each, k) = (filters / groups, w.len() / filters.max(1));
        Self::packed(w, shape, groups, (each, k), (k, 1))
    }

    /// Packs `w [groups · c, each, kernel…]` for [`conv_transpose`]: a filter then is one element of a window.
    pub fn transposed(w: &[f32], shape: &[usize], groups: usize) -> Result<Self> {
        let (groups, channels) = (groups.max(1), shape.first().copied().unwrap_or(0));
        let (each, k) = (w.len() / channels.max(1), channels / groups);
        Self::packed(w, shape, groups, (each, k), (1, each))
    }

    fn packed(
        w: &[f32],
        shape: &[usize],
        groups: usize,
        (each, k): (usize, usize),
        distances: (usize, usize),
    ) -> Result<Self> {
        let (mut values, own) = (zeros(w.len())?, (each * k).max(1));
        for (w, packed) in w.chunks_exact(own).zip(values.chunks_exact_mut(own)) {
            tile::pack_rows(Threads::single(), w, distances, (each, k), packed);
        }
        Ok(Self { shape: shape.to_vec(), groups, each, k, tiled: false, values })
    }

    /// Packs `w [each, c, 3, 3]` for a [`conv`] without strides and dilations, of one group.
    pub fn tiled(w: &[f32], shape: &[usize]) -> Result<Self> {
        let &[each, k, 3, 3] = shape else { return fail!(Internal, "filters {shape:?} have no tiles") };
        let values = tiled::filters(w, each, k)?;
        Ok(Self { shape: shape.to_vec(), groups: 1, each, k, tiled: true, values })
    }

    /// The shape that they came in.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes of the packed values.
    pub fn memory_bytes(&self) -> usize {
        self.values.len() * 4
    }

    fn group(&self, group: usize) -> &[f32] {
        &self.values[group * self.each * self.k..][..self.each * self.k]
    }
}

/// The sizes of a convolution, in at least two dimensions.
pub struct Sizes {
    windows: Windows,
    input: Vec<usize>,
    out: Vec<usize>,
}

impl Sizes {
    /// Windows over `input`, of which there are `out`.
    pub fn new(windows: &Windows, input: &[usize], out: &[usize]) -> Self {
        let mut sizes = Self { windows: windows.clone(), input: input.to_vec(), out: out.to_vec() };
        if input.len() == 1 {
            let Windows { kernel, strides, dilations, pads } = &mut sizes.windows;
            for one in [kernel, strides, dilations, &mut sizes.input, &mut sizes.out] {
                one.insert(0, 1);
            }
            pads.insert(0, (0, 0));
        }
        sizes
    }

    fn pixels(&self) -> usize {
        self.input.iter().product()
    }

    fn outputs(&self) -> usize {
        self.out.iter().product()
    }

    fn taps(&self) -> usize {
        self.windows.kernel.iter().product()
    }
}

/// `y [n, groups · each, out…]` of images `x [n, c, in…]`; the residual is like y.
pub fn conv(
    threads: Threads,
    x: &[f32],
    filters: &Filters,
    y: &mut [f32],
    sizes: &Sizes,
    epilogue: &Epilogue,
) -> Result<()> {
    if filters.tiled {
        return tiled::run(threads, x, filters, y, sizes, epilogue);
    }
    let (from, to) = (filters.k / sizes.taps().max(1) * sizes.pixels(), filters.each * sizes.outputs());
    let (groups, y) = (y.len() / to.max(1), Places::new(y));
    // Many groups are shared out whole; few share each of their products.
    let (outer, inner) = if filters.groups > threads.count() {
        (threads, Threads::single())
    } else {
        (Threads::single(), threads)
    };
    outer.try_for_each(groups, 1, |groups| {
        let mut product = product::Product::new(inner, filters, sizes)?;
        for i in groups {
            let group = i % filters.groups;
            let epilogue = Epilogue {
                row_bias: epilogue.row_bias.map(|bias| &bias[group * filters.each..]),
                ..epilogue.from(i * to)
            };
            // SAFETY: each group belongs to one thread.
            let y = unsafe { y.range(i * to..(i + 1) * to) };
            product.group(&x[i * from..][..from], group, y, &epilogue);
        }
        Ok(())
    })
}

/// Whether [`depthwise()`] computes it: one channel and one filter a group, over two dimensions.
pub fn is_depthwise(channels: usize, filters: usize, groups: usize, rank: usize) -> bool {
    channels == groups && filters == groups && rank <= 2
}

/// `y [n, c, out…]` of images `x [n, c, in…]`, each channel by its filter of `w [c, kernel…]`.
pub fn depthwise(
    threads: Threads,
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    sizes: &Sizes,
    epilogue: &Epilogue,
) -> Result<()> {
    depthwise::run(threads, x, w, y, sizes, epilogue)
}

/// The gradient: each pixel of `x [n, c, in…]` is spread over `y [n, groups · each, out…]` by the
/// [transposed filters](Filters::transposed). `sizes` are those of the convolution whose gradient it is: its windows
/// slide over `y`.
pub fn conv_transpose(
    threads: Threads,
    x: &[f32],
    filters: &Filters,
    y: &mut [f32],
    sizes: &Sizes,
    epilogue: &Epilogue,
) -> Result<()> {
    spread::run(threads, x, filters, y, sizes, epilogue)
}

/// Room for `n` values, all zero.
fn zeros(n: usize) -> Result<Vec<f32>> {
    let mut values = Vec::new();
    ensure!(
        n <= u32::MAX as usize && values.try_reserve_exact(n).is_ok(),
        OutOfMemory,
        "no memory for {n} values of a convolution: use a smaller image"
    );
    values.resize(n, 0.0);
    Ok(values)
}

/// The product of sizes that a file may have chosen.
fn product_of(sizes: impl IntoIterator<Item = usize>) -> Result<usize> {
    let product = sizes.into_iter().try_fold(1usize, |a, b| a.checked_mul(b));
    product.ok_or_else(|| Error::new(ErrorKind::OutOfMemory, "an image with its padding is too large"))
}

#[cfg(test)]
mod tests;
