"""Candidate against stable on the same traffic, with verdicts that hold at any look.

Used for rollback and promotion. Input are totals per *stratum*: a stretch of a rollout in which
the share of the candidate was constant (one step). The method and its guarantee are in `betting`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mooring_profile.betting import Moments, log_better, log_worse
from mooring_profile.bisection import largest_excluded
from mooring_profile.errors import CountsInvalid
from mooring_profile.fields import FloatArray

BISECTIONS = 22
"""Limits are exact to 2^-21."""
_ROUNDING = 1e-9
_NO_WEIGHT = -1.0


class Verdict(StrEnum):
    """What a comparison says at this look."""

    PASS = "Pass"  # noqa: S105  # not a password
    """The candidate is worse by less than the margin, if at all."""
    FAIL = "Fail"
    """The candidate is worse by more than the margin."""
    UNDECIDED = "Undecided"
    """Not enough evidence for either yet."""


@dataclass(frozen=True)
class ProportionStratum:
    """Rows and hits (errors, slow answers) of both arms in one step of a rollout.

    `weight` is the announced share of the candidate, 0 to 1 exclusive, where there was one; it
    makes the comparison sharper and need not be exact. For shadowed traffic it is 0.5.
    """

    stable_n: int
    stable_k: int
    candidate_n: int
    candidate_k: int
    weight: float | None = None


@dataclass(frozen=True)
class MeanStratum:
    """Rows, sum and sum of squares of losses in [0, 1] of both arms in one step of a rollout.

    `weight` as in `ProportionStratum`.
    """

    stable_n: int
    stable_sum: float
    stable_squared_sum: float
    candidate_n: int
    candidate_sum: float
    candidate_squared_sum: float
    weight: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A verdict with what it rests on.

    Attributes:
        verdict: `FAIL` if and only if `lower > margin`, `PASS` if and only if `upper < margin`.
        estimate: candidate - stable, pooled over strata (Mantel-Haenszel); None while no stratum
            has rows of both arms.
        lower: lower limit of candidate - stable, >= -1; holds at all looks with probability
            1 - alpha.
        upper: upper limit, <= 1; likewise by itself, so that both hold with 1 - 2 alpha. Where
            steps contradict each other no difference may fit all of them; then both limits are
            that of the verdict.
        n_stable: rows of the stable arm.
        n_candidate: rows of the candidate.
        log_evidence: natural logarithm of the evidence that candidate - stable > margin; `FAIL`
            is reached at log(1 / alpha).
    """

    verdict: Verdict
    estimate: float | None
    lower: float
    upper: float
    n_stable: int
    n_candidate: int
    log_evidence: float


def compare_proportions(
    strata: Sequence[ProportionStratum], *, alpha: float, margin: float
) -> Comparison:
    """Compares the arms' proportions of hits, where a hit is bad.

    If in every step candidate - stable is at most `margin`, `FAIL` is ever given with probability
    at most alpha; if in every step it is at least `margin`, `PASS` is. `FAIL` goes before `PASS`.

    Args:
        strata: totals since the beginning of each step; the order does not matter.
        alpha: limit, 0 to 1 exclusive, on the probability of ever giving a wrong verdict in the
            rollout, however often one looks. (For any truth only one verdict can be wrong.)
        margin: harm that is tolerated, -1 to 1: a difference that nobody cares about.

    Raises:
        CountsInvalid: more hits than rows, a negative number, or alpha, margin or a weight out of
            its range.
    """
    for index, item in enumerate(strata):
        if not (0 <= item.stable_k <= item.stable_n and 0 <= item.candidate_k <= item.candidate_n):
            raise CountsInvalid(f"strata[{index}] has more hits than rows, or fewer than 0: {item}")
    means = [
        MeanStratum(
            item.stable_n,
            item.stable_k,
            item.stable_k,
            item.candidate_n,
            item.candidate_k,
            item.candidate_k,
            item.weight,
        )
        for item in strata
    ]
    return compare_means(means, alpha=alpha, margin=margin)


