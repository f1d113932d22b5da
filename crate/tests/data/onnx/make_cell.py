"""Writes cell.onnx, a recurrent cell without a sequence, of random weights: the state goes in and comes out."""

import pathlib

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

random = np.random.default_rng(7)
weight = lambda name, *shape: numpy_helper.from_array((random.standard_normal(shape) / 8).astype(np.float32), name)
value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
graph = helper.make_graph(
    [
        helper.make_node("MatMul", ["x", "w"], ["from_x"]),
        helper.make_node("MatMul", ["state", "r"], ["from_state"]),
        helper.make_node("Add", ["from_x", "from_state"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["next"]),
        helper.make_node("MatMul", ["next", "v"], ["y"]),
    ],
    "cell",
    [value("x", "batch", 8), value("state", "batch", 64)],
    [value("y", "batch", 2), value("next", "batch", 64)],
    [weight("w", 8, 64), weight("r", 64, 64), weight("v", 64, 2)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(model)
save(model, pathlib.Path(__file__).with_name("cell.onnx"))
