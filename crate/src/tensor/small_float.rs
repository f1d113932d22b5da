//! Floats of at most a byte, bit for bit: the four formats of 8 bits with a sign, E8M0 (powers of two for the scales of
//! blocks), and E2M1. As ONNX's Cast defines them.

use crate::types::DType;

/// How a float that is in no format's range, or that an E8M0 is not exactly, becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Narrowing {
    /// Whether what is too large becomes the largest, instead of infinite or no number.
    pub saturate: bool,
    /// Which way to E8M0.
    pub round: Round,
}

/// Which power of two a number becomes that lies between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Round {
    Up,
    Down,
    Nearest,
}

impl Default for Narrowing {
    fn default() -> Self {
        Self { saturate: true, round: Round::Up }
    }
}

/// A format with a sign bit above its exponent.
struct Layout {
    mantissa_bits: i32,
    bias: i32,
    /// The bits of the largest number.
    largest: u8,
    infinity: Option<u8>,
    nan: Option<u8>,
    sign: u8,
    /// Whether what would be -0 is the NaN.
    unsigned_zero: bool,
}

fn layout(dtype: DType) -> Layout {
    let (mantissa_bits, bias, largest, infinity, nan, sign, unsigned_zero) = match dtype {
        DType::F8E4M3 => (3, 7, 0x7e, None, Some(0x7f), 0x80, false),
        DType::F8E4M3Fnuz => (3, 8, 0x7f, None, Some(0x80), 0x80, true),
        DType::F8E5M2 => (2, 15, 0x7b, Some(0x7c), Some(0x7e), 0x80, false),
        DType::F8E5M2Fnuz => (2, 16, 0x7f, None, Some(0x80), 0x80, true),
        _ => (1, 1, 0x7, None, None, 0x8, false),
    };
    Layout { mantissa_bits, bias, largest, infinity, nan, sign, unsigned_zero }
}

impl Layout {
    /// The number of bits without a sign.
    fn magnitude(&self, bits: u8) -> f64 {
        let mantissa = f64::from(bits & ((1 << self.mantissa_bits) - 1));
        let exponent = i32::from(bits >> self.mantissa_bits);
        let scale = |exponent: i32| 2f64.powi(exponent - self.bias - self.mantissa_bits);
        match exponent {
            0 => mantissa * scale(1),
            _ => (mantissa + f64::from(1 << self.mantissa_bits)) * scale(exponent),
        }
    }

    fn decode(&self, bits: u8) -> f64 {
        let (negative, rest) = (bits & self.sign != 0, bits & (self.sign - 1));
        let value = if self.unsigned_zero && bits == self.sign {
            f64::NAN
        } else if Some(rest) == self.infinity {
            f64::INFINITY
        } else if rest > self.largest {
            f64::NAN
        } else {
            self.magnitude(rest)
        };
        if negative { -value } else { value }
    }

    fn encode(&self, x: f64, saturate: bool) -> u8 {
        let sign = if x.is_sign_negative() { self.sign } else { 0 };
        let signed_nan = if self.unsigned_zero { self.sign } else { sign | self.nan.unwrap_or(0) };
        let beyond = match self.infinity {
            _ if saturate || self.nan.is_none() => sign | self.largest,
            Some(bits) => sign | bits,
            None => signed_nan,
        };
        if x.is_nan() {
            // E2M1 has none; what the reference makes of it is -0.
            return if self.nan.is_none() { self.sign } else { signed_nan };
        }
        let x = x.abs();
        if x.is_infinite() {
            return beyond;
        }
        // One unit of the last place, of the format's smallest normal number at least.
        let exponent = ((x.to_bits() >> 52) as i32 - 1023).max(1 - self.bias);
        let unit = 2f64.powi(exponent - self.mantissa_bits);
        let steps = (x / unit).round_ties_even();
        if steps * unit > self.magnitude(self.largest) {
            return beyond;
        }
        // Steps up to the first normal number are the bits of the subnormal ones; beyond, each exponent has as many.
        let per_exponent = f64::from(1 << self.mantissa_bits);
        let bits = steps + f64::from(exponent - (1 - self.bias)) * per_exponent;
        match bits as u8 {
            0 if self.unsigned_zero => 0,
            bits => sign | bits,
        }
    }
}

