"""scikit-learn to ONNX, one graph input per feature. The only importer of skl2onnx."""

import importlib
import warnings
from pathlib import Path
from typing import Any

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.schema import Datatype, ModelSchema, Task

OPSET = {"": 18, "ai.onnx.ml": 3}


def write_onnx(estimator: Any, schema: ModelSchema, path: Path) -> None:
    """Converts a fitted estimator and writes the model file.

    Raises:
        PackageRefused: LoadFailed; skl2onnx knows no converter for a step.
    """
    skl2onnx: Any = importlib.import_module("skl2onnx")
    types: Any = importlib.import_module("skl2onnx.common.data_types")
    tensor_of = {
        Datatype.BYTES: types.StringTensorType,
        Datatype.FP64: types.FloatTensorType,
        Datatype.INT64: types.Int64TensorType,
        Datatype.BOOL: types.BooleanTensorType,
    }
    if hasattr(estimator, "feature_names_in_"):
        inputs = [(spec.name, tensor_of[spec.datatype]([None, 1])) for spec in schema.inputs]
    else:
        inputs = [("input", types.FloatTensorType([None, len(schema.inputs)]))]
    options = {} if schema.task is Task.REGRESSION else {id(estimator): {"zipmap": False}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = skl2onnx.convert_sklearn(
                estimator, initial_types=inputs, options=options, target_opset=OPSET
            )
    except Exception as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{type(estimator).__name__} does not convert to ONNX: {str(error)[:300]}",
            "package it with format skops, or use steps that skl2onnx supports",
        ) from error
    path.write_bytes(model.SerializeToString())
