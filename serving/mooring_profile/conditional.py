"""The evidence behind `windows`: an exact test of two proportions that never guesses the world.

In one window the arms have n_c and n_s rows and K hits between them. Where a hit does not depend on
the arm, each way in which the K hits can fall on the rows is as likely as any other, so that the
candidate's hits are hypergeometric whatever the rate of hits is: it may change from window to
window, triple for both arms or follow the day. For a fixed odds ratio t > 1 therefore

    e = t^k_c / (H_K (1 + d (M - 1))^n_c),    H_K = E[t^Hypergeometric(n, K, n_c)],

has expectation at most 1 while candidate - stable <= d (d >= 0) in the window, for the M below.
For d = 0 that is Fisher's conditional likelihood ratio: fewer hits of the candidate make it
smaller, since H_{K+1} <= t H_K. For d > 0 think of the candidate's hits as those that stable would
have had and, with probability at most d a row, extra ones. One extra hit multiplies e by
t H_K / H_{K+1}. H_K is a coefficient of (1 + t z)^n_c (1 + z)^n_s, which has real roots only, over
the binomial one; by Newton's inequality that ratio rises with K. Errors being rare, H_K is replaced
above a rate of `COMMON` by its larger continuation with the ratio M that it has there: then M
bounds all. Extra hits and others exclude each other in a row, which makes the expectation of the
product at most that of the factors (Chebyshev's inequality for sums).

For t < 1 the same e, with d the least excess, speaks against candidate - stable >= d, and for d < 0
the arms change places (t becomes 1 / t). Windows follow each other, so their e-values multiply: at
any look the product reaches 1 / alpha with probability at most alpha (Ville's inequality). Sources:
conditional e-values for 2 x 2 tables: Turner and Gruenwald, arXiv 2302.11401; time-varying rates
shared by the arms: Lindon and Malek, arXiv 2011.03567.
"""

import math
from functools import lru_cache

import numpy as np

from mooring_profile.fields import FloatArray

ODDS = np.array((1.15, 1.4, 1.8, 2.5, 3.5, 5.0, 8.0))
"""t: odds ratios that are bet on, with their prior weights."""
ODDS_WEIGHTS = np.array((1.0, 1.0, 2.0, 3.0, 4.0, 4.0, 2.0)) / 17
ALONE = np.array((0.02, 0.3, 0.6))
"""Rates, as parts of the limit, that one arm alone is bet to have."""
ALONE_SHARE = 0.25
"""Part of the fortune that bets on one arm alone, where the hypothesis says something of it."""
COMMON = 0.1
"""Share of hits up to which H is exact. Below it M, and with it what the margin costs, is small."""
MOST_TERMS = 100_000
"""Terms of H that are summed; in larger windows H is continued from no hits on."""
_LARGEST_LIMIT = 1 - 1e-9


def log_tilt(stable_n: int, candidate_n: int, hits: int) -> tuple[FloatArray, FloatArray]:
    """Returns log H_K and log M, [odds] each, for the odds ratios `ODDS`.

    Args:
        stable_n: rows of the stable arm, >= 1.
        candidate_n: rows of the candidate, >= 1.
        hits: hits of both, 0 to the sum of rows.
    """
    rows = stable_n + candidate_n
    common = math.ceil(COMMON * rows)
    if min(common + 1, candidate_n) > MOST_TERMS:
        common = 0
    common = min(common, rows - 1)
    below = _log_expectation(stable_n, candidate_n, common)
    step = _log_expectation(stable_n, candidate_n, common + 1) - below
    if hits <= common:
        return _log_expectation(stable_n, candidate_n, hits), np.log(ODDS) - step
    return below + (hits - common) * step, np.log(ODDS) - step


@lru_cache(maxsize=4096)
def _log_expectation(stable_n: int, candidate_n: int, hits: int) -> FloatArray:
    """Logarithm of E[t^k] for hypergeometric k, whose law is built by its recursion."""
    fewest, most = max(0, hits - stable_n), min(hits, candidate_n)
    k = np.arange(fewest, most, dtype=np.float64)
    ratios = (hits - k) * (candidate_n - k) / ((k + 1) * (stable_n - hits + k + 1))
    chances = np.concatenate(([0.0], np.cumsum(np.log(ratios))))
    tilted = chances + np.multiply.outer(np.log(ODDS), np.arange(fewest, most + 1))
    return log_sum(tilted) - log_sum(chances)


def log_worse_window(
    stable: tuple[int, int], candidate: tuple[int, int], deltas: FloatArray
) -> FloatArray:
    """Returns log e of one window against candidate - stable <= delta.

    Args:
        stable: rows and hits of the stable arm, hits within rows.
        candidate: rows and hits of the candidate.
        deltas: [deltas], each within [-1, 1].

    Returns:
        float64 [deltas, bets], one column for each of `ODDS` and of `ALONE`; to be summed over
        windows and then averaged with `log_prior(deltas)`.
    """
    (n_s, k_s), (n_c, k_c) = stable, candidate
    if n_s == 0 or n_c == 0:
        return np.zeros((deltas.size, ODDS.size + ALONE.size))
    log_h, log_m = log_tilt(n_s, n_c, k_s + k_c)
    above = np.maximum(deltas, 0.0)[:, None]
    below = np.clip(-deltas, 0.0, _LARGEST_LIMIT)[:, None]
    allowed = n_c * np.log1p(above * np.expm1(log_m))
    # An extra hit of stable multiplies by H_K / H_{K+1}, at most M / t.
    allowed += n_s * np.log1p(below * np.expm1(log_m - np.log(ODDS)))
    arms = k_c * np.log(ODDS) - log_h - allowed
    # Where delta < 0, the stable arm's rate is at least -delta: it can be bet against alone.
    alone = k_s * np.log(ALONE) + (n_s - k_s) * (np.log1p(-below * ALONE) - np.log1p(-below))
    return np.concatenate([arms, alone], axis=1)


def log_better_window(
    stable: tuple[int, int], candidate: tuple[int, int], deltas: FloatArray
) -> FloatArray:
    """Returns log e of one window against candidate - stable >= delta; as `log_worse_window`.

    It is the same with the arms exchanged. Prior: `log_prior(-deltas)`.
    """
    return log_worse_window(candidate, stable, -deltas)


def log_prior(deltas: FloatArray) -> FloatArray:
    """Returns the logarithms of the bets' weights [deltas, bets]; each row's weights sum to 1."""
    split = np.where(deltas < 0, ALONE_SHARE, 0.0)[:, None]
    with np.errstate(divide="ignore"):
        return np.log(
            np.concatenate(
                [(1 - split) * ODDS_WEIGHTS, split * np.full(ALONE.size, 1 / ALONE.size)], axis=1
            )
        )


def log_sum(logs: FloatArray) -> FloatArray:
    """Returns log(sum(exp(logs))) over the last axis, of which one element must be finite."""
    highest: FloatArray = np.max(logs, axis=-1, keepdims=True)
    total: FloatArray = np.sum(np.exp(logs - highest), axis=-1)
    return np.log(total) + highest[..., 0]
