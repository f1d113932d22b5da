use super::*;
use crate::kernels::threads::pool;
use crate::kernels::window::{Padding, Sliding, for_each_index};

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut x = seed;
    let next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 8) as f32 / 8_388_608.0 - 1.0
    };
    std::iter::repeat_with(next).take(n).collect()
}

/// For each output, filter, channel and tap that meet: the index in y, x and w.
fn each(
    (channels, filters, groups): (usize, usize, usize),
    windows: &Windows,
    input: &[usize],
    out: &[usize],
    mut then: impl FnMut(usize, usize, usize),
) {
    let taps: usize = windows.kernel.iter().product();
    let (pixels, outputs) = (input.iter().product::<usize>(), out.iter().product::<usize>());
    let (own, each) = (channels / groups, filters / groups);
    for_each_index(out, |o| {
        let output = o.iter().zip(out).fold(0, |at, (i, n)| at * n + i);
        for_each_index(&windows.kernel, |t| {
            let tap = t.iter().zip(&windows.kernel).fold(0, |at, (i, n)| at * n + i);
            let at = (0..input.len())
                .try_fold(0, |at, i| Some(at * input[i] + windows.at(i, o[i], t[i], input[i])?));
            let Some(at) = at else { return };
            for (filter, c) in (0..filters).flat_map(|f| (0..own).map(move |c| (f, c))) {
                let channel = filter / each * own + c;
                then(filter * outputs + output, channel * pixels + at, (filter * own + c) * taps + tap);
            }
        });
    });
}

fn near(got: &[f32], want: &[f32], what: &str) {
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() < 1e-4, "{what}: value {i} is {got}, not {want}");
    }
}

/// Input, kernel, stride, dilation, pad, and channels, filters and groups.
type Case = (&'static [usize], &'static [usize], usize, usize, usize, [usize; 3]);

#[test]
fn convolutions_and_their_gradients_are_those_of_the_textbook() {
    let cases: &[Case] = &[
        (&[9, 13], &[3, 3], 1, 1, 1, [3, 5, 1]),
        (&[42, 70], &[3, 3], 1, 1, 1, [30, 9, 1]),
        (&[13, 14], &[3, 3], 1, 1, 0, [17, 20, 1]),
        (&[40, 50], &[3, 3], 2, 1, 1, [20, 9, 1]),
        (&[64, 70], &[5, 3], 3, 2, 2, [40, 8, 1]),
        (&[12, 12], &[1, 1], 1, 1, 0, [7, 6, 1]),
        (&[12, 13], &[1, 1], 2, 1, 0, [4, 3, 1]),
        (&[11, 17], &[3, 3], 1, 1, 1, [6, 6, 6]),
        (&[31, 33], &[5, 5], 2, 1, 2, [4, 4, 4]),
        (&[10, 21], &[3, 3], 1, 3, 3, [4, 4, 4]),
        (&[8, 9], &[2, 2], 2, 1, 0, [6, 4, 2]),
        (&[29], &[4], 3, 1, 2, [3, 2, 1]),
        (&[40], &[5], 1, 1, 2, [3, 3, 3]),
        (&[5, 6, 7], &[3, 2, 3], 2, 1, 1, [2, 3, 1]),
        (&[5, 6, 7], &[3, 3, 3], 1, 1, 1, [2, 2, 2]),
    ];
    for (threads, &(input, kernel, stride, dilation, pad, [channels, filters, groups])) in
        [Threads::single(), pool()]
            .into_iter()
            .flat_map(|threads| cases.iter().map(move |case| (threads, case)))
    {
        let rank = input.len();
        let sliding = Sliding {
            strides: Some(vec![stride; rank]),
            dilations: Some(vec![dilation; rank]),
            padding: Padding::Given(vec![pad; 2 * rank]),
        };
        let windows = sliding.over(input, kernel).unwrap();
        let out = windows.count(input, false);
        let sizes = Sizes::new(&windows, input, &out);
        let what = format!("{input:?} by {kernel:?}, {channels} to {filters} in {groups}");
        let taps: usize = kernel.iter().product();
        let (x, w) = (noise(2 * channels * sizes.pixels(), 1), noise(filters * channels / groups * taps, 2));
        let outputs = 2 * filters * sizes.outputs();
        let (bias, residual) = (noise(filters, 3), noise(outputs, 4));
        let halve = |y: &mut [f32]| y.iter_mut().for_each(|y| *y *= 0.5);
        let epilogue = Epilogue {
            row_bias: Some(&bias),
            residual: Some(&residual),
            activation: Some(&halve),
            column_bias: None,
        };
        let counts = (channels, filters, groups);

        let mut want: Vec<f32> =
            (0..outputs).map(|i| residual[i] + bias[i / sizes.outputs() % filters]).collect();
        for image in 0..2 {
            let x = &x[image * channels * sizes.pixels()..];
            let want = &mut want[image * filters * sizes.outputs()..];
            each(counts, &windows, input, &out, |i, j, t| want[i] += x[j] * w[t]);
        }
        want.iter_mut().for_each(|y| *y *= 0.5);
        let packed = Filters::new(&w, &[filters], groups).unwrap();
        let mut y = vec![f32::NAN; outputs];
        conv(threads, &x, &packed, &mut y, &sizes, &epilogue).unwrap();
        near(&y, &want, &what);
        if groups == 1 && kernel == [3, 3] && (stride, dilation) == (1, 1) {
            let packed = Filters::tiled(&w, &[filters, channels, 3, 3]).unwrap();
            y.fill(f32::NAN);
            conv(threads, &x, &packed, &mut y, &sizes, &epilogue).unwrap();
            near(&y, &want, &format!("{what}, in tiles"));
        }
        if is_depthwise(channels, filters, groups, rank) {
            y.fill(f32::NAN);
            depthwise(threads, &x, &w, &mut y, &sizes, &epilogue).unwrap();
            near(&y, &want, &format!("{what}, directly"));
        }

        // The gradient takes y's place to x's, with w as it is.
        let (given, inputs) = (noise(outputs, 5), 2 * channels * sizes.pixels());
        let (bias, residual) = (noise(channels, 6), noise(inputs, 7));
        let epilogue = Epilogue { row_bias: Some(&bias), residual: Some(&residual), ..epilogue };
        let mut want: Vec<f32> =
            (0..inputs).map(|i| residual[i] + bias[i / sizes.pixels() % channels]).collect();
        for image in 0..2 {
            let given = &given[image * filters * sizes.outputs()..];
            let want = &mut want[image * channels * sizes.pixels()..];
            each(counts, &windows, input, &out, |i, j, t| want[j] += given[i] * w[t]);
        }
        want.iter_mut().for_each(|y| *y *= 0.5);
        let packed = Filters::transposed(&w, &[filters], groups).unwrap();
        let mut y = vec![f32::NAN; inputs];
        conv_transpose(threads, &given, &packed, &mut y, &sizes, &epilogue).unwrap();
        near(&y, &want, &format!("{what}, the gradient"));
    }
}
