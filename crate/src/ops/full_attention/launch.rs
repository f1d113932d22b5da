//! The launch that attention without a cache becomes, of either operator: [`FullAttention`](super::FullAttention), and
//! [`Attend`](crate::ops::attend::Attend) once its keys and values lie in one piece.

use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, Operand, params};
use crate::kernels::full_attention::{Heads, Sizes};
use crate::ops::Types;
use crate::types::DType;

/// The most elements of a head that the kernel of the GPU has room for.
pub(in crate::ops) const MAX_DEPTH: usize = 256;

/// Queries from which on those that share keys are worth a workgroup.
const MANY_QUERIES: usize = 16;

/// What is launched. The queries are input 0, the mask, where there is one, is input 3, and the result output 0.
pub(in crate::ops) struct Launch {
    pub sizes: Sizes,
    /// What products are multiplied by.
    pub scale: f32,
    /// Where scores level off; 0 for nowhere.
    pub softcap: f32,
    /// How many keys before and after its own a query sees.
    pub window: (Option<usize>, Option<usize>),
    /// How many of the keys are new: those before them are a past, and the first query has its place behind that.
    pub new_keys: usize,
    /// The input that says how much of the past of each item counts, where not all does.
    pub starts: Option<usize>,
    /// The input of one more score for each head, of a key without a value.
    pub sinks: Option<usize>,
    pub q: Heads,
    pub k: (Operand, Heads),
    pub v: (Operand, Heads),
    pub y: Heads,
}

impl Launch {
    /// The kernel for it. Heads have at most [`MAX_DEPTH`] elements.
    pub fn dispatch(&self, types: &Types) -> Result<Dispatch> {
        let s = self.sizes;
        let mask = match types.dtype(3) {
            None => 0,
            Some(DType::F32) => 1,
            Some(_) => 2,
        };
        let mask_shape = if mask == 0 { Vec::new() } else { types.input(3)? };
        let [mask_batch, mask_head, mask_row, mask_key] = mask_strides(&mask_shape).map(|n| n as u32);
        let mask_keys = mask_shape.last().copied().filter(|n| *n != 1).unwrap_or(s.keys);
        let whole = |n: Option<usize>| n.unwrap_or(usize::MAX).min(s.keys + s.queries) as i32;
        let params = Params {
            heads: s.heads as u32,
            share: (s.heads / s.kv_heads.max(1)) as u32,
            queries: s.queries as u32,
            keys: s.keys as u32,
            depth: s.depth as u32,
            value_depth: s.value_depth as u32,
            new_keys: self.new_keys as u32,
            start_words: self.starts.map_or(0, |input| words_of(types, input)),
            before: whole(self.window.0),
            after: whole(self.window.1),
            scale: self.scale,
            softcap: self.softcap,
            sinks: self.sinks.is_some().into(),
            mask,
            mask_keys: mask_keys as u32,
            q_batch: self.q.batch as u32,
            q_head: self.q.head as u32,
            q_row: self.q.row as u32,
            k_batch: self.k.1.batch as u32,
            k_head: self.k.1.head as u32,
            k_row: self.k.1.row as u32,
            v_batch: self.v.1.batch as u32,
            v_head: self.v.1.head as u32,
            v_row: self.v.1.row as u32,
            y_batch: self.y.batch as u32,
            y_head: self.y.head as u32,
            y_row: self.y.row as u32,
            mask_batch,
            mask_head,
            mask_row,
            mask_key,
        };
        let mut bindings =
            vec![(0, Operand::Input(0)), (1, self.k.0), (2, self.v.0), (4, Operand::Output(0))];
        bindings.extend(types.has(3).then_some((3, Operand::Input(3))));
        bindings.extend(self.starts.map(|input| (5, Operand::Input(input))));
        bindings.extend(self.sinks.map(|input| (6, Operand::Input(input))));
        let depth = s.depth.max(s.value_depth);
        if s.queries >= MANY_QUERIES && depth <= 64 {
            let short = if depth <= 32 { "short" } else { "" };
            let groups = [s.queries.div_ceil(64), s.heads, s.batch];
            return Dispatch::new("full_attention_tiled", &[short], bindings, params.bytes(), groups);
        }
        let groups = [s.queries, s.heads, s.batch];
        Dispatch::new("full_attention", &[], bindings, params.bytes(), groups)
    }
}

/// How many words of 32 bits an integer of an input has.
pub(in crate::ops) fn words_of(types: &Types, input: usize) -> u32 {
    types.dtype(input).map_or(0, |dtype| dtype.block_bytes() / 4) as u32
}

/// The strides of a mask along the four dimensions of the scores.
pub(super) fn mask_strides(shape: &[usize]) -> [usize; 4] {
    let mut strides = [0; 4];
    let mut stride = 1;
    for (i, &n) in shape.iter().rev().enumerate().take(4) {
        strides[3 - i] = if n == 1 { 0 } else { stride };
        stride *= n;
    }
    strides
}

params!("full_attention": heads: u32, share: u32, queries: u32, keys: u32, depth: u32, value_depth: u32, new_keys: u32,
    start_words: u32, before: i32, after: i32, scale: f32, softcap: f32, sinks: u32, mask: u32, mask_keys: u32,
    q_batch: u32, q_head: u32, q_row: u32, k_batch: u32, k_head: u32, k_row: u32, v_batch: u32, v_head: u32, v_row: u32,
    y_batch: u32, y_head: u32, y_row: u32, mask_batch: u32, mask_head: u32, mask_row: u32, mask_key: u32);

#[cfg(test)]
mod tests {
    #[test]
    fn the_tiled_shader_takes_the_same_parameters() {
        let block = |name: &str| {
            let shader = crate::kernels::shaders::shader(name).expect("a shader");
            let fields = shader.wgsl.split("struct Params {").nth(1).and_then(|rest| rest.split('}').next());
            fields.map(str::to_string)
        };
        let plain = block("full_attention");
        assert!(plain.is_some() && plain == block("full_attention_tiled"));
        assert_eq!(plain, block("full_attention_tiled-short"));
    }
}
