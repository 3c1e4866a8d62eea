import json
import math
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mooring_profile import (
    Agreement,
    CountsInvalid,
    HistogramStratum,
    compare_distributions,
    disagreement,
    judge_disagreement,
)
from mooring_profile.disagreement import log_above

stats: Any = scipy_stats  # scipy has no annotations


def test_evidence_is_the_mean_binomial_likelihood_ratio() -> None:
    alternatives = 0.05 + disagreement.PARTS * 0.95
    ratios = stats.binom.pmf(9, 80, alternatives) / stats.binom.pmf(9, 80, 0.05)
    assert log_above(80, 9, 0.05) == pytest.approx(math.log(ratios.mean()), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0.001, 0.999),
    st.integers(0, 100).map(lambda percent: percent / 100),
    st.integers(0, 60),
)
def test_evidence_has_expectation_at_most_one_below_the_limit(
    limit: float, part: float, n: int
) -> None:
    total = sum(
        stats.binom.pmf(k, n, part * limit) * math.exp(log_above(n, k, limit)) for k in range(n + 1)
    )
    assert total <= 1 + 1e-9


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 500), st.floats(0, 1), st.floats(0.001, 0.5))
def test_verdict_follows_from_the_limits(rows: int, part: float, tolerated: float) -> None:
    found = judge_disagreement(rows, round(part * rows), alpha=0.05, tolerated=tolerated)
    assert 0 <= found.lower <= found.upper <= 1
    assert (found.verdict is Agreement.DIFFERS) == (found.lower > tolerated)
    assert (found.verdict is Agreement.SAME) == (found.upper < tolerated)
    json.dumps(asdict(found), allow_nan=False)


def test_shadow_differs_is_the_same_or_stays_open() -> None:
    def verdict(disagreeing: int, rows: int) -> Agreement:
        return judge_disagreement(rows, disagreeing, alpha=0.01, tolerated=0.05).verdict

    assert verdict(60, 500) is Agreement.DIFFERS
    assert verdict(2, 500) is Agreement.SAME
    assert verdict(25, 500) is Agreement.UNDECIDED
    assert verdict(0, 0) is Agreement.UNDECIDED


@pytest.mark.parametrize(
    ("rows", "disagreeing", "alpha", "tolerated"),
    [(5, 6, 0.05, 0.1), (5, -1, 0.05, 0.1), (5, 1, 1.0, 0.1), (5, 1, 0.05, 0.0)],
)
def test_disagreement_is_refused_when_an_input_is_out_of_range(
    rows: int, disagreeing: int, alpha: float, tolerated: float
) -> None:
    with pytest.raises(CountsInvalid):
        judge_disagreement(rows, disagreeing, alpha=alpha, tolerated=tolerated)


# --- distributions of answers -----------------------------------------------------------------


def compared(
    *strata: HistogramStratum, ordered: bool = True, margin: float = 0.05, alpha: float = 0.01
) -> Any:
    return compare_distributions(strata, ordered=ordered, alpha=alpha, margin=margin)


FLAT = (500, 500, 500, 500)


def test_estimate_is_the_distance_of_kolmogorov_and_smirnov() -> None:
    stable, candidate = (40, 30, 20, 10), (10, 20, 30, 40)
    rows = [[row for row, n in enumerate(arm) for _ in range(n)] for arm in (stable, candidate)]
    found = compared(HistogramStratum(stable, candidate))
    assert found.estimate == pytest.approx(stats.ks_2samp(*rows).statistic)
    assert found.event == 1
    assert (found.stable_share, found.candidate_share) == pytest.approx((0.7, 0.3))
    assert (found.n_stable, found.n_candidate) == (100, 100)


def test_distributions_differ_when_scores_moved_by_more_than_the_margin() -> None:
    found = compared(HistogramStratum(FLAT, (200, 500, 500, 800), 0.5))
    assert found.verdict is Agreement.DIFFERS
    assert 0.05 < found.lower < found.estimate < found.upper


@pytest.mark.parametrize("ordered", [True, False])
def test_distributions_are_the_same_when_many_rows_say_so(ordered: bool) -> None:
    many = tuple(10 * count for count in FLAT)
    found = compared(HistogramStratum(many, many, 0.5), ordered=ordered)
    assert found.verdict is Agreement.SAME
    assert found.upper < 0.05
    few = HistogramStratum((5, 5, 5, 5), (5, 5, 5, 5))
    assert compared(few, ordered=ordered).verdict is Agreement.UNDECIDED


def test_trivial_difference_is_no_difference_in_a_million_rows() -> None:
    near = (260_000, 250_000, 250_000, 240_000)
    found = compared(HistogramStratum((250_000,) * 4, near, 0.5))
    assert found.verdict is Agreement.SAME


def test_classes_are_named_when_their_shares_differ() -> None:
    found = compared(HistogramStratum((800, 100, 100), (600, 100, 300)), ordered=False)
    assert found.verdict is Agreement.DIFFERS
    assert found.event in {0, 2}
    two = compared(HistogramStratum((800, 200), (800, 200)), ordered=False)
    assert two.event == 0


def test_world_that_moves_between_steps_is_no_difference_of_the_arms() -> None:
    found = compared(
        HistogramStratum((9000, 500), (450, 25), 0.05),
        HistogramStratum((500, 4500), (500, 4500), 0.5),
    )
    assert found.verdict is not Agreement.DIFFERS
    assert found.estimate == pytest.approx(0.0, abs=1e-3)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=3, max_size=3),
    st.lists(st.integers(0, 300), min_size=3, max_size=3),
    st.booleans(),
)
def test_verdict_on_distributions_follows_from_the_limits_in_any_order(
    stable: list[int], candidate: list[int], ordered: bool
) -> None:
    one = HistogramStratum(tuple(stable), tuple(candidate))
    other = HistogramStratum((9, 5, 7), (1, 2, 0), 0.1)
    found = compared(one, other, ordered=ordered)
    assert 0 <= found.lower <= found.upper <= 1
    assert (found.verdict is Agreement.DIFFERS) == (found.lower > 0.05)
    assert (found.verdict is Agreement.SAME) == (found.upper < 0.05)
    assert compared(other, one, ordered=ordered) == found


@pytest.mark.parametrize(
    ("stratum", "alpha", "margin", "message"),
    [
        (HistogramStratum((1, 2), (1, 2, 3)), 0.01, 0.05, "bins"),
        (HistogramStratum((1,), (1,)), 0.01, 0.05, "bins"),
        (HistogramStratum((1, -2), (1, 2)), 0.01, 0.05, r"strata\[0\]"),
        (HistogramStratum((1, 2), (1, 2), 1.0), 0.01, 0.05, "weight"),
        (HistogramStratum((1, 2), (1, 2)), 0.0, 0.05, "alpha"),
        (HistogramStratum((1, 2), (1, 2)), 0.01, 1.0, "margin"),
    ],
)
def test_distributions_are_refused_when_an_input_is_out_of_range(
    stratum: HistogramStratum, alpha: float, margin: float, message: str
) -> None:
    with pytest.raises(CountsInvalid, match=message):
        compared(stratum, alpha=alpha, margin=margin)


def test_nothing_seen_is_undecided() -> None:
    found = compared()
    assert found.verdict is Agreement.UNDECIDED
    assert (found.estimate, found.event, found.lower, found.upper) == (None, None, 0.0, 1.0)
