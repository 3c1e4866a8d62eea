"""The models of `bench-serving`: a package for us, an ONNX file and a pickle for the others."""

import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mooring_model.build import package
from tests.serving.served_packages import cancer_rows, cancer_table

FEATURES = 30
TREES = 100


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A fitted model in a directory that is a package, and its pickle beside it.

    Attributes:
        package: The package, `model.onnx` inside.
        directory: Holds `model.onnx` and `model.joblib`.
        expected: Probability of the positive class of the table's first rows, float64 [64].
    """

    package: Path
    directory: Path
    expected: npt.NDArray[np.float64]


def matrix(rows: int) -> npt.NDArray[np.float64]:
    """The first rows of the table, float64 [rows, 30]."""
    return cancer_rows(rows)


def build_model(kind: str, root: Path) -> BenchModel:
    """Fit `linear` (scaler and logistic regression) or `forest` (scaler and 100 trees)."""
    joblib: Any = importlib.import_module("joblib")
    table = cancer_table()
    features = table.drop(columns="benign")
    model = _pipeline(kind)
    model.fit(features, table["benign"])
    directory = root / kind
    package(model, table, target="benign", out=directory / "package", name="cancer")
    # Rivals get a matrix without column names: fit the same model to one.
    bare = _pipeline(kind)
    bare.fit(features.to_numpy(), table["benign"])
    joblib.dump(bare, directory / "model.joblib")
    (directory / "model.onnx").write_bytes((directory / "package" / "model.onnx").read_bytes())
    return BenchModel(directory / "package", directory, bare.predict_proba(matrix(64))[:, 1])


@functools.cache
def _classes() -> tuple[Any, Any, Any, Any]:
    pipeline: Any = importlib.import_module("sklearn.pipeline")
    preprocessing: Any = importlib.import_module("sklearn.preprocessing")
    linear: Any = importlib.import_module("sklearn.linear_model")
    ensemble: Any = importlib.import_module("sklearn.ensemble")
    return (
        pipeline.make_pipeline,
        preprocessing.StandardScaler,
        linear.LogisticRegression,
        ensemble.RandomForestClassifier,
    )


def _pipeline(kind: str) -> Any:
    make, scaler, logistic, forest = _classes()
    match kind:
        case "linear":
            return make(scaler(), logistic(max_iter=1000))
        case "forest":
            return make(scaler(), forest(TREES, random_state=1))
        case _:
            raise ValueError(f"there is no model {kind!r}; take linear or forest")
