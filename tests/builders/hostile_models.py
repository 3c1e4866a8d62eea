"""Hostile model files: archives and graphs, with what they would do to their libraries."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.builders.hostile_payloads import (
    DEEP,
    FORMAT,
    GRAPH,
    LOAD,
    SCHEMA,
    Case,
    added_members,
    central_directory,
    cut_file,
    relist,
    replaced,
    zipped,
)

_onnx: Any = importlib.import_module("onnx")


def changed_graph(build: Callable[[Any], object]) -> Callable[[Path, Path], None]:
    """The ONNX model is changed and written again."""

    def make(package: Path, canary: Path) -> None:
        model = _onnx.load(str(package / "model.onnx"))
        build(model)
        (package / "model.onnx").write_bytes(model.SerializeToString())
        relist(package)

    return make


def external_data(location: str, **more: str) -> Callable[[Any], None]:
    """A tensor whose bytes are elsewhere."""

    def build(model: Any) -> None:
        tensor = model.graph.initializer.add()
        tensor.name, tensor.data_type = "stolen", _onnx.TensorProto.FLOAT
        tensor.dims.append(4)
        tensor.data_location = _onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return build


def claimed_size(*dims: int, data: bytes = b"\0" * 16) -> Callable[[Any], None]:
    """A tensor that says to be larger than its bytes."""

    def build(model: Any) -> None:
        tensor = model.graph.initializer.add()
        tensor.name, tensor.data_type = "huge", _onnx.TensorProto.FLOAT
        tensor.dims.extend(dims)
        tensor.raw_data = data

    return build


def foreign_operator(domain: str, operator: str) -> Callable[[Any], None]:
    def build(model: Any) -> None:
        model.graph.node[0].domain, model.graph.node[0].op_type = domain, operator
        model.opset_import.add(domain=domain, version=1)

    return build


def nested_graphs(depth: int) -> Callable[[Any], None]:
    """Graphs in the attributes of nodes of graphs."""

    def build(model: Any) -> None:
        inner = _onnx.GraphProto(name="deepest")
        for _ in range(depth):
            node = _onnx.NodeProto(op_type="If")
            node.attribute.add(name="then_branch", type=5).g.CopyFrom(inner)
            inner = _onnx.GraphProto(name="outer")
            inner.node.append(node)
        model.graph.node.extend(inner.node)

    return build


def endless_loop(model: Any) -> None:
    """Before its answer the graph counts to 2^62."""
    helper, types = _onnx.helper, _onnx.TensorProto
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["so_far", "step"], ["further"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", types.INT64, []),
            helper.make_tensor_value_info("go", types.BOOL, []),
            helper.make_tensor_value_info("so_far", types.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_on", types.BOOL, []),
            helper.make_tensor_value_info("further", types.FLOAT, [1]),
        ],
    )
    graph = model.graph
    graph.initializer.extend(
        [
            helper.make_tensor("turns", types.INT64, [], [2**62]),
            helper.make_tensor("yes", types.BOOL, [], [True]),
            helper.make_tensor("zero", types.FLOAT, [1], [0.0]),
            helper.make_tensor("step", types.FLOAT, [1], [0.0]),
        ]
    )
    loop = helper.make_node("Loop", ["turns", "yes", "zero"], ["counted"], body=body)
    into_answer(model, [loop])


def greedy_fill(model: Any) -> None:
    """Before its answer the graph fills 64 GiB."""
    helper, types = _onnx.helper, _onnx.TensorProto
    model.graph.initializer.extend(
        [
            helper.make_tensor("extent", types.INT64, [2], [1 << 17, 1 << 17]),
            helper.make_tensor("axes", types.INT64, [2], [0, 1]),
        ]
    )
    fill = helper.make_node("ConstantOfShape", ["extent"], ["filled"])
    total = helper.make_node("ReduceSum", ["filled", "axes"], ["counted"], keepdims=0)
    into_answer(model, [fill, total])


def into_answer(model: Any, nodes: list[Any]) -> None:
    """Adds `counted` to the input, so that no optimizer can leave the nodes out."""
    graph = model.graph
    name = graph.input[0].name
    for node in graph.node:
        for place, given in enumerate(node.input):
            if given == name:
                node.input[place] = "added"
    adding = _onnx.helper.make_node("Add", [name, "counted"], ["added"])
    before = [*nodes, adding, *graph.node]
    del graph.node[:]
    graph.node.extend(before)


MODELS: dict[str, Case] = {
    # Bombs.
    "archive that grows": Case(
        "skops",
        replaced(
            "model.skops", lambda c: zipped(("schema.json", b" " * 60_000_000), compressed=True)
        ),
        FORMAT,
        "unpacks from",
    ),
    "archive in an archive": Case(
        "skops",
        replaced("model.skops", lambda c: zipped(("a.zip", zipped(("b", b"c"))))),
        FORMAT,
        "archive",
    ),
    "archive of a million members": Case("skops", central_directory, FORMAT, "table of contents"),
    "archive with a path upwards": Case(
        "skops", added_members(("../../mark", lambda c: b"x")), FORMAT, "leads out of it"
    ),
    "archive with a member twice": Case(
        "skops", added_members(("Schema.json", lambda c: b"{}")), FORMAT, "twice"
    ),
    "archive without an end": Case(
        "skops",
        cut_file("model.skops", lambda data: data[: len(data) // 2]),
        FORMAT,
        "without an end",
    ),
    "deep document in an archive": Case(
        "skops",
        replaced("model.skops", lambda c: zipped(("schema.json", DEEP))),
        LOAD,
        "RecursionError",
        loads=True,
    ),
    "archive that names a function": Case(
        "skops",
        replaced(
            "model.skops",
            lambda c: zipped(
                (
                    "schema.json",
                    json.dumps(
                        {
                            "__class__": "system",
                            "__module__": "os",
                            "__loader__": "FunctionNode",
                            "__id__": 1,
                            "content": "system",
                            "protocol": 2,
                            "_skops_version": "0.14.0",
                        }
                    ).encode(),
                )
            ),
        ),
        LOAD,
        "os.system",
        loads=True,
    ),
    "deep schema": Case("onnx", replaced("schema.json", lambda c: DEEP), SCHEMA, "schema.json"),
    "schema of huge numbers": Case(
        "onnx",
        replaced("schema.json", lambda c: b'{"task":' + b"9" * 1_000_000 + b"}"),
        SCHEMA,
        "schema.json",
    ),
    "profile of huge numbers": Case(
        "onnx",
        replaced("profile.json", lambda c: b'{"formatVersion":' + b"9" * 5000 + b"}"),
        SCHEMA,
        "profile.json",
    ),
    # Graphs.
    "truncated graph": Case(
        "onnx", cut_file("model.onnx", lambda data: data[:-7]), FORMAT, "no known format"
    ),
    "graph with bytes behind it": Case(
        "onnx", cut_file("model.onnx", lambda data: data + b"\xff" * 64), FORMAT, "no known format"
    ),
    "empty graph": Case("onnx", replaced("model.onnx", lambda c: b""), FORMAT, "no known format"),
    "data one folder up": Case(
        "onnx", changed_graph(external_data("../outside.bin")), GRAPH, "outside of"
    ),
    "data by an absolute path": Case(
        "onnx", changed_graph(external_data("/etc/passwd")), GRAPH, "outside of"
    ),
    "data of the environment": Case(
        "onnx", changed_graph(external_data("/proc/self/environ")), GRAPH, "outside of"
    ),
    "data in a listed file": Case(
        "onnx", changed_graph(external_data("card.md")), GRAPH, "outside of"
    ),
    "data in memory": Case(
        "onnx",
        changed_graph(external_data("*/_ORT_MEM_ADDR_/*", offset="140000000000000", length="16")),
        GRAPH,
        "outside of",
    ),
    "data with an offset beyond all": Case(
        "onnx", changed_graph(external_data("card.md", offset=str(2**63))), GRAPH, "outside of"
    ),
    "foreign operator": Case(
        "onnx", changed_graph(foreign_operator("evil.ops", "Run")), GRAPH, "evil.ops.Run"
    ),
    "operator of Python": Case(
        "onnx", changed_graph(foreign_operator("ai.onnx.contrib", "PyOp")), GRAPH, "PyOp"
    ),
    "tensor of billions": Case(
        "onnx", changed_graph(claimed_size(1 << 20, 1 << 20)), GRAPH, "elements"
    ),
    "tensor whose size overflows": Case(
        "onnx", changed_graph(claimed_size(1 << 32, 1 << 32)), GRAPH, "elements"
    ),
    "tensor of negative size": Case("onnx", changed_graph(claimed_size(-4)), GRAPH, "elements"),
    "graphs within graphs": Case("onnx", changed_graph(nested_graphs(30)), GRAPH, "deep"),
    "loop without end": Case(
        "onnx", changed_graph(endless_loop), LOAD, "within 4 s", loads=True, seconds=4
    ),
    "graph that wants 64 GiB": Case(
        "onnx", changed_graph(greedy_fill), LOAD, "ConstantOfShape", loads=True
    ),
}
