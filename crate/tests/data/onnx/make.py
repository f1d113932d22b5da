"""Makes small ONNX files that have everything which the format has, and beside each a `.json` with what the `onnx`
package reads from it: `graph.onnx` (attributes of every kind, subgraphs, a local function, types of every kind),
`tensors.onnx` (element types, typed and raw, sparse and in another file), and values stored on their own
(`tensor.pb`, `sequence.pb`, `optional.pb`, `nothing.pb`). Needs the packages onnx and numpy.

    python3 make.py
"""
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, TypeProto, helper as h, numpy_helper

HERE = Path(__file__).resolve().parent
NAMES = {number: name.lower() for name, number in TensorProto.DataType.items()} | {1: "float32", 11: "float64"}
SMALL_FLOATS = {17, 18, 19, 20, 23, 24}
PER_BYTE = {21: 2, 22: 2, 23: 2, 25: 4, 26: 4}
DECODED = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, *SMALL_FLOATS, *PER_BYTE}
KINDS = {number: name for name, number in AttributeProto.AttributeType.items()}


# What is in a file, as JSON.

def domain(name):
    return "" if name == "ai.onnx" else name


def tensor(t):
    out = {"name": t.name, "dims": list(t.dims), "type": NAMES[t.data_type]}
    if t.data_location == TensorProto.EXTERNAL:
        place = {e.key: e.value for e in t.external_data}
        length = int(place["length"]) if "length" in place else None
        out["external"] = [place["location"], int(place.get("offset", 0)), length]
    elif t.HasField("raw_data"):
        out["raw"] = t.raw_data.hex()
    elif t.data_type == TensorProto.STRING:
        out["strings"] = [s.hex() for s in t.string_data]
    else:
        out["numbers"] = list(getattr(t, h.tensor_dtype_to_field(t.data_type)))
    if t.data_type in DECODED:
        array = numpy_helper.to_array(t, base_dir=str(HERE))
        if t.data_type == TensorProto.BFLOAT16:
            array = array.astype(np.float32)
        elif t.data_type in SMALL_FLOATS:
            array = array.view(np.uint8)
        elif t.data_type in PER_BYTE:
            array = array.astype(np.int8)
        out["values"] = array.flatten().tolist()
    return out


def sparse(t):
    return {"values": tensor(t.values), "indices": tensor(t.indices), "dims": list(t.dims)}


def value_type(t):
    kind = t.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        inner = getattr(t, kind)
        shape = None
        if inner.HasField("shape"):
            shape = [getattr(d, d.WhichOneof("value")) if d.WhichOneof("value") else None for d in inner.shape.dim]
        return [kind[:-5], NAMES[inner.elem_type] if inner.elem_type else None, shape]
    if kind == "sequence_type":
        return ["sequence", value_type(t.sequence_type.elem_type)]
    if kind == "optional_type":
        return ["optional", value_type(t.optional_type.elem_type)]
    if kind == "map_type":
        return ["map", NAMES[t.map_type.key_type], value_type(t.map_type.value_type)]
    return None


def info(v):
    return [v.name, value_type(v.type) if v.HasField("type") else None]


def attribute(a):
    kind = "UNDEFINED" if a.ref_attr_name else KINDS[a.type]
    value = {
        "UNDEFINED": lambda: None, "FLOAT": lambda: a.f, "INT": lambda: a.i, "STRING": lambda: a.s.hex(),
        "TENSOR": lambda: tensor(a.t), "GRAPH": lambda: graph(a.g), "SPARSE_TENSOR": lambda: sparse(a.sparse_tensor),
        "TYPE_PROTO": lambda: value_type(a.tp), "FLOATS": lambda: list(a.floats), "INTS": lambda: list(a.ints),
        "STRINGS": lambda: [s.hex() for s in a.strings], "TENSORS": lambda: [tensor(t) for t in a.tensors],
        "GRAPHS": lambda: [graph(g) for g in a.graphs], "SPARSE_TENSORS": lambda: [sparse(t) for t in a.sparse_tensors],
        "TYPE_PROTOS": lambda: [value_type(t) for t in a.type_protos],
    }[kind]()
    return [a.name, a.ref_attr_name, kind.lower(), value]


