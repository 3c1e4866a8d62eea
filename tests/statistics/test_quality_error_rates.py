"""Verdicts on quality and fairness are as seldom wrong as announced, however often one looks.

Each scenario stands exactly at the limit, where a false alarm is most likely. Bounds are exact: the
upper 99 % Clopper-Pearson limit of the measured rate is below the announced one.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mooring_profile import SketchRecorder, build_profile
from mooring_profile.calibrate import LabelledRows, calibrate
from mooring_profile.calibration import Calibration, CalibrationTask
from mooring_profile.cohorts import Cohort, CohortPolicy, CohortState, judge_cohorts
from mooring_profile.expectation import Metric
from mooring_profile.fairness import Hits, holds_difference, holds_rates
from mooring_profile.quality import (
    QualityVerdict,
    ScoreReference,
    estimate_quality,
    judge_quality,
)
from mooring_profile.risk import LossTotals, RiskPolicy, RiskState

stats: Any = scipy_stats  # scipy has no annotations
FloatArray = np.ndarray[Any, np.dtype[np.float64]]

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIMIT = 0.12
ANNOUNCED = 40.0
COHORTS = 8
"""P(a false alarm within 8 cohorts) is at most 8 / 40."""
RUNS = 1500
WHOLE = LossTotals(10**9, 10**8, 10**8)
POLICY = CohortPolicy(HOUR, RiskPolicy(0.02, ANNOUNCED, ceiling=LIMIT))


def upper_limit(hits: int, runs: int) -> float:
    return float(stats.beta.ppf(0.99, hits + 1, runs - hits))


def errors(rng: np.random.Generator, rows: int, mean: float) -> LossTotals:
    hits = int(rng.binomial(rows, mean))
    return LossTotals(rows, hits, hits)


def brier(rng: np.random.Generator, rows: int, mean: float) -> LossTotals:
    losses = rng.beta(0.5, 0.5 * (1 - mean) / mean, rows)
    return LossTotals(rows, float(losses.sum()), float((losses**2).sum()))


def alarms(
    draw: Callable[[np.random.Generator, int, float], LossTotals], mean: float, seed: int
) -> int:
    """Runs in which Degraded was ever said, labels coming late and in batches of cohorts."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(RUNS):
        cohorts = [
            Cohort(START + i * HOUR, START + (i + 1) * HOUR, 400, draw(rng, 300, mean))
            for i in range(COHORTS)
        ]
        state = CohortState()
        for look in (4, COHORTS + 1):
            now = START + look * HOUR
            state, report = judge_cohorts(state, cohorts, now=now, reference=WHOLE, policy=POLICY)
            if report.verdict is QualityVerdict.DEGRADED:
                found += 1
                break
    return found


@pytest.mark.parametrize("draw", [errors, brier], ids=["errors", "Brier scores"])
def test_cohorts_at_the_limit_are_seldom_called_degraded(
    draw: Callable[[np.random.Generator, int, float], LossTotals],
) -> None:
    assert upper_limit(alarms(draw, LIMIT, 21), RUNS) < COHORTS / ANNOUNCED


def test_this_calibration_would_show_a_limit_that_is_too_low() -> None:
    assert alarms(errors, LIMIT + 0.015, 22) > COHORTS / ANNOUNCED * RUNS


def test_degraded_cohorts_are_found_soon() -> None:
    assert alarms(errors, LIMIT + 0.06, 23) > 0.99 * RUNS


BASE = np.round(np.random.default_rng(31).beta(0.4, 0.5, 30_000), 2)
PROFILE = build_profile({}, {}, score=BASE, blocks=None)


def reference() -> ScoreReference:
    assert PROFILE.score is not None
    label = np.random.default_rng(32).random(BASE.size) < BASE
    rows = LabelledRows.binary(BASE, label)
    found = calibrate(PROFILE.score, rows, threshold=0.5)
    return ScoreReference(Calibration(CalibrationTask.BINARY, (found,)))


