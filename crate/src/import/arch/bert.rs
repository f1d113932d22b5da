//! The encoders of the BERT family from config.json and safetensors (Devlin et al. 2019, arXiv:1810.04805): bert, and
//! with other names or small differences roberta and xlm-roberta (positions begin after the padding's), distilbert
//! (no types of tokens) and mpnet (attention also looks at the distance).
//!
//! `x = norm(word + position + type)`; a layer is `x = norm(x + Wo · attention(Wq·x, Wk·x, Wv·x))`, then
//! `x = norm(x + Wdown · act(Wup · x))`.

use super::{EncoderModel, RelativePositions};
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::formats::hf_config::HfConfig;
use crate::formats::{TensorInfo, decodable};
use crate::graph::{Graph, ValueId};
use crate::ops::Op;
use crate::ops::binary::{Binary, BinaryFunction};
use crate::ops::cast::Cast;
use crate::ops::gather::Gather;
use crate::ops::layer_norm::LayerNorm;
use crate::ops::matmul::MatMul;
use crate::ops::product::Product;
use crate::ops::reshape::Reshape;
use crate::ops::softmax::{Softmax, SoftmaxFunction};
use crate::ops::transpose::Transpose;
use crate::ops::unary::{Unary, UnaryFunction};
use crate::tensor::Tensor;
use crate::types::{DType, Dim, Shape, TensorType};

/// What the tensors of a model are called.
struct Names {
    layer: &'static str,
    /// Of queries, keys, values, and what becomes of the heads.
    attention: [&'static str; 4],
    attention_norm: &'static str,
    up: &'static str,
    down: &'static str,
    norm: &'static str,
    has_types: bool,
}

const BERT: Names = Names {
    layer: "encoder.layer",
    attention: [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
    ],
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
    has_types: true,
};

const DISTILBERT: Names = Names {
    layer: "transformer.layer",
    attention: ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"],
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
    has_types: false,
};

const MPNET: Names = Names {
    attention: ["attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"],
    attention_norm: "attention.LayerNorm",
    has_types: false,
    ..BERT
};

struct Builder<'a> {
    graph: Graph,
    tensors: &'a [TensorInfo],
    /// What stands before every name: `bert.`, where the file is of a model with a head.
    prefix: String,
    n_heads: usize,
    hidden_dim: usize,
    epsilon: f32,
    activation: UnaryFunction,
}

