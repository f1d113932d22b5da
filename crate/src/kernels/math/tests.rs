//! Every function against f64 over its range.

use super::*;
use crate::kernels::simd::Simd;
use crate::kernels::simd::scalar::Scalar as S;

/// Holds `f` to `want` on a fine grid, by an error relative to `scale` of the argument and the right result.
fn hold(
    name: &str,
    (from, to): (f64, f64),
    f: impl Fn([f32; 4]) -> [f32; 4],
    want: impl Fn(f64) -> f64,
    scale: impl Fn(f64, f64) -> f64,
    bound: f64,
) {
    let n = 200_000;
    let mut worst = (0.0f64, 0.0f32);
    for i in 0..n / 4 {
        let x: [f32; 4] =
            std::array::from_fn(|j| (from + (to - from) * f64::from(4 * i + j as u32) / f64::from(n)) as f32);
        for (x, got) in x.into_iter().zip(f(x)) {
            let right = want(f64::from(x));
            let error = (f64::from(got) - right).abs() / scale(f64::from(x), right).max(1e-37);
            assert!(error < bound, "{name}({x}) is {got}, not {right}: off by {error}");
            worst = if error > worst.0 { (error, x) } else { worst };
        }
    }
    eprintln!("{name}: at most {:.2e}, at {}", worst.0, worst.1);
}

fn relative(_: f64, right: f64) -> f64 {
    right.abs()
}

fn of_x(x: f64, _: f64) -> f64 {
    x.abs()
}

#[test]
fn functions_keep_their_bounds() {
    let gelu_of = |x: f64| x * 0.5 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
    let tanh_of =
        |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh());
    hold("exp", (-87.3, 88.72), exp::<S>, f64::exp, relative, 3e-7);
    hold("exp_negative", (-87.3, 0.0), exp_negative::<S>, f64::exp, relative, 3e-7);
    hold("exp2_negative", (-100.0, 0.0), exp2_negative::<S>(), f64::exp2, relative, 3e-6);
    hold("exp_m1", (-20.0, 20.0), exp_m1::<S>, f64::exp_m1, relative, 1e-6);
    hold("exp_m1 near 0", (-1e-3, 1e-3), exp_m1::<S>, f64::exp_m1, relative, 1e-6);
    hold("sigmoid", (-80.0, 80.0), sigmoid::<S>, |x| 1.0 / (1.0 + (-x).exp()), relative, 5e-7);
    hold("silu", (-80.0, 80.0), silu::<S>, |x| x / (1.0 + (-x).exp()), relative, 6e-7);
    hold("tanh", (-12.0, 12.0), tanh::<S>, f64::tanh, relative, 5e-7);
    hold("tanh near 0", (-1e-3, 1e-3), tanh::<S>, f64::tanh, relative, 5e-7);
    hold("erf", (-6.0, 6.0), erf::<S>, libm::erf, relative, 3e-7);
    hold("erf near 0", (-1e-3, 1e-3), erf::<S>, libm::erf, relative, 3e-7);
    hold("gelu", (-12.0, 12.0), gelu::<S>, gelu_of, of_x, 3e-7);
    hold("gelu_tanh", (-12.0, 12.0), gelu_tanh::<S>, tanh_of, of_x, 4e-7);
    hold("ln", (1e-3, 4.0), ln::<S>, f64::ln, relative, 3e-7);
    hold("ln of much", (1.0, 3e38), ln::<S>, f64::ln, relative, 3e-7);
    hold("ln of little", (1.2e-38, 1e-30), ln::<S>, f64::ln, relative, 3e-7);
    hold("ln_1p", (0.0, 4.0), ln_1p::<S>, f64::ln_1p, relative, 6e-7);
    hold("ln_1p near 0", (0.0, 1e-6), ln_1p::<S>, f64::ln_1p, relative, 6e-7);
    hold("softplus", (-80.0, 80.0), softplus::<S>, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), relative, 1e-6);
}

#[test]
fn limits_and_what_is_no_number() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    assert_eq!(exp::<S>([inf, -inf, 0.0, 100.0]), [inf, 0.0, 1.0, inf]);
    assert_eq!(exp_negative::<S>([-inf, -100.0, 0.0, -0.0]), [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(exp2_whole::<S>([0.0, -1.0, -126.0, -127.0]), [1.0, 0.5, f32::MIN_POSITIVE, 0.0]);
    assert_eq!(exp2_whole::<S>([-inf, -1e30, -24.0, -0.0]), [0.0, 0.0, 5.960_464_5e-8, 1.0]);
    assert!(exp2_negative::<S>()([-inf, -1e30, -101.0, -0.0])[..3].iter().all(|x| *x == 0.0));
    assert_eq!(sigmoid::<S>([inf, -inf, 0.0, -0.0]), [1.0, 0.0, 0.5, 0.5]);
    let [above, below, ..] = tanh::<S>([inf, -inf, 0.0, 0.0]);
    assert!((above - 1.0).abs() < 1e-6 && (below + 1.0).abs() < 1e-6);
    assert_eq!(erf::<S>([inf, -inf, 0.0, 9.0]), [1.0, -1.0, 0.0, 1.0]);
    assert_eq!(ln::<S>([1.0, 0.0, inf, 1.0]), [0.0, -inf, inf, 0.0]);
    assert!(ln::<S>([-1.0; 4])[0].is_nan());
    assert_eq!(softplus::<S>([inf, -inf, 0.0, 30.0])[..2], [inf, 0.0]);
    assert_eq!(ln_1p::<S>([0.0, 1e-30, 0.0, 0.0])[..2], [0.0, 1e-30]);
    for f in [
        exp::<S>,
        exp_m1::<S>,
        sigmoid::<S>,
        silu::<S>,
        tanh::<S>,
        erf::<S>,
        gelu::<S>,
        gelu_tanh::<S>,
        ln::<S>,
        softplus::<S>,
    ] {
        assert!(f([nan; 4]).iter().all(|x| x.is_nan()));
    }
}

#[test]
fn slices_are_worked_on_to_their_last_element() {
    for n in 0..40usize {
        let x: Vec<f32> = (0..n).map(|i| i as f32 * 0.5 - 3.0).collect();
        let mut y = x.clone();
        map::<S>(&mut y, |x| S::add(x, S::splat(1.0)));
        assert!(y.iter().zip(&x).all(|(y, x)| *y == x + 1.0));
        zip::<S>(&mut y, &x, S::sub);
        assert!(y.iter().all(|y| *y == 1.0));
        let one = S::splat(1.0);
        assert_eq!(sum::<S>(&x, |x| S::add(x, one)), x.iter().map(|x| x + 1.0).sum::<f32>());
        assert_eq!(largest::<S>(&x), x.last().copied().unwrap_or(f32::NEG_INFINITY));
        assert_eq!(smallest::<S>(&x), x.first().copied().unwrap_or(f32::INFINITY));
        let rows: Vec<f32> = (0..2 * n).map(|i| (i % 7) as f32).collect();
        let want: Vec<f32> = (0..2).map(|r| (0..n).map(|i| rows[r * n + i] * x[i]).sum()).collect();
        assert_eq!(dot::<S, 2>(&rows, &x)[..], want);
    }
}
