//! The discrete Fourier transform of any length, by the factors of the length: Cooley and Tukey 1965.

use std::f64::consts::TAU;

/// A complex number.
pub type Complex = (f64, f64);

/// `y[k] = Σ x[j]·e^(∓2πi·jk / n)`, without a factor; minus unless `inverse`.
pub fn transform(x: &[Complex], inverse: bool) -> Vec<Complex> {
    let n = x.len();
    let sign = if inverse { 1.0 } else { -1.0 };
    let roots: Vec<Complex> =
        (0..n).map(|i| sign * TAU * i as f64 / n as f64).map(|a| (a.cos(), a.sin())).collect();
    let mut y = vec![(0.0, 0.0); n];
    part(x, 1, &mut y, &roots);
    y
}

/// The transform of every `step`-th element of `x`. There are as many as `y` has.
fn part(x: &[Complex], step: usize, y: &mut [Complex], roots: &[Complex]) {
    let n = y.len();
    if n < 2 {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
        return;
    }
    let factor = (2..).take_while(|f| f * f <= n).find(|f| n.is_multiple_of(*f)).unwrap_or(n);
    let each = n / factor;
    for (i, y) in y.chunks_exact_mut(each).enumerate() {
        part(&x[i * step..], step * factor, y, roots);
    }
    let root = |power: usize| roots[power % n * step];
    let mut line = vec![(0.0, 0.0); factor];
    for k in 0..each {
        for (j, to) in line.iter_mut().enumerate() {
            *to = times(y[j * each + k], root(j * k));
        }
        for q in 0..factor {
            let sum = line.iter().enumerate().map(|(j, x)| times(*x, root(j * q * each)));
            y[q * each + k] = sum.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        }
    }
}

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_are_those_of_the_definition() {
        for n in [1, 2, 3, 7, 8, 12, 30, 49, 64] {
            let x: Vec<Complex> = (0..n).map(|i| ((i * i % 7) as f64 - 3.0, (i * 5 % 11) as f64)).collect();
            for inverse in [false, true] {
                let got = transform(&x, inverse);
                for (k, y) in got.iter().enumerate() {
                    let angle =
                        |j: usize| if inverse { 1.0 } else { -1.0 } * TAU * (j * k % n) as f64 / n as f64;
                    let terms =
                        x.iter().enumerate().map(|(j, x)| times(*x, (angle(j).cos(), angle(j).sin())));
                    let want = terms.fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                    assert!((y.0 - want.0).abs() + (y.1 - want.1).abs() < 1e-9, "{n} {k}: {y:?} {want:?}");
                }
            }
        }
    }
}
