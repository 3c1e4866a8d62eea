"""The ONNX runtime: the only importer of onnxruntime.

Threads are set explicitly (onnxruntime ignores cgroup limits) and its telemetry is off.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.prediction import Array, Columns, FloatArray
from mooring_model.schema import InputKind, ModelSchema, Task

_ort: Any = importlib.import_module("onnxruntime")
_ort.disable_telemetry_events()
_ort.set_default_logger_severity(3)

_DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class OnnxRuntime:
    """An onnxruntime session, fed feature by feature or by one matrix, as the graph asks."""

    def __init__(self, path: Path, schema: ModelSchema, *, threads: int) -> None:
        self._schema = schema
        self._session = _session(path, threads)
        self._inputs = {node.name: node for node in self._session.get_inputs()}
        self._matrix = _matrix_input(path, self._inputs, schema)
        outputs = self._session.get_outputs()
        wanted = _answer_output(path, outputs, schema)
        self._wanted = [wanted.name]
        self._zipmap = wanted.type.startswith("seq(map")

    def probabilities(self, columns: Columns) -> FloatArray:
        """Probabilities [n, classes]; see `Runtime`."""
        answer = self._run(columns)
        if self._zipmap:
            classes = self._schema.classes or ()
            return np.array([[row[name] for name in classes] for row in answer], np.float64)
        return np.asarray(answer, np.float64)

    def values(self, columns: Columns) -> FloatArray:
        """Predicted values [n]; see `Runtime`."""
        return np.asarray(self._run(columns), np.float64).reshape(-1)

    def _run(self, columns: Columns) -> Any:
        return self._session.run(self._wanted, self._feed(columns))[0]

    def _feed(self, columns: Columns) -> dict[str, Array]:
        if self._matrix is not None:
            node = self._inputs[self._matrix]
            stacked = np.column_stack([columns[spec.name] for spec in self._schema.inputs])
            return {node.name: stacked.astype(_DTYPES[node.type])}
        return {
            name: _as_tensor(columns[name], node.type, len(node.shape))
            for name, node in self._inputs.items()
        }


def _session(path: Path, threads: int) -> Any:
    options = _ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return _ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{path.parent}: {path.name} does not load: {str(error).splitlines()[0][:300]}",
            "check that the file is a complete ONNX model of a supported opset",
        ) from error


def _matrix_input(path: Path, inputs: dict[str, Any], schema: ModelSchema) -> str | None:
    """The name of the one matrix input, or None when there is one input per feature."""
    names = {spec.name for spec in schema.inputs}
    if set(inputs) == names:
        return None
    numeric = all(spec.kind is InputKind.NUMERIC for spec in schema.inputs)
    if len(inputs) == 1 and numeric:
        return next(iter(inputs))
    raise PackageRefused(
        RefusalReason.SCHEMA_INVALID,
        f"{path.parent}: the graph takes {sorted(inputs)}, the schema declares {sorted(names)}",
        "give the graph one input per feature, or one matrix when all features are numbers",
    )


def _answer_output(path: Path, outputs: list[Any], schema: ModelSchema) -> Any:
    """The output that holds probabilities (classification) or values (regression)."""
    floats = [
        node
        for node in outputs
        if node.type in ("tensor(float)", "tensor(double)") or node.type.startswith("seq(map")
    ]
    if len(floats) == 1 and (schema.task is Task.REGRESSION or len(outputs) <= 2):
        return floats[0]
    raise PackageRefused(
        RefusalReason.SCHEMA_INVALID,
        f"{path.parent}: cannot tell the answer among outputs {[node.name for node in outputs]}",
        "export a classifier with label and probabilities, or a regressor with one float output",
    )


def _as_tensor(values: Array, type_: str, rank: int) -> Array:
    dtype = _DTYPES[type_]
    if dtype is np.object_:
        values = np.array(["" if value is None else value for value in values], object)
    tensor = values.astype(dtype)
    return tensor.reshape(-1, 1) if rank == 2 else tensor
