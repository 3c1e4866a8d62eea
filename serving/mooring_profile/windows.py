"""Candidate against stable, window by window: sharper than totals, and valid in any world.

For whoever sees windows (a minute, say) in their order, as `mooring compare replay` does. The
method and its guarantee are in `conditional`; `compare` judges totals of whole steps.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mooring_profile.compare import Comparison, Verdict
from mooring_profile.conditional import (
    log_better_window,
    log_prior,
    log_sum,
    log_worse_window,
)
from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import FloatArray

_STEPS = np.geomspace(0.0005, 1.0, 120)
REMEMBERED = 4096
"""Windows whose evidence is kept: the same counts come again and again."""


@dataclass(frozen=True)
class ProportionWindow:
    """Rows and hits (errors, slow answers) of both arms in one window."""

    stable_n: int
    stable_k: int
    candidate_n: int
    candidate_k: int


@dataclass(frozen=True)
class WindowTest:
    """The evidence after some windows. A value: `after` gives the next one.

    Attributes:
        alpha: limit on the probability of ever giving a wrong verdict, 0 to 1 exclusive.
        margin: harm that is tolerated, -1 to 1.
        stable_n: rows of the stable arm so far.
        candidate_n: rows of the candidate so far.
        worse: log evidence [deltas, bets] against candidate - stable <= delta.
        better: log evidence [deltas, bets] against candidate - stable >= delta.
        difference: Mantel-Haenszel sums: of weighted differences, and of weights.
    """

    alpha: float
    margin: float
    stable_n: int
    candidate_n: int
    worse: FloatArray
    better: FloatArray
    difference: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def begin(cls, *, alpha: float, margin: float) -> "WindowTest":
        """The test before the first window.

        Raises:
            CountsInvalid: alpha or margin is out of its range.
        """
        if not 0 < alpha < 1:
            raise CountsInvalid(f"alpha is {alpha}; it must lie between 0 and 1")
        if not -1 <= margin <= 1:
            raise CountsInvalid(f"margin is {margin}; it must be within [-1, 1]")
        deltas = _deltas(margin)
        return cls(alpha, margin, 0, 0, log_prior(deltas), log_prior(-deltas))

    def after(self, window: ProportionWindow) -> "WindowTest":
        """The test after one more window.

        Raises:
            CountsInvalid: more hits than rows, or a negative number.
        """
        if not (
            0 <= window.stable_k <= window.stable_n
            and 0 <= window.candidate_k <= window.candidate_n
        ):
            raise CountsInvalid(f"the window has more hits than rows, or fewer than 0: {window}")
        worse, better, difference = _evidence(window, self.margin)
        return replace(
            self,
            stable_n=self.stable_n + window.stable_n,
            candidate_n=self.candidate_n + window.candidate_n,
            worse=self.worse + worse,
            better=self.better + better,
            difference=(
                self.difference[0] + difference[0],
                self.difference[1] + difference[1],
            ),
        )

    def comparison(self) -> Comparison:
        """The verdict at this look. Limits are values of a grid, towards the safe side."""
        threshold = -np.log(self.alpha)
        deltas = _deltas(self.margin)
        worse, better = log_sum(self.worse), log_sum(self.better)
        at = int(np.searchsorted(deltas, self.margin))
        failed = bool(worse[at] >= threshold)
        passed = not failed and bool(better[at] >= threshold)
        # Evidence falls as delta rises; accumulated, so that rounding cannot make a gap.
        excluded = np.minimum.accumulate(worse) >= threshold
        lower = float(deltas[excluded][-1]) if excluded.any() else -1.0
        excluded = np.minimum.accumulate(better[::-1])[::-1] >= threshold
        upper = float(deltas[excluded][0]) if excluded.any() else 1.0
        verdict = Verdict.FAIL if failed else Verdict.PASS if passed else Verdict.UNDECIDED
        if failed:
            lower = float(max(lower, np.nextafter(self.margin, 2)))
            upper = max(lower, upper)
        elif passed:
            upper = float(min(upper, np.nextafter(self.margin, -2)))
            lower = min(lower, upper)
        else:
            lower, upper = min(lower, self.margin), max(upper, self.margin)
        return Comparison(
            verdict=verdict,
            estimate=self.difference[0] / self.difference[1] if self.difference[1] else None,
            lower=lower,
            upper=upper,
            n_stable=self.stable_n,
            n_candidate=self.candidate_n,
            log_evidence=float(worse[at]),
        )


@lru_cache(maxsize=64)
def _deltas(margin: float) -> FloatArray:
    grid = np.unique(np.concatenate([-_STEPS, [0.0, margin], _STEPS]))
    grid.flags.writeable = False
    return grid


@lru_cache(maxsize=REMEMBERED)
def _evidence(
    window: ProportionWindow, margin: float
) -> tuple[FloatArray, FloatArray, tuple[float, float]]:
    stable = (window.stable_n, window.stable_k)
    candidate = (window.candidate_n, window.candidate_k)
    deltas = _deltas(margin)
    weight = 0.0
    weighted = 0.0
    if window.stable_n and window.candidate_n:
        weight = window.stable_n * window.candidate_n / (window.stable_n + window.candidate_n)
        weighted = weight * (
            window.candidate_k / window.candidate_n - window.stable_k / window.stable_n
        )
    return (
        log_worse_window(stable, candidate, deltas),
        log_better_window(stable, candidate, deltas),
        (weighted, weight),
    )
