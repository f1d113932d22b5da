"""Small networks of random weights as today's exporters write them, with what ONNX Runtime computes of them:
exports/*.onnx and exports.json. Run with torch, transformers, onnx, onnxscript and onnxruntime:

    python make_exports.py [folder [names…]]

Into another folder go all that can be made (HOMEFIRE_EXPORTS=folder cargo test --test exports holds them to theirs), here
those that are KEPT.
"""
import json, sys, pathlib, warnings, logging
import numpy as np, torch, onnx, onnxruntime as ort
import torch.nn as nn, torch.nn.functional as F
import transformers as tf

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
HERE = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
OUT = HERE / "exports"
OUT.mkdir(parents=True, exist_ok=True)
KEPT = """sdpa-mask-dynamo18 sdpa-causal-dynamo18 sdpa-mask-legacy17 mha-dynamo18 bert-legacy11 bert-dynamo18 distilbert-legacy17
gpt2-dynamo18 llama-dynamo18 t5-legacy17 vit-dynamo18 whisper-legacy17 convs-legacy17 rms-l2-dynamo18""".split()
only = sys.argv[2:] if len(sys.argv) > 1 else KEPT
stored, failed = {}, []


class Sdpa(nn.Module):
    """Attention of torch itself, with or without a mask that is given, or causal."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)

    def forward(self, x, mask=None):
        b, s, _ = x.shape
        q, k, v = (t.reshape(b, s, 2, 8).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        if self.kind == "mask":
            mask = mask[:, None, None, :]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.kind == "causal")
        return self.out(y.transpose(1, 2).reshape(b, s, 16))


class Mha(nn.Module):
    def __init__(self):
        super().__init__()
        self.mha = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x):
        return self.mha(x, x, x, need_weights=False)[0]


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")

    def forward(self, x):
        return self.layer(x)


class Rms(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.l2 = nn.RMSNorm(16, eps=1e-6), nn.Linear(16, 16)

    def forward(self, x):
        return F.normalize(self.l2(self.norm(x)), dim=-1)


class Convs(nn.Module):
    def __init__(self):
        super().__init__()
        self.seq = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 8, 3, padding=1),
            nn.InstanceNorm2d(8, affine=True), nn.Mish(), nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 8, 3, stride=2),
            nn.BatchNorm2d(8), nn.ReLU6(), nn.ConvTranspose2d(8, 8, 2, stride=2), nn.PReLU(8), nn.Conv2d(8, 4, 1),
            nn.Hardswish(), nn.Upsample(scale_factor=2), nn.Hardsigmoid())

    def forward(self, x):
        return self.seq(x)


class LayerNorm2d(nn.Module):
    """As ConvNeXt has it: channels go last and come back."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8)
        self.up, self.down, self.scale = nn.Linear(8, 16), nn.Linear(16, 8), nn.Parameter(torch.randn(8))

    def forward(self, x):
        x = self.conv(x)
        y = self.norm(x.permute(0, 2, 3, 1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


ids = torch.randint(0, 40, (2, 6))
mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
x = torch.randn(2, 5, 16)
image = torch.randn(2, 3, 8, 8)
small = dict(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
             max_position_embeddings=16)


class First(nn.Module):
    """A model whose first output alone counts."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *args):
        kw = {"use_cache": False} if self.model.config.model_type in ("gpt2", "llama", "qwen2", "whisper") else {}
        return self.model(**dict(zip(self.names, args)), **kw)[0]


def hf(cls, config, names, args):
    return lambda impl: (First(cls._from_config(config, attn_implementation=impl), names), names, args)


text = ["input_ids", "attention_mask"]
small_clip = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
MODELS = {
    "sdpa": lambda _: (Sdpa("plain"), ["x"], (x,)),
    "sdpa-mask": lambda _: (Sdpa("mask"), ["x", "mask"], (x, torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool())),
    "sdpa-causal": lambda _: (Sdpa("causal"), ["x"], (x,)),
    "mha": lambda _: (Mha(), ["x"], (x,)),
    "encoder-layer": lambda _: (Encoder(), ["x"], (x,)),
    "rms-l2": lambda _: (Rms(), ["x"], (x,)),
    "convs": lambda _: (Convs(), ["x"], (image,)),
    "convnext": lambda _: (LayerNorm2d(), ["x"], (image,)),
    "bert": hf(tf.BertModel, tf.BertConfig(**small), text, (ids, mask)),
    "distilbert": hf(tf.DistilBertModel, tf.DistilBertConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=32,
                     max_position_embeddings=16), text, (ids, mask)),
    "roberta": hf(tf.RobertaModel, tf.RobertaConfig(**small), text, (ids, mask)),
    "vit": hf(tf.ViTModel, tf.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
              image_size=8, patch_size=4), ["pixel_values"], (image,)),
    "clip-text": hf(tf.CLIPTextModel, tf.CLIPTextConfig(vocab_size=40, max_position_embeddings=16, eos_token_id=2,
                    **small_clip), text, (ids, mask)),
    "t5": hf(tf.T5EncoderModel, tf.T5Config(vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
             feed_forward_proj="gated-gelu"), text, (ids, mask)),
    "gpt2": hf(tf.GPT2Model, tf.GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=16), text, (ids, mask)),
    "llama": hf(tf.LlamaModel, tf.LlamaConfig(num_key_value_heads=1, **small), text, (ids, mask)),
    "whisper": hf(tf.models.whisper.modeling_whisper.WhisperEncoder, tf.WhisperConfig(d_model=16, encoder_layers=1,
                  encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=4, max_source_positions=8), ["input_features"],
                  (torch.randn(2, 4, 16),)),
}


def values(array):
    array = np.asarray(array)
    data = [float(f"{v:.8g}") if array.dtype.kind == "f" else int(v) for v in array.ravel()]
    return {"shape": list(array.shape), "dtype": str(array.dtype), "data": data}


def export(name, make, dynamo, opset, impl, dynamic):
    torch.manual_seed(3)
    model, names, args = make(impl)
    model.eval()
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    path = OUT / f"{name}.onnx"
    kw = {}
    if dynamic:
        image_like = args[0].dim() == 4
        if dynamo:
            dims = {0: torch.export.Dim.DYNAMIC} if image_like or "input_features" in names else {
                0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
            kw["dynamic_shapes"] = ([dict(dims) for _ in args],) if isinstance(model, First) else [dict(dims) for _ in args]
            if isinstance(model, First):
                kw["dynamic_shapes"] = (tuple(dict(dims) for _ in args),)
        else:
            axes = {0: "batch"} if image_like or "input_features" in names else {0: "batch", 1: "length"}
            kw["dynamic_axes"] = {n: axes for n in names}
    torch.onnx.export(model, args, str(path), input_names=names, output_names=["y"], opset_version=opset, dynamo=dynamo,
                      external_data=False, verbose=False, **kw)
    m = onnx.load(path)
    m.doc_string = ""
    del m.metadata_props[:]
    for part in [m.graph, *m.functions]:
        part.doc_string = ""
        del part.metadata_props[:]
        if part is m.graph:
            del part.value_info[:]
        for n in part.node:
            n.doc_string = ""
            del n.metadata_props[:]
    for t in [*m.graph.initializer, *m.graph.input, *m.graph.output]:
        t.doc_string = ""
        del t.metadata_props[:]
    onnx.save(m, path)
    feeds = {}
    session = ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    wanted = [i.name for i in session.get_inputs()]
    feeds = {n: a.numpy() for n, a in zip(names, args) if n in wanted}
    y = session.run(["y"], feeds)[0]
    stored[name] = {"inputs": {n: values(a) for n, a in feeds.items()}, "outputs": {"y": values(y)}}
    print(name, len(m.graph.node), path.stat().st_size, flush=True)


for name, make in MODELS.items():
    for how, dynamo, opset, impl, dynamic in [
        ("dynamo18", True, 18, "sdpa", True), ("dynamo18-eager", True, 18, "eager", False),
        ("legacy11", False, 11, "eager", True), ("legacy17", False, 17, "sdpa", True)]:
        key = f"{name}-{how}"
        if only and not any(o in key for o in only):
            continue
        try:
            export(key, make, dynamo, opset, impl, dynamic)
        except Exception as e:
            failed.append(key)
            print("FAILED", key, type(e).__name__, str(e).strip()[:300].replace("\n", " | "), flush=True)
(HERE / "exports.json").write_text(json.dumps(stored, separators=(",", ":")) + "\n")
print("failed:", failed)
