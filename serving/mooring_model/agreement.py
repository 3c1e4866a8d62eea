"""Whether the packaged model answers like the estimator that it was made from, and by how much."""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from mooring_model.errors import PackageRefused, RefusalReason
from mooring_model.infer_schema import Frame, to_columns
from mooring_model.prediction import FloatArray, Runtime
from mooring_model.schema import ModelSchema, Task

ROWS = 2000
"""Rows of the training table that are compared, spread evenly."""
TOLERANCE = 1e-4
"""From this difference on a row is counted: of probabilities, or of predicted numbers in standard
deviations."""
MAX_MEAN = 0.01
"""Largest mean difference, in the same units. Single rows may differ more: ONNX computes in single
precision, and a rounded input can cross a tree's threshold. Metrics, samples and profile are the
packaged file's own."""

_validation: Any = importlib.import_module("sklearn.utils.validation")
_exceptions: Any = importlib.import_module("sklearn.exceptions")
ESTIMATOR_ERRORS = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """How the packaged model's answers differ from the estimator's."""

    rows: int
    differing: int
    """Rows that differ by more than the tolerance."""
    largest: float
    """Largest absolute difference of a probability or a predicted number."""

    def to_json(self) -> dict[str, object]:
        """The entry `conversion` of parameters.json."""
        return {
            "rows": self.rows,
            "differingRows": self.differing,
            "maxAbsoluteDifference": self.largest,
        }


def check_fitted(estimator: object) -> None:
    """Raises PackageRefused(LoadFailed) unless the estimator is fitted and can answer."""
    name = type(estimator).__name__
    if not hasattr(estimator, "predict"):
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{name} is no estimator that predicts",
            "give a fitted scikit-learn estimator, or the path of a .skops or .onnx file",
        )
    try:
        _validation.check_is_fitted(estimator)
    except _exceptions.NotFittedError as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED, f"{name} is not fitted", "call fit() before packaging"
        ) from error
    if hasattr(estimator, "classes_") and not hasattr(estimator, "predict_proba"):
        raise PackageRefused(
            RefusalReason.SCHEMA_INVALID,
            f"{name} is a classifier without probabilities",
            "wrap it in sklearn.calibration.CalibratedClassifierCV",
        )


def measure_agreement(
    estimator: Any, runtime: Runtime, schema: ModelSchema, frame: Frame
) -> Agreement:
    """Compares the packaged model with the estimator on rows of its training table.

    Raises:
        PackageRefused: ReplayMismatch, when they differ by more than 1 % on average; LoadFailed,
            when the estimator does not answer the table.
        PredictionFailed: the packaged model does not.
    """
    rows = frame.iloc[:: max(1, len(frame) // ROWS)].head(ROWS)
    wanted = _ask(estimator, rows[[spec.name for spec in schema.inputs]], schema)
    columns = to_columns(schema, rows)
    given = (
        runtime.values(columns)
        if schema.task is Task.REGRESSION
        else runtime.probabilities(columns)
    )
    if given.shape != wanted.shape:
        raise _disagrees(f"answers {given.shape} numbers where the estimator gives {wanted.shape}")
    scale = float(wanted.std()) or 1.0 if schema.task is Task.REGRESSION else 1.0
    gaps = np.abs(given - wanted).reshape(len(rows), -1).max(axis=1)
    mean = float(gaps.mean()) / scale
    if not mean <= MAX_MEAN:
        raise _disagrees(
            f"differs from the estimator on {len(rows)} training rows by {mean * scale:.3g} on "
            f"average, by up to {gaps.max():.3g}"
        )
    return Agreement(len(rows), int((gaps > TOLERANCE * scale).sum()), float(gaps.max()))


def _ask(estimator: Any, table: Frame, schema: ModelSchema) -> FloatArray:
    named = hasattr(estimator, "feature_names_in_")
    method = estimator.predict if schema.task is Task.REGRESSION else estimator.predict_proba
    try:
        answers = np.asarray(method(table if named else table.to_numpy()), np.float64)
    except ESTIMATOR_ERRORS as error:
        raise PackageRefused(
            RefusalReason.LOAD_FAILED,
            f"{type(estimator).__name__} does not answer its training table: "
            f"{type(error).__name__}: {str(error)[:300]}",
            "give the table with the very columns that fit() saw; name them with `features`",
        ) from error
    return answers.reshape(-1) if schema.task is Task.REGRESSION else answers


def _disagrees(what: str) -> PackageRefused:
    return PackageRefused(
        RefusalReason.REPLAY_MISMATCH,
        f"the packaged model {what}",
        "package it with format skops, or give missing texts a category of their own before fit()",
    )
