//! Images of another size, one dimension after the other: each output is a weighted sum of few inputs along a line, and
//! which, with which weights, is the same for all lines.

use super::threads::{Threads, WORTH};

/// What one output along a line is made of: positions, which may repeat, and weights. None for the value outside.
pub type Taps = Option<Vec<(usize, f32)>>;

/// How weights are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// One input, rounded as the mode says.
    Nearest(Nearest),
    /// The two neighbours.
    Linear,
    /// The four neighbours, by a cubic with this coefficient; Keys 1981, doi:10.1109/TASSP.1981.1163711.
    Cubic {
        /// The coefficient, often -0.75 or -0.5.
        a: f32,
    },
}

/// How a coordinate between two inputs is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// Which coordinate of the input belongs to one of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixelForNn,
    TfCropAndResize,
}

/// How one dimension is resized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Its size, before and after.
    pub input: usize,
    /// The size after.
    pub output: usize,
    /// Size after by size before, as the caller said it.
    pub scale: f32,
    /// Where coordinates lie.
    pub coordinates: Coordinates,
    /// The part of the input that is cropped, as shares of it.
    pub crop: (f32, f32),
    /// Whether inputs beyond the edge have no weight, instead of being the edge's.
    pub exclude_outside: bool,
    /// Whether a smaller image is made of all of a larger one.
    pub antialias: bool,
}

impl Axis {
    /// Whether anything becomes of it.
    pub fn moves(&self) -> bool {
        self.output != self.input || self.scale != 1.0 || self.crop != (0.0, 1.0)
    }

    fn coordinate(&self, x: usize) -> f32 {
        let (x, n) = (x as f32, self.input as f32);
        // The size that the scale asks for, which need not be whole.
        let m = self.scale * n;
        match self.coordinates {
            Coordinates::HalfPixel => (x + 0.5) / self.scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                // What is lost of a size that is not whole goes to both sides.
                let adjustment = self.output as f32 / m;
                let offset = n / 2.0 * (1.0 - adjustment);
                offset + (x + 0.5) / self.scale - 0.5
            }
            Coordinates::PytorchHalfPixel if self.output > 1 => (x + 0.5) / self.scale - 0.5,
            Coordinates::PytorchHalfPixel => 0.0,
            Coordinates::AlignCorners if self.output > 1 => x * (n - 1.0) / (m - 1.0),
            Coordinates::AlignCorners => 0.0,
            Coordinates::Asymmetric => x / self.scale,
            Coordinates::TfHalfPixelForNn => (x + 0.5) / self.scale,
            Coordinates::TfCropAndResize => {
                let (start, end) = self.crop;
                match self.output > 1 {
                    true => start * (n - 1.0) + x * (end - start) * (n - 1.0) / (self.output as f32 - 1.0),
                    false => 0.5 * (start + end) * (n - 1.0),
                }
            }
        }
    }

    /// What each output is made of.
    pub fn taps(&self, method: Method) -> Vec<Taps> {
        (0..self.output).map(|x| self.taps_at(self.coordinate(x), method)).collect()
    }

    fn taps_at(&self, at: f32, method: Method) -> Taps {
        let last = self.input as isize - 1;
        if self.coordinates == Coordinates::TfCropAndResize && !(0.0..=last as f32).contains(&at) {
            return None;
        }
        let (radius, weight): (f32, &dyn Fn(f32) -> f32) = match method {
            Method::Nearest(rounding) => {
                let index = match rounding {
                    Nearest::RoundPreferFloor => (at - 0.5).ceil(),
                    Nearest::RoundPreferCeil => (at + 0.5).floor(),
                    Nearest::Floor => at.floor(),
                    Nearest::Ceil => at.ceil(),
                };
                return Some(vec![((index as isize).clamp(0, last) as usize, 1.0)]);
            }
            Method::Linear => (1.0, &|d| (1.0 - d.abs()).max(0.0)),
            Method::Cubic { a } => (2.0, &move |d| cubic(d.abs(), a)),
        };
        let shrink = if self.antialias { self.scale.min(1.0) } else { 1.0 };
        let reach = radius / shrink;
        let (first, end) = if self.antialias {
            ((at - reach).floor() as isize + 1, (at + reach).ceil() as isize)
        } else {
            (at.floor() as isize + 1 - radius as isize, at.floor() as isize + 1 + radius as isize)
        };
        let inside = |i: isize| (0..=last).contains(&i);
        let mut taps: Vec<(usize, f32)> = (first..end)
            .filter(|&i| !self.exclude_outside || inside(i))
            .map(|i| (i.clamp(0, last) as usize, weight((i as f32 - at) * shrink)))
            .collect();
        let sum: f32 = taps.iter().map(|(_, weight)| weight).sum();
        if sum != 0.0 && (self.exclude_outside || self.antialias) {
            taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
        }
        Some(taps)
    }
}

fn cubic(d: f32, a: f32) -> f32 {
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    } else {
        0.0
    }
}

