"""Metrics of a model on a table, each with a 95 % interval.

Rows of one day are alike, so where days are known the interval of a mean is that of its days
(cluster-robust, Liang and Zeger 1986); otherwise it is the normal one over rows.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mooring_model.prediction import Array, FloatArray, Prediction
from mooring_model.schema import ModelSchema, Task

Z95 = 1.959963984540054
_SMALLEST = 1e-12
MIN_BLOCKS = 5
"""Fewer days than these say nothing about how days differ."""
Blocks = npt.NDArray[np.int64]


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
    schema: ModelSchema,
    prediction: Prediction,
    truth: Array,
    *,
    dataset: str,
    blocks: Blocks | None = None,
) -> list[Metric]:
    """The metrics of the schema's task.

    Args:
        schema: tells the task and the classes.
        prediction: of n rows.
        truth: [n], classes as the schema names them, or numbers.
        dataset: the role of the rows, `train` or `test`.
        blocks: [n], the number of each row's day from 0 on; None when no time is known.

    Raises:
        ValueError: a label that the schema does not know.
    """
    sample = _Sample(dataset, blocks)
    if schema.task is Task.REGRESSION:
        errors = np.abs(prediction.score - truth.astype(np.float64))
        return [
            sample.mean("mae", errors),
            sample.root("rmse", errors**2),
        ]
    index = class_index(schema, truth)
    probabilities = class_probabilities(schema, prediction)
    chosen = np.clip(probabilities[np.arange(len(index)), index], _SMALLEST, 1.0)
    onehot = np.eye(probabilities.shape[1])[index]
    brier = ((probabilities - onehot) ** 2).sum(axis=1) / 2.0
    hits = (probabilities.argmax(axis=1) == index).astype(np.float64)
    metrics = [
        sample.mean("logLoss", -np.log(chosen)),
        sample.mean("brier", brier),
        sample.share("accuracy", hits),
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


@dataclass(frozen=True)
class _Sample:
    dataset: str
    blocks: Blocks | None

    def mean(self, name: str, values: FloatArray) -> Metric:
        """The mean of a loss per row."""
        value, error = float(values.mean()), self._standard_error(values)
        if error is None:
            return Metric(name, self.dataset, value, None, None, len(values))
        half = Z95 * error
        return Metric(name, self.dataset, value, value - half, value + half, len(values))

    def share(self, name: str, hits: FloatArray) -> Metric:
        """A share of rows, with Wilson's interval (1927) over as many rows as days leave of n."""
        n, value = len(hits), float(hits.mean())
        error = self._standard_error(hits)
        rows = min(n, value * (1 - value) / error**2) if error else float(n)
        centre = (value + Z95**2 / (2 * rows)) / (1 + Z95**2 / rows)
        spread = math.sqrt(value * (1 - value) / rows + Z95**2 / (4 * rows**2))
        half = Z95 * spread / (1 + Z95**2 / rows)
        return Metric(name, self.dataset, value, centre - half, min(1.0, centre + half), n)

    def root(self, name: str, squares: FloatArray) -> Metric:
        """The root of a mean square, with the roots of its interval's ends."""
        inner = self.mean(name, squares)
        value, n = math.sqrt(inner.value), inner.n
        if inner.lower is None or inner.upper is None:
            return Metric(name, self.dataset, value, None, None, n)
        low, high = math.sqrt(max(inner.lower, 0.0)), math.sqrt(inner.upper)
        return Metric(name, self.dataset, value, low, high, n)

    def _standard_error(self, values: FloatArray) -> float | None:
        """Of the mean; None for a single row."""
        n = len(values)
        if n < 2:
            return None
        if self.blocks is not None and (days := int(self.blocks.max()) + 1) >= MIN_BLOCKS:
            sums = np.bincount(self.blocks, weights=values - values.mean(), minlength=days)
            return math.sqrt(days / (days - 1) * float((sums**2).sum())) / n
        return float(values.std(ddof=1)) / math.sqrt(n)


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
    if variance <= 0:  # a perfect order: the formula has nothing to say of its error
        return Metric("auc", dataset, area, None, None, n)
    half = Z95 * math.sqrt(variance / (ones * zeros))
    return Metric("auc", dataset, area, area - half, area + half, n)
