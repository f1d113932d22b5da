"""Makes encoders/NAME/: random-weight models of the BERT family with the files that models come with, and
vectors.json, what the `transformers` Python package computes for some texts (pip install torch transformers
safetensors tokenizers; made with torch 2.15, transformers 5.23).

    python make_tiny_encoders.py

`vectors` are of the model's own pooling and length, `mean` the mean of the token vectors as they are. A text is
cut to the model's `max_seq_length`."""
import json
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig, BertForMaskedLM, BertModel, DistilBertConfig, DistilBertModel, MPNetConfig, MPNetModel,
    RobertaConfig, RobertaModel,
)

OUT = pathlib.Path(__file__).with_name("encoders")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = ["", "a", "the cat sat", "the cat sat on the mat", "zebra", "one two three four five six seven eight nine ten eleven",
         "dogs and cats and mice and owls", "x y z"]


def word_piece(cls, sep, pad, unk):
    tokens = [cls, pad, sep, unk] + list(LETTERS) + ["##" + c for c in LETTERS] + ["the", "cat", "##at", "on", "and", "##s"]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token=unk))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", special_tokens=[(cls, 0), (sep, 2)])
    tokenizer.add_special_tokens([cls, pad, sep, unk])
    return tokenizer, len(tokens)


def save(name, model, tokenizer, pooling, normalize, max_len, half=False, sentence=True):
    torch.manual_seed(3)
    model = model.eval()
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter) * 0.35
        if half:
            parameter.data = parameter.data.half().float()
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: (v.half() if half else v).contiguous().clone() for k, v in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(model.config.to_diff_dict() | model.config.to_dict(), indent=1))
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    if sentence:
        modules = ["Transformer", "Pooling"] + ["Normalize"] * normalize
        modules = [dict(idx=i, name=str(i), path="", type=f"sentence_transformers.models.{m}") for i, m in enumerate(modules)]
        (folder / "modules.json").write_text(json.dumps(modules))
        modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken"]
        (folder / "pooling.json").write_text(json.dumps({f"pooling_mode_{m}": m == pooling for m in modes}))
        (folder / "sentence_bert_config.json").write_text(json.dumps(dict(max_seq_length=max_len, do_lower_case=False)))
    body = getattr(model, "bert", model)
    vectors, means = [], []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        ids = ids[: max_len - 1] + ids[-1:] if len(ids) > max_len else ids
        with torch.no_grad():
            hidden = body(torch.tensor([ids])).last_hidden_state[0]
        mean = hidden.mean(0)
        pooled = {"mean_tokens": mean, "cls_token": hidden[0], "lasttoken": hidden[-1],
                  "mean_sqrt_len_tokens": hidden.sum(0) / len(ids) ** 0.5}[pooling]
        vectors.append((pooled / pooled.norm() if normalize else pooled).tolist())
        means.append(mean.tolist())
    (folder / "vectors.json").write_text(json.dumps(dict(texts=TEXTS, vectors=vectors, mean=means)))


common = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
tokenizer, n = word_piece("[CLS]", "[SEP]", "[PAD]", "[UNK]")
save("bert", BertModel(BertConfig(vocab_size=n, max_position_embeddings=64, **common)), tokenizer, "mean_tokens", True, 16)
save("bert-head-f16", BertForMaskedLM(BertConfig(vocab_size=n, max_position_embeddings=64, hidden_act="relu", **common)),
     tokenizer, "cls_token", False, 64, half=True)
save("distilbert", DistilBertModel(DistilBertConfig(vocab_size=n, max_position_embeddings=64, dim=24, n_layers=2, n_heads=3,
     hidden_dim=40)), tokenizer, "mean_tokens", True, 64, sentence=False)
tokenizer, n = word_piece("<s>", "</s>", "<pad>", "<unk>")
save("roberta", RobertaModel(RobertaConfig(vocab_size=n, max_position_embeddings=66, type_vocab_size=1, pad_token_id=1,
     layer_norm_eps=1e-5, hidden_act="gelu_new", **common)), tokenizer, "mean_sqrt_len_tokens", False, 64)
save("mpnet", MPNetModel(MPNetConfig(vocab_size=n, max_position_embeddings=66, pad_token_id=1, layer_norm_eps=1e-5,
     relative_attention_num_buckets=32, **common)), tokenizer, "lasttoken", True, 64)
