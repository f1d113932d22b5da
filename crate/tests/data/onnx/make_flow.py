"""Networks of functions, choices, loops and sparse constants, with what the reference runtime computes for them. Run with
onnx, onnxruntime and numpy:

    python make_flow.py

Writes flow/NAME.onnx and flow.json: for each the inputs and outputs by name, as shape and values."""
import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T, helper as h, numpy_helper

OUT = pathlib.Path(__file__).with_name("flow")
OUT.mkdir(exist_ok=True)
rng = np.random.default_rng(5)
cases = {}
F = lambda name, *shape: h.make_tensor_value_info(name, T.FLOAT, shape)
const = lambda name, value: numpy_helper.from_array(np.asarray(value), name)


def save(name, nodes, inputs, outputs, weights=(), functions=(), sparse=(), feeds=(), run=True):
    graph = h.make_graph(nodes, name, inputs, outputs, list(weights), sparse_initializer=list(sparse))
    imports = [h.make_opsetid("", 17)] + [h.make_opsetid(d, 1) for d in sorted({f.domain for f in functions})]
    model = h.make_model(graph, opset_imports=imports, ir_version=9, functions=list(functions), producer_name="make_flow.py")
    onnx.save(model, OUT / f"{name}.onnx")
    if not run:
        return
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    flat = lambda a: dict(shape=list(a.shape), values=[float(x) for x in a.reshape(-1)])
    cases[name] = [dict(inputs={k: flat(v) for k, v in feed.items()},
                        types={k: str(v.dtype) for k, v in feed.items()},
                        outputs={o.name: flat(np.asarray(y)) for o, y in zip(outputs, session.run(None, feed))})
                   for feed in feeds]


def ref(node, name, source, kind):
    attribute = onnx.AttributeProto(name=name, ref_attr_name=source, type=kind)
    node.attribute.append(attribute)
    return node


# A leaky activation with an attribute that has a default, called by a function that scales by an optional input.
leaky = h.make_function("own", "Leak", ["x"], ["y"], [ref(h.make_node("LeakyRelu", ["x"], ["y"]), "alpha", "slope", 1)],
                        [h.make_opsetid("", 17)], attribute_protos=[h.make_attribute("slope", 0.5)])
block = h.make_function("own", "Block", ["x", "w", "b"], ["z", "rows"], [
    h.make_node("MatMul", ["x", "w"], ["product"]),
    h.make_node("Gemm", ["x", "w", "b"], ["with_bias"]),
    h.make_node("Sub", ["with_bias", "product"], ["bias"]),
    ref(h.make_node("Leak", ["product"], ["leaked"], domain="own"), "slope", "slope", 1),
    h.make_node("Leak", ["leaked"], ["again"], domain="own"),
    h.make_node("Add", ["again", "bias"], ["z"]),
    h.make_node("Shape", ["x"], ["rows"], end=1),
], [h.make_opsetid("", 17), h.make_opsetid("own", 1)], attributes=["slope"])
w = rng.standard_normal((3, 3)).astype(np.float32)
x = rng.standard_normal((2, 3)).astype(np.float32)
save("functions", [
    h.make_node("Block", ["x", "w", "b"], ["mid", ""], domain="own", slope=0.1),
    h.make_node("Block", ["mid", "w"], ["y", "rows"], domain="own", slope=-2.0),
], [F("x", "n", 3)], [F("y", "n", 3), h.make_tensor_value_info("rows", T.INT64, [1])],
    [const("w", w), const("b", np.float32([1, 2, 3]))], [leaky, block], feeds=[dict(x=x), dict(x=x[:1] * 3)])

# A function that calls itself has no end.
endless = h.make_function("own", "Endless", ["x"], ["y"], [h.make_node("Endless", ["x"], ["y"], domain="own")],
                          [h.make_opsetid("own", 1)])
save("endless", [h.make_node("Endless", ["x"], ["y"], domain="own")], [F("x", 1)], [F("y", 1)], functions=[endless], run=False)
# Each calls the next eight times: more nodes than any memory has.
names = [f"F{i}" for i in range(24)] + ["Identity"]
tower = [h.make_function("own", names[i], ["x"], ["y"], [
    h.make_node(names[i + 1], ["x" if j == 0 else f"v{j}"], ["y" if j == 7 else f"v{j + 1}"], domain="own" if i < 23 else "")
    for j in range(8)], [h.make_opsetid("", 17), h.make_opsetid("own", 1)]) for i in range(24)]
save("tower", [h.make_node("F0", ["x"], ["y"], domain="own")], [F("x", 1)], [F("y", 1)], functions=tower, run=False)

# A loop without an end, if it begins.
round_ = h.make_graph([h.make_node("Identity", ["go"], ["on"]), h.make_node("Identity", ["v"], ["next"])], "round",
                      [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("go", T.BOOL, []), F("v", 2)],
                      [h.make_tensor_value_info("on", T.BOOL, []), F("next", 2)])
