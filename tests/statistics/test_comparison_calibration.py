"""Wrong verdicts on arm counts, shadow pairs and distributions stay below alpha at every look."""

from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mooring_profile import ArmTotals, HistogramStratum, check_sample_ratio
from mooring_profile.disagreement import log_above
from mooring_profile.distribution import log_differs

stats: Any = scipy_stats  # scipy has no annotations

ALPHA = 0.05


def upper_limit(hits: int, runs: int) -> float:
    return float(stats.beta.ppf(0.99, hits + 1, runs - hits))


def mismatched(share: float, announced: float, runs: int, *, tolerance: float = 0.0) -> int:
    """Runs in which the shares are ever blamed: two steps, 60 looks of 200 requests."""
    rng = np.random.default_rng(31)
    first = rng.binomial(4000, 0.5, size=runs)
    counts = np.cumsum(rng.binomial(200, share, size=(runs, 60)), axis=1)
    blamed = 0
    for run in range(runs):
        step = ArmTotals(4000 - int(first[run]), int(first[run]), 0.5)
        for look in range(60):
            n_c = int(counts[run, look])
            steps = [step, ArmTotals(200 * (look + 1) - n_c, n_c, announced)]
            found = check_sample_ratio(steps, alpha=ALPHA, tolerance=tolerance)
            if found.verdict == "Mismatched":
                blamed += 1
                break
    return blamed


@pytest.mark.parametrize(
    ("announced", "tolerance"), [(0.05, 0.0), (0.045, 1 / 9)], ids=["exact", "at the tolerance"]
)
def test_shares_that_are_kept_are_seldom_blamed(announced: float, tolerance: float) -> None:
    assert upper_limit(mismatched(0.05, announced, 600, tolerance=tolerance), 600) < ALPHA


def test_a_tenth_of_the_candidates_requests_lost_is_found() -> None:
    assert mismatched(0.45, 0.5, 100) == 100


def disagreeing(rate: float, tolerated: float, runs: int, *, above: bool = True) -> int:
    """Runs in which the evidence ever reaches 1 / alpha in 100 looks of 50 rows."""
    hits = np.cumsum(np.random.default_rng(32).binomial(50, rate, size=(runs, 100)), axis=1)
    reached = 0
    for run in hits.tolist():
        logs = (
            log_above(50 * look, k, tolerated)
            if above
            else log_above(50 * look, 50 * look - k, 1 - tolerated)
            for look, k in enumerate(run, 1)
        )
        reached += any(log >= -np.log(ALPHA) for log in logs)
    return reached


@pytest.mark.parametrize("above", [True, False], ids=["Differs", "Same"])
def test_shadow_exactly_at_the_tolerated_share_is_seldom_judged(above: bool) -> None:
    assert upper_limit(disagreeing(0.05, 0.05, 600, above=above), 600) < ALPHA


def test_shadow_that_disagrees_twice_as_often_as_tolerated_is_found() -> None:
    assert disagreeing(0.1, 0.05, 100) == 100


SCORES = np.array([0.4, 0.3, 0.2, 0.1])


def differing(candidate: Any, margin: float, runs: int, *, ordered: bool = True) -> int:
    """Runs in which the evidence ever reaches 1 / alpha in 12 looks of 500 rows at 25 %.

    The world turns round half-way: for both arms high scores become frequent.
    """
    rng = np.random.default_rng(33)
    reached = 0
    for _ in range(runs):
        totals = np.zeros((2, SCORES.size), dtype=np.int64)
        for look in range(12):
            turned = slice(None, None, -1 if look >= 6 else 1)
            n_c = int(rng.binomial(500, 0.25))
            totals[0] += rng.multinomial(500 - n_c, SCORES[turned])
            totals[1] += rng.multinomial(n_c, candidate[turned])
            stratum = HistogramStratum(tuple(totals[0].tolist()), tuple(totals[1].tolist()), 0.25)
            if log_differs([stratum], ordered=ordered, margin=margin) >= -np.log(ALPHA):
                reached += 1
                break
    return reached


@pytest.mark.parametrize("ordered", [True, False], ids=["scores", "classes"])
def test_equal_distributions_seldom_differ_although_the_world_turns_round(ordered: bool) -> None:
    assert upper_limit(differing(SCORES, 0.0, 250, ordered=ordered), 250) < ALPHA


def test_distributions_that_moved_by_more_than_the_margin_are_found() -> None:
    assert differing(np.array([0.2, 0.3, 0.3, 0.2]), 0.05, 50) == 50