/// Resizes one dimension of `x [outer, n, inner]` by `taps` to `y [outer, taps, inner]`; `outside` where there are none.
pub fn along(
    threads: Threads,
    x: &[f32],
    (n, inner): (usize, usize),
    taps: &[Taps],
    outside: f32,
    y: &mut [f32],
) {
    let (own, block) = (n * inner, taps.len() * inner);
    let (pairs, times) = (if inner == 1 { pairs(taps) } else { None }, repeats(taps));
    threads.for_rows(y, block, WORTH / block.max(1) + 1, |first, y| {
        let blocks = y.chunks_exact_mut(block.max(1)).zip(x[first * own..].chunks_exact(own.max(1)));
        match (&pairs, times.filter(|_| inner == 1)) {
            (_, Some(2)) => blocks.for_each(|(y, x)| repeat::<2>(x, y)),
            (_, Some(4)) => blocks.for_each(|(y, x)| repeat::<4>(x, y)),
            (_, Some(8)) => blocks.for_each(|(y, x)| repeat::<8>(x, y)),
            (Some(pairs), _) => {
                for (y, x) in blocks {
                    y.iter_mut().zip(pairs).for_each(|(y, &(a, b, share))| *y = x[a] + share * (x[b] - x[a]));
                }
            }
            _ => lines(blocks, inner, taps, outside),
        }
    });
}

/// How often each element of a line comes, where all come as often, in their order.
fn repeats(taps: &[Taps]) -> Option<usize> {
    let nearest = |taps: &Taps| match taps.as_deref() {
        Some(&[(at, 1.0)]) => Some(at),
        _ => None,
    };
    let times = taps.iter().take_while(|taps| nearest(taps) == Some(0)).count();
    let whole = times > 0 && taps.len().is_multiple_of(times);
    (whole && taps.iter().enumerate().all(|(i, taps)| nearest(taps) == Some(i / times))).then_some(times)
}

/// Each element `N` times.
fn repeat<const N: usize>(x: &[f32], y: &mut [f32]) {
    y.as_chunks_mut::<N>().0.iter_mut().zip(x).for_each(|(y, x)| *y = [*x; N]);
}

/// Blocks of lines of `inner` elements.
fn lines<'a>(
    blocks: impl Iterator<Item = (&'a mut [f32], &'a [f32])>,
    inner: usize,
    taps: &[Taps],
    outside: f32,
) {
    for (y, x) in blocks {
        for (y, taps) in y.chunks_exact_mut(inner).zip(taps) {
            let Some(taps) = taps else {
                y.fill(outside);
                continue;
            };
            let lines = taps.iter().map(|&(i, weight)| (&x[i * inner..][..inner], weight));
            for (nth, (x, weight)) in lines.enumerate() {
                match (nth, weight) {
                    (0, 1.0) => y.copy_from_slice(x),
                    (0, _) => y.iter_mut().zip(x).for_each(|(y, x)| *y = weight * x),
                    _ => y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x),
                }
            }
        }
    }
}

/// One or two neighbours for each output, and the share of the second; none where some output is made of others.
fn pairs(taps: &[Taps]) -> Option<Vec<(usize, usize, f32)>> {
    let pair = |taps: &Taps| match taps.as_deref() {
        Some(&[(a, 1.0)]) => Some((a, a, 0.0)),
        Some(&[(a, first), (b, second)]) if (first + second - 1.0).abs() < 1e-6 => Some((a, b, second)),
        _ => None,
    };
    taps.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(input: usize, output: usize, coordinates: Coordinates) -> Axis {
        let scale = output as f32 / input as f32;
        Axis { input, output, scale, coordinates, crop: (0.0, 1.0), exclude_outside: false, antialias: false }
    }

    #[test]
    fn lines_are_resized_as_by_hand() {
        let x = [1.0, 2.0, 3.0, 4.0];
        let resize = |axis: Axis, method| {
            let mut y = vec![9.0; axis.output];
            along(Threads::single(), &x, (4, 1), &axis.taps(method), -1.0, &mut y);
            y
        };
        let corners = axis(4, 7, Coordinates::AlignCorners);
        assert_eq!(resize(corners, Method::Linear), [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]);
        let halves = axis(4, 2, Coordinates::HalfPixel);
        assert_eq!(resize(halves, Method::Linear), [1.5, 3.5]);
        let doubled = axis(4, 8, Coordinates::Asymmetric);
        assert_eq!(
            resize(doubled, Method::Nearest(Nearest::Floor)),
            [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]
        );
        for (times, cut) in [(2, 0), (2, 1), (3, 0), (4, 0), (4, 3), (8, 0)] {
            let axis = Axis {
                output: 4 * times - cut,
                scale: times as f32,
                ..axis(4, 4 * times, Coordinates::Asymmetric)
            };
            let nearest = resize(axis, Method::Nearest(Nearest::Floor));
            let wanted: Vec<f32> = (0..4 * times - cut).map(|i| x[i / times]).collect();
            assert_eq!(nearest, wanted, "{times} times, less {cut}");
        }
        // A line that a cubic through its points follows.
        let cubic = resize(corners, Method::Cubic { a: -0.5 });
        assert!((cubic[3] - 2.5).abs() < 1e-6 && (cubic[2] - 2.0).abs() < 1e-6, "{cubic:?}");
        let cropped = Axis { crop: (0.5, 1.5), ..axis(4, 3, Coordinates::TfCropAndResize) };
        assert_eq!(resize(cropped, Method::Linear), [2.5, 4.0, -1.0][..3].to_vec());
    }
}