def node(n):
    return {"name": n.name, "op_type": n.op_type, "domain": domain(n.domain), "overload": n.overload,
            "inputs": list(n.input), "outputs": list(n.output), "attributes": [attribute(a) for a in n.attribute]}


def graph(g):
    return {"name": g.name, "nodes": [node(n) for n in g.node], "initializers": [tensor(t) for t in g.initializer],
            "sparse_initializers": [sparse(t) for t in g.sparse_initializer], "inputs": [info(v) for v in g.input],
            "outputs": [info(v) for v in g.output], "value_info": [info(v) for v in g.value_info]}


def opsets(m):
    return [[domain(o.domain), o.version] for o in m.opset_import]


def function(f):
    return {"domain": domain(f.domain), "name": f.name, "overload": f.overload, "inputs": list(f.input),
            "outputs": list(f.output), "attributes": list(f.attribute),
            "attribute_defaults": [attribute(a) for a in f.attribute_proto], "nodes": [node(n) for n in f.node],
            "opsets": opsets(f)}


def model(m):
    return {"ir_version": m.ir_version, "opsets": opsets(m), "producer": m.producer_name, "graph": graph(m.graph),
            "functions": [function(f) for f in m.functions],
            "metadata": [[e.key, e.value] for e in m.metadata_props]}


def sequence(s):
    return {"name": s.name, "values": [["tensor", tensor(t)] for t in s.tensor_values]
            + [["sparse", sparse(t)] for t in s.sparse_tensor_values]
            + [["sequence", sequence(t)] for t in s.sequence_values]
            + [["map", stored_map(t)] for t in s.map_values]
            + [["optional", optional(t)] for t in s.optional_values]}


def stored_map(m):
    return {"name": m.name, "keys": [k.hex() for k in m.string_keys] or list(m.keys), "values": sequence(m.values)}


def optional(o):
    shown = {"tensor_value": tensor, "sparse_tensor_value": sparse, "sequence_value": sequence, "map_value": stored_map,
             "optional_value": optional}
    value = [[field.name.split("_")[0], shown[field.name](part)] for field, part in o.ListFields() if field.name in shown]
    return {"name": o.name, "value": value[0] if value else None}


def store(name, message, dump):
    bytes_ = message.SerializeToString()
    again = type(message)()
    again.ParseFromString(bytes_)
    (HERE / name).write_bytes(bytes_)
    text = json.dumps(dump(again), indent=None, separators=(",", ":"), ensure_ascii=False)
    (HERE / name).with_suffix(".json").write_text(text + "\n")


# The files.

def floats(name, values):
    return h.make_tensor(name, TensorProto.FLOAT, [len(values)], values)


def sparse_of(name, kind=TensorProto.FLOAT):
    values = h.make_tensor(name, kind, [2], [5, -7])
    return h.make_sparse_tensor(values, h.make_tensor("", TensorProto.INT64, [2], [1, 10]), [3, 4])


def subgraph(name, value):
    constant = h.make_node("Constant", [], ["c"], value=floats("", [value]))
    out = h.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    return h.make_graph([constant, h.make_node("Add", ["x", "c"], ["y"], name="inner")], name, [], [out])


