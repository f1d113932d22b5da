//! Launches of products of bytes, and what they share with those of convolutions.

use super::dispatch::{Dispatch, Operand, Operand::*, params};
use super::levels::Levels;
use crate::error::Result;

/// Sums of products of bytes, and what becomes of them. Inputs are the two operands, their zeros, scales and bias.
#[derive(Clone, Copy)]
pub struct ByteSums {
    /// Whether the bytes of each operand are signed.
    pub signed: [bool; 2],
    /// How many zeros each has.
    pub zeros: [usize; 2],
    /// How many scales there are, with which the sums become floats, and whether there is a bias.
    pub scales: Option<(usize, bool)>,
    /// The code and the attributes of what floats become.
    pub function: (u32, f32, f32),
    /// The levels that they become then.
    pub levels: Option<Levels>,
}

impl ByteSums {
    /// The buffers of a launch.
    pub fn bindings(&self) -> Vec<(u32, Operand)> {
        let (scales, has_bias) = self.scales.unwrap_or_default();
        let mut bindings = vec![(0, Input(0)), (1, Input(1)), (6, Output(0))];
        bindings.extend((0..2).filter(|&i| self.zeros[i] > 0).map(|i| (2 + i as u32, Input(2 + i))));
        bindings.extend((scales > 0).then_some((4, Input(4))));
        bindings.extend(has_bias.then_some((5, Input(5))));
        bindings
    }

    /// No zero, one, or one each, of the operands, as shaders have it.
    pub fn many_zeros(&self) -> [u32; 2] {
        self.zeros.map(|zeros| zeros.min(2) as u32)
    }

    /// Whether there are several scales, and a bias.
    pub fn each_and_bias(&self) -> [u32; 2] {
        let (scales, has_bias) = self.scales.unwrap_or_default();
        [(scales > 1).into(), has_bias.into()]
    }

    /// Scale, zero and sign of the levels.
    pub fn of_levels(&self) -> (f32, f32, u32) {
        self.levels.map_or((1.0, 0.0, 0), |levels| (levels.scale, levels.zero as f32, levels.signed.into()))
    }
}

/// A product `[m, k] · [k, n]` of bytes. Levels are made where `n` is a multiple of four.
pub struct IntegerLaunch {
    /// `m`, `k`, `n`.
    pub sizes: [usize; 3],
    /// The operands, and what becomes of the sums.
    pub sums: ByteSums,
}

impl IntegerLaunch {
    /// The launch.
    pub fn dispatch(&self) -> Result<Dispatch> {
        let ([m, k, n], sums) = (self.sizes, &self.sums);
        let [a_zeros, b_zeros] = sums.many_zeros();
        let [scale_each, has_bias] = sums.each_and_bias();
        let (y_scale, y_zero, y_signed) = sums.of_levels();
        let params = Params {
            m: m as u32,
            k: k as u32,
            n: n as u32,
            a_signed: sums.signed[0].into(),
            b_signed: sums.signed[1].into(),
            a_zeros,
            b_zeros,
            scale_each,
            has_bias,
            function: sums.function.0,
            alpha: sums.function.1,
            beta: sums.function.2,
            has_levels: sums.levels.is_some().into(),
            y_scale,
            y_zero,
            y_signed,
        };
        let features = if sums.scales.is_some() { "floats" } else { "" };
        let groups = [n.div_ceil(64), m.div_ceil(64), 1];
        Dispatch::new("integer_product", &[features], sums.bindings(), params.bytes(), groups)
    }
}

params!("integer_product": m: u32, k: u32, n: u32, a_signed: u32, b_signed: u32, a_zeros: u32, b_zeros: u32,
    scale_each: u32, has_bias: u32, function: u32, alpha: f32, beta: f32, has_levels: u32, y_scale: f32,
    y_zero: f32, y_signed: u32);
