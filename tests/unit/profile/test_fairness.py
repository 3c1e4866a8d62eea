"""Differences between groups: limits against a grid, verdicts, and groups that are too small."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize as scipy_optimize
from scipy import stats as scipy_stats

from mooring_profile.confusion import Confusion
from mooring_profile.errors import CountsInvalid
from mooring_profile.fairness import (
    FairnessMetric,
    FairnessPolicy,
    FairnessVerdict,
    Hits,
    difference_limits,
    hits_of,
    judge_fairness,
    likeliest_by_difference,
    likeliest_by_ratio,
    ratio_limits,
)

stats: Any = scipy_stats  # scipy has no annotations
optimize: Any = scipy_optimize
SELECTED = FairnessMetric.SELECTION_RATE


def on_a_grid(one: Hits, two: Hits, alpha: float) -> tuple[np.ndarray[Any, Any], ...]:
    """All pairs of rates that the sequence holds, with scipy's beta-binomial law."""
    grid = np.linspace(0, 1, 1201)

    def log_ratio(group: Hits) -> Any:
        n, k = int(group.rows), int(group.hits)
        mixture = stats.betabinom.logpmf(k, n, 0.5, 0.5)
        return stats.binom.logpmf(k, n, grid) - mixture

    held = log_ratio(one)[:, None] + log_ratio(two)[None, :] >= math.log(alpha)
    first, second = np.meshgrid(grid, grid, indexing="ij")
    return first[held], second[held]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Hits(300, 120), Hits(250, 60)),
        (Hits(400, 2), Hits(300, 0)),
        (Hits(200, 200), Hits(900, 450)),
    ],
)
def test_limits_are_the_extremes_over_a_grid(one: Hits, two: Hits) -> None:
    first, second = on_a_grid(one, two, 0.05)
    lower, upper = difference_limits(one, two, 0.05)
    assert lower == pytest.approx(float((first - second).min()), abs=0.002)
    assert upper == pytest.approx(float((first - second).max()), abs=0.002)
    low, high = ratio_limits(one, two, 0.05)
    inside = second > 0.02
    ratios = first[inside] / second[inside]
    assert low <= float(ratios.min()) + 0.01
    assert high >= float(ratios.max()) - 0.01
    if two.hits > 50:
        assert low == pytest.approx(float(ratios.min()), abs=0.02)
        assert high == pytest.approx(float(ratios.max()), abs=0.02)


