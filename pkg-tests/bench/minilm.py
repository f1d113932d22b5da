"""MiniLM as an ONNX file, since no package ships one in f32: minilm.safetensors and minilm.config.json become
minilm-f32.onnx, spelt as PyTorch exports a BERT encoder (GELU by Erf, attention by MatMul and Softmax).

    python minilm.py MODELS_FOLDER
"""
import json
import os
import struct
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = sys.argv[1]
config = json.load(open(os.path.join(folder, "minilm.config.json")))
heads, hidden = config["num_attention_heads"], config["hidden_size"]
data = open(os.path.join(folder, "minilm.safetensors"), "rb").read()
(header_bytes,) = struct.unpack("<Q", data[:8])
header = json.loads(data[8:8 + header_bytes])

nodes, constants = [], []


def constant(name, values):
    constants.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def weight(name):
    entry = header[name]
    assert entry["dtype"] == "F32", name
    start, end = entry["data_offsets"]
    return np.frombuffer(data[8 + header_bytes:][start:end], np.float32).reshape(entry["shape"])


def node(op, *inputs, **attributes):
    name = f"{op}_{len(nodes)}"
    nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
    return name


def linear(x, name):
    w = constant(name + ".weight", np.ascontiguousarray(weight(name + ".weight").T))
    return node("Add", node("MatMul", x, w), constant(name + ".bias", weight(name + ".bias")))


def norm(x, name):
    parts = [constant(f"{name}.{part}", weight(f"{name}.{part}")) for part in ("weight", "bias")]
    return node("LayerNormalization", x, *parts, axis=-1, epsilon=config["layer_norm_eps"])


def embedded(table, ids):
    name = f"embeddings.{table}_embeddings.weight"
    return node("Gather", constant(name, weight(name)), ids)


def split(x, order):
    return node("Transpose", node("Reshape", x, by_head), perm=order)


one, number = constant("one", np.float32(1)), lambda name, value: constant(name, np.float32(value))
half, root_2 = number("half", 0.5), number("root_2", np.sqrt(2))
root_depth, lowest = number("root_depth", np.sqrt(hidden // heads)), number("lowest", np.finfo(np.float32).min)
by_head = constant("by_head", np.array([0, 0, heads, hidden // heads], np.int64))
joined = constant("joined", np.array([0, 0, hidden], np.int64))
axis_0, axis_1 = constant("axis_0", np.array([0], np.int64)), constant("axis_1", np.array([1], np.int64))
axes = constant("mask_axes", np.array([1, 2], np.int64))

length = node("Slice", node("Shape", "input_ids"), axis_1, constant("two", np.array([2], np.int64)))
places = constant("places", np.arange(config["max_position_embeddings"], dtype=np.int64)[None])
x = node("Add", embedded("word", "input_ids"), embedded("token_type", "token_type_ids"))
x = norm(node("Add", x, embedded("position", node("Slice", places, axis_0, length, axis_1))), "embeddings.LayerNorm")
mask = node("Cast", node("Unsqueeze", "attention_mask", axes), to=TensorProto.FLOAT)
mask = node("Mul", node("Sub", one, mask), lowest)
for layer in range(config["num_hidden_layers"]):
    name = f"encoder.layer.{layer}."
    q = split(linear(x, name + "attention.self.query"), [0, 2, 1, 3])
    k = split(linear(x, name + "attention.self.key"), [0, 2, 3, 1])
    v = split(linear(x, name + "attention.self.value"), [0, 2, 1, 3])
    scores = node("Add", node("Div", node("MatMul", q, k), root_depth), mask)
    y = node("Transpose", node("MatMul", node("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    y = linear(node("Reshape", y, joined), name + "attention.output.dense")
    x = norm(node("Add", y, x), name + "attention.output.LayerNorm")
    up = linear(x, name + "intermediate.dense")
    gelu = node("Mul", node("Mul", up, node("Add", node("Erf", node("Div", up, root_2)), one)), half)
    x = norm(node("Add", linear(gelu, name + "output.dense"), x), name + "output.LayerNorm")
nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))

sizes = ["batch", "sequence"]
inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, sizes) for n in ("input_ids", "attention_mask", "token_type_ids")]
output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*sizes, hidden])
graph = helper.make_graph(nodes, "minilm", inputs, [output], constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, os.path.join(folder, "minilm-f32.onnx"))
