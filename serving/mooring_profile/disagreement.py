"""Paired shadow traffic: how often do the two models answer the same row differently?

Every row is its own pair, so there is no share and no world to guess: d of n rows disagree, against
a share that is tolerated. The evidence against "each row disagrees with probability at most r" is
the mean over rates q > r of (q / r)^d ((1 - q) / (1 - r))^(n - d), a betting martingale (Waudby-
Smith and Ramdas 2024, J. R. Stat. Soc. B 86) for which totals are enough; "at least r" likewise. It
holds at any look. A difference is not a fault: a new model may be meant to differ.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mooring_profile.bisection import largest_excluded
from mooring_profile.conditional import log_sum
from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import FloatArray

PARTS = np.geomspace(0.002, 0.9, 16)
"""Alternatives, as parts of the way from the limit to 1 (or to 0), with equal weights."""
BISECTIONS = 30
_NEAR = 1e-12


class Agreement(StrEnum):
    """Whether candidate and stable behave alike."""

    SAME = "Same"
    """They differ by less than is tolerated."""
    DIFFERS = "Differs"
    """They differ by more: a person looks at it unless it was expected."""
    UNDECIDED = "Undecided"
    """Not enough evidence for either yet."""


@dataclass(frozen=True)
class Disagreement:
    """A verdict with what it rests on.

    Attributes:
        verdict: `DIFFERS` if and only if `lower` > tolerated, `SAME` if and only if `upper` < it.
        estimate: share of rows that disagree; None without rows.
        lower: lower limit, 0 to 1; holds at all looks with probability 1 - alpha.
        upper: upper limit, likewise by itself.
        rows: rows that both answered.
        disagreeing: rows on which they disagree.
        log_evidence: natural logarithm of the evidence that more than the tolerated share differ.
    """

    verdict: Agreement
    estimate: float | None
    lower: float
    upper: float
    rows: int
    disagreeing: int
    log_evidence: float


def judge_disagreement(
    rows: int, disagreeing: int, *, alpha: float, tolerated: float
) -> Disagreement:
    """Judges rows that both revisions answered.

    Args:
        rows: since the shadow began.
        disagreeing: rows of them with different answers.
        alpha: limit, 0 to 1 exclusive, on the chance of ever giving a wrong verdict.
        tolerated: share that nobody cares about, 0 to 1 exclusive.

    Raises:
        CountsInvalid: more disagreeing rows than rows, or a number out of its range.
    """
    if not 0 < alpha < 1:
        raise CountsInvalid(f"alpha is {alpha}; it must lie between 0 and 1")
    if not 0 < tolerated < 1:
        raise CountsInvalid(f"tolerated is {tolerated}; it must lie between 0 and 1")
    if not 0 <= disagreeing <= rows:
        raise CountsInvalid(f"{disagreeing} of {rows} rows disagree; give 0 to all of them")
    threshold = -math.log(alpha)
    evidence = log_above(rows, disagreeing, tolerated)
    differs = evidence >= threshold
    same = not differs and log_above(rows, rows - disagreeing, 1 - tolerated) >= threshold
    lower = _lower(rows, disagreeing, threshold)
    upper = 1 - _lower(rows, rows - disagreeing, threshold)
    if differs:
        lower = max(lower, math.nextafter(tolerated, 2))
        upper = max(upper, lower)
    else:
        lower = min(lower, tolerated)
    if same:
        upper = min(upper, math.nextafter(tolerated, -1))
        lower = min(lower, upper)
    else:
        upper = max(upper, tolerated)
    return Disagreement(
        Agreement.DIFFERS if differs else Agreement.SAME if same else Agreement.UNDECIDED,
        disagreeing / rows if rows else None,
        lower,
        upper,
        rows,
        disagreeing,
        evidence,
    )


def log_above(n: int, k: int, limit: float) -> float:
    """Returns the log evidence that k of n came from a rate above `limit`, within (0, 1)."""
    r = min(max(limit, _NEAR), 1 - _NEAR)
    logs: FloatArray = k * np.log1p(PARTS * (1 - r) / r) + (n - k) * np.log1p(-PARTS)
    return float(log_sum(logs - math.log(PARTS.size)))


def _lower(n: int, k: int, threshold: float) -> float:
    return largest_excluded(
        lambda share: log_above(n, k, share) >= threshold, 0.0, 1.0, steps=BISECTIONS
    )
