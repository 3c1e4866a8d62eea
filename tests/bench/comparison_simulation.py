"""Rollouts in simulated worlds, and how several rules judge them, vectorised over runs.

Used by `make bench-compare` and, with fewer runs, by `tests/statistics`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import stats as scipy_stats

from mooring_profile.betting import Moments, log_worse
from mooring_profile.conditional import log_better_window, log_prior, log_sum, log_worse_window

stats: Any = scipy_stats  # scipy has no annotations

REQUESTS = 200
"""A window: a minute of 200 requests."""
CHANGE = 60
NEVER = 10**9

Rates = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]


def steady(windows: int) -> Rates:
    return np.full(windows, 0.02)


def tripled(windows: int) -> Rates:
    """Three times worse for both arms from minute 60 on."""
    return np.where(np.arange(windows) < CHANGE, 0.02, 0.06)


def daily(windows: int) -> Rates:
    """Two cycles: from a tenth of a percent to almost four percent."""
    return 0.02 * (1 + 0.95 * np.sin(np.arange(windows) / windows * 4 * np.pi))


WORLDS = {"no difference": steady, "three times worse": tripled, "daily cycle": daily}


@dataclass(frozen=True)
class Rollouts:
    """Counts [runs, windows] of both arms and the candidate's announced share."""

    stable_n: Counts
    stable_k: Counts
    candidate_n: Counts
    candidate_k: Counts
    share: float


def simulate(
    stable: Rates, candidate: Rates, share: float, runs: int, rng: np.random.Generator
) -> Rollouts:
    """Each request goes to the candidate with probability `share`, and fails at its arm's rate."""
    n_c = rng.binomial(REQUESTS, share, size=(runs, len(stable)))
    n_s = REQUESTS - n_c
    return Rollouts(n_s, rng.binomial(n_s, stable), n_c, rng.binomial(n_c, candidate), share)


@cache
def _window(stable: tuple[int, int], candidate: tuple[int, int], margin: float, worse: bool) -> Any:
    judge = log_worse_window if worse else log_better_window
    return judge(stable, candidate, np.array([margin]))[0]


def window_evidence(rollouts: Rollouts, margin: float, *, worse: bool = True) -> Rates:
    """Log evidence [runs, windows] of `mooring_profile.windows` at each look."""
    counts = np.stack(
        [rollouts.stable_n, rollouts.stable_k, rollouts.candidate_n, rollouts.candidate_k], axis=-1
    )
    kinds, which = np.unique(counts.reshape(-1, 4), axis=0, return_inverse=True)
    each = np.array([_window((a, b), (c, d), margin, worse) for a, b, c, d in kinds.tolist()])
    logs = np.cumsum(each[which.ravel()].reshape(*counts.shape[:2], -1), axis=1)
    return log_sum(logs + log_prior(np.array([margin if worse else -margin])))


def totals_evidence(rollouts: Rollouts, margin: float) -> Rates:
    """Log evidence [runs, windows] of `mooring_profile.compare`, which the operator uses."""

    def arm(n: Counts, k: Counts) -> Moments:
        hits = np.cumsum(k, axis=1)[..., None].astype(np.float64)
        return Moments(np.cumsum(n, axis=1)[..., None].astype(np.float64), hits, hits)

    stable = arm(rollouts.stable_n, rollouts.stable_k)
    candidate = arm(rollouts.candidate_n, rollouts.candidate_k)
    weight = np.full(stable.n.shape, rollouts.share)
    # In parts: each look costs 720 bets.
    parts = [
        log_worse(
            Moments(stable.n[at], stable.total[at], stable.squares[at]),
            Moments(candidate.n[at], candidate.total[at], candidate.squares[at]),
            weight[at],
            margin,
        )
        for at in np.array_split(np.arange(len(weight)), max(1, weight.size // 10_000))
    ]
    return np.concatenate(parts)


def repeated_z_test(rollouts: Rollouts, alpha: float) -> Any:
    """The usual two-sample z-test on the totals, one-sided, at each look [runs, windows]."""
    n_s, k_s, n_c, k_c = (
        np.cumsum(item, axis=1)
        for item in (
            rollouts.stable_n, rollouts.stable_k, rollouts.candidate_n, rollouts.candidate_k,
        )
    )  # fmt: skip
    pooled = (k_s + k_c) / (n_s + n_c)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n_s + 1 / np.maximum(n_c, 1)))
    z = (k_c / np.maximum(n_c, 1) - k_s / n_s) / np.maximum(error, 1e-12)
    return (z > stats.norm.isf(alpha)) & (k_c > 0)


def half_above_baseline(rollouts: Rollouts, windows: int = 20) -> Any:
    """The usual rule: errors above 1.5 times the 2 % of before, over 20 minutes [runs, windows]."""

    def lately(counts: Counts) -> Counts:
        total = np.cumsum(counts, axis=1)
        total[:, windows:] = total[:, windows:] - total[:, :-windows].copy()
        return total

    n_c, k_c = lately(rollouts.candidate_n), lately(rollouts.candidate_k)
    fired: Any = k_c > 1.5 * 0.02 * n_c
    fired[:, : windows - 1] = False
    return fired


def first_look(reached: Any) -> Counts:
    """The first window [runs], from 1, at which a rule fires; `NEVER` if none."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, NEVER)


def limits(hits: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson limits of a rate."""
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, runs - hits + 1)) if hits else 0.0
    high = float(stats.beta.isf(tail, hits + 1, runs - hits)) if hits < runs else 1.0
    return low, high
