//! Scalar functions that kernels share.

/// `x · sigmoid(x)`.
#[inline]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `eˣ` by splitting `x` into a power of two and a remainder of at most ln 2 / 2, for which a polynomial of
/// degree 6 has a relative error below 2e-7. Results below the smallest normal number are zero. Written
/// without calls or branches, so that loops over it vectorise.
#[inline]
pub fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.3, 88.7);
    // So large a number has ones for its last places: its bits count them. (wasm has no vectors of conversions that may trap.)
    const LARGE: f32 = 12_582_912.0;
    let shifted = clamped * std::f32::consts::LOG2_E + LARGE;
    let n = shifted - LARGE;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let n = shifted.to_bits().wrapping_sub(LARGE.to_bits()).cast_signed();
    let power = f32::from_bits(((n.min(127) + 127) << 23) as u32);
    let y = p * power * if n > 127 { 2.0 } else { 1.0 };
    if x < -87.3 { 0.0 } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_three_parts_in_ten_million() {
        for i in -8700..8870 {
            let x = i as f32 * 0.01;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) - want).abs() / want;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-100.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn silu_keeps_its_limits() {
        assert_eq!(silu(0.0), 0.0);
        assert!((silu(20.0) - 20.0).abs() < 1e-4);
        assert!(silu(-80.0).abs() < 1e-30);
    }
}
