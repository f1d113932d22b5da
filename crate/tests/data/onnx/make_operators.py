"""Models of one operator each, of the domains com.microsoft and ai.onnx.ml, with what ONNX Runtime makes of them.

    python make_operators.py    writes operators.json beside this; needs onnx, onnxruntime and numpy
"""

import json
import pathlib

import numpy as np
import onnxruntime
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

MS, ML = "com.microsoft", "ai.onnx.ml"
random = np.random.default_rng(7)
cases = []


def noise(*shape):
    return random.uniform(-1, 1, shape).astype(np.float32)


def short(*shape):
    """Noise of few bits: block formats keep scales, and their products with zeros, in 16."""
    return np.round(noise(*shape) * 64) / np.float32(64)


def levels(*shape, dtype=np.uint8):
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max + 1, shape).astype(dtype)


def plain(array):
    kept = array.astype(np.float64) if array.dtype.kind == "f" else array.astype(np.int64)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": [None if x != x else round(x, 7) for x in kept.ravel().tolist()]}


def add(name, model, inputs, outputs_of=None):
    """A model with its inputs, and what ONNX Runtime makes of them; what that does not compute has the outputs of an
    earlier case."""
    model = model.SerializeToString()
    if outputs_of is None:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]
        stored = {name: plain(np.asarray(y)) for name, y in zip(outputs, session.run(None, inputs))}
    else:
        stored = outputs_of["outputs"]
    cases.append({
        "name": name,
        "model": model.hex(),
        "inputs": {name: plain(x) for name, x in inputs.items()},
        "outputs": stored,
    })


def case(op, inputs, n_outputs=1, domain=MS, wanted=None, constants=(), outputs_of=None, **attributes):
    """`inputs` by position, None where left out; those whose position is in `constants` are initializers."""
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    of_all = [f"y{i}" for i in range(n_outputs)]
    kept = [name for i, name in enumerate(of_all) if wanted is None or i in wanted]
    fed = [i for i, x in enumerate(inputs) if x is not None and i not in constants]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MS, 1), helper.make_opsetid(ML, 3)]

    def model(outputs):
        graph = helper.make_graph(
            [helper.make_node(op, names, [name if name in outputs else "" for name in of_all], domain=domain, **attributes)],
            op,
            [helper.make_tensor_value_info(names[i], helper.np_dtype_to_tensor_dtype(inputs[i].dtype), inputs[i].shape) for i in fed],
            [ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(inputs[i], names[i]) for i in constants],
        )
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    add(f"{op} {len(cases)}", model(of_all), {names[i]: inputs[i] for i in fed}, outputs_of)
    # ONNX Runtime computes grouped attention wrongly where its presents are not asked for: it gives all, the model has some.
    cases[-1]["model"] = model(kept).SerializeToString().hex()
    cases[-1]["outputs"] = {name: cases[-1]["outputs"][name] for name in kept}


f32, u8, i64 = np.float32, np.uint8, np.int64
x = noise(2, 3, 8)
for op in ["Gelu", "QuickGelu", "FastGelu"]:
    case(op, [x])
