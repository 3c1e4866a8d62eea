"""The evidence behind `compare`: a test by betting that needs only totals per arm.

One stratum has arms of n_c and n_s rows with values in [0, 1]. Against the hypothesis that the
candidate's mean is at most the stable one's plus delta, a gambler who fixes (f, w, m) beforehand
multiplies his fortune, row by row, by

    (w / W) (1 + k / w (Y - m - delta))              for a row of the candidate,
    ((1 - w) / (1 - W)) (1 - k / (1 - w) (Y - m))    for a row of the stable arm,

with k = f min(w / (m + delta), (1 - w) / (1 - m)), so that no factor is negative. Fortunes of many
(f, w, m) are averaged with fixed prior weights; W is the share of the candidate that makes the
fortune smallest, n_c / (n_c + n_s) (universal inference, Wasserman, Ramdas and Balakrishnan 2020,
for the nuisance parameter W; betting on means: Waudby-Smith and Ramdas 2024, J. R. Stat. Soc. B
86; design-based reading: Ham, Bojinov, Lindon and Tingley, arXiv 2210.08639). By Ville's
inequality a fortune of 1 / alpha is reached with probability at most alpha, at any look, if either

- rows are assigned to arms independently with a constant, possibly unknown probability W. Then the
  factor's expectation is 1 + k (p_c - p_s - delta), whatever m is and however the world drifts; or
- each arm's mean is constant in the stratum, however rows are assigned. With x the distance of
  the stable mean from m, the fortune's expectation is then at most exp(-n KL(W || v)) <= 1 for
  v = w + k x.

Where delta < 0, a part of the fortune bets on the candidate alone against the limit 1 + delta.
"candidate - stable < delta" is the same with 1 - Y for Y.

The log fortune is a sum of log(1 + b (Y - M)), which totals do not give. But among all data with
the same n, sum and sum of squares it is smallest when Y takes two values, 0 and
y = (sum of squares) / sum (the lower principal representation, since the third derivative of the
logarithm is positive: Karlin and Studden 1966, Tchebycheff Systems, ch. III). That minimum is what
is computed: never more than the true fortune, and equal to it for 0/1 data.
"""

from dataclasses import dataclass

import numpy as np

from mooring_profile.fields import FloatArray

BETS = np.array((0.004, 0.01, 0.025, 0.06, 0.13, 0.25, 0.5, 0.75, 0.97))
"""f: parts of the largest safe bet, with their prior weights."""
BET_WEIGHTS = np.array((0.02, 0.04, 0.08, 0.16, 0.2, 0.2, 0.14, 0.08, 0.08))
CENTRES = np.array((0.0, 0.05, 0.12, 0.2, 0.3, 0.42, 0.6, 0.85))
"""m: guesses at the stable mean, as parts of its possible range, with their prior weights. Rates
of errors and mean losses are mostly small."""
CENTRE_WEIGHTS = np.array((0.3, 0.15, 0.15, 0.15, 0.1, 0.07, 0.05, 0.03))
ANNOUNCED_SHARE = 0.75
"""Part of the prior on w that stands on an announced weight."""
SHARE_NODES = np.linspace(-5.0, 5.0, 9)
"""Nodes of the integral over w, in standard errors around n_c / n on the logit scale."""
ABSOLUTE_SHARE = 0.25
"""Part of the fortune, where delta < 0, that bets on the candidate alone."""
_TINY = 1e-9


@dataclass(frozen=True)
class Moments:
    """Totals of one arm: rows, sum and sum of squares, float64 arrays [..., strata]."""

    n: FloatArray
    total: FloatArray
    squares: FloatArray

    def mirrored(self) -> "Moments":
        """Totals of 1 - Y."""
        return Moments(self.n, self.n - self.total, self.n - 2 * self.total + self.squares)


def log_worse(stable: Moments, candidate: Moments, weight: FloatArray, delta: float) -> FloatArray:
    """Returns the log evidence that candidate - stable > delta.

    Args:
        stable: totals [..., strata].
        candidate: totals [..., strata].
        weight: the announced share of the candidate [..., strata], NaN where none was. A
            good guess sharpens the test, a wrong one keeps it valid.
        delta: within [-1, 1].

    Returns:
        float64 [...], natural logarithm of an e-process.
    """
    return _log_fortune(stable, candidate, weight, delta, CENTRES)


def log_better(stable: Moments, candidate: Moments, weight: FloatArray, delta: float) -> FloatArray:
    """Returns the log evidence that candidate - stable < delta; arguments as for `log_worse`."""
    mirrored = 1 - CENTRES
    return _log_fortune(stable.mirrored(), candidate.mirrored(), weight, -delta, mirrored)


