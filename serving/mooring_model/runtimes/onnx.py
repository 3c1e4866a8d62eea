"""The ONNX runtime: the only importer of onnxruntime.

Threads are set explicitly (onnxruntime ignores cgroup limits) and its telemetry is off.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.prediction import Array, Columns, FloatArray, PredictionFailed
from mooring_model.schema import InputKind, ModelSchema, Task

_ort: Any = importlib.import_module("onnxruntime")
_ort.disable_telemetry_events()
_ort.set_default_logger_severity(4)
_state: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
ORT_ERRORS: tuple[type[Exception], ...] = (
    *(
        getattr(_state, name)
        for name in (
            "EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf",
            "ModelLoaded", "NoModel", "NoSuchFile", "NotImplemented", "RuntimeException",
        )
    ),
    RuntimeError,
    ValueError,
    TypeError,
)  # fmt: skip
"""onnxruntime's errors have no base class of their own."""

_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")
_ZIPMAP = "seq(map"
_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class OnnxRuntime:
    """An onnxruntime session, fed feature by feature or by one matrix, as the graph asks."""

    def __init__(self, path: Path, schema: ModelSchema, *, threads: int) -> None:
        self._classes = schema.classes or ()
        self._session = open_session(path, threads)
        nodes = self._session.get_inputs()
        _check_types(path, nodes)
        self._names = [spec.name for spec in schema.inputs]
        self._matrix = _matrix_input(path, nodes, schema)
        self._plan = [(node.name, _DTYPES[node.type], len(node.shape)) for node in nodes]
        wanted = _answer_output(path, self._session.get_outputs(), schema)
        self._wanted = [wanted.name]
        self._zipmap = wanted.type.startswith(_ZIPMAP)
        positive = schema.positive_class
        self._positive = None if positive is None else self._classes.index(positive)

    def probabilities(self, columns: Columns) -> FloatArray:
        """Probabilities [n, classes]; see `Runtime`."""
        answer = self._run(columns)
        if self._zipmap:
            try:
                return np.array([[row[name] for name in self._classes] for row in answer], float)
            except KeyError as error:
                raise PredictionFailed(
                    f"the graph gives no probability of class {error}"
                ) from error
        given = np.asarray(answer, np.float64)
        if self._positive is not None and given.size == len(given):
            return self._pair(given.reshape(-1))
        if given.ndim != 2 or given.shape[1] != len(self._classes):
            shape = "x".join(map(str, given.shape))
            raise PredictionFailed(f"the graph gives {shape} for {len(self._classes)} classes")
        return given

    def values(self, columns: Columns) -> FloatArray:
        """Predicted values [n]; see `Runtime`."""
        given = np.asarray(self._run(columns), np.float64)
        if given.size != len(given):
            raise PredictionFailed(f"the graph gives {given.shape} numbers, one a row is expected")
        return given.reshape(-1)

    def _pair(self, positive: FloatArray) -> FloatArray:
        """Both probabilities of a graph that gives that of the positive class alone."""
        pair = [1.0 - positive, positive]
        return np.column_stack(pair if self._positive == 1 else pair[::-1])

    def _run(self, columns: Columns) -> Any:
        try:
            with np.errstate(over="ignore"):  # beyond single precision is infinite, as it should be
                tensors = self._feed(columns)
            return self._session.run(self._wanted, tensors)[0]
        except ORT_ERRORS as error:
            raise PredictionFailed(_first_line(error)) from error

    def _feed(self, columns: Columns) -> dict[str, Array]:
        if self._matrix:
            name, dtype, _ = self._plan[0]
            whole: Array | None = getattr(columns, "matrix", None)
            if whole is not None:  # they came as one matrix of the schema's features
                return {name: whole.astype(dtype)}
            rows = len(columns[self._names[0]])
            matrix = np.empty((rows, len(self._names)), dtype)
            for place, feature in enumerate(self._names):
                matrix[:, place] = columns[feature].reshape(-1)
            return {name: matrix}
        return {name: _as_tensor(columns[name], dtype, rank) for name, dtype, rank in self._plan}