case("BiasGelu", [x, noise(8)])
case("FastGelu", [x, noise(8)])
case("FusedMatMul", [noise(2, 4, 3), noise(2, 5, 4)], alpha=0.5, transA=1, transB=1)
case("FusedGemm", [noise(3, 4), noise(4, 5), noise(5)], activation="LeakyRelu", activation_alpha=0.2)
case("FusedConv", [noise(1, 2, 5, 5), noise(3, 2, 3, 3), noise(3), noise(1, 3, 3, 3)], constants=(1,), activation="Relu")
case("SkipLayerNormalization", [x, noise(2, 3, 8), noise(8), noise(8), noise(8)], 4, wanted=(0, 3), epsilon=1e-5)
case("SimplifiedLayerNormalization", [x, noise(8)], domain="", axis=-1, epsilon=1e-5)
case("SkipSimplifiedLayerNormalization", [x, noise(2, 3, 8), noise(8)], 4, wanted=(0, 3), epsilon=1e-5)
ids = np.array([[1, 4, 2], [0, 3, 3]], np.int32)
case("EmbedLayerNormalization", [ids, ids % 2, noise(5, 8), noise(6, 8), noise(2, 8), noise(8), noise(8), (ids > 0).astype(np.int32)], 2)
case("RotaryEmbedding", [noise(1, 3, 16), np.array([2], i64), noise(8, 4), noise(8, 4)])
case("RotaryEmbedding", [noise(2, 2, 3, 8), np.array([[0, 1, 2], [4, 3, 2]], i64), noise(8, 4), noise(8, 4)], interleaved=1)
case("MultiHeadAttention", [noise(2, 3, 8), noise(2, 4, 8), noise(2, 4, 8), noise(24)], num_heads=2)
case("MultiHeadAttention", [noise(2, 3, 8), noise(2, 4, 8), noise(2, 4, 8), None, None, noise(1, 2, 3, 4)], num_heads=2, scale=0.3)
case("MultiHeadAttention", [noise(1, 2, 8), noise(1, 2, 8), noise(1, 2, 8), None, None, None, noise(1, 2, 3, 4), noise(1, 2, 3, 4)], 3, num_heads=2)
mask = np.array([[1, 1, 1], [1, 1, 0]], np.int32)
case("Attention", [x, noise(8, 24), noise(24), mask], constants=(1, 2), num_heads=2)
case("Attention", [x, noise(8, 24), noise(24), np.array([3, 2], np.int32)], constants=(1, 2), num_heads=2)
case("Attention", [x, noise(8, 24), noise(24)], constants=(1, 2), num_heads=2, unidirectional=1)
gqa = [noise(1, 2, 64), noise(1, 2, 32), noise(1, 2, 32), noise(1, 2, 3, 16), noise(1, 2, 3, 16), np.array([4], np.int32), np.array([5], np.int32)]
case("GroupQueryAttention", gqa, 3, num_heads=4, kv_num_heads=2)
case("GroupQueryAttention", [*gqa, noise(16, 8), noise(16, 8)], 3, num_heads=4, kv_num_heads=2, do_rotary=1)
for bits, zeros in [(4, False), (4, True), (8, False)]:
    zero = levels(5, 1) if zeros else None
    packed = levels(5, 2, 16 * bits // 8)
    case("MatMulNBits", [noise(3, 32), packed, noise(10), zero], constants=(1, 2, 3) if zeros else (1, 2), K=32, N=5, bits=bits, block_size=16)
case("DynamicQuantizeMatMul", [noise(3, 8), levels(8, 5), np.array([0.02], f32), np.array([120], u8), noise(5)], constants=(1, 2, 3))
case("MatMulIntegerToFloat", [levels(3, 8), levels(8, 5), np.array([0.03], f32), np.array([0.02], f32), np.array([128], u8), np.array([120], u8)])
s = lambda value: np.array(value, f32)
z = lambda value: np.array(value, u8)
for op in ["QLinearAdd", "QLinearMul"]:
    case(op, [levels(2, 5), s(0.03), z(120), levels(2, 5), s(0.02), z(130), s(0.05), z(127)], constants=(1, 2, 4, 5, 6, 7))
case("QLinearSigmoid", [levels(2, 9), s(0.03), z(120), s(1 / 256), z(0)], constants=(1, 2, 3, 4))
case("QLinearLeakyRelu", [levels(2, 9), s(0.03), z(120), s(0.02), z(100)], constants=(1, 2, 3, 4), alpha=0.1)
case("QLinearAveragePool", [levels(1, 2, 5, 5), s(0.03), z(120), s(0.02), z(110)], constants=(1, 2, 3, 4), kernel_shape=[2, 2])
case("QLinearGlobalAveragePool", [levels(1, 2, 5, 5), s(0.03), z(120), s(0.01), z(110)], constants=(1, 2, 3, 4))
case("QLinearConcat", [s(0.04), z(120), levels(2, 3), s(0.03), z(110), levels(2, 2), s(0.02), z(130)], constants=(0, 1, 3, 4, 6, 7), axis=1)
case("QLinearSoftmax", [levels(2, 9), s(0.03), z(120), s(1 / 256), z(0)], constants=(1, 2, 3, 4), axis=-1, opset=13)
case("QuantizeLinear", [noise(2, 5), s(0.01), z(120)])
case("DequantizeLinear", [levels(2, 5), s(0.01), z(120)])

# Attention that is packed, has a past, or goes on at different places.
q, k, v, bias = noise(2, 3, 8), noise(2, 3, 8), noise(2, 3, 8), noise(24)
by_head = [part.reshape(2, 3, 2, 4) for part in (q, k, v)]
case("MultiHeadAttention", [q, k, v, bias], num_heads=2)
case("MultiHeadAttention", [np.stack(by_head, 3), None, None, bias], outputs_of=cases[-1], num_heads=2)
case("MultiHeadAttention", [q, k, v], num_heads=2)
case("MultiHeadAttention", [q, np.stack(by_head[1:], 3)], outputs_of=cases[-1], num_heads=2)
packed = [noise(1, 2, 128), None, None, noise(1, 2, 3, 16), noise(1, 2, 3, 16), np.array([4], np.int32), np.array([5], np.int32)]
case("GroupQueryAttention", packed, 3, num_heads=4, kv_num_heads=2)
case("GroupQueryAttention", [*packed, noise(16, 8), noise(16, 8)], 3, num_heads=4, kv_num_heads=2, do_rotary=1)
apart = [noise(2, 1, 64), noise(2, 1, 32), noise(2, 1, 32), noise(2, 2, 4, 16), noise(2, 2, 4, 16), np.array([2, 4], np.int32), np.array([5], np.int32)]
for extra in [dict(), dict(local_window_size=2), dict(softcap=0.7)]:
    case("GroupQueryAttention", apart, num_heads=4, kv_num_heads=2, n_outputs=3, wanted=(0,), **extra)
case("GroupQueryAttention", [*apart, noise(16, 8), noise(16, 8)], 3, num_heads=4, kv_num_heads=2, do_rotary=1, wanted=(0,))
case("Attention", [x, noise(8, 24), noise(24), None, noise(2, 2, 2, 3, 4)], 2, constants=(1, 2), num_heads=2)
case("Attention", [x, noise(8, 24), noise(24), (noise(2, 3, 3) > -0.5).astype(np.int32)], constants=(1, 2), num_heads=2)
case("Attention", [x, noise(8, 28), noise(28)], constants=(1, 2), num_heads=2, qkv_hidden_sizes=[8, 8, 12])

# Products and layers of levels.
i8 = lambda *shape: levels(*shape, dtype=np.int8)
z8 = lambda value: np.array(value, np.int8)
for block, has_zero in [(32, False), (64, True), (128, True)]:
    blocks = 160 // block + (160 % block > 0)
    case("MatMulNBits", [noise(3, 160), levels(5, blocks, block // 2), noise(5 * blocks), levels(5, (blocks + 1) // 2) if has_zero else None], constants=(1, 2, 3) if has_zero else (1, 2), K=160, N=5, bits=4, block_size=block, accuracy_level=1)
case("MatMulNBits", [noise(3, 64), levels(5, 2, 32), noise(10)], constants=(1, 2), K=64, N=5, bits=8, block_size=32, accuracy_level=1)
# Scales that f16 holds: without an accuracy, blocks of a format have the levels.
few = lambda n: (random.integers(1, 16, n) / 256).astype(f32)
for bits, block, has_zero in [(4, 32, False), (4, 32, True), (4, 128, True), (8, 64, False)]:
    zero = levels(24, (256 // block + 8 // bits - 1) * bits // 8) if has_zero else None
    case("MatMulNBits", [noise(3, 256), levels(24, 256 // block, block * bits // 8), few(24 * 256 // block), zero], constants=(1, 2, 3) if has_zero else (1, 2), K=256, N=24, bits=bits, block_size=block)
case("GatherBlockQuantized", [levels(6, 16), np.array([[1, 5], [0, 2]], i64), short(6, 1)], constants=(0, 2), block_size=32, bits=4, quantize_axis=1)
case("GatherBlockQuantized", [levels(6, 32), np.array([4, 3], i64), short(6, 2), levels(6, 1)], constants=(0, 2, 3), block_size=32, bits=4, quantize_axis=1)
case("QAttention", [levels(2, 3, 8), i8(8, 24), noise(24), s(0.02), s(0.03), mask, z(120), z8(0)], constants=(1, 2, 3, 4, 6, 7), num_heads=2)
case("QGemm", [levels(3, 8), s(0.02), z(120), i8(5, 8), noise(5) * 0 + f32(0.03), np.zeros(5, np.int8), np.arange(5).astype(np.int32) * 900, s(0.05), z(110)], constants=(1, 2, 3, 4, 5, 6, 7, 8), transB=1)
case("QGemm", [levels(3, 8), s(0.02), z(120), levels(8, 5), s(0.03), z(128)], constants=(1, 2, 3, 4, 5))
case("QLinearWhere", [np.array([[True, False, True]]), levels(2, 3), s(0.02), z(120), levels(2, 3), s(0.03), z(100), s(0.04), z(110)], constants=(2, 3, 5, 6, 7, 8))
case("QLinearGlobalAveragePool", [levels(1, 5, 5, 2), s(0.03), z(120), s(0.01), z(110)], constants=(1, 2, 3, 4), channels_last=1)
case("QLinearConv", [levels(1, 6, 7, 3), s(0.02), z(120), i8(4, 3, 3, 3), s(0.01), z8(0), s(0.2), z(128), np.array([900, -900, 0, 300], np.int32)], constants=(1, 2, 3, 4, 5, 6, 7, 8), channels_last=1, pads=[1, 1, 1, 1])
case("QLinearConv", [levels(1, 3, 6, 7), s(0.02), z(120), levels(4, 3, 3, 3), s(0.01), z(131), s(0.2), z(128)], domain="", constants=(1, 2, 3, 4, 5, 6, 7), strides=[2, 2])
case("QLinearMatMul", [levels(2, 3, 8), s(0.02), z(120), levels(8, 5), s(0.03), z(131), s(0.05), z(128)], domain="", constants=(1, 2, 3, 4, 5, 6, 7))
case("ConvInteger", [levels(1, 3, 6, 7), levels(4, 3, 3, 3), z(120), z(131)], domain="", constants=(1, 2, 3))
tables = [levels(5, 8), levels(6, 8), levels(2, 8), levels(8), levels(8)]
case("QEmbedLayerNormalization", [ids, ids % 2, *tables, (ids > 0).astype(np.int32), *[s(0.02)] * 5, *[z(v) for v in (120, 130, 128, 100, 125)]], 2, constants=tuple(range(2, 7)) + tuple(range(8, 18)))
case("DynamicQuantizeLSTM", [noise(3, 1, 8), i8(1, 8, 16), i8(1, 4, 16), noise(1, 32), None, None, None, None, s([0.01]), z8([0]), s([0.02]), z8([0])], 1, constants=(1, 2, 3, 8, 9, 10, 11), hidden_size=4)

rows = noise(6, 3)
ml = lambda op, inputs, n=1, **attributes: case(op, inputs, n, ML, **attributes)
ml("Scaler", [rows], offset=[0.1, 0.2, 0.3], scale=[2.0, 3.0, 4.0])
for norm in ["L1", "L2"]:
    ml("Normalizer", [rows], norm=norm)
ml("Binarizer", [rows], threshold=0.2)
ml("Imputer", [np.where(rows > 0.5, np.nan, rows).astype(f32)], imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan"))
ml("Imputer", [np.array([[0, 2], [3, 0]], i64)], imputed_value_int64s=[7, 8], replaced_value_int64=0)
ml("ArrayFeatureExtractor", [rows, np.array([2, 0], i64)])
ml("OneHotEncoder", [np.array([3, 1, 2, 9], i64)], cats_int64s=[1, 2, 3], zeros=1)
ml("FeatureVectorizer", [rows, noise(6, 2)], inputdimensions=[3, 2])
ml("LabelEncoder", [np.array([3, 1, 5], i64)], keys_int64s=[1, 3], values_floats=[0.5, 1.5], default_float=-2.0)
ml("LinearRegressor", [rows], coefficients=noise(6).tolist(), intercepts=[0.5, -0.5], targets=2)
for transform in ["NONE", "LOGISTIC", "SOFTMAX"]:
    ml("LinearClassifier", [rows], 2, coefficients=noise(9).tolist(), intercepts=noise(3).tolist(), classlabels_ints=[4, 7, 9], post_transform=transform)
ml("LinearClassifier", [rows], 2, coefficients=noise(3).tolist(), intercepts=[0.1], classlabels_ints=[0, 1], post_transform="LOGISTIC", multi_class=0)
tree = dict(
    nodes_treeids=[0] * 5 + [1] * 3, nodes_nodeids=[0, 1, 2, 3, 4, 0, 1, 2], nodes_featureids=[0, 1, 0, 0, 0, 2, 0, 0],
    nodes_values=[0.1, -0.2, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0], nodes_hitrates=[1.0] * 8,
    nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
    nodes_truenodeids=[1, 3, 0, 0, 0, 1, 0, 0], nodes_falsenodeids=[2, 4, 0, 0, 0, 2, 0, 0], nodes_missing_value_tracks_true=[0] * 8,
)
at = dict(treeids=[0, 0, 0, 1, 1], nodeids=[2, 3, 4, 1, 2])
leaves = lambda stem, ids, weights: {f"{stem}_{key}": value for key, value in [*at.items(), ("ids", ids), ("weights", weights)]}
for join in ["SUM", "AVERAGE", "MAX"]:
    weights = [1.0, -2.0, 3.0, 0.5, -1.5]
    ml("TreeEnsembleRegressor", [rows], **tree, **leaves("target", [0, 1, 0, 1, 0], weights), n_targets=2, aggregate_function=join)
    # Base values of a target that no leaf has are added here, as the specification says, and not by ONNX Runtime.
    ml("TreeEnsembleRegressor", [rows], **tree, **leaves("target", [0] * 5, weights), n_targets=1, base_values=[0.25], aggregate_function=join)
ml("TreeEnsembleClassifier", [rows], 2, **tree, **leaves("class", [0, 1, 2, 1, 2], [0.3, 0.6, 0.2, 0.5, 0.4]), classlabels_int64s=[4, 7, 9], post_transform="SOFTMAX")
ml("TreeEnsembleClassifier", [rows], 2, **tree, **leaves("class", [0] * 5, [0.3, 0.6, 0.2, 0.1, 0.3]), classlabels_int64s=[0, 1])
ml("TreeEnsembleClassifier", [rows], 2, **tree, **leaves("class", [0] * 5, [0.3, -0.6, 0.2, 0.5, -0.4]), classlabels_int64s=[0, 1], post_transform="LOGISTIC")
vectors = noise(4, 3).ravel().tolist()
for kernel in ["LINEAR", "POLY", "RBF", "SIGMOID"]:
    ml("SVMRegressor", [rows], support_vectors=vectors, coefficients=noise(4).tolist(), n_supports=4, rho=[0.2], kernel_type=kernel, kernel_params=[0.5, 0.1, 2.0])
ml("SVMClassifier", [rows], 2, support_vectors=vectors, coefficients=noise(8).tolist(), vectors_per_class=[1, 2, 1], rho=[0.1, -0.2, 0.05], kernel_type="RBF", kernel_params=[0.5, 0.0, 0.0], classlabels_ints=[4, 7, 9])
ml("SVMClassifier", [rows], 2, support_vectors=vectors, coefficients=noise(4).tolist(), vectors_per_class=[2, 2], rho=[0.1], kernel_type="RBF", kernel_params=[0.5, 0.0, 0.0], classlabels_ints=[0, 1])

# What was found to be missing from models as tools write them.
case("QGemm", [levels(3, 4), np.array(0.02, f32), np.array(120, u8), levels(5, 4), np.array(0.01, f32), np.array(130, u8), np.arange(5, dtype=np.int32) * 90, np.array(0.05, f32), np.array(100, u8)], constants=(3, 6), transB=1, alpha=0.5)
case("QGemm", [levels(3, 4), np.array(0.02, f32), np.array(120, u8), levels(4, 5, dtype=np.int8), noise(5) ** 2, np.zeros(5, np.int8)], constants=(3,))
case("FusedMatMul", [noise(3, 2, 4), noise(2, 4, 5)], transBatchA=1, alpha=0.5)
case("FusedMatMul", [noise(2, 3, 4), noise(5, 2, 4)], transBatchB=1, transB=1)
case("MultiHeadAttention", [noise(2, 3, 8), noise(2, 4, 8), noise(2, 4, 8), None, np.array([2, 4], np.int32)], num_heads=2)
case("MultiHeadAttention", [noise(2, 3, 8), noise(2, 4, 8), noise(2, 4, 8), None, (random.uniform(size=(2, 3, 4)) > 0.3).astype(np.int32)], num_heads=2)
quantized = lambda dirs, rows, columns: [levels(dirs, rows, columns, dtype=np.int8), (noise(dirs, columns) * 0.01) ** 2 + f32(0.005), np.zeros((dirs, columns), np.int8)]
(w, ws, wz), (r, rs, rz) = quantized(2, 5, 24), quantized(2, 6, 24)
case("DynamicQuantizeLSTM", [noise(4, 1, 5), w, r, noise(2, 48), None, noise(2, 1, 6), noise(2, 1, 6), None, ws, wz, rs, rz], 3, constants=(1, 2, 8, 9, 10, 11), hidden_size=6, direction="bidirectional")

# Half of it in 16 bits, of numbers that these hold, and a cast after the node that needs it, as converters leave them.
whole = lambda *shape: (random.integers(-8, 9, shape) / 4).astype(f32)
halves = helper.make_graph(
    [
        helper.make_node("MatMul", ["half", "w"], ["product"]),
        helper.make_node("Cast", ["product"], ["y0"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["x0"], ["half"], to=TensorProto.FLOAT16),
    ],
    "halves",
    [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [2, 4])],
    [helper.make_tensor_value_info("y0", TensorProto.FLOAT, [2, 3])],
    [numpy_helper.from_array(whole(4, 3).astype(np.float16), "w")],
)
add("halves", helper.make_model(halves, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), {"x0": whole(2, 4)})

# One more score for each head: 0, or its own.
more = lambda given, sinks=None: [*given, *[None] * (11 - len(given)), sinks]
prompt = [noise(2, 3, 64), noise(2, 3, 32), noise(2, 3, 32), None, None, np.array([2, 2], np.int32), np.array([3], np.int32)]
for given, extra in [(gqa, dict()), (apart, dict(local_window_size=2)), (prompt, dict(softcap=0.7))]:
    case("GroupQueryAttention", given, 3, num_heads=4, kv_num_heads=2, smooth_softmax=1, wanted=(0,), **extra)
    case("GroupQueryAttention", more(given, 3 * noise(4)), 3, num_heads=4, kv_num_heads=2, wanted=(0,), **extra)
case("GroupQueryAttention", more([*packed, noise(16, 8), noise(16, 8)], 3 * noise(4)), 3, constants=(11,), num_heads=4, kv_num_heads=2, do_rotary=1)
case("GroupQueryAttention", more(gqa, 3 * noise(4)), 3, num_heads=4, kv_num_heads=2, smooth_softmax=1, wanted=(0,))
case("GroupQueryAttention", gqa, 3, num_heads=4, kv_num_heads=2, causal=0, wanted=(0,))

text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
pathlib.Path(__file__).with_name("operators.json").write_text(f"[\n{text}\n]\n")
print(len(cases), "cases")
