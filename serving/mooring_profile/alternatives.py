"""Location and scale alternatives for ordered values, as e-values that use all cells at once.

An ordered feature is normal while every share below an edge stays within a tolerance of the
reference's: its distribution lies in a convex band. Against one alternative Q the most powerful
e-value is Q / P*, where P* is the distribution of the band that is nearest to Q in Kullback-Leibler
divergence (Gruenwald, de Heide and Koolen, Safe testing, JRSS B 2024; Larsson, Ramdas and Ruf,
arXiv 2402.18810). On cells that projection is a taut string through the band drawn against Q, for
the string minimises every sum of q * phi(p / q) with phi convex (Barlow et al. 1972; Davies and
Kovac 2001). Used by `streams` only.
"""

import math
from statistics import NormalDist

import numpy as np

from mooring_profile.fields import FloatArray, IntArray

SHIFTS = (0.12, 0.25, 0.5, 1.0)
"""Shifts up and down of the normal scores, in standard deviations of a normal feature."""
SHIFT_WEIGHTS = (0.125, 0.5, 0.25, 0.125)
"""Shares of the shifts' weight: most for a quarter of a standard deviation, which is worth finding
soon and can be; a smaller one takes long whatever its weight."""
SCALES = (1.25, 1.6, 2.5)
"""Factors, and their inverses, of the normal scores."""
SHAPES = 2 * len(SHIFTS) + 2 * len(SCALES)
LOCATION_PART = 2 / 3
"""Share of the weight of these alternatives that goes to the shifts."""
_ALIKE = 1e-6
"""Scores below this in size are rounding errors."""
_LEAST_SHARE = 1e-7
"""A cell that the alternative all but empties keeps this share: its width in the string stays far
above rounding errors, and its e-value above 0."""


def shape_weights() -> FloatArray:
    """Returns the prior weight of each alternative, float64 [SHAPES], summing to 1."""
    shifts = np.repeat(np.array(SHIFT_WEIGHTS) / 2, 2)
    scales = np.full(2 * len(SCALES), 1 / (2 * len(SCALES)))
    return np.concatenate([LOCATION_PART * shifts, (1 - LOCATION_PART) * scales])


def shape_scores(reference: IntArray, tolerance: float) -> FloatArray | None:
    """Returns what a row in each cell adds to the log e-value of each alternative.

    Each alternative moves or stretches the normal scores of the reference's shares, so that it
    means the same for every continuous feature whatever its unit. Its scores are divided by their
    largest expectation over the band, so that they are e-values exactly, and not only as far as
    the projection was computed exactly.

    Args:
        reference: int64 [cells], rows of the reference per cell, in the order of the values; the
            first and the last cell are those below and above its range.
        tolerance: largest normal difference of a share below an edge, 0 to 1.

    Returns:
        float64 [cells, SHAPES]; all 0 for an alternative that the band contains. None when it
        contains all of them.
    """
    shares = (np.cumsum(reference)[:-1] + 0.5) / (int(reference.sum()) + 1)
    low, high = np.maximum(shares - tolerance, 0.0), np.minimum(shares + tolerance, 1.0)
    normal = NormalDist()
    scores = np.array([normal.inv_cdf(share) for share in shares.tolist()])
    moved = [scores - sign * shift for shift in SHIFTS for sign in (1, -1)]
    moved += [scores / factor for scale in SCALES for factor in (scale, 1 / scale)]
    columns = [_log_e(_normal_cdf(item), low, high) for item in moved]
    found = np.stack(columns, axis=1)
    return found if found.any() else None


def largest_expectation(ratios: FloatArray, low: FloatArray, high: FloatArray) -> float:
    """Returns a limit of the sum of p * ratios over all p whose cumulative shares lie in the band.

    Summed by parts, the expectation is linear in each cumulative share, so the limit is reached at
    an end of its interval.
    """
    falls = ratios[:-1] - ratios[1:]
    return float(ratios[-1] + np.where(falls > 0, high * falls, low * falls).sum())


def _log_e(alternative: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    q = np.diff(alternative, prepend=0.0, append=1.0)
    q = np.maximum(q, _LEAST_SHARE)
    q /= q.sum()
    nearest = taut_string(np.cumsum(q)[:-1], low, high)
    p = np.diff(nearest, prepend=0.0, append=1.0)
    ratios = q / np.maximum(p, 1e-15)
    scores: FloatArray = np.log(ratios / largest_expectation(ratios, low, high))
    return scores if np.abs(scores).max() > _ALIKE else np.zeros_like(scores)


def taut_string(at: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Returns the shortest path from (0, 0) to (1, 1) that stays within `low` and `high`.

    Args:
        at: float64 [edges], strictly ascending within (0, 1).
        low: float64 [edges], lower ends of the path's intervals.
        high: float64 [edges], upper ends.

    Returns:
        float64 [edges], the path's heights.
    """
    xs = [0.0, *at.tolist(), 1.0]
    floors, roofs = [0.0, *low.tolist(), 1.0], [0.0, *high.tolist(), 1.0]
    heights = [0.0]
    start = 0
    while start < len(xs) - 1:
        height = heights[-1]
        end, slope = _next_corner(xs, floors, roofs, start, height)
        heights += [height + slope * (x - xs[start]) for x in xs[start + 1 : end + 1]]
        start = end
    return np.array(heights[1:-1])


def _next_corner(
    xs: list[float], floors: list[float], roofs: list[float], start: int, height: float
) -> tuple[int, float]:
    """The funnel of slopes that pass all intervals so far closes where the string must bend."""
    steepest, flattest = math.inf, -math.inf
    roof_at = floor_at = start
    for index in range(start + 1, len(xs)):
        run = xs[index] - xs[start]
        to_roof, to_floor = (roofs[index] - height) / run, (floors[index] - height) / run
        if to_floor > steepest:
            return roof_at, steepest
        if to_roof < flattest:
            return floor_at, flattest
        if to_roof <= steepest:
            steepest, roof_at = to_roof, index
        if to_floor >= flattest:
            flattest, floor_at = to_floor, index
    return len(xs) - 1, (1.0 - height) / (1.0 - xs[start])


def _normal_cdf(scores: FloatArray) -> FloatArray:
    erf = np.array([math.erf(score) for score in (scores / math.sqrt(2)).tolist()])
    return 0.5 * (1 + erf)
