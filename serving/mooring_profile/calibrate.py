"""Makes a calibration from labelled rows.

Called where a model is packaged, never in a pod or in the operator. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mooring_profile.binning import NumericBinner
from mooring_profile.calibration import CalibrationMap
from mooring_profile.counts import NAMED_CELLS
from mooring_profile.errors import ProfileInvalid
from mooring_profile.feature import FeatureKind, FeatureProfile
from mooring_profile.fields import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]
MOST_LEVELS = 4096
"""Distinct scores that the isotonic fit tells apart."""
PRIOR_PAIRS = 4.0
"""Pairs of equal rank that the order within a bin is shrunk by."""


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Predictions together with what became true.

    Attributes:
        score: float64 [rows], the stream that is counted.
        hit: float64 [rows], 0 or 1; None for a regression.
        loss: float64 [rows], within [0, 1], the same loss that feedback is judged by.
    """

    score: FloatArray
    hit: FloatArray | None
    loss: FloatArray

    @classmethod
    def binary(cls, score: FloatArray, positive: BoolArray) -> "LabelledRows":
        """From the probability of the positive class; the loss is the Brier score."""
        hit = positive.astype(np.float64)
        return cls(score, hit, (score - hit) ** 2)

    @classmethod
    def multiclass(cls, probabilities: FloatArray, label: IntArray) -> "LabelledRows":
        """From probabilities [rows, classes] and positions of labels; loss: half Brier score."""
        place = np.arange(label.size)
        losses = ((probabilities**2).sum(axis=1) - 2 * probabilities[place, label] + 1) / 2
        hit = (probabilities.argmax(axis=1) == label).astype(np.float64)
        return cls(probabilities.max(axis=1), hit, np.clip(losses, 0, 1))

    @classmethod
    def regression(cls, predicted: FloatArray, actual: FloatArray, scale: float) -> "LabelledRows":
        """From predicted numbers; the loss is |error| / scale, at most 1."""
        return cls(predicted, None, np.minimum(1.0, np.abs(predicted - actual) / scale))

    def of(self, mask: BoolArray | IntArray) -> "LabelledRows":
        """Returns some of the rows (a mask or positions): of a segment or a predicted class."""
        hit = None if self.hit is None else self.hit[mask]
        return LabelledRows(self.score[mask], hit, self.loss[mask])


def calibrate(
    stream: FeatureProfile,
    rows: LabelledRows,
    *,
    threshold: float | None,
    mistakes: Sequence[float] = (),
) -> CalibrationMap:
    """Calibrates a score stream.

    Args:
        stream: profile of the score, or of the score within a segment or a predicted class;
            its edges are those of the counts. Where the threshold is an edge, rates of
            selected rows are exact.
        rows: labelled rows of that stream; rows with an infinite or missing score are left
            out.
        threshold: a row is predicted positive at or above it (binary); None otherwise.
        mistakes: multiclass, see `CalibrationMap.mistakes`.

    Raises:
        ProfileInvalid: the stream is not numeric or has no bins, or no row has a finite score.
    """
    if stream.kind is not FeatureKind.NUMERIC:
        raise ProfileInvalid(f"{stream.name!r} is {stream.kind.value}; a score is numeric")
    if not stream.edges:
        raise ProfileInvalid(f"{stream.name!r} has no bins: its reference had no finite score")
    usable = rows.of(np.isfinite(rows.score) & np.isfinite(rows.loss))
    if not usable.score.size:
        raise ProfileInvalid(f"No labelled row of {stream.name!r} has a finite score and loss")
    cells = _cells(stream, usable.score)
    size = stream.bin_count + 2
    counts = _summed(cells, np.ones(cells.size), size)
    mean = _per_row(_summed(cells, usable.loss, size), counts)
    squares = _per_row(_summed(cells, usable.loss**2, size), counts)
    single = usable.score.astype(np.float32)
    above = np.ones(size) if threshold is None else _selected(stream, cells, single, threshold)
    hits = np.zeros(size)
    order = np.full(size, 0.5)
    if usable.hit is not None:
        likely = _likely(single, usable.hit)
        hits = filled(_per_row(_summed(cells, likely, size), counts), counts)
        order = _order(cells, single, usable.hit, size)
    return CalibrationMap(
        stream=stream.name,
        rows=counts,
        probability=np.clip(hits, 0, 1),
        selected=above,
        loss=np.clip(filled(mean, counts), 0, 1),
        loss_variance=np.clip(filled(squares - mean**2, counts), 0, 1),
        order=order,
        design_effect=stream.design_effect,
        mistakes=tuple(float(share) for share in mistakes),
    )


