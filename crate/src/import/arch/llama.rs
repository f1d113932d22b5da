//! The Llama family from GGUF metadata: llama, and with small differences qwen2 (biases of q, k and v),
//! qwen3 (norms of queries and keys) and smollm3 (layers without RoPE).
//!
//! A layer is `x += Wo · attention(rope(Wq·h), rope(Wk·h), Wv·h)` with `h = rms_norm(x)`, then
//! `x += Wdown · (silu(Wgate·h) · Wup·h)` with `h = rms_norm(x)` again.

use super::{ArchOptions, LanguageModel};
use crate::error::{Error, ErrorKind, Result, ensure};
use crate::formats::decodable;
use crate::formats::gguf::Gguf;
use crate::graph::{Derivation, Graph, ValueId};
use crate::kernels::rope_table::RopeTable;
use crate::ops::attention::Attention;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::gather::Gather;
use crate::ops::matmul::MatMul;
use crate::ops::rms_norm::RmsNorm;
use crate::ops::rope_cache::{RopeCache, RopeLayout};
use crate::ops::top_k::TopK;
use crate::ops::unary::{Unary, UnaryFunction};
use crate::types::{DType, Dim, Shape, TensorType};

/// Elements that a head has at most; those of known models have up to 256.
const MAX_HEAD_DIM: usize = 1 << 12;

/// How many of the largest logits the outputs `top_logits` and `top_ids` have, or all where there are fewer.
const TOP_K: usize = 128;

/// The context that is allocated when the caller names none.
const DEFAULT_CONTEXT: usize = 4096;

struct Config {
    n_layers: usize,
    hidden_dim: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    epsilon: f32,
    rope_base: f64,
    rope_layout: RopeLayout,
    /// Every how many layers one has no RoPE; 0 for none.
    no_rope_every: usize,
    trained_context_length: usize,
}

impl Config {
    fn new(gguf: &Gguf) -> Result<Self> {
        let arch = gguf.str("general.architecture").unwrap_or("llama");
        let optional = |key: &str| gguf.uint(&format!("{arch}.{key}"));
        let needed = |key: &str| {
            optional(key).filter(|&n| n > 0 && n < 1 << 24).ok_or_else(|| {
                let message = format!("the metadata key '{arch}.{key}' is missing or out of range");
                Error::new(ErrorKind::Format, message)
            })
        };
        let n_heads = needed("attention.head_count")?;
        let n_kv_heads = optional("attention.head_count_kv").unwrap_or(n_heads);
        let hidden_dim = needed("embedding_length")?;
        let head_dim = optional("attention.key_length").unwrap_or(hidden_dim / n_heads);
        ensure!(
            n_kv_heads > 0
                && n_heads.is_multiple_of(n_kv_heads)
                && (2..=MAX_HEAD_DIM).contains(&head_dim)
                && head_dim.is_multiple_of(2),
            Format,
            "{n_heads} query heads, {n_kv_heads} key heads and {head_dim} elements a head do not go together"
        );
        if let Some(rotated) = optional("rope.dimension_count") {
            ensure!(
                rotated == head_dim,
                UnsupportedFormat,
                "RoPE on {rotated} of the {head_dim} elements of a head is not supported"
            );
        }
        Ok(Self {
            n_layers: needed("block_count")?,
            hidden_dim,
            n_heads,
            n_kv_heads,
            head_dim,
            epsilon: gguf.float(&format!("{arch}.attention.layer_norm_rms_epsilon")).unwrap_or(1e-5) as f32,
            rope_base: gguf.float(&format!("{arch}.rope.freq_base")).unwrap_or(10_000.0),
            rope_layout: match arch {
                "qwen2" | "qwen3" => RopeLayout::Halves,
                _ => RopeLayout::Interleaved,
            },
            no_rope_every: if arch == "smollm3" { 4 } else { 0 },
            trained_context_length: needed("context_length")?,
        })
    }
}

/// A graph under construction with the file it is built from.
struct Builder<'a> {
    graph: Graph,
    gguf: &'a Gguf,
}