/// The graph of a model of the family.
pub fn build(config: &HfConfig, tensors: &[TensorInfo]) -> Result<EncoderModel> {
    let needed = |keys: &[&str]| {
        config.count(keys).filter(|&n| n > 0 && n < 1 << 24).ok_or_else(|| {
            Error::new(ErrorKind::Format, format!("config.json lacks '{}', or it is out of range", keys[0]))
        })
    };
    let kind = config.str(&["model_type"]).unwrap_or("bert");
    let names = match kind {
        "distilbert" => DISTILBERT,
        "mpnet" => MPNET,
        _ => BERT,
    };
    let hidden_dim = needed(&["hidden_size", "dim"])?;
    let n_heads = needed(&["num_attention_heads", "n_heads"])?;
    let n_layers = needed(&["num_hidden_layers", "n_layers"])?;
    ensure!(
        hidden_dim.is_multiple_of(n_heads),
        Format,
        "config.json has {n_heads} heads for {hidden_dim} elements, which they do not divide"
    );
    let position = config.str(&["position_embedding_type"]).unwrap_or("absolute");
    ensure!(
        position == "absolute",
        UnsupportedFormat,
        "positions of the type '{position}' are not supported"
    );
    let act = config.str(&["hidden_act", "activation"]).unwrap_or("gelu");
    let activation = match act {
        "gelu" => UnaryFunction::Gelu { tanh: false },
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => UnaryFunction::Gelu { tanh: true },
        "relu" => UnaryFunction::Relu,
        "silu" | "swish" => UnaryFunction::Silu,
        "tanh" => UnaryFunction::Tanh,
        other => return fail!(UnsupportedFormat, "the activation '{other}' is not supported"),
    };
    let word = "embeddings.word_embeddings.weight";
    let prefix = tensors.iter().find_map(|tensor| tensor.name.strip_suffix(word)).unwrap_or("").to_string();
    let epsilon = config.float("layer_norm_eps").unwrap_or(1e-12) as f32;
    let mut b = Builder { graph: Graph::new(), tensors, prefix, n_heads, hidden_dim, epsilon, activation };
    let symbol = |name: &str| Dim::symbol(name);
    let (batch, len) = (symbol("b"), symbol("s"));
    let input = |b: &mut Builder, name: &str, dtype: DType, shape: Vec<Dim>| {
        b.graph.input(name, TensorType::new(dtype, Shape(shape)))
    };
    let tokens = input(&mut b, "tokens", DType::I32, vec![batch.clone(), len.clone()]);
    let positions = input(&mut b, "positions", DType::I32, vec![len.clone()]);
    let one = || Dim::Known(1);
    let mut mask = input(&mut b, "mask", DType::F32, vec![batch.clone(), one(), one(), len.clone()]);
    let weights = input(&mut b, "weights", DType::F32, vec![batch, one(), len.clone()]);

    let (word, vocabulary_size) = b.table(word)?;
    let (table, n_positions) = b.table("embeddings.position_embeddings.weight")?;
    let words = b.apply("words", Gather, &[word, tokens]);
    let mut place = b.apply("positions.embedded", Gather, &[table, positions]);
    if names.has_types && b.find("embeddings.token_type_embeddings.weight").is_some() {
        let (types, _) = b.table("embeddings.token_type_embeddings.weight")?;
        let first = b.graph.constant("first_type", Tensor::new(&[1], &[0i32])?);
        let first = b.apply("types", Gather, &[types, first]);
        place = b.add("positions.typed", place, first);
    }
    let x = b.add("embeddings", words, place);
    let mut x = b.norm(x, "embeddings.LayerNorm")?;

    let mut relative = None;
    if kind == "mpnet" {
        let buckets = input(&mut b, "buckets", DType::I32, vec![len.clone(), len]);
        let (table, n_buckets) = b.table("encoder.relative_attention_bias.weight")?;
        let bias = b.apply("distances", Gather, &[table, buckets]);
        let bias = b.apply("distances.by_head", Transpose { order: Some(vec![2, 0, 1]) }, &[bias]);
        mask = b.add("mask.with_distances", bias, mask);
        relative = Some(RelativePositions { n_buckets, max_distance: 128 });
    }
    for layer in 0..n_layers {
        x = b.layer(&names, &format!("{}.{layer}", names.layer), x, mask)?;
    }
    let pooled = b.apply("pooled", Product::default(), &[weights, x]);
    b.graph.output("pooled", pooled);

    let first_position = match kind {
        "roberta" | "xlm-roberta" | "mpnet" => config.count(&["pad_token_id"]).unwrap_or(1) + 1,
        _ => 0,
    };
    ensure!(
        n_positions > first_position,
        Format,
        "the model has {n_positions} positions, and the first token's is {first_position}"
    );
    let max_tokens = n_positions - first_position;
    Ok(EncoderModel {
        graph: b.graph,
        hidden_dim,
        n_layers,
        vocabulary_size,
        first_position,
        max_tokens,
        relative,
    })
}

