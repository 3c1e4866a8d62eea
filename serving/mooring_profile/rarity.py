"""Rare categories and bins: what is normal for a share so small that a tolerance would hide it.

A tolerance of 2 % of the rows lets a class of 0.1 % (fraud) grow twentyfold. A rare share is
therefore judged relative to itself: normal is up to half as much again, and down to two thirds,
and never less than the reference leaves open. Used by `streams` only.
"""

import math

import numpy as np

from mooring_profile.fields import FloatArray

RARE_SHARE = 0.01
"""A share up to this is rare."""
RARE_FACTOR = 1.5
"""A rare share may grow or shrink by this factor and still be normal."""
RARE_ALTERNATIVES = (1.5, 2.0, 3.0, 6.0, 12.0)
"""Factors beyond the limit of the normal, up and down, that are looked for."""
MISS = 0.01
"""Probability, over references, that a limit excludes the true share of any rare bin."""
_HALVINGS = 60


def share_limits(hits: FloatArray, rows: float) -> tuple[FloatArray, FloatArray]:
    """Returns confidence limits of shares, all of them right together with probability 1 - `MISS`.

    Chernoff's bound: P(hits >= k) <= exp(-rows KL(k / rows || share)) for k / rows above the share,
    and the same below (Hoeffding 1963, theorem 1).

    Args:
        hits: float64 [bins], independent occurrences in the reference.
        rows: independent rows of the reference, > 0.

    Returns:
        Lower and upper limits, float64 [bins].
    """
    shares = hits / rows
    budget = math.log(2 * hits.size / MISS) / rows
    lower = _crossing(shares, np.zeros_like(shares), budget)
    upper = _crossing(shares, np.ones_like(shares), budget)
    return lower, upper


def _crossing(shares: FloatArray, end: FloatArray, budget: float) -> FloatArray:
    """Halves the way from the shares to an end, as far as the divergence stays in the budget."""
    inside, outside = shares.copy(), end.copy()
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        near = _divergence(shares, middle) <= budget
        inside = np.where(near, middle, inside)
        outside = np.where(near, outside, middle)
    return outside


def _divergence(p: FloatArray, q: FloatArray) -> FloatArray:
    """Kullback-Leibler divergence of one share from another, with 0 ln 0 = 0."""
    q = np.clip(q, 1e-300, 1 - 1e-16)
    hit = np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0)
    rest = 1 - p
    return hit + np.where(rest > 0, rest * np.log(np.maximum(rest, 1e-300) / (1 - q)), 0.0)
