//! One GPU launch as plain data, so that lowering is tested without a GPU.

/// A buffer of a node, as its dispatches see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The input of that index.
    Input(usize),
    /// The output of that index.
    Output(usize),
}

/// A launch of a compute shader.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// The shader, by the name of its file.
    pub shader: &'static str,
    /// The buffers, in the order of the shader's bindings.
    pub bindings: Vec<Operand>,
    /// The uniform block.
    pub params: Vec<u8>,
    /// Workgroups in each dimension.
    pub groups: [u32; 3],
}
