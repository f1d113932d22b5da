//! One GPU launch as plain data, so that lowering is tested without a GPU.

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
}
