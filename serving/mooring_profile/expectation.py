"""Expected metrics of scored rows, each with a standard deviation. Used by `quality` only.

Hits of a cell of n rows are Binomial(n, p), and p itself was estimated from R reference rows, one
estimate for each run of cells that the isotonic fit pooled. Both errors go through the metric's
slope (delta method), widened by the design effect.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mooring_profile.calibration import CalibrationMap
from mooring_profile.fields import FloatArray, IntArray

SLOPE_STEP = 1e-5
"""Step of the numeric slope, as a part of all rows."""


class Metric(StrEnum):
    """A measure of quality; of more than two classes the unweighted mean over classes."""

    ACCURACY = "accuracy"
    PRECISION = "precision"
    RECALL = "recall"
    F1 = "f1"
    ROC_AUC = "rocAuc"
    LOSS = "loss"
    """Brier score (halved for more than two classes), or |error| / scale, at most 1."""
    MEAN_ABSOLUTE_ERROR = "meanAbsoluteError"
    """In units of the label; errors above the scale count as the scale."""


@dataclass(frozen=True)
class Expectation:
    """An expected value and the standard deviation of the true one around it."""

    value: float
    sd: float


@dataclass(frozen=True, eq=False)
class Scored:
    """Rows per cell of one score stream together with its calibration."""

    map: CalibrationMap
    rows: FloatArray


Measure = Callable[[FloatArray], FloatArray]
"""From hits [..., cells] to metrics [..., metrics]; NaN where a ratio has no base."""


def expected_loss(scored: Scored) -> Expectation:
    """Returns the expected mean loss."""
    rows, found = scored.rows, scored.map
    total = rows.sum()
    spread = rows * found.loss_variance * (1 + rows / (found.rows + 1)) * found.design_effect
    return Expectation(float(rows @ found.loss / total), float(np.sqrt(spread.sum()) / total))


def expected_value(
    calibration: CalibrationMap, rows: FloatArray, hit: FloatArray, miss: FloatArray
) -> Expectation:
    """Returns the expected mean of `hit` [cells] for rows that are hits and `miss` for others."""
    scored = Scored(calibration, rows)
    total = rows.sum()
    value = float(rows @ (calibration.probability * (hit - miss) + miss)) / float(total)
    variance = _variance(scored, ((hit - miss) / total)[:, None])
    return Expectation(value, float(np.sqrt(variance[0])))


def expected_binary(scored: Scored) -> dict[Metric, Expectation]:
    """Returns what a decision at the threshold and a ranking by the score are worth."""
    rows, picked, order = scored.rows, scored.map.selected, scored.map.order

    def measure(hits: FloatArray) -> FloatArray:
        misses = rows - hits
        tp, fp = hits @ picked, misses @ picked
        fn, tn = hits @ (1 - picked), misses @ (1 - picked)
        lower = np.cumsum(misses, axis=-1) - misses
        won = (hits * (lower + order * misses)).sum(axis=-1)
        pairs = hits.sum(axis=-1) * misses.sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack(
                [
                    (tp + tn) / (tp + fp + fn + tn),
                    tp / (tp + fp),
                    tp / (tp + fn),
                    2 * tp / (2 * tp + fp + fn),
                    won / pairs,
                ],
                axis=-1,
            )

    names = (Metric.ACCURACY, Metric.PRECISION, Metric.RECALL, Metric.F1, Metric.ROC_AUC)
    return _expected(names, measure, [scored])


def expected_accuracy(scored: Scored) -> dict[Metric, Expectation]:
    """Returns how often the largest probability is that of the true class."""

    def measure(hits: FloatArray) -> FloatArray:
        return hits.sum(axis=-1, keepdims=True) / scored.rows.sum()

    return _expected((Metric.ACCURACY,), measure, [scored])


def expected_multiclass(parts: Sequence[Scored]) -> dict[Metric, Expectation]:
    """Returns accuracy and means over classes, from the rows put into each class.

    Which class a mistaken row belongs to is taken from the reference's mistakes, whatever its
    score.

    Args:
        parts: one for each class in their order, with `mistakes` of that many classes.
    """
    sizes = [part.rows.size for part in parts]
    starts = np.cumsum([0, *sizes[:-1]])
    predicted = np.array([part.rows.sum() for part in parts])
    mistakes = np.array([part.map.mistakes for part in parts])

    def measure(hits: FloatArray) -> FloatArray:
        right = np.add.reduceat(hits, starts, axis=-1)
        missed = (predicted - right) @ mistakes
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.stack(
                [
                    right / predicted,
                    right / (right + missed),
                    2 * right / (predicted + right + missed),
                ],
                axis=-1,
            )
        known = np.isfinite(each)
        mean = np.where(known, each, 0.0).sum(axis=-2) / np.maximum(known.sum(axis=-2), 1)
        accuracy = right.sum(axis=-1, keepdims=True) / predicted.sum()
        return np.concatenate([accuracy, mean], axis=-1)

    names = (Metric.ACCURACY, Metric.PRECISION, Metric.RECALL, Metric.F1)
    return _expected(names, measure, parts)


def _expected(
    names: Sequence[Metric], measure: Measure, parts: Sequence[Scored]
) -> dict[Metric, Expectation]:
    rows = np.concatenate([part.rows for part in parts])
    hits = np.concatenate([part.rows * part.map.probability for part in parts])
    values = measure(hits)
    based = np.flatnonzero(np.isfinite(values))
    step = SLOPE_STEP * rows.sum()
    used = np.flatnonzero(rows > 0)
    nudge = step * np.eye(rows.size)[used]
    slopes = np.zeros((rows.size, based.size))
    slopes[used] = ((measure(hits + nudge) - measure(hits - nudge)) / (2 * step))[:, based]
    variance = np.zeros(based.size)
    start = 0
    for part in parts:
        stop = start + part.rows.size
        variance += _variance(part, slopes[start:stop])
        start = stop
    return {
        names[place]: Expectation(float(values[place]), float(np.sqrt(square)))
        for place, square in zip(based.tolist(), variance, strict=True)
    }


def _variance(part: Scored, slopes: FloatArray) -> FloatArray:
    """Of the metrics [metrics], by the binomial law of hits and the error of the calibration."""
    pool = _pools(part.map.probability)
    known = np.bincount(pool, part.map.rows)[pool]
    smooth = (part.map.probability * known + 0.5) / (known + 1)
    spread = smooth * (1 - smooth)
    sampling = (part.rows * spread) @ slopes**2
    first = np.flatnonzero(np.diff(pool, prepend=-1))
    by_pool = np.add.reduceat(slopes * part.rows[:, None], first, axis=0)
    calibration = (spread / (known + 1))[first] @ by_pool**2
    return (sampling + calibration) * part.map.design_effect


def _pools(probability: FloatArray) -> IntArray:
    """Numbers the runs of equal probability."""
    return np.cumsum(np.diff(probability, prepend=probability[:1]) > 1e-9, dtype=np.int64)


def scaled(expectation: Expectation, scale: float) -> Expectation:
    """Returns an expectation in another unit."""
    return Expectation(expectation.value * scale, expectation.sd * scale)


Expectations = Mapping[Metric, Expectation]
