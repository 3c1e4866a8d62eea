import json
import math
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mooring_profile import CountsInvalid, ProportionWindow, Verdict, WindowTest, conditional
from mooring_profile.conditional import (
    log_better_window,
    log_prior,
    log_sum,
    log_tilt,
    log_worse_window,
)

stats: Any = scipy_stats  # scipy has no annotations
Table = tuple[int, int]


def evidence(stable: Table, candidate: Table, delta: float, *, worse: bool) -> float:
    deltas = np.array([delta])
    judge = log_worse_window if worse else log_better_window
    prior = log_prior(deltas if worse else -deltas)
    return float(log_sum(judge(stable, candidate, deltas) + prior)[0])


def exact_tilt(n_s: int, n_c: int, hits: int) -> list[float]:
    k = np.arange(0, n_c + 1)
    chances = stats.hypergeom.pmf(k, n_s + n_c, hits, n_c)
    return [math.log((chances * odds**k).sum()) for odds in conditional.ODDS]


@pytest.mark.parametrize(
    ("n_s", "n_c", "hits"), [(190, 10, 5), (10, 190, 5), (100, 100, 20), (7, 3, 1), (5, 5, 0)]
)
def test_tilt_is_the_expectation_over_the_hypergeometric_law_while_hits_are_rare(
    n_s: int, n_c: int, hits: int
) -> None:
    assert log_tilt(n_s, n_c, hits)[0] == pytest.approx(exact_tilt(n_s, n_c, hits), abs=1e-9)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
@settings(max_examples=50, deadline=None)
def test_tilt_is_never_less_and_its_growth_bounds_what_an_extra_hit_gains(
    n_s: int, n_c: int, data: st.DataObject
) -> None:
    hits = data.draw(st.integers(0, n_s + n_c - 1))
    tilt, gain = log_tilt(n_s, n_c, hits)
    following, same = log_tilt(n_s, n_c, hits + 1)
    assert (tilt >= np.array(exact_tilt(n_s, n_c, hits)) - 1e-9).all()
    assert (np.log(conditional.ODDS) - (following - tilt) <= gain + 1e-9).all()
    assert (following - tilt <= np.log(conditional.ODDS) + 1e-9).all()
    assert (gain == same).all()


def test_evidence_is_fishers_conditional_likelihood_ratio_when_nothing_is_tolerated() -> None:
    stable, candidate = (190, 4), (10, 3)
    arguments = (200, 7, 10)
    expected = [
        stats.nchypergeom_fisher.logpmf(3, *arguments, odds) - stats.hypergeom.logpmf(3, *arguments)
        for odds in conditional.ODDS
    ]
    found = log_worse_window(stable, candidate, np.zeros(1))[0, : conditional.ODDS.size]
    assert found == pytest.approx(expected, abs=1e-6)


def test_tilt_of_large_windows_is_bounded_from_above(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = log_tilt(3000, 1000, 150)[0]
    monkeypatch.setattr(conditional, "MOST_TERMS", 10)
    bound = log_tilt(3000, 1000, 150)[0]
    assert (bound >= exact).all()
    assert (bound <= exact + 0.05 * exact).all()
    assert log_tilt(30_000_000, 10_000_000, 9_000_000)[0] == pytest.approx(
        9_000_000 * np.log1p((conditional.ODDS - 1) / 4)
    )


def expectation(n_s: int, n_c: int, rates: tuple[float, float], delta: float, worse: bool) -> float:
    """Exact, for rates (stable, candidate) that are constant in the window."""
    total = 0.0
    for k_s, k_c in product(range(n_s + 1), range(n_c + 1)):
        chance = stats.binom.pmf(k_s, n_s, rates[0]) * stats.binom.pmf(k_c, n_c, rates[1])
        total += chance * math.exp(evidence((n_s, k_s), (n_c, k_c), delta, worse=worse))
    return float(total)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 100).map(lambda percent: percent / 100),
    st.sampled_from([-0.6, -0.1, -0.01, 0.0, 0.01, 0.1, 0.6]),
    st.booleans(),
)
def test_evidence_has_expectation_at_most_one_when_rates_differ_by_the_margin(
    n_s: int, n_c: int, rate: float, delta: float, worse: bool
) -> None:
    stable = max(0.0, -delta) + rate * (1 - abs(delta))
    rates = (stable, min(max(stable + delta, 0.0), 1.0))
    assert expectation(n_s, n_c, rates, delta, worse) <= 1 + 1e-9


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 0.95), st.sampled_from([0.0, 0.1, -0.1]), st.booleans(), st.booleans())
def test_evidence_has_expectation_at_most_one_when_the_world_changes_within_the_window(
    share: float, delta: float, worse: bool, breaks: bool
) -> None:
    # Rows are assigned at random with any share; stable's rate goes from row to row.
    world = [0.1] * 3 + [0.85] * 3 if breaks else [0.1, 0.85] * 3
    law: dict[tuple[int, int, int], float] = {(0, 0, 0): 1.0}
    for rate in world:
        after: dict[tuple[int, int, int], float] = {}
        for (n_c, k_c, k_s), mass in law.items():
            for key, chance in (
                ((n_c + 1, k_c + 1, k_s), share * (rate + delta)),
                ((n_c + 1, k_c, k_s), share * (1 - rate - delta)),
                ((n_c, k_c, k_s + 1), (1 - share) * rate),
                ((n_c, k_c, k_s), (1 - share) * (1 - rate)),
            ):
                after[key] = after.get(key, 0.0) + mass * chance
        law = after
    total = sum(
        mass * math.exp(evidence((6 - n_c, k_s), (n_c, k_c), delta, worse=worse))
        for (n_c, k_c, k_s), mass in law.items()
    )
    assert total <= 1 + 1e-9