def isotonic(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Returns the never-falling values nearest to `values` in weighted squares.

    Pool adjacent violators (Barlow, Bartholomew, Bremner, Brunk 1972). Places without weight take
    what lies between their neighbours.

    Args:
        values: float64 [n].
        weights: float64 [n], >= 0, not all 0.
    """
    kept = np.flatnonzero(weights > 0)
    totals: list[tuple[float, float, int]] = []  # mean, weight, number of places
    for value, weight in zip(values[kept].tolist(), weights[kept].tolist(), strict=True):
        mean, mass, size = value, weight, 1
        while totals and totals[-1][0] >= mean:
            before, more, places = totals.pop()
            mean = (before * more + mean * mass) / (more + mass)
            mass, size = mass + more, size + places
        totals.append((mean, mass, size))
    fitted = np.repeat([item[0] for item in totals], [item[2] for item in totals])
    return np.interp(np.arange(values.size), kept, fitted)


def filled(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Returns values in which places without weight take what lies between their neighbours."""
    kept = np.flatnonzero(weights > 0)
    return np.interp(np.arange(values.size), kept, values[kept])


def _cells(stream: FeatureProfile, score: FloatArray) -> IntArray:
    """Cells below, bins, above; a finite value is nowhere else."""
    cells = NumericBinner(stream.edges).cells(score)
    bins = stream.bin_count
    below, above = (bins + NAMED_CELLS.index(name) for name in ("below", "above"))
    places = np.where(cells == below, 0, cells + 1)
    return np.where(cells == above, bins + 1, places)


def _likely(score: npt.NDArray[np.float32], hit: FloatArray) -> FloatArray:
    """Isotonic probability of a hit at each row's own score: finer than the bins.

    Beyond `MOST_LEVELS` distinct scores, neighbours are taken together.
    """
    values, place = np.unique(score, return_inverse=True)
    levels = min(values.size, MOST_LEVELS)
    level = place * levels // values.size
    rows = _summed(level, np.ones(level.size), levels)
    return isotonic(_per_row(_summed(level, hit, levels), rows), rows)[level]


def _summed(places: npt.NDArray[np.intp], values: FloatArray, size: int) -> FloatArray:
    return np.bincount(places, values, size).astype(np.float64)


def _per_row(totals: FloatArray, counts: FloatArray) -> FloatArray:
    return totals / np.maximum(counts, 1.0)


def _selected(
    stream: FeatureProfile, cells: IntArray, score: npt.NDArray[np.float32], threshold: float
) -> FloatArray:
    """Share of each cell at or above the threshold; a cell that it splits has that of its rows."""
    limit = np.float32(threshold)
    low = np.array([-np.inf, *stream.edges], dtype=np.float32)
    high = np.array([*stream.edges, np.inf], dtype=np.float32)
    counts = _summed(cells, np.ones(cells.size), low.size)
    above = _summed(cells, (score >= limit).astype(np.float64), low.size)
    split = np.where(counts > 0, _per_row(above, counts), 0.5)
    return np.where(low >= limit, 1.0, np.where(high <= limit, 0.0, split))


def _order(
    cells: IntArray, score: npt.NDArray[np.float32], hit: FloatArray, size: int
) -> FloatArray:
    """Within each cell, the Mann-Whitney share of hits above misses, shrunk towards 1/2."""
    values, place = np.unique(score, return_inverse=True)
    hits = _summed(place, hit, values.size)
    misses = _summed(place, 1 - hit, values.size)
    of_value = np.zeros(values.size, dtype=np.int64)
    of_value[place] = cells
    total = _summed(of_value, misses, size)
    before = np.cumsum(misses) - misses - (np.cumsum(total) - total)[of_value]
    won = _summed(of_value, hits * (before + misses / 2), size)
    pairs = _summed(of_value, hits, size) * total
    return np.clip((won + PRIOR_PAIRS / 2) / (pairs + PRIOR_PAIRS), 0, 1)
