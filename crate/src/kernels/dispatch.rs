//! One GPU launch as plain data, so that lowering is tested without a GPU.

use super::shaders::shader;
use crate::error::{Result, fail};

/// A buffer of a node, as its dispatches see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The input of that index.
    Input(usize),
    /// The output of that index.
    Output(usize),
    /// The levels of the affine planes of a block-quantised weight, by input.
    Levels(usize),
    /// Its scales, one f32 per group.
    Scales(usize),
    /// Its mins, one f32 per group.
    Mins(usize),
    /// Room of that number and of so many bytes, for what the launches of one node leave to each other. What it has
    /// before is anything.
    Scratch(usize, usize),
}

impl Operand {
    /// The input whose buffer it is, where it is one's.
    pub fn input(&self) -> Option<usize> {
        match *self {
            Self::Input(index) | Self::Levels(index) | Self::Scales(index) | Self::Mins(index) => Some(index),
            Self::Output(_) | Self::Scratch(..) => None,
        }
    }
}

/// A launch of a compute shader.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// The variant of the shader, by name.
    pub shader: &'static str,
    /// The buffers, by the number of the shader's binding. One that the shader only reads may be left out:
    /// it then reads zeros.
    pub bindings: Vec<(u32, Operand)>,
    /// The uniform block.
    pub params: Vec<u8>,
    /// Workgroups in each dimension, at most 65,535 each.
    pub groups: [u32; 3],
    /// A table that is read, by the number of the shader's binding: what the launch knows beforehand and is too long
    /// for `params`.
    pub table: Option<(u32, Vec<u8>)>,
}

/// The most workgroups in one dimension, by the default limits.
pub const MAX_GROUPS: u32 = 65_535;

/// The most rounds of a loop: programs that run shaders on the CPU end loops there.
pub const MAX_ROUNDS: usize = 65_535;

/// The most elements that a workgroup of 64 goes through.
pub const MAX_LINE: usize = 64 * MAX_ROUNDS;

impl Dispatch {
    /// A launch of the variant of `kernel` that has `features`, those that are empty left out. Fails when
    /// there is no such variant, or too many workgroups are wanted.
    pub fn new(
        kernel: &str,
        features: &[&str],
        bindings: Vec<(u32, Operand)>,
        params: Vec<u8>,
        groups: [usize; 3],
    ) -> Result<Self> {
        let mut name = kernel.to_string();
        for feature in features.iter().filter(|feature| !feature.is_empty()) {
            name.push('-');
            name.push_str(feature);
        }
        let Some(shader) = shader(&name) else {
            return fail!(Internal, "there is no shader variant '{name}': add it to shaders/variants");
        };
        let groups = groups.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        if groups.iter().any(|&n| n > MAX_GROUPS) {
            return fail!(UnsupportedOp, "{name} would need {groups:?} workgroups on the GPU: use the CPU");
        }
        Ok(Self { shader: shader.name, bindings, params, groups, table: None })
    }

    /// The same launch with `to` in the place of `from`.
    pub fn rebound(mut self, from: Operand, to: Operand) -> Self {
        self.bindings
            .iter_mut()
            .filter(|(_, operand)| *operand == from)
            .for_each(|(_, operand)| *operand = to);
        self
    }

    /// A launch of one thread for each of `n` things, in workgroups of 64.
    pub fn of_each(
        kernel: &str,
        features: &[&str],
        bindings: Vec<(u32, Operand)>,
        params: Vec<u8>,
        n: usize,
    ) -> Result<Self> {
        let (x, z) = spread(n.div_ceil(64));
        Self::new(kernel, features, bindings, params, [x, 1, z])
    }
}

/// `n` workgroups over the dimensions x and z, for kernels whose index is `z · groups.x + x`.
pub fn spread(n: usize) -> (usize, usize) {
    let x = n.clamp(1, MAX_GROUPS as usize);
    (x, n.div_ceil(x).max(1))
}

/// Declares `Params`, the uniform block of the shader of that name, and a test that its fields are the
/// shader's: same names, types and order.
macro_rules! params {
    ($shader:literal: $($field:ident: $ty:ident),+ $(,)?) => {
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        struct Params { $($field: $ty),+ }

        impl Params {
            fn bytes(&self) -> Vec<u8> {
                bytemuck::bytes_of(self).to_vec()
            }
        }

        #[cfg(test)]
        #[test]
        fn params_are_those_of_the_shader() {
            let declared = [$((stringify!($field), stringify!($ty))),+];
            crate::kernels::dispatch::check_params($shader, &declared);
        }
    };
}
pub(crate) use params;

/// Panics unless every variant of `kernel` declares `Params` with these fields (name, type), in order.
#[cfg(test)]
pub(crate) fn check_params(kernel: &str, declared: &[(&str, &str)]) {
    let of_kernel = |name: &str| name == kernel || name.starts_with(&format!("{kernel}-"));
    let variants: Vec<_> = super::shaders::SHADERS.iter().filter(|s| of_kernel(s.name)).collect();
    assert!(!variants.is_empty(), "no shader is named {kernel}");
    for shader in variants {
        let block = shader.wgsl.split("struct Params {").nth(1).and_then(|rest| rest.split('}').next());
        let fields: Vec<(&str, &str)> = (block.unwrap_or("").split(','))
            .filter_map(|field| field.split_once(':'))
            .map(|(name, ty)| (name.trim(), ty.trim()))
            .collect();
        assert_eq!(fields, declared, "{}", shader.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_spread_over_two_dimensions_cover_all() {
        for n in [0, 1, 65_535, 65_536, 200_000] {
            let (x, z) = spread(n);
            assert!(x * z >= n && x <= 65_535 && z <= 65_535 && (z - 1) * x < n.max(1), "{n}: {x} {z}");
        }
    }

    #[test]
    #[should_panic(expected = "argmax")]
    fn params_of_another_type_are_found_out() {
        check_params("argmax", &[("columns", "f32")]);
    }
}