impl Builder<'_> {
    /// The weight of that name, if the file has it.
    fn optional(&mut self, name: &str) -> Result<Option<ValueId>> {
        let Some(tensor) = self.gguf.tensor(name) else { return Ok(None) };
        let ty = TensorType::new(decodable(tensor)?, Shape::known(&tensor.shape));
        Ok(Some(self.graph.weight(name, ty)))
    }

    /// The weight of that name. Fails when the file lacks it.
    fn weight(&mut self, name: &str) -> Result<ValueId> {
        self.optional(name)?.ok_or_else(|| {
            Error::new(ErrorKind::Format, "the file lacks a tensor that its architecture needs").at(name)
        })
    }

    /// `x · Wᵀ`, plus the bias and the residual where there are.
    fn linear(&mut self, x: ValueId, name: &str) -> Result<ValueId> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let bias = self.optional(&format!("{name}.bias"))?;
        let inputs = [Some(x), Some(weight), bias, None];
        Ok(self.graph.apply(name, MatMul::default(), &inputs)?[0])
    }

    fn norm(&mut self, x: ValueId, name: &str, epsilon: f32) -> Result<ValueId> {
        let weight = self.weight(&format!("{name}.weight"))?;
        self.graph.apply1(name, RmsNorm { epsilon }, &[x, weight])
    }
}

/// The graph of a Llama-family model.
pub fn build(gguf: &Gguf, options: ArchOptions) -> Result<LanguageModel> {
    let config = Config::new(gguf)?;
    let context_length =
        options.context_length.unwrap_or(config.trained_context_length.min(DEFAULT_CONTEXT)).max(1);
    ensure!(
        context_length <= config.trained_context_length,
        InvalidInput,
        "a context of {context_length} tokens was asked for, and the model was trained for {}: ask for less",
        config.trained_context_length
    );
    let part = options.part;
    let shape = gguf.tensor("token_embd.weight").map_or(&[][..], |t| &t.shape);
    ensure!(
        shape.len() == 2 && shape[1] == config.hidden_dim,
        Format,
        "the tensor 'token_embd.weight' is {shape:?}, not [tokens, {}], the model's embedding_length",
        config.hidden_dim
    );
    let vocabulary_size = shape[0];
    let mut b = Builder { graph: Graph::new(), gguf };
    let many = |size| TensorType::new(DType::I32, Shape(vec![Dim::symbol(size)]));
    let hidden = |rows| TensorType::new(DType::F32, Shape(vec![Dim::symbol(rows), config.hidden_dim.into()]));
    let (mut x, embedding) = if part.is_first() {
        let tokens = b.graph.input("tokens", many("s"));
        let embedding = b.weight("token_embd.weight")?;
        (b.graph.apply1("embedding", Gather, &[embedding, tokens])?, Some(embedding))
    } else {
        (b.graph.input("hidden", hidden("s")), None)
    };
    let position = b.graph.input("position", TensorType::new(DType::I32, [1]));
    let table = rope_table(&mut b, &config, context_length)?;
    let mut rows = part.is_last().then(|| b.graph.input("rows", many("n")));
    for layer in part.layers(config.n_layers) {
        // Nobody wants what the last layer makes of other rows.
        let rows = rows.take_if(|_| layer + 1 == config.n_layers);
        x = block(&mut b, &config, &options, layer, [x, table, position], rows, context_length)?;
    }
    if let Some(rows) = rows {
        x = b.graph.apply1("wanted_rows", Gather, &[x, rows])?;
    }
    b.graph.output("hidden", x);
    if let Some(embedding) = embedding {
        let wanted = if part.is_whole() { x } else { b.graph.input("wanted", hidden("n")) };
        head(&mut b, &config, wanted, embedding, vocabulary_size)?;
    }
    Ok(LanguageModel {
        graph: b.graph,
        context_length,
        trained_context_length: config.trained_context_length,
        vocabulary_size,
        n_layers: config.n_layers,
        hidden_dim: config.hidden_dim,
        part,
    })
}

/// The outputs for the rows wanted, f32 `[n, hidden_dim]`.
fn head(
    b: &mut Builder,
    config: &Config,
    wanted: ValueId,
    embedding: ValueId,
    vocabulary_size: usize,
) -> Result<()> {
    let normed = b.norm(wanted, "output_norm", config.epsilon)?;
    let head = b.optional("output.weight")?.unwrap_or(embedding);
    let logits = b.graph.apply("output", MatMul::default(), &[Some(normed), Some(head), None, None])?[0];
    b.graph.output("logits", logits);
    let best = b.graph.apply1("argmax", crate::ops::argmax::ArgMax, &[logits])?;
    b.graph.output("argmax", best);
    let top = b.graph.apply("top_k", TopK { k: TOP_K.min(vocabulary_size) }, &[Some(logits)])?;
    b.graph.output("top_logits", top[0]);
    b.graph.output("top_ids", top[1]);
    Ok(())
}