def open_session(path: Path, threads: int) -> Any:
    """An onnxruntime session on the CPU.

    Raises:
        PackageRefused: LoadFailed, with onnxruntime's words.
    """
    options = _ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = threads
    options.log_severity_level = 4
    try:
        return _ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{path.parent}: {path.name} does not load: {_first_line(error)}",
            "check that the file is a complete ONNX model of a supported opset, without data "
            "outside the package",
        ) from error


def graph_classes(path: Path, labels: Sequence[str | int]) -> tuple[str | int, ...] | None:
    """The classes of an ONNX file in the order of its probabilities; None for a regression.

    Args:
        path: the model.
        labels: distinct labels of the training table, sorted; used where the graph does not say.
    """
    outputs = open_session(path, threads=1).get_outputs()
    floats = [node for node in outputs if node.type in _FLOATS]
    labelled = any(
        node.type in ("tensor(int64)", "tensor(string)") or node.type.startswith(_ZIPMAP)
        for node in outputs
    )
    if not labelled and len(floats) == 1 and not all(isinstance(name, str) for name in labels):
        return None
    return _written_classes(path) or tuple(labels)


def _written_classes(path: Path) -> tuple[str | int, ...]:
    """What the graph's own classifier nodes name; empty when there is none."""
    onnx: Any = importlib.import_module("onnx")
    for node in onnx.load(str(path), load_external_data=False).graph.node:
        for attribute in node.attribute:
            if attribute.name in ("classlabels_strings", "classlabels_string") and (
                attribute.strings
            ):
                return tuple(text.decode() for text in attribute.strings)
            if attribute.name in ("classlabels_ints", "classlabels_int64s") and attribute.ints:
                return tuple(int(number) for number in attribute.ints)
    return ()


def _check_types(path: Path, nodes: Sequence[Any]) -> None:
    for node in nodes:
        if node.type not in _DTYPES or len(node.shape) > 2:
            raise _unfit(
                path,
                f"input {node.name} is a {node.type} of rank {len(node.shape)}",
                "give the graph inputs of shape [n], [n, 1] or [n, features]: numbers, bool, text",
            )


def _matrix_input(path: Path, nodes: Sequence[Any], schema: ModelSchema) -> bool:
    """Whether the graph takes one matrix; False when it takes one input per feature."""
    inputs = {node.name for node in nodes}
    names = {spec.name for spec in schema.inputs}
    if inputs == names:
        return False
    numeric = all(spec.kind is InputKind.NUMERIC for spec in schema.inputs)
    if len(inputs) == 1 and numeric:
        width = nodes[0].shape[-1]
        if not isinstance(width, int) or width == len(names):
            return True
        raise _unfit(
            path,
            f"the graph takes {width} features, the schema declares {len(names)}",
            "name the model's feature columns, in its order",
        )
    raise _unfit(
        path,
        f"the graph takes {sorted(inputs)}, the schema declares {sorted(names)}",
        "give the graph one input per feature, or one matrix when all features are numbers",
    )


def _answer_output(path: Path, outputs: Sequence[Any], schema: ModelSchema) -> Any:
    """The output that holds probabilities (classification) or values (regression)."""
    answers = [node for node in outputs if node.type in _FLOATS or node.type.startswith(_ZIPMAP)]
    if len(answers) == 1 and (schema.task is Task.REGRESSION or len(outputs) <= 2):
        return answers[0]
    raise _unfit(
        path,
        f"cannot tell the answer among outputs {[node.name for node in outputs]}",
        "export a classifier with label and probabilities, or a regressor with one float output",
    )


def _unfit(path: Path, what: str, remedy: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.SCHEMA_INVALID, f"{path.parent}: {path.name}: {what}", remedy
    )


def _as_tensor(values: Array, dtype: Any, rank: int) -> Array:
    if dtype is np.object_:
        values = np.array(["" if value is None else value for value in values.flat], object)
    tensor = values.astype(dtype)
    return tensor.reshape(-1, 1) if rank == 2 else tensor.reshape(-1)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
