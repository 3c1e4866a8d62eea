import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mooring_profile import (
    ArmTotals,
    CountsInvalid,
    ErrorBudget,
    RatioVerdict,
    check_sample_ratio,
    ratio,
)

stats: Any = scipy_stats  # scipy has no annotations


def test_evidence_is_the_beta_binomial_likelihood_ratio() -> None:
    found = check_sample_ratio([ArmTotals(180, 20, 0.05)]).log_evidence
    alternatives = [stats.betabinom.pmf(20, 200, c * 0.05, c * 0.95) for c in ratio.CONCENTRATIONS]
    expected = math.log(np.mean(alternatives) / stats.binom.pmf(20, 200, 0.05))
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("share", "tolerance"), [(0.05, 0.0), (0.5, 0.0), (0.055, 0.1)])
def test_evidence_has_expectation_at_most_one_when_shares_are_kept(
    share: float, tolerance: float
) -> None:
    announced = share / (1 + tolerance)
    total = 0.0
    for n_c in range(301):
        step = ArmTotals(300 - n_c, n_c, announced)
        evidence = check_sample_ratio([step], tolerance=tolerance).log_evidence
        total += math.exp(stats.binom.logpmf(n_c, 300, share) + evidence)
    assert total <= 1 + 1e-9


def test_kept_shares_match_and_lost_requests_do_not() -> None:
    kept = check_sample_ratio([ArmTotals(9500, 500, 0.05), ArmTotals(5020, 4980, 0.5)])
    assert kept.verdict is RatioVerdict.MATCHED
    assert (kept.expected, kept.observed, kept.requests) == (5500, 5480, 20_000)
    lost = check_sample_ratio([ArmTotals(9500, 500, 0.05), ArmTotals(5000, 4500, 0.5)])
    assert lost.verdict is RatioVerdict.MISMATCHED


def test_departure_within_the_tolerance_matches() -> None:
    step = ArmTotals(955_000, 45_000, 0.05)
    assert check_sample_ratio([step]).verdict is RatioVerdict.MISMATCHED
    assert check_sample_ratio([step], tolerance=0.2).verdict is RatioVerdict.MATCHED


@given(st.permutations([ArmTotals(90, 10, 0.05), ArmTotals(40, 60, 0.5), ArmTotals(0, 0, 0.9)]))
def test_order_of_steps_does_not_matter(steps: list[ArmTotals]) -> None:
    assert check_sample_ratio(steps) == check_sample_ratio(sorted(steps, key=str))


def test_no_requests_are_no_evidence() -> None:
    found = check_sample_ratio([])
    assert found.verdict is RatioVerdict.MATCHED
    assert found.log_evidence == 0.0


@pytest.mark.parametrize(
    ("step", "alpha", "tolerance", "message"),
    [
        (ArmTotals(-1, 1, 0.5), 0.01, 0.0, r"steps\[0\]"),
        (ArmTotals(1, 1, 1.0), 0.01, 0.0, r"steps\[0\]"),
        (ArmTotals(1, 1, 0.5), 1.0, 0.0, "alpha is 1"),
        (ArmTotals(1, 1, 0.5), 0.01, -0.1, "tolerance is -0.1"),
    ],
)
def test_check_is_refused_when_an_input_is_out_of_range(
    step: ArmTotals, alpha: float, tolerance: float, message: str
) -> None:
    with pytest.raises(CountsInvalid, match=message):
        check_sample_ratio([step], alpha=alpha, tolerance=tolerance)


# --- the budget -------------------------------------------------------------------------------


@given(st.floats(0.001, 0.5), st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True))
def test_parts_of_an_even_budget_sum_to_alpha(alpha: float, names: list[str]) -> None:
    budget = ErrorBudget.even(alpha, names)
    assert math.fsum(budget.part(name) for name in names) == pytest.approx(alpha)


@pytest.mark.parametrize(
    ("alpha", "weights", "message"),
    [
        (0.0, {"errors": 1.0}, "alpha is 0"),
        (0.05, {"errors": 0.5, "loss": 0.6}, "sum to 1.1"),
        (0.05, {"errors": 1.5, "loss": -0.5}, "weight of errors"),
        (0.05, {}, "sum to 0"),
    ],
)
def test_budget_is_refused_when_its_weights_are_no_parts_of_one(
    alpha: float, weights: dict[str, float], message: str
) -> None:
    with pytest.raises(CountsInvalid, match=message):
        ErrorBudget(alpha, weights)


def test_metric_without_a_part_may_not_spend() -> None:
    with pytest.raises(CountsInvalid, match="latency"):
        ErrorBudget.even(0.05, ["errors"]).part("latency")
