"""Delayed labels by cohort: maturity, coverage, order, restarts, and what is never compared."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from mooring_profile.cohorts import (
    Cohort,
    CohortPolicy,
    CohortReport,
    CohortState,
    judge_cohorts,
    reference_losses,
)
from mooring_profile.confusion import Confusion
from mooring_profile.errors import CountsInvalid
from mooring_profile.quality import QualityVerdict
from mooring_profile.risk import (
    BET_WEIGHTS,
    BETS,
    LossTotals,
    RiskPolicy,
    RiskState,
    advance,
    log_e_of_totals,
    log_e_of_values,
)
from tests.unit.profile.test_quality import LABELS, REFERENCE

stats: Any = scipy_stats  # scipy has no annotations
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BASE = LossTotals(10_000, 1000, 1000)
"""The reference: 10 % errors."""
POLICY = CohortPolicy(
    maturity=3 * DAY, risk=RiskPolicy(tolerance=0.02, false_alarm_every=200), least_coverage=0.5
)


def cohort(day: int, *, predicted: int = 500, labelled: int = 400, errors: int = 40) -> Cohort:
    losses = LossTotals(labelled, errors, errors)
    return Cohort(START + day * DAY, START + (day + 1) * DAY, predicted, losses)


def judged(
    cohorts: list[Cohort], day: float, state: CohortState | None = None
) -> tuple[CohortState, CohortReport]:
    now = START + day * DAY
    return judge_cohorts(state or CohortState(), cohorts, now=now, reference=BASE, policy=POLICY)


def test_cohort_counts_only_when_the_maturity_has_passed_since_its_end() -> None:
    bad = [cohort(0, errors=400)]
    _, early = judged(bad, 3.99)
    assert early.verdict is QualityVerdict.IMMATURE
    assert early.immature == 1
    assert early.evidence == 0
    _, late = judged(bad, 4)
    assert late.verdict is QualityVerdict.DEGRADED
    assert late.since == START.isoformat()
    assert late.loss == 1


def test_early_labels_do_not_raise_an_alarm_when_they_are_biased() -> None:
    # Frauds are known at once: of the young cohorts only bad labels are there.
    cohorts = [cohort(day) for day in range(10)]
    cohorts += [cohort(day, labelled=30, errors=30) for day in range(10, 14)]
    _, report = judged(cohorts, 13)
    assert report.verdict is QualityVerdict.HEALTHY
    assert report.immature == 4
    assert report.labelled == 4000


def test_mature_cohort_is_passed_over_when_too_few_labels_came() -> None:
    cohorts = [cohort(0), cohort(1, labelled=100, errors=100)]
    state, report = judged(cohorts, 8)
    assert report.verdict is QualityVerdict.INSUFFICIENT
    assert report.passed_over == 1
    assert report.coverage == pytest.approx(0.2)
    assert "20.0%" in report.message
    _, healed = judged([cohort(2)], 8, state)
    assert healed.verdict is QualityVerdict.HEALTHY


def test_healthy_needs_two_hundred_labels() -> None:
    _, report = judged([cohort(0, predicted=200, labelled=150, errors=10)], 5)
    assert report.verdict is QualityVerdict.INSUFFICIENT
    assert "150 independent labels" in report.message


def test_no_limit_can_be_named_when_the_reference_is_tiny() -> None:
    _, report = judge_cohorts(
        CohortState(),
        [cohort(0)],
        now=START + 9 * DAY,
        reference=LossTotals(5, 1, 1),
        policy=POLICY,
    )
    assert report.verdict is QualityVerdict.INSUFFICIENT
    assert report.limit is None
    assert "held-out" in report.message


def test_ceiling_is_the_limit_when_it_is_lower() -> None:
    policy = replace(POLICY, risk=RiskPolicy(0.02, 200, ceiling=0.08))
    _, report = judge_cohorts(
        CohortState(), [cohort(0)], now=START + 9 * DAY, reference=BASE, policy=policy
    )
    assert report.limit == 0.08


def test_nothing_is_judged_twice_however_often_one_looks() -> None:
    cohorts = [cohort(day, errors=60) for day in range(6)]
    state, first = judged(cohorts, 10)
    again, second = judged(cohorts, 10.5, state)
    assert again == state
    assert second == first


def test_labels_that_come_after_the_judgement_change_nothing() -> None:
    state, before = judged([cohort(0)], 4)
    _, after = judged([cohort(0, labelled=500, errors=500)], 5, state)
    assert after == before


@settings(deadline=None)
@given(
    errors=st.lists(st.integers(0, 400), min_size=1, max_size=8),
    looks=st.lists(st.integers(0, 14), max_size=5),
    seed=st.integers(0, 1000),
)
def test_state_is_the_same_in_any_order_after_any_restart_and_over_any_pods(
    errors: list[int], looks: list[int], seed: int
) -> None:
    cohorts = [cohort(day, errors=count) for day, count in enumerate(errors)]
    wanted, _ = judged(cohorts, 14)
    order: list[int] = np.random.default_rng(seed).permutation(len(cohorts)).tolist()
    shuffled = [cohorts[place] for place in order]
    halves = [
        replace(item, predicted=item.predicted // 2, losses=half(item.losses))
        for item in shuffled
        for _ in range(2)
    ]
    state = CohortState()
    for day in [*sorted(looks), 14]:
        state, _ = judged(halves, day, state)
        state = CohortState.from_json(json.loads(json.dumps(state.to_json())))
    assert state.risk is not None
    assert wanted.risk is not None
    assert state.risk.fortunes == pytest.approx(wanted.risk.fortunes)
    assert replace(state, risk=None) == replace(wanted, risk=None)


def half(losses: LossTotals) -> LossTotals:
    return LossTotals(losses.n / 2, losses.total / 2, losses.squares / 2)


def test_evidence_starts_again_when_another_limit_is_asked_for() -> None:
    state, report = judged([cohort(0, errors=400)], 9)
    assert report.verdict is QualityVerdict.DEGRADED
    policy = replace(POLICY, risk=RiskPolicy(0.3, 200))
    _, again = judge_cohorts(state, [], now=START + 9 * DAY, reference=BASE, policy=policy)
    assert again.evidence == 0
    assert again.verdict is QualityVerdict.HEALTHY


def test_reference_losses_are_those_of_the_labelled_rows() -> None:
    found = reference_losses(REFERENCE.map)
    score = np.array(REFERENCE.map.rows)
    assert found.n == score.sum() == LABELS.size
    assert found.mean is not None
    assert 0.05 < found.mean < found.upper_limit() < found.mean + 0.01


@settings(deadline=None)
@given(
    losses=st.lists(st.floats(0, 1), min_size=1, max_size=40),
    limit=st.floats(0.01, 0.99),
)
def test_evidence_from_totals_is_never_more_than_that_from_rows(
    losses: list[float], limit: float
) -> None:
    values = np.array(losses)
    exact = log_e_of_values(np.ones(values.size), values, limit)
    totals = LossTotals(values.size, float(values.sum()), float((values**2).sum()))
    assert (log_e_of_totals(totals, limit) <= exact + 1e-7).all()


def test_evidence_from_totals_is_exact_for_errors() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.0, 0.0])
    exact = log_e_of_values(np.ones(5), values, 0.3)
    np.testing.assert_allclose(log_e_of_totals(LossTotals(5, 2, 2), 0.3), exact, atol=1e-12)


@settings(deadline=None)
@given(limit=st.floats(0.01, 0.99), share=st.floats(0, 1))
def test_a_bet_is_fair_at_the_limit_and_loses_below_it(limit: float, share: float) -> None:
    mean = limit * share
    factor = mean * (1 + BETS * (1 / limit - 1)) + (1 - mean) * (1 - BETS)
    logs = log_e_of_values(np.ones(2), np.array([1.0, 0.0]), limit)
    np.testing.assert_allclose(logs, np.log1p(BETS * (1 / limit - 1)) + np.log1p(-BETS))
    assert (factor <= 1 + 1e-9).all()
    assert BET_WEIGHTS.sum() == pytest.approx(1)


def test_expected_evidence_after_t_cohorts_is_exactly_t_at_the_limit() -> None:
    # Every outcome of two cohorts of 12 and 7 labels, weighed by its probability.
    limit, top = 0.3, 1e100
    expected = np.zeros(2)
    for first in range(13):
        chance = stats.binom.pmf(first, 12, limit)
        one = stepped(RiskState(limit), LossTotals(12, first, first), top)
        expected[0] += chance * one.evidence
        for second in range(8):
            two = stepped(one, LossTotals(7, second, second), top)
            expected[1] += chance * stats.binom.pmf(second, 7, limit) * two.evidence
    np.testing.assert_allclose(expected, [1, 2], rtol=1e-9)


def stepped(state: RiskState, losses: LossTotals, top: float) -> RiskState:
    return advance(state, "window", losses, log_e_of_totals(losses, state.limit), top)


def broken(**change: Any) -> dict[str, Any]:
    state, _ = judged([cohort(0)], 9)
    return {**state.to_json(), **change}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (broken(until="yesterday"), "ISO 8601"),
        (broken(until="2026-03-01"), "offset"),
        (broken(judged=-1), "judged"),
        (broken(risk={"limit": 2.0}), "absent"),
        (broken(risk=RiskState(0.5).to_json() | {"fortunes": [1.0]}), "start again"),
        (broken(risk=RiskState(0.5).to_json() | {"losses": [1.0]}), "three numbers"),
        (broken(risk=RiskState(0.5).to_json() | {"limit": 1.0}), "between 0 and 1"),
    ],
)
def test_state_is_refused_when_a_field_is_out_of_its_range(
    document: dict[str, object], message: str
) -> None:
    with pytest.raises(CountsInvalid, match=message):
        CohortState.from_json(document)


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(CountsInvalid, match="600 labels for 500"):
        cohort(0, labelled=600)
    with pytest.raises(CountsInvalid, match="aware"):
        Cohort(START.replace(tzinfo=None), START, 1, LossTotals())
    with pytest.raises(CountsInvalid, match="sum of squares"):
        LossTotals(10, 3, 5)
    with pytest.raises(CountsInvalid, match="cannot be added"):
        cohort(0).merge(cohort(1))
    for wrong in ({"maturity": -DAY}, {"least_coverage": 2.0}, {"design_effect": 0.0}):
        with pytest.raises(CountsInvalid, match=next(iter(wrong))):
            replace(POLICY, **wrong)
    with pytest.raises(CountsInvalid, match="tolerance"):
        RiskPolicy(tolerance=-1)
    with pytest.raises(CountsInvalid, match="false_alarm_every"):
        RiskPolicy(false_alarm_every=1)


def test_cohort_without_predictions_says_nothing() -> None:
    state, report = judged([cohort(0, predicted=0, labelled=0, errors=0)], 9)
    assert report.verdict is QualityVerdict.IMMATURE
    assert state.until == START + DAY
    assert cohort(0, predicted=0, labelled=0, errors=0).coverage == 0


def test_window_without_rows_changes_no_evidence() -> None:
    state = stepped(RiskState(0.2), LossTotals(10, 5, 5), 100)
    assert stepped(state, LossTotals(), 100) == state
    assert LossTotals(1, 0, 0).upper_limit() == 1


def test_confusion_adds_over_pods_when_both_have_one() -> None:
    one = replace(cohort(0), confusion=Confusion(1, 2, 3, 4))
    assert one.merge(one).confusion == Confusion(2, 4, 6, 8)
    assert one.merge(cohort(0)).confusion is None