impl Builder<'_> {
    fn find(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name.strip_prefix(&*self.prefix) == Some(name))
    }

    /// The weight of that name and its shape. Fails when the file lacks it.
    fn weight(&mut self, name: &str) -> Result<(ValueId, Vec<usize>)> {
        let Some(tensor) = self.find(name) else {
            let message = "the file lacks a tensor that its architecture needs: check that config.json is of this model";
            return Err(Error::new(ErrorKind::Format, message).at(name));
        };
        let (full, shape) = (tensor.name.clone(), tensor.shape.clone());
        let ty = TensorType::new(decodable(tensor)?, Shape::known(&shape));
        Ok((self.graph.weight(&full, ty), shape))
    }

    /// The weight of one dimension of that name, as f32.
    fn vector(&mut self, name: &str) -> Result<ValueId> {
        let (weight, _) = self.weight(name)?;
        if self.graph.ty(weight)?.dtype == DType::F32 {
            return Ok(weight);
        }
        Ok(self.apply(&format!("{name}.f32"), Cast::to(DType::F32), &[weight]))
    }

    /// A table of embeddings and how many rows it has.
    fn table(&mut self, name: &str) -> Result<(ValueId, usize)> {
        let (table, shape) = self.weight(name)?;
        let &[rows, columns] = &shape[..] else {
            return fail!(Format, "the tensor '{name}' is {shape:?}, and a table is wanted");
        };
        let wanted = if name.contains("relative") { self.n_heads } else { self.hidden_dim };
        ensure!(columns == wanted, Format, "the tensor '{name}' is {shape:?}, not [rows, {wanted}]");
        Ok((table, rows))
    }

    fn apply(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.graph.defer(name, op, &inputs, &[name])[0]
    }

    fn add(&mut self, name: &str, x: ValueId, y: ValueId) -> ValueId {
        self.apply(name, Binary { function: BinaryFunction::Add }, &[x, y])
    }

    fn norm(&mut self, x: ValueId, name: &str) -> Result<ValueId> {
        let scale = self.vector(&format!("{name}.weight"))?;
        let bias = self.vector(&format!("{name}.bias"))?;
        let op = LayerNorm { axis: -1, centre: true, epsilon: self.epsilon, outputs: 1 };
        Ok(self.apply(name, op, &[x, scale, bias]))
    }

    /// `x · Wᵀ + bias`.
    fn linear(&mut self, x: ValueId, name: &str) -> Result<ValueId> {
        let (weight, _) = self.weight(&format!("{name}.weight"))?;
        let bias = self.vector(&format!("{name}.bias"))?;
        Ok(self.apply(name, MatMul::default(), &[x, weight, bias]))
    }

    /// `x [b, s, hidden] → [b, heads, s, head]`, or with the last two turned for keys.
    fn heads(&mut self, x: ValueId, name: &str, order: [usize; 4]) -> Result<ValueId> {
        let shape = [0, 0, self.n_heads as i64, (self.hidden_dim / self.n_heads) as i64];
        let shape = self.graph.constant(&format!("{name}.shape"), Tensor::new(&[4], &shape)?);
        let split = self.apply(&format!("{name}.split"), Reshape::To { allow_zero: false }, &[x, shape]);
        Ok(self.apply(&format!("{name}.heads"), Transpose { order: Some(order.to_vec()) }, &[split]))
    }

    fn layer(&mut self, names: &Names, layer: &str, x: ValueId, mask: ValueId) -> Result<ValueId> {
        let name = |part: &str| format!("{layer}.{part}");
        let [q, k, v, out] = names.attention.map(name);
        let heads = [(&q, [0, 2, 1, 3]), (&k, [0, 2, 3, 1]), (&v, [0, 2, 1, 3])];
        let heads = heads.map(|(part, order)| {
            let projected = self.linear(x, part)?;
            self.heads(projected, part, order)
        });
        let [queries, keys, values] = heads;
        let scores = self.apply(&name("scores"), Product::default(), &[queries?, keys?]);
        let scale = 1.0 / ((self.hidden_dim / self.n_heads) as f32).sqrt();
        let scale = self.graph.constant(&name("scale"), Tensor::new(&[], &[scale])?);
        let scaled = self.apply(&name("scaled"), Binary { function: BinaryFunction::Mul }, &[scores, scale]);
        let masked = self.add(&name("masked"), scaled, mask);
        let softmax = Softmax { function: SoftmaxFunction::Softmax, axis: -1, flatten: false };
        let shares = self.apply(&name("shares"), softmax, &[masked]);
        let attended = self.apply(&name("attended"), Product::default(), &[shares, values?]);
        let turned = Transpose { order: Some(vec![0, 2, 1, 3]) };
        let turned = self.apply(&name("attended.turned"), turned, &[attended]);
        let shape =
            self.graph.constant(&name("joined.shape"), Tensor::new(&[3], &[0, 0, self.hidden_dim as i64])?);
        let joined = self.apply(&name("joined"), Reshape::To { allow_zero: false }, &[turned, shape]);
        let projected = self.linear(joined, &out)?;
        let sum = self.add(&name("attention.sum"), projected, x);
        let x = self.norm(sum, &name(names.attention_norm))?;
        let up = self.linear(x, &name(names.up))?;
        let active = self.apply(&name("activation"), Unary { function: self.activation }, &[up]);
        let down = self.linear(active, &name(names.down))?;
        let sum = self.add(&name("sum"), down, x);
        self.norm(sum, &name(names.norm))
    }
}
