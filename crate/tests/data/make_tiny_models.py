"""Makes tiny/*.gguf, random-weight models of the Llama family, and tiny/*.json, the logits that the
`transformers` Python package computes for them (pip install torch transformers gguf; made with torch 2.15,
transformers 5.23).

Conventions, which are those of llama.cpp's converter:
- Weights are first rounded to the type the file stores (f32, f16 or q8_0), and the reference runs on those
  rounded weights in f32, so that logits agree to rounding. Norms and biases are f32.
- `llama` and `smollm3` rotate adjacent pairs (rope type NORM): the rows of q and k are permuted from the
  halves that transformers rotates. `qwen2` and `qwen3` rotate halves (NEOX): rows stay.
- `smollm3` has no RoPE in every fourth layer: (layer + 1) % 4 == 0.
- Llama-3 RoPE scaling is the tensor `rope_freqs.weight`, f32 [head_dim / 2]: frequencies are divided by it.
- Tied models have no `output.weight`.

A JSON file has `tokens` (the ids fed, from position 0), `argmax` (per position) and `logits` (per listed
position, the whole row).
"""

import json
import math
import pathlib

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T
from transformers import (
    LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM,
    SmolLM3Config, SmolLM3ForCausalLM,
)

OUT = pathlib.Path(__file__).with_name("tiny")
CONTEXT = 128


def byte_chars():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    chars = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [chars[b] for b in range(256)]


MERGES = ["h e", "\u0120 t", "\u0120t he", "l l", "o \u0120", "he ll"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOKENS = byte_chars() + [m.replace(" ", "") for m in MERGES] + SPECIALS
VOCABULARY = 272  # The last tokens are padding.
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

COMMON = dict(
    vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, initializer_range=0.12, attn_implementation="eager",
    bos_token_id=262, eos_token_id=264, pad_token_id=262,
)


def rope(base, **scaling):
    return dict(rope_type="default", rope_theta=base) | scaling


SCALING = dict(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=32,
)

MODELS = [
    ("llama-f32", "llama", LlamaForCausalLM, T.F32, LlamaConfig(
        num_hidden_layers=2, tie_word_embeddings=True, rope_parameters=rope(10000.0),
        **(COMMON | dict(intermediate_size=64)))),
    ("llama3-f16", "llama", LlamaForCausalLM, T.F16, LlamaConfig(
        num_hidden_layers=2, tie_word_embeddings=False, rope_parameters=rope(10000.0, **SCALING), **COMMON)),
    ("qwen2-f16", "qwen2", Qwen2ForCausalLM, T.F16, Qwen2Config(
        num_hidden_layers=2, tie_word_embeddings=False, rope_parameters=rope(1000000.0), **COMMON)),
    ("qwen3-f16", "qwen3", Qwen3ForCausalLM, T.F16, Qwen3Config(
        num_hidden_layers=2, head_dim=32, tie_word_embeddings=True, rope_parameters=rope(1000000.0), **COMMON)),
    ("qwen3-q8_0", "qwen3", Qwen3ForCausalLM, T.Q8_0, Qwen3Config(
        num_hidden_layers=2, head_dim=32, tie_word_embeddings=True, rope_parameters=rope(1000000.0), **COMMON)),
    ("smollm3-f16", "smollm3", SmolLM3ForCausalLM, T.F16, SmolLM3Config(
        num_hidden_layers=4, no_rope_layer_interval=4, tie_word_embeddings=True,
        rope_parameters=rope(2000000.0), **COMMON)),
]

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}


def gguf_name(name):
    name, kind = name.rsplit(".", 1)
    if name == "model.embed_tokens":
        return "token_embd." + kind
    if name == "model.norm":
        return "output_norm." + kind
    if name == "lm_head":
        return "output." + kind
    _, _, layer, part = name.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.{kind}"


def permute(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def rope_factors(config, head_dim):
    p = config.rope_parameters
    old, low, high, factor = (
        p["original_max_position_embeddings"], p["low_freq_factor"], p["high_freq_factor"], p["factor"])
    factors = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * math.pi * p["rope_theta"] ** (i / head_dim)
        if wavelength < old / high:
            factors.append(1.0)
        elif wavelength > old / low:
            factors.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, np.float32)


def make(file, arch, cls, kind, config):
    torch.manual_seed(sum(map(ord, arch)))
    model = cls(config).float().eval()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer = gguf.GGUFWriter(OUT / f"{file}.gguf", arch)
    writer.add_name(file)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(VOCABULARY)
    tokens = TOKENS + [f"[PAD{i}]" for i in range(VOCABULARY - len(TOKENS))]
    types = [1] * (len(TOKENS) - len(SPECIALS)) + [3] * len(SPECIALS) + [5] * (VOCABULARY - len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if arch.startswith("qwen") else "llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(262)
    writer.add_eos_token_id(264)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    state = model.state_dict()
    if config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_factors(config, head_dim))
    rng = np.random.default_rng(7)
    for name, tensor in state.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        value = tensor.numpy().copy()
        stored = T.F32
        if value.ndim == 1:
            value = (value + rng.normal(0, 0.2, value.shape)).astype(np.float32)
        else:
            stored = kind
        data = gguf.quants.quantize(value, stored) if stored != T.F32 else value
        value = gguf.quants.dequantize(data, stored).reshape(value.shape) if stored != T.F32 else value
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(value, np.float32)))
        if arch in ("llama", "smollm3") and ".q_proj." in name:
            data = permute(data, config.num_attention_heads)
        if arch in ("llama", "smollm3") and ".k_proj." in name:
            data = permute(data, config.num_key_value_heads)
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(data), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    ids = [int(i) for i in np.random.default_rng(11).integers(0, 262, 24)]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
    rows = {str(p): [round(float(x), 6) for x in logits[p]] for p in (0, 11, 23)}
    out = {"tokens": ids, "argmax": [int(i) for i in logits.argmax(-1)], "logits": rows}
    (OUT / f"{file}.json").write_text(json.dumps(out) + "\n")
    print(file, (OUT / f"{file}.gguf").stat().st_size, "logits", logits.std(), logits.min(), logits.max())


OUT.mkdir(exist_ok=True)
for row in MODELS:
    make(*row)