def test_evidence_has_expectation_at_most_one_for_any_outcomes_that_no_arm_changes() -> None:
    # Errors that come in bursts: which rows fail is fixed, only the assignment is random.
    for hits in range(9):
        total = 0.0
        for k_c in range(max(0, hits - 5), min(3, hits) + 1):
            chance = stats.hypergeom.pmf(k_c, 8, hits, 3)
            total += chance * math.exp(evidence((5, hits - k_c), (3, k_c), 0.0, worse=True))
        assert total <= 1 + 1e-9
        assert hits > 1 or total == pytest.approx(1)


@pytest.mark.parametrize("delta", [-0.3, 0.0, 0.3])
def test_prior_weights_sum_to_one(delta: float) -> None:
    assert log_sum(log_prior(np.array([delta]))) == pytest.approx(0)


# --- the verdicts -----------------------------------------------------------------------------


def judged(windows: list[ProportionWindow], margin: float = 0.002, alpha: float = 0.01) -> Any:
    test = WindowTest.begin(alpha=alpha, margin=margin)
    for window in windows:
        test = test.after(window)
    return test.comparison()


def test_candidate_fails_within_ten_windows_when_it_errs_five_times_as_often() -> None:
    found = judged([ProportionWindow(190, 4, 10, 1)] * 10)
    assert found.verdict is Verdict.FAIL
    assert 0.002 < found.lower < 0.079 < found.upper
    assert found.estimate == pytest.approx(0.1 - 4 / 190)
    assert (found.n_stable, found.n_candidate) == (1900, 100)


def test_candidate_passes_when_it_errs_as_seldom_as_stable() -> None:
    found = judged([ProportionWindow(150, 0, 50, 0)] * 16, margin=0.01)
    assert found.verdict is Verdict.PASS
    assert found.upper < 0.01


def test_candidate_does_not_fail_for_a_difference_nobody_cares_about() -> None:
    # 2.9 against 2 %, a million rows: certainly worse, by less than the margin of a point.
    windows = [ProportionWindow(10_000, 200, 10_000, 290)] * 50
    assert judged(windows, margin=0.0).verdict is Verdict.FAIL
    assert judged(windows, margin=0.01).verdict is not Verdict.FAIL


def test_comparison_is_undecided_before_any_window_and_without_rows_of_both_arms() -> None:
    for windows in ([], [ProportionWindow(100, 50, 0, 0)], [ProportionWindow(0, 0, 9, 9)]):
        found = judged(windows)
        assert found.verdict is Verdict.UNDECIDED
        assert found.estimate is None
        assert (found.lower, found.upper) == (-1.0, 1.0)


def test_world_that_worsens_for_both_arms_is_not_blamed_on_the_candidate() -> None:
    quiet, storm = ProportionWindow(9500, 95, 500, 5), ProportionWindow(5000, 2500, 5000, 2500)
    found = judged([quiet] * 20 + [storm] * 20)
    assert found.verdict is Verdict.UNDECIDED
    assert found.estimate == pytest.approx(0.0)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.floats(0, 1), st.integers(0, 200), st.floats(0, 1)),
        max_size=4,
    ),
    st.sampled_from([0.0, 0.002, 0.2, -0.1]),
    st.randoms(use_true_random=False),
)
def test_verdict_follows_from_the_limits_and_not_from_the_order_of_windows(
    items: list[tuple[int, float, int, float]], margin: float, random: Any
) -> None:
    windows = [
        ProportionWindow(n_s, round(p_s * n_s), n_c, round(p_c * n_c))
        for n_s, p_s, n_c, p_c in items
    ]
    found = judged(windows, margin, 0.05)
    assert -1 <= found.lower <= found.upper <= 1
    assert (found.verdict is Verdict.FAIL) == (found.lower > margin)
    assert (found.verdict is Verdict.PASS) == (found.upper < margin)
    json.dumps(asdict(found), allow_nan=False)
    shuffled = judged(random.sample(windows, len(windows)), margin, 0.05)
    assert shuffled.log_evidence == pytest.approx(found.log_evidence, abs=1e-9)
    assert shuffled.n_candidate == found.n_candidate


def test_arms_that_change_places_mirror_their_limits() -> None:
    one = judged([ProportionWindow(300, 30, 100, 25)] * 3, margin=0.0, alpha=0.05)
    other = judged([ProportionWindow(100, 25, 300, 30)] * 3, margin=0.0, alpha=0.05)
    assert one.verdict is Verdict.FAIL
    assert other.verdict is Verdict.PASS
    assert (one.lower, one.upper) == pytest.approx((-other.upper, -other.lower))


@pytest.mark.parametrize(
    "window",
    [ProportionWindow(10, 11, 10, 0), ProportionWindow(10, 1, 10, -1)],
)
def test_window_is_refused_when_it_has_impossible_counts(window: ProportionWindow) -> None:
    with pytest.raises(CountsInvalid, match="more hits than rows"):
        WindowTest.begin(alpha=0.05, margin=0.0).after(window)


def test_test_is_refused_when_alpha_or_margin_is_out_of_range() -> None:
    with pytest.raises(CountsInvalid, match="alpha is 0"):
        WindowTest.begin(alpha=0.0, margin=0.0)
    with pytest.raises(CountsInvalid, match="margin is 2"):
        WindowTest.begin(alpha=0.05, margin=2.0)