def compare_means(strata: Sequence[MeanStratum], *, alpha: float, margin: float) -> Comparison:
    """Compares the arms' mean losses.

    Args and errors as for `compare_proportions`; `CountsInvalid` is also raised for sums that no
    losses within [0, 1] can have.
    """
    if not 0 < alpha < 1:
        raise CountsInvalid(f"alpha is {alpha}; it must lie between 0 and 1")
    if not -1 <= margin <= 1:
        raise CountsInvalid(f"margin is {margin}; it must be within [-1, 1]")
    for index, item in enumerate(strata):
        _check(item, f"strata[{index}]")
    stable, candidate, weight = _totals(strata)
    threshold = -math.log(alpha)

    def worse(delta: float) -> float:
        return float(log_worse(stable, candidate, weight, delta))

    def better(delta: float) -> float:
        return float(log_better(stable, candidate, weight, delta))

    evidence = worse(margin)
    failed = evidence >= threshold
    passed = not failed and better(margin) >= threshold
    lower = _limit(worse, threshold, *((margin, 1.0) if failed else (-1.0, margin)))
    upper = -_limit(
        lambda mirrored: better(-mirrored),
        threshold,
        *((-margin, 1.0) if passed else (-1.0, -margin)),
    )
    verdict = Verdict.FAIL if failed else Verdict.PASS if passed else Verdict.UNDECIDED
    if failed:
        lower = max(lower, math.nextafter(margin, 2))
        upper = max(lower, upper)
    elif passed:
        upper = min(upper, math.nextafter(margin, -2))
        lower = min(lower, upper)
    return Comparison(
        verdict=verdict,
        estimate=_estimate(strata),
        lower=lower,
        upper=upper,
        n_stable=sum(item.stable_n for item in strata),
        n_candidate=sum(item.candidate_n for item in strata),
        log_evidence=evidence,
    )


def _limit(evidence: Callable[[float], float], threshold: float, low: float, high: float) -> float:
    return largest_excluded(lambda value: evidence(value) >= threshold, low, high, steps=BISECTIONS)


def _totals(strata: Sequence[MeanStratum]) -> tuple[Moments, Moments, FloatArray]:
    # Sorted, so that rounding does not depend on the order in which strata are listed.
    rows = sorted(
        (
            float(item.stable_n),
            item.stable_sum,
            item.stable_squared_sum,
            float(item.candidate_n),
            item.candidate_sum,
            item.candidate_squared_sum,
            _NO_WEIGHT if item.weight is None else item.weight,
        )
        for item in strata
        if item.stable_n and item.candidate_n
    )
    columns = np.array(rows, dtype=np.float64).reshape(-1, 7).T
    weight = np.where(columns[6] == _NO_WEIGHT, np.nan, columns[6])
    return Moments(*columns[:3]), Moments(*columns[3:6]), weight


def _estimate(strata: Sequence[MeanStratum]) -> float | None:
    differences: list[float] = []
    weights: list[float] = []
    for item in strata:
        if item.stable_n and item.candidate_n:
            weight = item.stable_n * item.candidate_n / (item.stable_n + item.candidate_n)
            weights.append(weight)
            difference = item.candidate_sum / item.candidate_n - item.stable_sum / item.stable_n
            differences.append(weight * difference)
    return math.fsum(differences) / math.fsum(weights) if weights else None


def _check(item: MeanStratum, where: str) -> None:
    arms = (
        ("stable", item.stable_n, item.stable_sum, item.stable_squared_sum),
        ("candidate", item.candidate_n, item.candidate_sum, item.candidate_squared_sum),
    )
    for arm, n, total, squares in arms:
        slack = _ROUNDING * (1 + n)
        if not (
            n >= 0
            and -slack <= total <= n + slack
            and -slack <= squares <= total + slack
            and total**2 <= n * squares + slack * (1 + n)
        ):
            raise CountsInvalid(
                f"{where}: the {arm} arm has n={n}, sum={total}, sum of squares={squares}, which "
                "no values within [0, 1] have; clip the losses before they are summed"
            )
    if item.weight is not None and not 0 < item.weight < 1:
        raise CountsInvalid(f"{where}: weight is {item.weight}; it must lie between 0 and 1")