/// The number that the bits of a small float stand for.
pub(super) fn decode(dtype: DType, bits: u8) -> f64 {
    match dtype {
        DType::F8E8M0 if bits == 0xff => f64::NAN,
        DType::F8E8M0 => 2f64.powi(i32::from(bits) - 127),
        _ => layout(dtype).decode(bits),
    }
}

/// The bits of the small float nearest to a number, ties to even.
pub(super) fn encode(dtype: DType, x: f64, narrowing: Narrowing) -> u8 {
    match dtype {
        DType::F8E8M0 => encode_e8m0(x as f32, narrowing),
        _ => layout(dtype).encode(x, narrowing.saturate),
    }
}

/// The exponent of a positive number, by the bits of the f32.
fn encode_e8m0(x: f32, narrowing: Narrowing) -> u8 {
    let bits = x.to_bits();
    let exponent = (bits >> 23 & 0xff) as u8;
    if exponent == 0xff {
        return 0xff;
    }
    let rest = bits & 0x7f_ffff;
    let up = match narrowing.round {
        Round::Up => rest > 0,
        Round::Down => false,
        Round::Nearest => rest > 0x40_0000 || rest == 0x40_0000 && exponent > 0,
    };
    if exponent == 0xfe && narrowing.saturate { exponent } else { exponent + u8::from(up) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: [DType; 5] =
        [DType::F8E4M3, DType::F8E4M3Fnuz, DType::F8E5M2, DType::F8E5M2Fnuz, DType::F4E2M1];

    #[test]
    fn all_bits_survive_decoding_and_encoding() {
        for dtype in SIGNED.into_iter().chain([DType::F8E8M0]) {
            let last = if dtype == DType::F4E2M1 { 15 } else { 255 };
            for bits in 0..=last {
                let x = decode(dtype, bits);
                let back = encode(dtype, x, Narrowing { saturate: false, round: Round::Down });
                assert!(back == bits || x.is_nan() && decode(dtype, back).is_nan(), "{dtype} {bits:#x} {x}");
            }
        }
    }

    #[test]
    fn a_number_becomes_the_nearest_and_of_two_the_even() {
        for dtype in SIGNED {
            let half = if dtype == DType::F4E2M1 { 8 } else { 128 };
            let finite: Vec<_> = (0..half).map(|b| decode(dtype, b)).take_while(|x| x.is_finite()).collect();
            let bits = |x| encode(dtype, x, Narrowing::default());
            for (b, pair) in finite.windows(2).enumerate() {
                let b = b as u8;
                let middle = (pair[0] + pair[1]) / 2.0;
                assert_eq!(bits(middle), if b % 2 == 0 { b } else { b + 1 }, "{dtype} {middle}");
                assert_eq!(bits(middle * (1.0 - 1e-9)), b);
                assert_eq!(bits(middle * (1.0 + 1e-9)), b + 1);
            }
            assert_eq!(decode(dtype, bits(1e9)), *finite.last().unwrap());
            assert_eq!(decode(dtype, bits(f64::NEG_INFINITY)), -finite.last().unwrap());
        }
    }

    #[test]
    fn what_is_too_large_is_infinite_or_no_number_unless_it_saturates() {
        let narrowing = Narrowing { saturate: false, round: Round::Up };
        assert_eq!(encode(DType::F8E5M2, 1e9, narrowing), 0x7c);
        assert_eq!(encode(DType::F8E4M3, -465.0, narrowing), 0xff);
        assert_eq!(encode(DType::F8E4M3, 463.0, narrowing), 0x7e);
        assert_eq!(encode(DType::F8E4M3Fnuz, f64::INFINITY, narrowing), 0x80);
        assert_eq!(encode(DType::F8E4M3Fnuz, -0.0, narrowing), 0);
    }

    #[test]
    fn powers_of_two_round_as_asked() {
        let of = |x, round| encode(DType::F8E8M0, x, Narrowing { saturate: true, round });
        assert_eq!((of(3.0, Round::Up), of(3.0, Round::Down), of(3.0, Round::Nearest)), (129, 128, 129));
        assert_eq!((of(2.9, Round::Nearest), of(f64::NAN, Round::Up), of(3e38, Round::Up)), (128, 255, 254));
    }
}