save("eternal", [h.make_node("Loop", ["", "more", "x"], ["y"], body=round_)],
     [F("x", 2), h.make_tensor_value_info("more", T.BOOL, [])], [F("y", 2)], run=False)

# A choice, nested, of which the way not taken could not run; both see the values around.
inner = lambda name, nodes, out: h.make_graph(nodes, name, [], [F(out, None)])
bad = [h.make_node("MatMul", ["x", "x"], ["bad"])]
deep = h.make_node("If", ["small"], ["deep"],
                   then_branch=inner("a", [h.make_node("Neg", ["x"], ["negative"])], "negative"),
                   else_branch=inner("b", bad, "bad"))
save("choice", [
    h.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
    h.make_node("Less", ["sum", "zero"], ["flag"]),
    h.make_node("Less", ["sum", "hundred"], ["small"]),
    h.make_node("If", ["flag"], ["y"],
                then_branch=inner("t", [h.make_node("Mul", ["x", "w"], ["scaled"])], "scaled"),
                else_branch=inner("e", [deep, h.make_node("Add", ["deep", "w"], ["moved"])], "moved")),
], [F("x", "n", 3)], [F("y", "n", 3)], [const("zero", np.float32(0)), const("hundred", np.float32(100)), const("w", np.float32([1, 2, 3]))],
    feeds=[dict(x=-np.abs(x)), dict(x=np.abs(x))])

# A loop without a limit that ends by its condition, carries a value and gives one of each round.
body = h.make_graph([
    h.make_node("Mul", ["v", "w"], ["next"]),
    h.make_node("ReduceMax", ["next"], ["largest"], keepdims=0),
    h.make_node("Less", ["largest", "limit"], ["on"]),
    h.make_node("Cast", ["round"], ["round_f"], to=T.FLOAT),
    h.make_node("Add", ["largest", "round_f"], ["seen"]),
], "body", [h.make_tensor_value_info("round", T.INT64, []), h.make_tensor_value_info("go", T.BOOL, []), F("v", "n", 3)],
    [h.make_tensor_value_info("on", T.BOOL, []), F("next", "n", 3), F("seen")])
save("loop", [h.make_node("Loop", ["most", "", "x"], ["y", "all"], body=body)], [h.make_tensor_value_info("most", T.INT64, []), F("x", "n", 3)],
     [F("y", "n", 3), F("all", "rounds")], [const("w", np.float32([2, 1.5, 1])), const("limit", np.float32(50))],
     feeds=[dict(most=np.array(2**62), x=np.abs(x) + 1), dict(most=np.array(3), x=np.abs(x) + 1), dict(most=np.array(0), x=x)])

# A running sum along the rows, backwards.
step = h.make_graph([h.make_node("Add", ["state", "row"], ["sum"]), h.make_node("Identity", ["sum"], ["out"])], "step",
                    [F("state", 3), F("row", 3)], [F("sum", 3), F("out", 3)])
save("scan", [h.make_node("Scan", ["start", "x"], ["end", "sums"], body=step, num_scan_inputs=1, scan_input_directions=[1])],
     [F("start", 3), F("x", "n", 3)], [F("end", 3), F("sums", "n", 3)],
     feeds=[dict(start=np.float32([1, 0, -1]), x=rng.standard_normal((5, 3)).astype(np.float32))])

# A body that gives less than its node has.
less = h.make_graph([h.make_node("Add", ["state", "row"], ["sum"])], "less", [F("state", 3), F("row", 3)], [F("sum", 3)])
save("short", [h.make_node("Scan", ["start", "x"], ["end", "sums"], body=less, num_scan_inputs=1)],
     [F("start", 3), F("x", "n", 3)], [F("end", 3), F("sums", "n", 3)], run=False)

# Constants that are mostly zero, by position and by index.
by_position = h.make_sparse_tensor(const("w", np.float32([1.5, -2, 4])), const("w_at", np.int64([0, 4, 11])), [3, 4])
by_index = h.make_sparse_tensor(const("b", np.float32([7, 9])), const("b_at", np.int64([[0], [3]])), [4])
save("sparse", [h.make_node("Gemm", ["x", "w", "b"], ["y"])], [F("x", "n", 3)], [F("y", "n", 4)], sparse=[by_position, by_index],
     feeds=[dict(x=x)])
outside = h.make_sparse_tensor(const("w", np.float32([1.5])), const("w_at", np.int64([12])), [3, 4])
save("outside", [h.make_node("MatMul", ["x", "w"], ["y"])], [F("x", "n", 3)], [F("y", "n", 4)], sparse=[outside], run=False)

(pathlib.Path(__file__).with_name("flow.json")).write_text(json.dumps(cases))
