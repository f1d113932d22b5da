//! An image read at any places, its pixels interpolated. ONNX GridSample, of any number of dimensions.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, expect_float};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand, params};
use crate::kernels::window::for_each_index;
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x [n, c, in…], grid [n, out…, r]) → y [n, c, out…]`. A place has its last dimension first, each from -1 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct GridSample {
    /// Which pixels count.
    pub by: Interpolation,
    /// What lies beyond the edge.
    pub beyond: Beyond,
    /// Whether -1 and 1 are the middles of the pixels at the edges, not the edges.
    pub align_corners: bool,
}

/// Which pixels count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest; of two, the even one.
    Nearest,
    /// Two along each dimension.
    Linear,
    /// Four along each dimension, by Keys's cubic with a = -0.75.
    Cubic,
}

/// What lies beyond the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Zeros.
    Zeros,
    /// The pixel at the edge.
    Border,
    /// The image, mirrored.
    Reflection,
}

impl GridSample {
    /// The pixels along a dimension of `n` that count for a place, each with its weight.
    fn taps(&self, place: f32, n: usize, taps: &mut Vec<(usize, f32)>) {
        taps.clear();
        let size = n as f32;
        let (low, high) = if self.align_corners { (0.0, size - 1.0) } else { (-0.5, size - 0.5) };
        let mut at = if self.align_corners {
            (place + 1.0) / 2.0 * (size - 1.0)
        } else {
            ((place + 1.0) * size - 1.0) / 2.0
        };
        if self.by == Interpolation::Nearest {
            at = at.round_ties_even();
        }
        if !(low..=high).contains(&at) {
            at = match self.beyond {
                Beyond::Zeros => at,
                Beyond::Border => at.clamp(0.0, size - 1.0),
                Beyond::Reflection => reflected(at, low, high),
            };
        }
        // What is no number is far from every pixel.
        let floor = if at.is_nan() { f32::MIN } else { at.floor() };
        let t = at - floor;
        let weights: &[f32] = match self.by {
            Interpolation::Nearest => &[1.0],
            Interpolation::Linear => &[1.0 - t, t],
            Interpolation::Cubic => &cubic(t),
        };
        let first = if self.by == Interpolation::Cubic { floor - 1.0 } else { floor };
        for (i, &weight) in weights.iter().enumerate() {
            let pixel = first + i as f32;
            let inside = (0.0..size).contains(&pixel);
            let pixel = match self.beyond {
                Beyond::Zeros if !inside => continue,
                Beyond::Reflection if !inside => reflected(pixel, low, high),
                _ => pixel,
            };
            taps.push(((pixel.max(0.0) as usize).min(n - 1), weight));
        }
    }
}

/// A place mirrored at both ends until it lies between.
fn reflected(x: f32, low: f32, high: f32) -> f32 {
    let range = high - low;
    if range <= 0.0 {
        return low;
    }
    let (from, over) = if x < low {
        (low, low - x)
    } else if x > high {
        (high, x - high)
    } else {
        return x;
    };
    let turns = (over / range).floor();
    let rest = over - turns * range;
    let back = turns % 2.0 == 0.0;
    match (from == low) == back {
        true => low + rest,
        false => high - rest,
    }
}

fn cubic(t: f32) -> [f32; 4] {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

impl OpDef for GridSample {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, grid) = (inputs.shape(0)?, inputs.shape(1)?);
        expect_float(inputs.ty(0)?, "the image")?;
        let rank = x.len().saturating_sub(2);
        let fits = rank > 0 && grid.len() == x.len() && grid[0] == x[0] && grid[rank + 1] == rank;
        let empty = x.get(2..).is_some_and(|sizes| sizes.contains(&0)) && !grid.contains(&0);
        ensure!(fits && !empty, ShapeMismatch, "a grid {} over an image {}", inputs.ty(1)?, inputs.ty(0)?);
        let shape = [&x[..2], &grid[1..=rank]].concat();
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn computes_in_f32(&self, _dtype: DType) -> bool {
        true
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, grid) = (inputs[0].tensor()?, inputs[1].tensor()?.data::<f32>()?);
        let (channels, sizes) = (x.shape[1], &x.shape[2..]);
        let rank = sizes.len();
        let pixels: usize = sizes.iter().product();
        let outputs_each = outputs[0].shape[2..].iter().product::<usize>();
        let (x, y) = (x.data::<f32>()?, outputs[0].data::<f32>()?);
        let mut taps = vec![Vec::new(); rank];
        let mut found: Vec<(usize, f32)> = Vec::new();
        for (place, at) in grid.chunks_exact(rank).enumerate() {
            for (i, taps) in taps.iter_mut().enumerate() {
                self.taps(at[rank - 1 - i], sizes[i], taps);
            }
            found.clear();
            let counts: Vec<usize> = taps.iter().map(Vec::len).collect();
            for_each_index(&counts, |index| {
                let each = (0..rank).map(|i| taps[i][index[i]]);
                found.push(
                    each.zip(sizes).fold((0, 1.0), |(at, weight), ((tap, w), n)| (at * n + tap, weight * w)),
                );
            });
            let (batch, place) = (place / outputs_each, place % outputs_each);
            for channel in (0..channels).map(|channel| batch * channels + channel) {
                let image = &x[channel * pixels..][..pixels];
                y[channel * outputs_each + place] =
                    found.iter().map(|(at, weight)| image[*at] * weight).sum();
            }
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (x, grid) = (types.input(0)?, types.input(1)?);
        let &[_, channels, in_h, in_w] = &x[..] else {
            return Lowered::not_on_gpu("no kernel reads images of so many dimensions");
        };
        let n = types.n_out()?;
        let params = Params {
            n: n as u32,
            channels: channels as u32,
            in_h: in_h as u32,
            in_w: in_w as u32,
            places: grid[1..3].iter().product::<usize>() as u32,
            by: self.by as u32,
            beyond: self.beyond as u32,
            align_corners: self.align_corners.into(),
        };
        let bindings = vec![(0, Operand::Input(0)), (1, Operand::Input(1)), (2, Operand::Output(0))];
        Lowered::one(Dispatch::of_each("grid_sample", &[], bindings, params.bytes(), n)?)
    }
}

params!("grid_sample": n: u32, channels: u32, in_h: u32, in_w: u32, places: u32, by: u32, beyond: u32, align_corners: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    /// Tents around the pixels, zeros beyond; pixel i lies at (2i + 1) / n - 1.
    fn reference_linear(x: &Array, grid: &Array) -> Array {
        let of = |o: Vec<usize>| {
            let tent = |axis: usize, i: usize| {
                let n = x.shape[2 + axis] as f64;
                let at = ((grid.at(&[o[0], o[2], o[3], 1 - axis]) + 1.0) * n - 1.0) / 2.0;
                (1.0 - (at - i as f64).abs()).max(0.0)
            };
            indices(&x.shape[2..])
                .map(|i| x.at(&[o[0], o[1], i[0], i[1]]) * tent(0, i[0]) * tent(1, i[1]))
                .sum()
        };
        let shape = [x.shape[0], x.shape[1], grid.shape[1], grid.shape[2]];
        Array::new(&shape, indices(&shape).map(of).collect())
    }

    /// A place mirrored at the ends, one step after the other.
    fn mirrored(mut at: f64, low: f64, high: f64) -> f64 {
        while at < low || at > high {
            at = if at < low { 2.0 * low - at } else { 2.0 * high - at };
        }
        at
    }

    /// Pixel by pixel, each with Keys's cubic, a tent or a box around it; what lies beyond is looked up.
    fn reference_grid_sample(op: &GridSample, x: &Array, grid: &Array) -> Array {
        let of = |o: Vec<usize>| {
            let taps = |axis: usize| -> Vec<(Option<usize>, f64)> {
                let n = x.shape[2 + axis] as f64;
                let (low, high) = if op.align_corners { (0.0, n - 1.0) } else { (-0.5, n - 0.5) };
                let at = (grid.at(&[o[0], o[2], o[3], 1 - axis]) + 1.0) / 2.0 * (high - low) + low;
                let at = if op.by == Interpolation::Nearest { at.round_ties_even() } else { at };
                let at = match op.beyond {
                    Beyond::Zeros => at,
                    Beyond::Border => {
                        if at < low || at > high {
                            at.clamp(0.0, n - 1.0)
                        } else {
                            at
                        }
                    }
                    Beyond::Reflection => mirrored(at, low, high),
                };
                let weight = |distance: f64| match (op.by, distance.abs()) {
                    (Interpolation::Nearest, d) => f64::from(u8::from(d < 0.5)),
                    (Interpolation::Linear, d) => (1.0 - d).max(0.0),
                    (Interpolation::Cubic, d) if d <= 1.0 => 1.25 * d.powi(3) - 2.25 * d * d + 1.0,
                    (Interpolation::Cubic, d) if d < 2.0 => -0.75 * (d.powi(3) - 5.0 * d * d + 8.0 * d - 4.0),
                    _ => 0.0,
                };
                let pixels = -4..n as i64 + 4;
                let each = pixels.map(|pixel| {
                    let inside = (0.0..n).contains(&(pixel as f64));
                    let found = match op.beyond {
                        Beyond::Zeros if !inside => None,
                        Beyond::Reflection if !inside => Some(mirrored(pixel as f64, low, high)),
                        _ => Some((pixel as f64).clamp(0.0, n - 1.0)),
                    };
                    (found.map(|at| at.clamp(0.0, n - 1.0) as usize), weight(at - pixel as f64))
                });
                each.filter(|(_, weight)| *weight != 0.0).collect()
            };
            let columns = taps(1);
            let rows = taps(0).into_iter().flat_map(|(row, a)| {
                columns.iter().map(move |&(column, b)| Some((row?, column?, a * b))).collect::<Vec<_>>()
            });
            rows.flatten().map(|(row, column, weight)| weight * x.at(&[o[0], o[1], row, column])).sum()
        };
        let shape = [x.shape[0], x.shape[1], grid.shape[1], grid.shape[2]];
        Array::new(&shape, indices(&shape).map(of).collect())
    }

    pub fn cases() -> Vec<Case> {
        let op = GridSample { by: Interpolation::Linear, beyond: Beyond::Zeros, align_corners: false };
        let inputs = || vec![Given::noise(&[2, 3, 5, 4], 1), Given::noise(&[2, 3, 6, 2], 2)];
        let mut cases = vec![Case::new("linear", op, inputs(), Tolerance::of(2e-6), |x| {
            vec![reference_linear(x[0].as_ref().expect("an image"), x[1].as_ref().expect("a grid"))]
        })];
        // Places inside and as far outside as the image is wide; none where two pixels are equally near.
        let grid: Vec<f32> = (0..72).map(|i| ((i * 29 % 71) as f32 / 71.0 - 0.5) * 3.93).collect();
        for by in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic] {
            for beyond in [Beyond::Zeros, Beyond::Border, Beyond::Reflection] {
                for align_corners in [false, true] {
                    let op = GridSample { by, beyond, align_corners };
                    let (name, own) = (format!("{op:?}"), op.clone());
                    let inputs = vec![Given::noise(&[2, 3, 5, 4], 1), Given::fed(&[2, 3, 6, 2], &grid)];
                    cases.push(Case::new(name, op, inputs, Tolerance::of(1e-5), move |x| {
                        let [Some(x), Some(grid)] = x else { panic!("two inputs") };
                        vec![reference_grid_sample(&own, x, grid)]
                    }));
                }
            }
        }
        cases
    }
}