@settings(deadline=None)
@given(
    rows=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_limits_hold_what_was_seen_and_mirror_each_other(
    rows: tuple[int, int], shares: tuple[float, float]
) -> None:
    one, two = (Hits(n, round(n * share)) for n, share in zip(rows, shares, strict=True))
    lower, upper = difference_limits(one, two, 0.05)
    seen = one.hits / one.rows - two.hits / two.rows
    assert -1 <= lower <= seen <= upper <= 1
    back = difference_limits(two, one, 0.05)
    assert back == pytest.approx((-upper, -lower), abs=1e-6)
    low, high = ratio_limits(one, two, 0.05)
    assert 0 <= low <= high
    if two.hits:
        assert low <= one.hits / one.rows / (two.hits / two.rows) * (1 + 1e-9)


@settings(deadline=None, max_examples=50)
@given(
    rows=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    difference=st.floats(-0.99, 0.99),
    ratio=st.floats(0.01, 1),
)
def test_likeliest_rates_are_those_of_a_numeric_search(
    rows: tuple[int, int], shares: tuple[float, float], difference: float, ratio: float
) -> None:
    one, two = (Hits(n, round(n * share)) for n, share in zip(rows, shares, strict=True))

    def loss(first: float, second: float) -> float:
        total = 0.0
        for group, rate in ((one, first), (two, second)):
            inside = min(1 - 1e-12, max(1e-12, rate))
            total -= group.hits * math.log(inside)
            total -= (group.rows - group.hits) * math.log1p(-inside)
        return total

    def searched(pair: Callable[[float], tuple[float, float]], span: tuple[float, float]) -> float:
        def along(second: float) -> float:
            return loss(*pair(second))

        return float(optimize.minimize_scalar(along, bounds=span, method="bounded").fun)

    span = max(0.0, -difference), min(1.0, 1.0 - difference)
    best = searched(lambda q: (min(1.0, max(0.0, q + difference)), q), span)
    assert loss(*likeliest_by_difference(one, two, difference)) <= best + 1e-4 * (1 + abs(best))
    best = searched(lambda q: (ratio * q, q), (0.0, 1.0))
    assert loss(*likeliest_by_ratio(one, two, ratio)) <= best + 1e-4 * (1 + abs(best))


def test_limits_become_narrower_with_more_rows() -> None:
    widths: list[float] = []
    for rows in (300, 3000, 30_000):
        lower, upper = difference_limits(Hits(rows, 0.4 * rows), Hits(rows, 0.3 * rows), 0.05)
        widths.append(upper - lower)
    assert widths[0] > 2.5 * widths[1] > 6 * widths[2]


def test_rates_of_a_group_are_those_of_its_confusion() -> None:
    confusion = Confusion(tp=30, fp=10, fn=20, tn=40)
    assert hits_of(SELECTED, confusion) == Hits(100, 40)
    assert hits_of(FairnessMetric.TRUE_POSITIVE_RATE, confusion) == Hits(50, 30)
    assert hits_of(FairnessMetric.FALSE_POSITIVE_RATE, confusion) == Hits(50, 10)
    for metric, rate in (
        (SELECTED, confusion.selection_rate),
        (FairnessMetric.TRUE_POSITIVE_RATE, confusion.recall),
        (FairnessMetric.FALSE_POSITIVE_RATE, confusion.false_positive_rate),
    ):
        found = hits_of(metric, confusion)
        assert found.hits / found.rows == rate


def test_groups_are_unfair_when_the_whole_interval_is_beyond_the_tolerance() -> None:
    groups = {"a": Hits(4000, 2000), "b": Hits(4000, 1200), "c": Hits(4000, 1900)}
    found = judge_fairness(SELECTED, groups, FairnessPolicy(tolerance=0.1))
    assert found.verdict is FairnessVerdict.UNFAIR
    assert found.widest is not None
    assert (found.widest.first, found.widest.second) == ("a", "b")
    assert found.widest.lower > 0.1
    assert found.widest.ratio == pytest.approx(0.6)
    assert "0.5 for a and 0.3 for b" in found.message


def test_groups_are_fair_when_all_intervals_are_within_the_tolerance() -> None:
    groups = {"a": Hits(40_000, 8000), "b": Hits(30_000, 6100)}
    assert judge_fairness(SELECTED, groups, FairnessPolicy()).verdict is FairnessVerdict.FAIR
    few = {"a": Hits(400, 80), "b": Hits(300, 61)}
    assert judge_fairness(SELECTED, few, FairnessPolicy()).verdict is FairnessVerdict.UNDECIDED


def test_four_fifths_rule_is_judged_when_asked_for() -> None:
    groups = {"a": Hits(40_000, 4000), "b": Hits(40_000, 2400)}  # 10 % and 6 %
    assert judge_fairness(SELECTED, groups, FairnessPolicy()).verdict is FairnessVerdict.FAIR
    policy = FairnessPolicy(least_ratio=0.8)
    assert judge_fairness(SELECTED, groups, policy).verdict is FairnessVerdict.UNFAIR
    equal = {"a": Hits(40_000, 4000), "b": Hits(40_000, 3950)}
    assert judge_fairness(SELECTED, equal, policy).verdict is FairnessVerdict.FAIR


def test_small_groups_are_named_and_not_compared() -> None:
    groups = {"a": Hits(4000, 2000), "b": Hits(4000, 2010), "tiny": Hits(199, 0)}
    found = judge_fairness(SELECTED, groups, FairnessPolicy())
    assert found.insufficient == ("tiny",)
    assert "tiny" not in found.rates
    clustered = judge_fairness(SELECTED, groups, FairnessPolicy(design_effect=30.0))
    assert clustered.verdict is FairnessVerdict.INSUFFICIENT
    assert clustered.widest is None
    assert "a, b, tiny" in clustered.message


def test_groups_without_any_hit_have_no_ratio() -> None:
    groups = {"a": Hits(400, 0), "b": Hits(400, 0)}
    found = judge_fairness(SELECTED, groups, FairnessPolicy())
    assert found.widest is not None
    assert found.widest.ratio is None
    assert found.widest.ratio_upper is None


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(CountsInvalid, match="7 hits in 5 rows"):
        Hits(5, 7)
    with pytest.raises(CountsInvalid, match="alpha"):
        FairnessPolicy(alpha=0)
    with pytest.raises(CountsInvalid, match="tolerance"):
        FairnessPolicy(tolerance=1.5)
    with pytest.raises(CountsInvalid, match="least_ratio"):
        FairnessPolicy(least_ratio=1.5)
    with pytest.raises(CountsInvalid, match="design_effect"):
        FairnessPolicy(design_effect=0)
