"""Sample-ratio mismatch: do the arms get the shares that were announced?

A comparison is worth nothing when requests are lost, retried or routed unlike what was announced.
Totals of each step are enough: with n_c of n requests and a share within [a, b], the evidence is

    E = mean over prior Beta(c w, c (1 - w)) of W^n_c (1 - W)^n_s  /  max over W in [a, b] of it.

For a = b = w that is the martingale of Lindon and Malek (NeurIPS 2022, arXiv 2011.03567, eq. 8) for
two arms; the maximum makes it hold for every share in the interval (universal inference, Wasserman,
Ramdas and Balakrishnan 2020). Steps multiply. At any look P(E ever >= 1 / alpha) <= alpha.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mooring_profile.errors import CountsInvalid

CONCENTRATIONS = (20.0, 500.0, 20_000.0)
"""c, with equal weights: large and small departures from the announced share."""
_NEAR = 1e-12


class RatioVerdict(StrEnum):
    """What the arms' counts say about the announced shares."""

    MATCHED = "Matched"
    """Nothing speaks against them."""
    MISMATCHED = "Mismatched"
    """Requests do not reach the arms as announced: compare nothing by them."""


@dataclass(frozen=True)
class ArmTotals:
    """Requests of both arms in one step, and the candidate's announced share, 0 to 1 exclusive."""

    stable_n: int
    candidate_n: int
    weight: float


@dataclass(frozen=True)
class SampleRatio:
    """A verdict with what it rests on.

    Attributes:
        verdict: `MISMATCHED` if and only if `log_evidence` >= log(1 / alpha).
        expected: requests of the candidate by the announced shares.
        observed: requests of the candidate.
        requests: requests of both arms.
        log_evidence: natural logarithm of the e-process.
    """

    verdict: RatioVerdict
    expected: float
    observed: int
    requests: int
    log_evidence: float


def check_sample_ratio(
    steps: Sequence[ArmTotals], *, alpha: float = 0.0005, tolerance: float = 0.0
) -> SampleRatio:
    """Judges the arms' counts.

    Args:
        steps: totals since the beginning of each step, in any order.
        alpha: limit, 0 to 1 exclusive, on the chance of ever blaming shares that are kept.
        tolerance: relative departure of the share that nobody cares about, at least 0: with 0.1 a
            candidate announced at 5 % may get 4.5 to 5.5 %.

    Raises:
        CountsInvalid: a negative count, or a number out of its range.
    """
    if not 0 < alpha < 1:
        raise CountsInvalid(f"alpha is {alpha}; it must lie between 0 and 1")
    if not 0 <= tolerance < math.inf:
        raise CountsInvalid(f"tolerance is {tolerance}; it must be at least 0")
    for index, step in enumerate(steps):
        if step.stable_n < 0 or step.candidate_n < 0 or not 0 < step.weight < 1:
            raise CountsInvalid(
                f"steps[{index}] is {step}; counts are at least 0 and a weight between 0 and 1"
            )
    evidence = math.fsum(_log_evidence(step, tolerance) for step in steps)
    mismatched = evidence >= -math.log(alpha)
    return SampleRatio(
        RatioVerdict.MISMATCHED if mismatched else RatioVerdict.MATCHED,
        math.fsum((step.stable_n + step.candidate_n) * step.weight for step in steps),
        sum(step.candidate_n for step in steps),
        sum(step.stable_n + step.candidate_n for step in steps),
        evidence,
    )


def _log_evidence(step: ArmTotals, tolerance: float) -> float:
    n_s, n_c, w = step.stable_n, step.candidate_n, step.weight
    if n_s + n_c == 0:
        return 0.0
    low = max(w * (1 - tolerance), _NEAR)
    high = min(w * (1 + tolerance), 1 - _NEAR)
    best = min(max(n_c / (n_s + n_c), low), high)
    allowed = n_c * math.log(best) + n_s * math.log1p(-best)
    logs = [
        _log_beta(c * w + n_c, c * (1 - w) + n_s) - _log_beta(c * w, c * (1 - w)) - allowed
        for c in CONCENTRATIONS
    ]
    highest = max(logs)
    return highest + math.log(math.fsum(math.exp(log - highest) for log in logs) / len(logs))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
