"""Small networks that ONNX Runtime's quantiser made, with what ONNX Runtime computes of them.

    python make_quantized.py    writes quantized.json beside this; needs onnx, onnxruntime and numpy
"""

import json
import pathlib
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

random = np.random.default_rng(11)


def noise(*shape, scale=1.0):
    return (random.normal(0, scale, shape)).astype(np.float32)


class Net:
    def __init__(self):
        self.nodes, self.weights, self.n = [], [], 0

    def weight(self, array):
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def op(self, kind, *inputs, **attributes):
        self.n += 1
        self.nodes.append(helper.make_node(kind, list(inputs), [f"v{self.n}"], name=f"{kind}.{self.n}", **attributes))
        return f"v{self.n}"

    def model(self, shape, y):
        graph = helper.make_graph(
            self.nodes, "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convnet():
    net = Net()
    conv = lambda x, m, c, k, bias=True, **attributes: net.op(
        "Conv", x, net.weight(noise(m, c, k, k, scale=(c * k * k) ** -0.5)), *([net.weight(noise(m, scale=0.1))] if bias else []), **attributes)
    x = net.op("Relu", conv("x", 8, 3, 3, pads=[1, 1, 1, 1]))
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = net.op("Relu", conv(x, 8, 1, 3, pads=[1, 1, 1, 1], group=8))
    y = conv(y, 8, 8, 1, bias=False)
    x = net.op("Relu", net.op("Add", x, y))
    x = net.op("LeakyRelu", conv(x, 10, 4, 3, group=2, strides=[2, 2]), alpha=0.1)
    x = net.op("Concat", x, net.op("Sigmoid", x), axis=1)
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    y = net.op("Softmax", net.op("Gemm", x, net.weight(noise(6, 20)), net.weight(noise(6)), transB=1), axis=-1)
    return net.model([1, 3, 12, 14], y), (1, 3, 12, 14)


def transformer():
    net, d, heads = Net(), 16, 2
    linear = lambda x, k, n: net.op("Add", net.op("MatMul", x, net.weight(noise(k, n, scale=k ** -0.5))), net.weight(noise(n, scale=0.1)))
    ints = lambda *values: net.weight(np.array(values, np.int64))
    split = lambda x, order: net.op("Transpose", net.op("Reshape", x, ints(1, -1, heads, d // heads)), perm=order)
    q, k, v = split(linear("x", d, d), [0, 2, 1, 3]), split(linear("x", d, d), [0, 2, 3, 1]), split(linear("x", d, d), [0, 2, 1, 3])
    shares = net.op("Softmax", net.op("Mul", net.op("MatMul", q, k), net.weight(np.array(8 ** -0.5, np.float32))), axis=-1)
    x = net.op("Reshape", net.op("Transpose", net.op("MatMul", shares, v), perm=[0, 2, 1, 3]), ints(1, -1, d))
    x = net.op("Add", "x", linear(x, d, d))
    x = net.op("LayerNormalization", x, net.weight(noise(d) + 1), net.weight(noise(d)), axis=-1)
    y = net.op("Add", x, linear(net.op("Relu", linear(x, d, 32)), 32, d))
    return net.model([1, 9, d], y), (1, 9, d)


class Reader(CalibrationDataReader):
    def __init__(self, shape):
        self.left = iter([{"x": noise(*shape)} for _ in range(8)])

    def get_next(self):
        return next(self.left, None)


cases = []


def case(name, model, shape):
    # As the graph says: its own rewrites move a result by up to three steps of a transformer's.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = noise(*shape)
    y = session.run(None, {"x": x})[0]
    rewritten = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    other = rewritten.run(None, {"x": x})[0]
    # One step of the last quantisation that the output goes through.
    last = [node for node in model.graph.node if node.output[0] == model.graph.output[0].name][0]
    known = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
    step = float(known[last.input[1]]) if last.op_type == "DequantizeLinear" else None
    print(name, "moves by", np.abs(y - other).max() / (step or np.ptp(y) / 255), "steps")
    plain = lambda a: {"shape": list(a.shape), "data": [round(v, 7) for v in a.astype(np.float64).ravel().tolist()]}
    cases.append({"name": name, "model": model.SerializeToString().hex(), "x": plain(x), "y": plain(y), "step": step})


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    for make in [convnet, transformer]:
        model, shape = make()
        onnx.save(model, folder / "float.onnx")
        for kind in [QuantFormat.QDQ, QuantFormat.QOperator]:
            for each in [False, True]:
                for activations, weights in [(QuantType.QUInt8, QuantType.QInt8), (QuantType.QInt8, QuantType.QInt8), (QuantType.QUInt8, QuantType.QUInt8)]:
                    if (each or kind == QuantFormat.QOperator) and (activations, weights) != (QuantType.QUInt8, QuantType.QInt8):
                        continue
                    quantize_static(folder / "float.onnx", folder / "q.onnx", Reader(shape), quant_format=kind, per_channel=each, activation_type=activations, weight_type=weights)
                    case(f"{make.__name__} {kind.name} {activations.name} {weights.name}{' by channel' if each else ''}", onnx.load(folder / "q.onnx"), shape)
        quantize_dynamic(folder / "float.onnx", folder / "q.onnx")
        case(f"{make.__name__} dynamic", onnx.load(folder / "q.onnx"), shape)

text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
pathlib.Path(__file__).with_name("quantized.json").write_text(f"[\n{text}\n]\n")
print(len(cases), "cases")
