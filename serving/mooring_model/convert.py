"""scikit-learn to ONNX. The only importer of skl2onnx.

A model of numbers alone becomes a graph of one matrix, which a request feeds in half the time; any
other gets one graph input per feature, texts as string tensors.
"""

import importlib
import warnings
from pathlib import Path
from typing import Any

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.schema import Datatype, ModelSchema, Task

OPSET = {"": 18, "ai.onnx.ml": 3}
MATRIX = "input"
CONVERT_ERRORS = (
    RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError,
)  # fmt: skip
"""NotImplementedError and skl2onnx's own errors are RuntimeErrors."""


def write_onnx(estimator: Any, schema: ModelSchema, path: Path) -> None:
    """Converts a fitted estimator and writes the model file.

    Raises:
        PackageRefused: LoadFailed; skl2onnx knows no converter for a step.
    """
    skl2onnx: Any = importlib.import_module("skl2onnx")
    options = {} if schema.task is Task.REGRESSION else {id(estimator): {"zipmap": False}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = skl2onnx.convert_sklearn(
                estimator,
                name="model",
                initial_types=_graph_inputs(estimator, schema),
                options=options,
                target_opset=OPSET,
            )
    except CONVERT_ERRORS as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{type(estimator).__name__} does not convert to ONNX: {str(error)[:300]}",
            "package it with format skops, or use steps that skl2onnx supports",
        ) from error
    _restore_names(model.graph, schema)
    _sort_operator_sets(model)
    path.write_bytes(model.SerializeToString())


def _graph_inputs(estimator: Any, schema: ModelSchema) -> list[tuple[str, Any]]:
    types: Any = importlib.import_module("skl2onnx.common.data_types")
    tensor_of = {
        Datatype.BYTES: types.StringTensorType,
        Datatype.FP64: types.FloatTensorType,
        Datatype.INT64: types.Int64TensorType,
        Datatype.BOOL: types.FloatTensorType,  # most converters know no booleans
    }
    named = hasattr(estimator, "feature_names_in_")
    if not named or (schema.matrix_allowed and not _picks_columns(estimator)):
        return [(MATRIX, types.FloatTensorType([None, len(schema.inputs)]))]
    return [(spec.name, tensor_of[spec.datatype]([None, 1])) for spec in schema.inputs]


def _picks_columns(estimator: Any) -> bool:
    """Whether a step looks at columns by their name."""
    compose: Any = importlib.import_module("sklearn.compose")
    parts = [estimator, *estimator.get_params(deep=True).values()]
    return any(isinstance(part, compose.ColumnTransformer) for part in parts)


def _restore_names(graph: Any, schema: ModelSchema) -> None:
    """skl2onnx makes identifiers of the features' names; the graph gets the real ones back."""
    if len(graph.input) == 1 and graph.input[0].name == MATRIX:
        return
    names = {node.name: spec.name for node, spec in zip(graph.input, schema.inputs, strict=True)}
    for node in graph.input:
        node.name = names[node.name]
    for node in graph.node:
        for place, used in enumerate(node.input):
            node.input[place] = names.get(used, used)


def _sort_operator_sets(model: Any) -> None:
    """skl2onnx lists them in the order of a hash, so that each process made another digest."""
    sets = sorted((entry.domain, entry.version) for entry in model.opset_import)
    del model.opset_import[:]
    for domain, version in sets:
        model.opset_import.add(domain=domain, version=version)