def test_scores_at_the_limit_are_seldom_called_degraded() -> None:
    scores = reference()
    risk = float(scores.map.rows @ scores.map.loss) / BASE.size
    policy = RiskPolicy(0.02, ANNOUNCED, ceiling=risk)
    rng = np.random.default_rng(33)
    runs, found = 400, 0
    for _ in range(runs):
        state: RiskState | None = None
        for window in range(COHORTS):
            recorder = SketchRecorder(PROFILE)
            recorder.record({}, rng.choice(BASE, 200))
            state, report = judge_quality(
                scores, state, str(window), recorder.snapshot(), policy=policy
            )
            if report.verdict is QualityVerdict.DEGRADED:
                found += 1
                break
    assert upper_limit(found, runs) < COHORTS / ANNOUNCED


def test_intervals_hold_the_metrics_of_the_labels_as_often_as_said() -> None:
    scores = reference()
    rng = np.random.default_rng(34)
    runs = 600
    inside = {Metric.ACCURACY: 0, Metric.F1: 0, Metric.LOSS: 0}
    for _ in range(runs):
        score = rng.choice(BASE, 500)
        label = rng.random(500) < score
        recorder = SketchRecorder(PROFILE)
        recorder.record({}, score)
        found = estimate_quality(scores, recorder.snapshot(), confidence=0.9)
        assert found is not None
        picked = score >= 0.5
        right, both = (picked == label).mean(), (picked & label).sum()
        truth = {
            Metric.ACCURACY: right,
            Metric.F1: 2 * both / (picked.sum() + label.sum()),
            Metric.LOSS: ((score - label) ** 2).mean(),
        }
        for metric, value in truth.items():
            item = found.metrics[metric]
            inside[metric] += int(item.lower <= value <= item.upper)
    low, high = stats.binom.ppf([0.001, 0.999], runs, 0.9)
    for metric, hits in inside.items():
        assert low <= hits <= high, (metric, hits / runs)


ALPHA = 0.1
LOOKS = np.unique(np.geomspace(2, 10_000, 40).astype(np.int64))
PAIRS = 1500
Rates = tuple[float, float]


def missed(holds: Callable[[Hits, Hits], bool], rates: Rates, seed: int) -> int:
    """Runs of `PAIRS` in which the truth was outside at any look."""
    rng = np.random.default_rng(seed)
    steps = np.diff(LOOKS, prepend=0)
    found = 0
    for _ in range(PAIRS):
        one, two = (np.cumsum(rng.binomial(steps, rate)) for rate in rates)
        found += any(
            not holds(Hits(rows, first), Hits(rows, second))
            for rows, first, second in zip(LOOKS.tolist(), one.tolist(), two.tolist(), strict=True)
        )
    return found


@pytest.mark.parametrize("rates", [(0.3, 0.3), (0.5, 0.35), (0.1, 0.02)])
def test_rates_of_two_groups_are_held_at_all_looks(rates: Rates) -> None:
    misses = missed(lambda one, two: holds_rates(one, two, rates, ALPHA), rates, 41)
    assert upper_limit(misses, PAIRS) < ALPHA


def test_difference_is_held_whenever_the_rates_are() -> None:
    rng = np.random.default_rng(43)
    for _ in range(300):
        p, q = float(rng.random()), float(rng.random())
        one, two = (Hits(300, int(rng.binomial(300, rate))) for rate in (p, q))
        if holds_rates(one, two, (p, q), 0.5):
            assert holds_difference(one, two, p - q, 0.5)


def test_this_calibration_would_show_limits_for_a_single_look() -> None:
    z = float(stats.norm.ppf(1 - ALPHA / 2))

    def wald(one: Hits, two: Hits) -> bool:
        p, q = one.hits / one.rows, two.hits / two.rows
        sd = math.sqrt((p * (1 - p) + q * (1 - q)) / one.rows)
        return abs(p - q) <= z * max(sd, 1e-3)

    assert missed(wald, (0.3, 0.3), 42) > 2 * ALPHA * PAIRS
