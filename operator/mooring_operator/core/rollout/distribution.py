"""Whether candidate and stable spread their answers alike, from the arms' bins of the score.

Nobody is blamed by it: a new model may be meant to answer otherwise. It holds the rollout until
somebody looks, where `rollout.analysis.maxDistributionShift` says how much is expected.
"""

from collections.abc import Iterable
from functools import lru_cache

from mooring_operator.api.analysis_status import DistributionStatus
from mooring_operator.api.deployment import Analysis
from mooring_operator.core.observation import ArmCounts
from mooring_profile import (
    DistributionComparison,
    HistogramStratum,
    compare_distributions,
)

REMEMBERED = 1024
"""Comparisons that are kept: a look that finds the same counts costs nothing."""
DIGITS = 6

ArmPair = tuple[ArmCounts, ArmCounts, float | None]
"""Stable and candidate in one step, and the candidate's announced share."""


def judge_distribution(settings: Analysis, pairs: Iterable[ArmPair]) -> DistributionStatus | None:
    """The verdict over all steps; None where none is asked for or nothing was counted.

    Args:
        settings: how the arms are compared.
        pairs: one a step, the latest last.
    """
    margin = settings.max_distribution_shift
    counted = [pair for pair in pairs if pair[0].answer_counts and pair[1].answer_counts]
    if margin is None or not counted:
        return None
    # Stable pods of another release may bin otherwise: the bins of the latest step count.
    edges = counted[-1][0].answer_edges
    strata = tuple(
        HistogramStratum(stable.answer_counts, candidate.answer_counts, share)
        for stable, candidate, share in counted
        if stable.answer_edges == candidate.answer_edges == edges
    )
    found = _compared(strata, settings.alpha, margin)
    if found.event is None or found.stable_share is None or found.candidate_share is None:
        return None
    return DistributionStatus(
        verdict=found.verdict.value,
        below=edges[found.event],
        stable_share=round(found.stable_share, DIGITS),
        candidate_share=round(found.candidate_share, DIGITS),
        lower=round(found.lower, DIGITS),
        upper=round(found.upper, DIGITS),
        stable_rows=found.n_stable,
        candidate_rows=found.n_candidate,
    )


def in_words(found: DistributionStatus, allowed: float) -> str:
    """The difference as a person would say it."""
    return (
        f"{found.candidate_share:.1%} of its answers are below {found.below:.4g}, of stable's"
        f" {found.stable_share:.1%}; shares differ by at least {found.lower:.1%}, where"
        f" rollout.analysis.maxDistributionShift allows {allowed:.1%}"
        f" (n={found.candidate_rows} against {found.stable_rows})"
    )


@lru_cache(maxsize=REMEMBERED)
def _compared(
    strata: tuple[HistogramStratum, ...], alpha: float, margin: float
) -> DistributionComparison:
    return compare_distributions(strata, ordered=True, alpha=alpha, margin=margin)