def every_kind():
    float_type = h.make_tensor_type_proto(TensorProto.FLOAT, ["batch", 3, None])
    map_type = h.make_map_type_proto(TensorProto.STRING, float_type)
    types = [float_type, h.make_tensor_type_proto(TensorProto.INT64, []), h.make_tensor_type_proto(TensorProto.BOOL, None),
             h.make_sparse_tensor_type_proto(TensorProto.DOUBLE, [2, "n"]), h.make_sequence_type_proto(float_type),
             h.make_optional_type_proto(h.make_sequence_type_proto(float_type)), map_type, TypeProto()]
    custom = h.make_node("Everything", ["x", "", "w"], ["a", "", "b"], name="everything", domain="org.example", overload="second")
    custom.attribute.extend([
        h.make_attribute("float", 0.1), h.make_attribute("int", -(2**63)), h.make_attribute("string", "Zürich"),
        h.make_attribute("bytes", b"\x00\xff"), h.make_attribute("tensor", floats("named", [1.5, -2.5])),
        h.make_attribute("graph", subgraph("sub", 2.0)), h.make_attribute("sparse_tensor", sparse_of("s")),
        h.make_attribute("type", types[5]), h.make_attribute("floats", [0.5, 1e-40, 3e38]),
        h.make_attribute("ints", [0, 1, -1, 2**63 - 1]), h.make_attribute("strings", ["", "a", "ü"]),
        h.make_attribute("tensors", [floats("p", [1]), floats("q", [])]),
        h.make_attribute("graphs", [subgraph("one", 1.0), subgraph("two", 2.0)]),
        h.make_attribute("sparse_tensors", [sparse_of("s"), sparse_of("t", TensorProto.INT32)]),
        h.make_attribute("types", types[:7]), h.make_attribute("no_ints", [], attr_type=AttributeProto.INTS),
        AttributeProto(name="zero", type=AttributeProto.INT), AttributeProto(name="nothing"),
    ])
    branch = h.make_node("If", ["condition"], ["y"], name="branch", then_branch=subgraph("then", 1.0), else_branch=subgraph("else", -1.0))
    call = h.make_node("Leaky", ["x"], ["z"], domain="local", slope=0.25)
    graph_ = h.make_graph(
        [custom, branch, call, h.make_node("Relu", ["z"], ["r"], domain="ai.onnx")], "every_kind",
        [h.make_value_info(f"in{i}", t) for i, t in enumerate(types)], [h.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        [floats("w", [1, 2, 3])], doc_string="a text that nobody reads",
        value_info=[onnx.ValueInfoProto(name="untyped"), h.make_tensor_value_info("z", TensorProto.FLOAT16, [0, "n"])],
        sparse_initializer=[sparse_of("sparse")])
    leaky = h.make_node("LeakyRelu", ["x"], ["t"])
    leaky.attribute.append(AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT))
    body = [leaky, h.make_node("Elu", ["t"], ["y"])]
    local = h.make_function("local", "Leaky", ["x"], ["y"], body, [h.make_opsetid("", 18)], attributes=["gain"],
                            attribute_protos=[h.make_attribute("slope", 0.125)], overload="only")
    out = h.make_model(graph_, producer_name="make.py", functions=[local], ir_version=10,
                       opset_imports=[h.make_opsetid("ai.onnx", 18), h.make_opsetid("local", 1), h.make_opsetid("ai.onnx.ml", 3)])
    h.set_model_props(out, {"author": "Homefire", "empty": ""})
    return out


