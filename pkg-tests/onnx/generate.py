"""Writes the backend tests of the installed onnx package to files, for runners that are not Python.

    python generate.py FOLDER

FOLDER/KIND/NAME/model.onnx, and for each set of data test_data_set_N/input_I.pb and output_I.pb. KIND is node
(made by the package's code), simple, pytorch-converted, pytorch-operator (shipped as files) or light (shipped
models without weights, on the inputs that the package's own runner makes). FOLDER/cases.json lists the cases: names
and types of inputs and outputs, tolerances, operators, and how many inputs and outputs each set has.
"""

import json
import pathlib
import shutil
import sys
import warnings

import numpy
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.model import collect_testcases
from onnx.backend.test.loader import DATA_DIR, load_model_tests, load_node_model_tests
from onnx.backend.test.runner import Runner

SHIPPED = ["simple", "pytorch-converted", "pytorch-operator"]


def operators(graph):
    """The operators of a graph and of the graphs in its nodes, in order, each once."""
    found = {}
    for node in graph.node:
        prefix = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
        found[prefix + node.op_type] = None
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                found.update(dict.fromkeys(operators(inner)))
    return list(found)


def type_name(value):
    """`float`, `sequence(float)`, `optional(sequence(float))`."""
    kind = value.WhichOneof("value")
    inner = getattr(value, kind)
    if kind == "tensor_type":
        return onnx.TensorProto.DataType.Name(inner.elem_type).lower()
    return f"{kind.removesuffix('_type')}({type_name(inner.elem_type) if hasattr(inner, 'elem_type') else 'map'})"


def message(value, info):
    """A value as the message that its declared type wants."""
    kind = info.type.WhichOneof("value")
    make = {"sequence_type": numpy_helper.from_list, "optional_type": numpy_helper.from_optional, "map_type": numpy_helper.from_dict}
    if kind in make:
        return make[kind](value, info.name)
    return value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(numpy.asarray(value), info.name)


class Suite:
    """The folder that is written."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.cases = {}

    def begin(self, kind, name):
        place = self.folder / kind / name
        place.mkdir(parents=True, exist_ok=True)
        return place

    def list(self, kind, case, model, sets):
        given = {tensor.name for tensor in model.graph.initializer} if kind == "light" else set()
        self.cases[kind, case.name] = {
            "kind": kind,
            "name": case.name,
            "rtol": case.rtol,
            "atol": case.atol,
            "sets": sets,
            "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
            "ops": operators(model.graph),
            "expanded": "_expanded" in case.name,
            "inputs": [[i.name, type_name(i.type)] for i in model.graph.input if i.name not in given],
            "outputs": [[o.name, type_name(o.type)] for o in model.graph.output],
        }

    def made(self, case):
        """A case that the package's code makes: its model and data are in memory."""
        place, graph = self.begin(case.kind, case.name), case.model.graph
        (place / "model.onnx").write_bytes(case.model.SerializeToString())
        sets = []
        for number, (inputs, outputs) in enumerate(case.data_sets):
            data = place / f"test_data_set_{number}"
            data.mkdir(exist_ok=True)
            for stem, values, infos in [("input", inputs, graph.input), ("output", outputs, graph.output)]:
                for i, value in enumerate(values):
                    (data / f"{stem}_{i}.pb").write_bytes(message(value, infos[i]).SerializeToString())
            sets.append([len(inputs), len(outputs)])
        self.list(case.kind, case, case.model, sets)

    def shipped(self, kind, case):
        """A case that the package has as files."""
        place = self.begin(kind, case.name)
        shutil.copytree(case.model_dir, place, dirs_exist_ok=True)
        folders = sorted(place.glob("test_data_set_*"), key=lambda path: int(path.name.rsplit("_", 1)[1]))
        count = lambda data, stem: len(list(data.glob(f"{stem}_*.pb")))
        sets = [[count(data, "input"), count(data, "output")] for data in folders]
        self.list(kind, case, onnx.load(place / "model.onnx"), sets)

    def light(self, case):
        """A model without weights, on made-up inputs."""
        place, source = self.begin("light", case.name), pathlib.Path(DATA_DIR, "light", case.url.rsplit("/", 1)[1])
        model = onnx.load(source)
        shutil.copyfile(source, place / "model.onnx")
        data = place / "test_data_set_0"
        data.mkdir(exist_ok=True)
        given = {tensor.name for tensor in model.graph.initializer}
        inputs = [info for info in model.graph.input if info.name not in given]
        for i, info in enumerate(inputs):
            value = Runner.generate_dummy_data(info, seed=0, name=case.model_name, random=False)
            (data / f"input_{i}.pb").write_bytes(numpy_helper.from_array(value, info.name).SerializeToString())
        for i in range(len(model.graph.output)):
            shutil.copyfile(source.with_name(f"{source.stem}_output_{i}.pb"), data / f"output_{i}.pb")
        self.list("light", case, model, [[len(inputs), len(model.graph.output)]])

    def finish(self):
        cases = [self.cases[key] for key in sorted(self.cases)]
        # The list is written last, so that its presence says that all is there.
        (self.folder / "cases.json").write_text(json.dumps({"onnx": onnx.__version__, "cases": cases}))
        print(f"onnx {onnx.__version__}: {len(cases)} backend tests in {self.folder}")


def main(folder):
    warnings.simplefilter("ignore")
    shutil.rmtree(folder, ignore_errors=True)
    suite = Suite(folder)
    models = collect_testcases()
    for case in load_node_model_tests() + [case for case in models if case.kind == "simple"]:
        if (case.kind, case.name) not in suite.cases:
            suite.made(case)
    for kind in SHIPPED:
        for case in load_model_tests(DATA_DIR, kind):
            if case.model_dir and (kind, case.name) not in suite.cases:
                suite.shipped(kind, case)
    for case in models:
        if case.url and "/light/" in case.url:
            suite.light(case)
    suite.finish()


if __name__ == "__main__":
    main(sys.argv[1])
