//! What windows have in common, dimension after dimension: the largest element and the sum of a window are those of its
//! lines' largest elements and sums, so a window of k by k costs 2 k steps.

use super::window::Windows;

/// Folds the windows of images `x [n, in…]`, each element with what came before it, from `start` on. Elements beyond the
/// edge are left out. Gives `[n, out…]`.
pub fn fold(
    x: &[f32],
    windows: &Windows,
    (input, out): (&[usize], &[usize]),
    start: f32,
    with: impl Fn(f32, f32) -> f32 + Copy,
) -> Vec<f32> {
    let pixels = input.iter().product::<usize>().max(1);
    let mut shape = input.to_vec();
    let mut values = Vec::new();
    for i in 0..input.len() {
        let inner: usize = shape[i + 1..].iter().product();
        let outer = x.len() / pixels * shape[..i].iter().product::<usize>();
        let from = if i == 0 { x } else { &values };
        values = along(from, windows, i, (outer, shape[i], out[i], inner), start, with);
        shape[i] = out[i];
    }
    values
}

/// Folds each element with its like. A function of its own, which compilers turn into vectors; inside the loops of
/// [`along`] they do worse.
#[inline(never)]
fn each(y: &mut [f32], x: &[f32], with: impl Fn(f32, f32) -> f32) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = with(*y, *x));
}

/// Folds dimension `i` of `x [outer, n, inner]` to `[outer, out, inner]`.
#[inline(never)]
fn along(
    x: &[f32],
    windows: &Windows,
    i: usize,
    (outer, n, out, inner): (usize, usize, usize, usize),
    start: f32,
    with: impl Fn(f32, f32) -> f32 + Copy,
) -> Vec<f32> {
    let mut y = vec![start; outer * out * inner];
    let (stride, dilation, before) = (windows.strides[i], windows.dilations[i], windows.pads[i].0);
    if inner == 1 {
        for (x, y) in x.chunks_exact(n.max(1)).zip(y.chunks_exact_mut(out.max(1))) {
            if out == 1 && windows.kernel[i] == n && dilation == 1 && before == 0 {
                y[0] = lanes(x, start, with);
                continue;
            }
            for tap in 0..windows.kernel[i] {
                let reach = tap * dilation;
                // The windows whose element at this tap lies within.
                let first = before.saturating_sub(reach).div_ceil(stride);
                let end = (n + before).saturating_sub(reach).div_ceil(stride).min(out);
                if first < end {
                    let (y, x) = (&mut y[first..end], &x[first * stride + reach - before..]);
                    match stride {
                        1 => y.iter_mut().zip(x).for_each(|(y, x)| *y = with(*y, *x)),
                        2 => {
                            let (pairs, rest) = x.as_chunks::<2>();
                            if let (Some(last), Some(y)) = (rest.first(), y.get_mut(pairs.len())) {
                                *y = with(*y, *last);
                            }
                            y.iter_mut().zip(pairs).for_each(|(y, [x, _])| *y = with(*y, *x));
                        }
                        _ => y.iter_mut().zip(x.iter().step_by(stride)).for_each(|(y, x)| *y = with(*y, *x)),
                    }
                }
            }
        }
        return y;
    }
    for (x, y) in x.chunks_exact((n * inner).max(1)).zip(y.chunks_exact_mut((out * inner).max(1))) {
        for (o, y) in y.chunks_exact_mut(inner.max(1)).enumerate() {
            for tap in 0..windows.kernel[i] {
                if let Some(at) = windows.at(i, o, tap, n) {
                    each(y, &x[at * inner..][..inner], with);
                }
            }
        }
    }
    y
}

/// All elements, in eight lanes, which vectorises.
fn lanes(x: &[f32], start: f32, with: impl Fn(f32, f32) -> f32 + Copy) -> f32 {
    let mut lanes = [start; 8];
    let (chunks, rest) = x.as_chunks::<8>();
    chunks.iter().for_each(|chunk| lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane = with(*lane, *x)));
    rest.iter().chain(&lanes).fold(start, |a, b| with(a, *b))
}

/// How many elements of window `o` along dimension `i` count: those within, or with `pads` those within the padding.
pub fn counted(windows: &Windows, i: usize, o: usize, input: usize, pads: bool) -> usize {
    let (before, after) = windows.pads[i];
    let counts = |tap: &usize| {
        let at = o * windows.strides[i] + tap * windows.dilations[i];
        if pads { at < input + before + after } else { at >= before && at < input + before }
    };
    (0..windows.kernel[i]).filter(counts).count()
}
