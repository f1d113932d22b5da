//! Product of two f32 matrices that are computed, not weights: four rows of the result at a time, so that each row
//! of `b` is read once for all four, in strips of columns that stay in the nearest cache.

/// Columns of the result that are worked on at once.
const STRIP: usize = 256;

/// `y = a·b` with `a [m, k]`, `b [k, n]`, `y [m, n]`, row-major; sizes as `(m, k, n)`.
pub fn multiply(a: &[f32], b: &[f32], y: &mut [f32], (m, k, n): (usize, usize, usize)) {
    y.fill(0.0);
    for start in (0..n).step_by(STRIP) {
        let width = STRIP.min(n - start);
        let mut row = 0;
        while row < m {
            let rows = 4.min(m - row);
            let of_a = |r: usize, i: usize| a[(row + r) * k + i];
            if rows == 4 {
                let (y0, rest) = y[row * n..][..4 * n].split_at_mut(n);
                let (y1, rest) = rest.split_at_mut(n);
                let (y2, y3) = rest.split_at_mut(n);
                let strips = [y0, y1, y2, y3].map(|y| &mut y[start..start + width]);
                let [y0, y1, y2, y3] = strips;
                for i in 0..k {
                    let factors = [of_a(0, i), of_a(1, i), of_a(2, i), of_a(3, i)];
                    let b = &b[i * n + start..][..width];
                    let four = y0.iter_mut().zip(&mut *y1).zip(&mut *y2).zip(&mut *y3).zip(b);
                    for ((((y0, y1), y2), y3), b) in four {
                        *y0 += factors[0] * b;
                        *y1 += factors[1] * b;
                        *y2 += factors[2] * b;
                        *y3 += factors[3] * b;
                    }
                }
            } else {
                for r in 0..rows {
                    let y = &mut y[(row + r) * n + start..][..width];
                    for i in 0..k {
                        let factor = of_a(r, i);
                        y.iter_mut().zip(&b[i * n + start..][..width]).for_each(|(y, b)| *y += factor * b);
                    }
                }
            }
            row += rows;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_textbook() {
        for (m, k, n) in [(1, 1, 1), (4, 3, 5), (6, 17, 300), (3, 0, 2), (9, 8, 257)] {
            let a: Vec<f32> = (0..m * k).map(|i| ((i * 7 % 13) as f32) - 6.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| ((i * 5 % 11) as f32) - 5.0).collect();
            let mut y = vec![9.0; m * n];
            multiply(&a, &b, &mut y, (m, k, n));
            for row in 0..m {
                for column in 0..n {
                    let want: f32 = (0..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
                    assert_eq!(y[row * n + column], want, "{m} {k} {n}");
                }
            }
        }
    }
}
