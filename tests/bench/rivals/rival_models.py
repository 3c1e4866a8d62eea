"""The two pairings that every rival serves: our ONNX file, and the pickled estimator.

Runs in the rivals' own environments, which hold numpy, onnxruntime, scikit-learn and joblib but
nothing of ours. `PAIRING` is `onnx` or `sklearn`, `MODEL_DIRECTORY` holds both files.
"""

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DIRECTORY = Path(os.environ.get("MODEL_DIRECTORY", "."))
MODEL_NAME = "cancer"

Answer = tuple[Any, Any]


def load_onnx(directory: Path) -> Callable[[Any], Answer]:
    """The ONNX file: a matrix gives labels and the probability of the positive class."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(str(directory / "model.onnx"), options)
    name = session.get_inputs()[0].name

    def predict(matrix: Any) -> Answer:
        label, probabilities = session.run(None, {name: np.asarray(matrix, dtype=np.float32)})
        return label, probabilities[:, 1]

    return predict


def load_pickle(directory: Path) -> Callable[[Any], Answer]:
    """The pickled pipeline, asked for its probabilities once."""
    joblib: Any = importlib.import_module("joblib")
    estimator = joblib.load(directory / "model.joblib")

    def predict(matrix: Any) -> Answer:
        probabilities = estimator.predict_proba(np.asarray(matrix))
        return estimator.classes_[probabilities.argmax(axis=1)], probabilities[:, 1]

    return predict


def load() -> Callable[[Any], Answer]:
    """The pairing that the environment names."""
    if os.environ["PAIRING"] == "onnx":
        return load_onnx(DIRECTORY)
    return load_pickle(DIRECTORY)
