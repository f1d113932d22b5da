"""Small networks with what the reference runtime computes for them. Run with onnx, onnxruntime and numpy:

    python make_networks.py

Writes classifier.onnx (a convolutional classifier of any number of images), ranges.onnx (shapes that depend on elements)
and networks.json (inputs and outputs of both)."""
import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper as h, numpy_helper

rng = np.random.default_rng(7)


def weight(name, *shape, positive=False):
    values = rng.standard_normal(shape).astype(np.float32) * 0.4
    return numpy_helper.from_array(np.abs(values) + 0.1 if positive else values, name)


def save(name, nodes, inputs, outputs, weights):
    graph = h.make_graph(nodes, name, inputs, outputs, weights)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9, producer_name="make_networks.py")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, f"{name}.onnx")
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def flat(array):
    return {"type": str(array.dtype), "dims": list(array.shape), "data": array.ravel().tolist()}


def run(session, **feeds):
    outputs = session.run(None, feeds)
    names = [output.name for output in session.get_outputs()]
    return {
        "inputs": {name: flat(array) for name, array in feeds.items()},
        "outputs": {name: flat(array) for name, array in zip(names, outputs)},
    }


classifier = save(
    "classifier",
    [
        h.make_node("Conv", ["image", "w0", "b0"], ["c0"], "conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        h.make_node("BatchNormalization", ["c0", "scale", "shift", "mean", "variance"], ["n0"], "norm"),
        h.make_node("Relu", ["n0"], ["r0"], "relu"),
        h.make_node("Conv", ["r0", "w1"], ["c1"], "depthwise", group=6, auto_pad="SAME_UPPER"),
        h.make_node("HardSwish", ["c1"], ["h1"], "hard_swish"),
        h.make_node("MaxPool", ["h1"], ["p1"], "max_pool", kernel_shape=[2, 2], strides=[2, 2]),
        h.make_node("GlobalAveragePool", ["p1"], ["g1"], "mean"),
        h.make_node("Flatten", ["g1"], ["f1"], "flatten"),
        h.make_node("Gemm", ["f1", "w2", "b2"], ["logits"], "head", transB=1),
        h.make_node("Softmax", ["logits"], ["probabilities"], "softmax", axis=-1),
    ],
    [h.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "height", "width"])],
    [
        h.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4]),
        h.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 4]),
    ],
    [
        weight("w0", 6, 3, 3, 3), weight("b0", 6), weight("scale", 6), weight("shift", 6), weight("mean", 6),
        weight("variance", 6, positive=True), weight("w1", 6, 1, 3, 3), weight("w2", 4, 6), weight("b2", 4),
    ],
)
ranges = save(
    "ranges",
    [
        h.make_node("ReduceMax", ["x"], ["largest"], "largest", keepdims=0),
        h.make_node("Cast", ["largest"], ["limit"], "limit", to=TensorProto.INT64),
        h.make_node("Range", ["zero", "limit", "one"], ["numbers"], "numbers"),
        h.make_node("Mul", ["numbers", "numbers"], ["squares"], "squares"),
    ],
    [h.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
    [h.make_tensor_value_info("squares", TensorProto.INT64, ["m"])],
    [numpy_helper.from_array(np.array(0), "zero"), numpy_helper.from_array(np.array(1), "one")],
)
image = lambda *shape: rng.standard_normal(shape).astype(np.float32).round(3)
cases = {
    "classifier": [run(classifier, image=image(1, 3, 12, 10)), run(classifier, image=image(2, 3, 9, 16))],
    "ranges": [run(ranges, x=np.array([2.5, 4.0], np.float32)), run(ranges, x=np.array([7.2, 1, 0], np.float32))],
}
with open("networks.json", "w") as f:
    json.dump(cases, f, indent=None, separators=(",", ":"))
    f.write("\n")