/// A layer: activations, the table of angles and the position to what comes out, of all rows or of those wanted.
fn block(
    b: &mut Builder,
    config: &Config,
    options: &ArchOptions,
    layer: usize,
    [x, table, position]: [ValueId; 3],
    rows: Option<ValueId>,
    context_length: usize,
) -> Result<ValueId> {
    let Config { n_heads, n_kv_heads, head_dim, epsilon, .. } = *config;
    let name = |part: &str| format!("blk.{layer}.{part}");
    let h = b.norm(x, &name("attn_norm"), epsilon)?;
    let q = b.linear(h, &name("attn_q"))?;
    let k = b.linear(h, &name("attn_k"))?;
    let v = b.linear(h, &name("attn_v"))?;
    let q_norm = b.optional(&name("attn_q_norm.weight"))?;
    let k_norm = b.optional(&name("attn_k_norm.weight"))?;
    let cache_type = TensorType::new(
        if options.exact { DType::F32 } else { DType::F16 },
        [context_length, n_kv_heads * head_dim],
    );
    let k_cache = b.graph.state(&name("k_cache"), cache_type.clone());
    let v_cache = b.graph.state(&name("v_cache"), cache_type);
    let skips = config.no_rope_every > 0 && (layer + 1).is_multiple_of(config.no_rope_every);
    let layout = if skips { RopeLayout::Skip } else { config.rope_layout };
    let rope = RopeCache { n_heads, n_kv_heads, head_dim, layout, norm_epsilon: epsilon };
    let inputs = [
        Some(q),
        Some(k),
        Some(v),
        q_norm,
        k_norm,
        Some(table),
        Some(position),
        Some(k_cache),
        Some(v_cache),
    ];
    let [q, k_cache, v_cache] = b.graph.apply(&name("rope_cache"), rope, &inputs)?[..] else {
        return Err(Error::new(ErrorKind::Internal, "RoPE has three outputs"));
    };
    let scale = 1.0 / (head_dim as f32).sqrt();
    let attention = Attention { n_heads, n_kv_heads, head_dim, scale };
    let attended = b.graph.apply1(&name("attention"), attention, &[q, k_cache, v_cache, position])?;
    let projected = b.linear(attended, &name("attn_output"))?;
    let add = Binary { function: BinaryFunction::Add };
    let x = b.graph.apply1(&name("attn_residual"), add.clone(), &[projected, x])?;
    let x = match rows {
        None => x,
        Some(rows) => b.graph.apply1("wanted_rows", Gather, &[x, rows])?,
    };
    let h = b.norm(x, &name("ffn_norm"), epsilon)?;
    let gate = b.linear(h, &name("ffn_gate"))?;
    let up = b.linear(h, &name("ffn_up"))?;
    let gate = b.graph.apply1(&name("silu"), Unary { function: UnaryFunction::Silu }, &[gate])?;
    let gated = b.graph.apply1(&name("gated"), Binary { function: BinaryFunction::Mul }, &[gate, up])?;
    let down = b.linear(gated, &name("ffn_down"))?;
    let x = b.graph.apply1(&name("ffn_residual"), add, &[down, x])?;
    Ok(x)
}

/// The table of angles: a constant, or, where the file has factors for the frequencies (Llama 3.1 and later),
/// derived from that tensor. Fails for a way to stretch the context that is not known.
fn rope_table(b: &mut Builder, config: &Config, positions: usize) -> Result<ValueId> {
    let arch = b.gguf.str("general.architecture").unwrap_or("llama");
    let key = |name: &str| format!("{arch}.rope.{name}");
    let kind = b.gguf.str(&key("scaling.type")).unwrap_or("none");
    ensure!(
        matches!(kind, "none" | "linear"),
        UnsupportedFormat,
        "RoPE scaling of type '{kind}' is not supported; use a file without it"
    );
    let factor = b.gguf.float(&key("scaling.factor")).filter(|_| kind == "linear").unwrap_or(1.0);
    ensure!(factor.is_finite() && factor > 0.0, Format, "the RoPE scaling factor is {factor}");
    let table = RopeTable { positions, head_dim: config.head_dim, base: config.rope_base, factor };
    let name = "rope_freqs.weight";
    let Some(factors) = b.gguf.tensor(name) else {
        return Ok(b.graph.constant("rope_table", table.compute(None)?));
    };
    let (dtype, shape) = (decodable(factors)?, &factors.shape);
    ensure!(
        dtype == DType::F32 && shape[..] == [config.head_dim / 2],
        Format,
        "the tensor '{name}' is {dtype} {shape:?}, not f32 [{}]",
        config.head_dim / 2
    );
    let ty = TensorType::new(DType::F32, table.shape());
    Ok(b.graph.derived_weight("rope_table", ty, name, Derivation::RopeTable(table)))
}