def _log_fortune(
    stable: Moments, candidate: Moments, weight: FloatArray, delta: float, centres: FloatArray
) -> FloatArray:
    low, high = max(0.0, -delta), min(1.0, 1.0 - delta)
    m = np.clip(low + centres * (high - low), _TINY, 1 - _TINY)[:, None]
    limit = np.clip(m + delta, _TINY, 1 - _TINY)
    share, log_prior = _shares(stable.n, candidate.n, weight)  # [..., strata, w]
    shape = (*share.shape, 1, 1)
    w = share.reshape(shape)  # [..., strata, w, m, f]
    k = BETS * np.minimum(w / limit, (1 - w) / (1 - m))
    logs = (
        smallest_log_fortune(candidate, k / w, limit)
        + smallest_log_fortune(stable.mirrored(), k / (1 - w), 1 - m)
        + (log_prior + _share_penalty(stable.n, candidate.n, share)).reshape(shape)
    )
    by_bet = _log_sum(logs + np.log(CENTRE_WEIGHTS)[:, None], axis=(-3, -2))  # [..., strata, f]
    if delta < -_TINY:
        # The stable mean is at most 1, so the candidate's is at most 1 + delta: no need of arms.
        alone = smallest_log_fortune(candidate, BETS / (1 + delta + _TINY), np.array(1 + delta))[
            ..., 0, 0, :
        ]
        by_bet = np.logaddexp(by_bet + np.log(1 - ABSOLUTE_SHARE), alone + np.log(ABSOLUTE_SHARE))
    return _log_sum(by_bet.sum(axis=-2) + np.log(BET_WEIGHTS), axis=(-1,))


def smallest_log_fortune(arm: Moments, bet: FloatArray, limit: FloatArray) -> FloatArray:
    """Returns the smallest sum of log(1 + bet (Y - limit)) over data with the arm's totals.

    Args:
        arm: totals [..., strata].
        bet: [..., strata, w, m, f] or broadcast to it, >= 0 and below 1 / limit.
        limit: the mean that is bet against, broadcast likewise, within (0, 1].
    """
    total = np.maximum(arm.total, 0.0)
    value = np.where(total > _TINY, arm.squares / np.maximum(total, _TINY), 1.0)
    value = np.clip(value, _TINY, 1.0)
    count = np.minimum(arm.n, total / value)
    expanded = (*arm.n.shape, 1, 1, 1)
    at_zero = np.log1p(-bet * limit)
    at_value = np.log1p(bet * (value.reshape(expanded) - limit))
    return (arm.n - count).reshape(expanded) * at_zero + count.reshape(expanded) * at_value


def _shares(
    stable_n: FloatArray, candidate_n: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Values of w and the logarithms of their prior weights, [..., strata, w] each.

    `ANNOUNCED_SHARE` of the prior is on the announced weight, the rest (or all) is Jeffreys'
    Beta(1/2, 1/2), integrated by the trapezoidal rule around the observed share.
    """
    n = stable_n + candidate_n
    observed = (candidate_n + 0.5) / (n + 1)
    error = 1 / np.sqrt((n + 1) * observed * (1 - observed))
    logit = np.log(observed / (1 - observed))[..., None] + SHARE_NODES * error[..., None]
    share = np.clip(1 / (1 + np.exp(-np.clip(logit, -40, 40))), _TINY, 1 - _TINY)
    step = (SHARE_NODES[1] - SHARE_NODES[0]) * error[..., None]
    mass: FloatArray = np.sqrt(share * (1 - share)) / np.pi * step
    mass = mass / np.maximum(1.0, np.sum(mass, axis=-1, keepdims=True))
    announced = np.isfinite(weight)[..., None]
    hint = np.clip(np.where(announced, weight[..., None], 0.5), _TINY, 1 - _TINY)
    with np.errstate(divide="ignore"):
        log_mass = np.log(np.where(announced, (1 - ANNOUNCED_SHARE) * mass, mass))
        log_hint = np.log(np.where(announced, ANNOUNCED_SHARE, 0.0))
    return np.concatenate([share, hint], axis=-1), np.concatenate([log_mass, log_hint], axis=-1)


def _share_penalty(stable_n: FloatArray, candidate_n: FloatArray, share: FloatArray) -> FloatArray:
    """Log likelihood of w below that of the best W, [..., strata, w]; never positive."""
    n = np.maximum(stable_n + candidate_n, 1.0)
    terms = candidate_n[..., None] * np.log(
        share / np.maximum(candidate_n / n, _TINY)[..., None]
    ) + stable_n[..., None] * np.log((1 - share) / np.maximum(stable_n / n, _TINY)[..., None])
    return np.minimum(terms, 0.0)


def _log_sum(logs: FloatArray, axis: tuple[int, ...]) -> FloatArray:
    highest: FloatArray = np.max(logs, axis=axis, keepdims=True, initial=-1e300)
    total: FloatArray = np.sum(np.exp(logs - highest), axis=axis)
    with np.errstate(divide="ignore"):
        return np.log(total) + highest.squeeze(axis)
