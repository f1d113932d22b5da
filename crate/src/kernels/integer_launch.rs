//! Launches of products of bytes.

use super::dispatch::{Dispatch, Operand::*, params};
use crate::error::Result;

/// A product `[m, k] · [k, n]` of bytes. Inputs are a, b, their zeros, scales and bias.
pub struct IntegerLaunch {
    /// `m`, `k`, `n`.
    pub sizes: [usize; 3],
    /// Whether the bytes of a, and of b, are signed.
    pub signed: [bool; 2],
    /// How many zeros a, and b, have.
    pub zeros: [usize; 2],
    /// How many scales there are, with which the sums become floats, and whether there is a bias.
    pub scales: Option<(usize, bool)>,
    /// The code and the attributes of what floats become.
    pub function: (u32, f32, f32),
}

impl IntegerLaunch {
    /// The launch.
    pub fn dispatch(&self) -> Result<Dispatch> {
        let [m, k, n] = self.sizes;
        let many = |zeros: usize| zeros.min(2) as u32;
        let (scales, has_bias) = self.scales.unwrap_or_default();
        let params = Params {
            m: m as u32,
            k: k as u32,
            n: n as u32,
            a_signed: self.signed[0].into(),
            b_signed: self.signed[1].into(),
            a_zeros: many(self.zeros[0]),
            b_zeros: many(self.zeros[1]),
            scale_each: (scales > 1).into(),
            has_bias: has_bias.into(),
            function: self.function.0,
            alpha: self.function.1,
            beta: self.function.2,
        };
        let mut bindings = vec![(0, Input(0)), (1, Input(1)), (6, Output(0))];
        bindings.extend((0..2).filter(|&i| self.zeros[i] > 0).map(|i| (2 + i as u32, Input(2 + i))));
        bindings.extend((scales > 0).then_some((4, Input(4))));
        bindings.extend(has_bias.then_some((5, Input(5))));
        let features = if self.scales.is_some() { "floats" } else { "" };
        let groups = [n.div_ceil(64), m.div_ceil(64), 1];
        Dispatch::new("integer_product", &[features], bindings, params.bytes(), groups)
    }
}

params!("integer_product": m: u32, k: u32, n: u32, a_signed: u32, b_signed: u32, a_zeros: u32, b_zeros: u32,
    scale_each: u32, has_bias: u32, function: u32, alpha: f32, beta: f32);