def tensors():
    numbers = {TensorProto.FLOAT: [0.1, -2.5, 3e38], TensorProto.DOUBLE: [0.1, -1e300, 5e-324],
               TensorProto.FLOAT16: [0.1, -65504, 6e-8], TensorProto.BFLOAT16: [0.1, -3e38, 1e-38],
               TensorProto.INT8: [-128, 0, 127], TensorProto.UINT8: [0, 128, 255], TensorProto.INT16: [-32768, -1, 32767],
               TensorProto.UINT16: [0, 32768, 65535], TensorProto.INT32: [-(2**31), -1, 2**31 - 1],
               TensorProto.UINT32: [0, 2**31, 2**32 - 1], TensorProto.INT64: [-(2**63), -1, 2**63 - 1],
               TensorProto.UINT64: [0, 2**63, 2**64 - 1], TensorProto.BOOL: [True, False, True]}
    out = []
    for kind, values in numbers.items():
        typed = h.make_tensor(f"{NAMES[kind]} typed", kind, [3], values)
        raw = numpy_helper.from_array(numpy_helper.to_array(typed).reshape(1, 3), f"{NAMES[kind]} raw")
        assert raw.HasField("raw_data") and not typed.HasField("raw_data") and raw.data_type == kind
        out += [typed, raw]
    for name, kind in TensorProto.DataType.items():
        if kind in SMALL_FLOATS | PER_BYTE.keys():
            n = 256 * PER_BYTE.get(kind, 1)
            out.append(TensorProto(name=f"{name} raw", data_type=kind, dims=[n], raw_data=bytes(range(256))))
        elif kind and kind not in DECODED:
            out.append(TensorProto(name=f"{name} raw", data_type=kind, dims=[2], raw_data=bytes(range(16))))
    out.append(TensorProto(name="int2 typed", data_type=TensorProto.INT2, dims=[5], int32_data=[0xE4, 0x03]))
    out.append(TensorProto(name="float8 typed", data_type=TensorProto.FLOAT8E5M2, dims=[2], int32_data=[0x7B, 0x80]))
    out.append(TensorProto(name="int4 typed", data_type=TensorProto.INT4, dims=[3], int32_data=[0x21, 0x0F]))
    out.append(h.make_tensor("complex", TensorProto.COMPLEX64, [2], [1 + 2j, -3 - 4j]))
    out.append(h.make_tensor("strings", TensorProto.STRING, [2], [b"", "Zürich".encode()]))
    out.append(h.make_tensor("scalar", TensorProto.FLOAT, [], [42.5]))
    out.append(h.make_tensor("empty", TensorProto.INT64, [0, 4], []))
    outside = np.arange(8, dtype=np.float32) / 8
    (HERE / "tensors.data").write_bytes(b"head" + outside.tobytes())
    for name, dims, place in [("outside", [2, 2], {"offset": 4, "length": 16}), ("to the end", [4], {"offset": 20})]:
        t = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
        for key, value in {"location": "tensors.data", **place, "checksum": "unknown"}.items():
            t.external_data.add(key=key, value=str(value))
        out.append(t)
    graph_ = h.make_graph([], "tensors", [], [], out, sparse_initializer=[sparse_of("sparse"), sparse_of("more", TensorProto.INT8)])
    return h.make_model(graph_, producer_name="make.py", ir_version=11, opset_imports=[h.make_opsetid("", 22)])


def a_sequence():
    out = onnx.SequenceProto(name="mixed", elem_type=onnx.SequenceProto.SEQUENCE)
    out.tensor_values.extend([floats("a", [1, 2]), floats("b", [])])
    out.sparse_tensor_values.append(sparse_of("s"))
    out.sequence_values.append(numpy_helper.from_list([np.array([1, 2], dtype=np.int64)], "inner"))
    out.map_values.append(numpy_helper.from_dict({3: np.float32(1), -4: np.float32(2)}, "by number"))
    by_string = onnx.MapProto(name="by string", key_type=TensorProto.STRING, string_keys=[b"k"])
    by_string.values.tensor_values.append(floats("v", [1]))
    out.map_values.append(by_string)
    out.optional_values.append(numpy_helper.from_optional(np.float64(0.1), "some"))
    return out


store("graph.onnx", every_kind(), model)
store("tensors.onnx", tensors(), model)
store("tensor.pb", numpy_helper.from_array(np.float32([[1, 2], [3, 4]]), "alone"), tensor)
store("sequence.pb", a_sequence(), sequence)
store("optional.pb", numpy_helper.from_optional([np.array([True, False])], "some"), optional)
store("nothing.pb", numpy_helper.from_optional(None, "none"), optional)
