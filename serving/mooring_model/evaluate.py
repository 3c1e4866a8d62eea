"""Metrics of a model on a table, each with an interval (normal approximation over rows)."""

import math
from dataclasses import dataclass

import numpy as np

from mooring_model.prediction import Array, FloatArray, Prediction
from mooring_model.schema import ModelSchema, Task

Z95 = 1.959963984540054
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Metric:
    """One figure of metrics.json."""

    name: str
    dataset: str
    value: float
    lower: float | None
    upper: float | None
    n: int

    def to_json(self) -> dict[str, object]:
        """The entry of metrics.json."""
        return dict(vars(self))


def evaluate(
    schema: ModelSchema, prediction: Prediction, truth: Array, *, dataset: str
) -> list[Metric]:
    """The metrics of the schema's task.

    Args:
        schema: tells the task and the classes.
        prediction: of n rows.
        truth: [n], classes as the schema names them, or numbers.
        dataset: the role of the rows, `train` or `test`.
    """
    if schema.task is Task.REGRESSION:
        errors = np.abs(prediction.score - truth.astype(np.float64))
        return [_mean("mae", errors, dataset)]
    index = class_index(schema, truth)
    probabilities = class_probabilities(schema, prediction)
    chosen = np.clip(probabilities[np.arange(len(index)), index], _SMALLEST, 1.0)
    onehot = np.eye(probabilities.shape[1])[index]
    brier = ((probabilities - onehot) ** 2).sum(axis=1) / 2.0
    hits = (probabilities.argmax(axis=1) == index).astype(np.float64)
    metrics = [
        _mean("logLoss", -np.log(chosen), dataset),
        _mean("brier", brier, dataset),
        _mean("accuracy", hits, dataset),
    ]
    if schema.task is Task.BINARY:
        positive = list(schema.classes or ()).index(schema.positive_class or 0)
        metrics.append(_auc(prediction.score, index == positive, dataset))
    return metrics


def class_index(schema: ModelSchema, truth: Array) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Position of each true class in schema.classes, [n].

    Raises:
        ValueError: a label that the schema does not know.
    """
    positions = {str(name): place for place, name in enumerate(schema.classes or ())}
    try:
        return np.array([positions[str(value)] for value in truth], dtype=np.int64)
    except KeyError as error:
        raise ValueError(f"label {error} is none of the classes {schema.classes}") from error


def class_probabilities(schema: ModelSchema, prediction: Prediction) -> FloatArray:
    """Probabilities [n, classes], also for a binary model."""
    given = prediction.outputs["probability"]
    if schema.task is not Task.BINARY:
        return given
    positive = list(schema.classes or ()).index(schema.positive_class or 0)
    pair = np.column_stack([1.0 - given, given])
    return pair if positive == 1 else pair[:, ::-1]


def _mean(name: str, values: FloatArray, dataset: str) -> Metric:
    n = len(values)
    value = float(values.mean())
    if n < 2:
        return Metric(name, dataset, value, None, None, n)
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(n)
    return Metric(name, dataset, value, value - half, value + half, n)


def _auc(
    score: FloatArray, positive: np.ndarray[tuple[int], np.dtype[np.bool_]], dataset: str
) -> Metric:
    """Area under the ROC curve by mid-ranks; interval after Hanley and McNeil (1982)."""
    n = len(score)
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if ones == 0 or zeros == 0:
        return Metric("auc", dataset, 0.5, None, None, n)
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    upper = np.cumsum(counts)
    ranks = (upper - (counts - 1) / 2.0)[inverse]
    area = float((ranks[positive].sum() - ones * (ones + 1) / 2.0) / (ones * zeros))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (ones - 1) * (q1 - area**2) + (zeros - 1) * (q2 - area**2)
    half = Z95 * math.sqrt(max(variance, 0.0) / (ones * zeros))
    return Metric("auc", dataset, area, area - half, area + half, n)
